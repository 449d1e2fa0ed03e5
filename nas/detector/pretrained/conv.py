"""One convolution of a detector from one of a seed: channels chosen, kernels cropped or padded.

Channels are told by an index (n,): which of the seed's channels each is, or NEW for one that the
seed doesn't have. A NEW row keeps its own initialisation whole. In a row that comes from the seed
the columns of NEW channels are zero: it computes what it did, and the columns learn since what
they read lives. Nothing is zero on both sides.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from nas.detector.convolution import Conv, SqueezeExcite
from nas.detector.pretrained.seed import SeedConv, SeedGate

NEW: Final = -1

MADE_LOGIT: Final = {"Sigmoid": 3.0, "Hardsigmoid": 2.0}
"""What a made-up gate gives before its sigmoid: open, and not yet flat."""


def first_channels(wanted: int, there: int) -> Tensor:
    """An index (wanted,): the seed's first channels, then NEW ones."""
    index = torch.arange(wanted)
    index[there:] = NEW
    return index


def best_channels(wanted: int, importance: Tensor, *, is_ranked: bool = False) -> Tensor:
    """An index (wanted,): the seed's most important channels in their order, then NEW ones.

    is_ranked   the most important one first instead
    """
    kept = min(wanted, len(importance))
    best = importance.double().argsort(descending=True, stable=True)[:kept]
    best = best if is_ranked else best.sort().values
    return torch.cat((best, torch.full((wanted - kept,), NEW)))


@torch.no_grad()
def carry(
    target: Conv,
    source: SeedConv,
    out: Tensor,
    into: Tensor | None,
    columns: Tensor | None = None,
) -> None:
    """Fills a Conv's weights and batch norm; `into` is None for a depthwise convolution.

    columns   (in,) by which the seed's input channels are multiplied
    """
    conv, norm = target.conv, target.bn
    assert isinstance(norm, nn.BatchNorm2d)
    known = out >= 0
    rows = source.weight[out[known]].double()
    if into is not None:
        if columns is not None:
            rows = rows * columns.view(1, -1, 1, 1)
        picked = rows[:, into.clamp(min=0)]
        rows = picked * (into >= 0).view(1, -1, 1, 1)
    padding = conv.padding[0]
    assert isinstance(padding, int)
    kernel = conv.kernel_size[0]
    placed = placed_kernel(rows, kernel, padding)
    conv.weight[known] = placed.to(conv.weight)
    carry_norm(norm, source, out)


def placed_kernel(rows: Tensor, kernel: int, padding: int) -> Tensor:
    """Kernels (..., k, k), centred, as (..., kernel, kernel) of that padding: cropped or padded."""
    k = rows.shape[-1]
    shift = padding - k // 2
    placed = rows.new_zeros(*rows.shape[:-2], kernel, kernel)
    low, high = max(0, shift), min(kernel, k + shift)
    placed[..., low:high, low:high] = rows[
        ..., low - shift : high - shift, low - shift : high - shift
    ]
    return placed


@torch.no_grad()
def carry_norm(norm: nn.BatchNorm2d, source: SeedConv, out: Tensor) -> None:
    """Fills a batch norm's rows that come from the seed."""
    known = out >= 0
    chosen = out[known]
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.weight[known] = source.gamma[chosen].to(norm.weight)
    norm.bias[known] = source.beta[chosen].to(norm.bias)
    norm.running_mean[known] = source.mean[chosen].to(norm.running_mean)
    norm.running_var[known] = source.var[chosen].to(norm.running_var)


@torch.no_grad()
def carry_gate(
    target: SqueezeExcite, source: SeedGate, hidden: Tensor, *, is_ordered: bool = False
) -> bool:
    """Fills a gate from the seed's; whether no part of it was made up.

    is_ordered   keep the first of its inner channels, not the most important
    """
    squeeze = target.reduce.out_channels
    inner = best_channels(squeeze, source.reduce.norm(dim=1) * source.expand.norm(dim=0))
    if is_ordered:
        inner = first_channels(squeeze, len(source.reduce))
    known, kept = hidden >= 0, inner >= 0
    assert target.reduce.bias is not None
    assert target.expand.bias is not None
    rows = source.reduce[inner[kept]][:, hidden.clamp(min=0)] * known
    target.reduce.weight[kept] = rows[:, :, None, None]
    target.reduce.bias[kept] = source.reduce_bias[inner[kept]]
    columns = source.expand[hidden[known]][:, inner.clamp(min=0)] * kept
    target.expand.weight[known] = columns[:, :, None, None]
    target.expand.bias[known] = source.expand_bias[hidden[known]]
    return bool(known.all()) and bool(kept.all())


@torch.no_grad()
def make_gate(target: SqueezeExcite) -> float:
    """Makes up a gate that gives one number for every picture, and returns it.

    Its expansion is zero and learns, since what it reads lives.
    """
    logit = MADE_LOGIT[type(target.gate).__name__]
    assert target.expand.bias is not None
    target.expand.weight.zero_()
    target.expand.bias.fill_(logit)
    return float(target.gate(torch.tensor(logit)))
