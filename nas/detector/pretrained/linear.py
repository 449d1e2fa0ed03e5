"""What a block does to first order, and the block of another kind that does the same.

Behind a batch norm a channel is about normal, of mean beta and deviation gamma. Of such a channel
an activation is, in the mean, a line: E[f] and the slope E[f'] (Stein's lemma). So a block whose
parts are separated by activations has one k x k convolution that is nearest to it, without a
picture. The once-for-all network (arXiv 1908.09791) and FNA (2006.12986) keep a block's kind; the
kinds that differ here are written down as this convolution, or as parts of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from torch import Tensor

from nas.detector.convolution import BN_EPS, activation_module
from nas.detector.pretrained.seed import Kind, SeedBlock, SeedConv, SeedGate

NODES: Final = 41
"""Of Gauss and Hermite's quadrature; the activations have corners."""

LIFT: Final = 2.0
"""Deviations by which a map is lifted before an activation that the seed does not have there, so
that nearly all of it passes; the batch norm of whoever reads it takes the constant off again."""


@dataclass(frozen=True, kw_only=True)
class Affine:
    """y = kernel * x + bias, (out, in, k, k) and (out,), float64."""

    kernel: Tensor
    bias: Tensor
    stride: int


def response(activation: str, mean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
    """E[f(z)] and E[f'(z)] of an activation f for z normal, each (n,), float64."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    x = torch.from_numpy(nodes)[:, None]
    share = torch.from_numpy(weights / weights.sum())[:, None]
    spread = deviation.double().abs().clamp(min=1e-3)
    out = activation_module(activation)((mean.double() + spread * x).clone())
    return (share * out).sum(0), (share * x * out).sum(0) / spread


def gate_level(gate: SeedGate, level: Tensor) -> Tensor:
    """(c,) what a gate multiplies by where its channels' means are `level` (c,)."""
    inside = gate.reduce.double() @ level + gate.reduce_bias.double()
    inside = activation_module(gate.activation)(inside)
    raw = gate.expand.double() @ inside + gate.expand_bias.double()
    out: Tensor = activation_module(gate.gate)(raw)
    return out


def without_gate(block: SeedBlock) -> SeedBlock:
    """The block with its gate at the level of a usual picture, within the projection."""
    if block.gate is None:
        return block
    before = block.depthwise or block.expand
    level = torch.ones(block.hidden, dtype=torch.float64)
    if before is not None:
        level = response(block.activation, before.beta, before.gamma)[0]
    weight = block.project.weight.double() * gate_level(block.gate, level).view(1, -1, 1, 1)
    return replace(block, gate=None, project=replace(block.project, weight=weight.float()))


def _line(conv: SeedConv, activation: str) -> tuple[Tensor, Tensor]:
    """a, b (out,) with activation(norm(y)) ~ a y + b."""
    value, slope = response(activation, conv.beta, conv.gamma)
    factor = slope * conv.scale
    return factor, value - factor * conv.mean.double()


def affine(block: SeedBlock) -> Affine:
    """The convolution nearest to a block, its sum and a dense block's activation left out."""
    block = without_gate(block)
    project = block.project
    last = project.weight.double() * project.scale.view(-1, 1, 1, 1)
    bias = project.beta.double() - project.scale * project.mean.double()
    if block.kind == "dense":
        return Affine(kernel=last, bias=bias, stride=project.stride)
    kernel, offset = _before_projection(block)
    matrix = last[:, :, 0, 0]
    return Affine(
        kernel=torch.einsum("oh,hcyx->ocyx", matrix, kernel),
        bias=bias + matrix @ offset,
        stride=block.stride,
    )


def _before_projection(block: SeedBlock) -> tuple[Tensor, Tensor]:
    """Kernel (hidden, in, k, k) and bias (hidden,) of all that lies before the projection."""
    if block.kind == "fused":
        assert block.expand is not None
        factor, offset = _line(block.expand, block.activation)
        return block.expand.weight.double() * factor.view(-1, 1, 1, 1), offset
    assert block.depthwise is not None
    factor, offset = _line(block.depthwise, block.activation)
    own = block.depthwise.weight.double() * factor.view(-1, 1, 1, 1)
    if block.expand is None:
        return torch.eye(len(own), dtype=own.dtype)[:, :, None, None] * own, offset
    slope, level = _line(block.expand, block.activation)
    rows = block.expand.weight.double() * slope.view(-1, 1, 1, 1)
    return own * rows, offset + own.sum((1, 2, 3)) * level


def after(conv: SeedConv, bridge: Affine) -> SeedConv:
    """A 1x1 or k x k convolution that reads the bridge's input in place of its output.

    The bridge's kernel is summed over its cells: it does not move anything.
    """
    matrix = bridge.kernel.sum((2, 3))
    weight = conv.weight.double()
    constant = (weight.sum((2, 3))) @ bridge.bias
    return replace(
        conv,
        weight=torch.einsum("hoyx,oc->hcyx", weight, matrix).float(),
        mean=(conv.mean.double() - constant).float(),
    )


def converted(block: SeedBlock, kind: Kind, spread: Tensor) -> SeedBlock | None:
    """The block of another kind that is nearest to it; None where there is no way.

    spread   (in,) about the deviations of the channels that the block reads

    inverted -> fused      the depthwise convolution after the expansion as one dense one, the
                           activation between them as its line
    depthwise -> fused     exact: each row reads one channel
    fused -> inverted      each hidden channel's kernel as the nearest product of a 1x1 and a
                           depthwise one, the map between lifted so that it passes its activation
    any -> dense           the nearest convolution, lifted
    any -> depthwise       each input channel's part of it as the nearest product
    """
    if block.kind == kind:
        return block
    if kind == "dense":
        return _as_dense(block)
    if kind == "depthwise":
        return _as_depthwise(block, spread)
    if kind == "fused" and block.kind in ("inverted", "depthwise"):
        return _as_fused(block)
    if kind == "inverted" and block.kind == "fused":
        return _as_inverted(block, spread)
    return None


def _as_fused(block: SeedBlock) -> SeedBlock:
    own = block.depthwise
    assert own is not None
    kernel, constant = own.weight.double(), torch.zeros(len(own.weight), dtype=torch.float64)
    if block.expand is None:
        dense = torch.eye(len(kernel), dtype=kernel.dtype)[:, :, None, None] * kernel
    else:
        slope, level = _line(block.expand, block.activation)
        dense = kernel * (block.expand.weight.double() * slope.view(-1, 1, 1, 1))
        constant = kernel.sum((1, 2, 3)) * level
    mean = (own.mean.double() - constant).float()
    expand = replace(own, weight=dense.float(), mean=mean)
    return replace(block, kind="fused", expand=expand, depthwise=None)


def _as_dense(block: SeedBlock) -> SeedBlock:
    near, last = affine(block), block.project
    conv = _of_affine(near, last.gamma, last.beta)
    lifted = replace(conv, beta=conv.beta + LIFT * conv.gamma.abs())
    return replace(block, kind="dense", project=lifted, expand=None, depthwise=None, gate=None)


def _as_depthwise(block: SeedBlock, spread: Tensor) -> SeedBlock:
    """Of each input channel the kernel (out, k, k) as the nearest (out,) times (k, k).

    Neighbouring cells are much alike, so a kernel's sum says how far its output varies.
    """
    near = affine(block)
    out, channels, k, _ = near.kernel.shape
    tables = near.kernel.permute(1, 0, 2, 3).reshape(channels, out, k * k)
    left, size, right = torch.linalg.svd(tables, full_matrices=False)
    total = right[:, 0].sum(1)
    own = right[:, 0] * torch.where(total < 0, -1.0, 1.0)[:, None]
    width = (spread.double() * total.abs().clamp(min=0.3)).clamp(min=0.05)
    sign = torch.where(total < 0, -1.0, 1.0)
    columns = (left[:, :, 0] * (size[:, 0] * sign * width)[:, None]).T
    depthwise = _unit(own.reshape(channels, 1, k, k), width, near.stride)
    mean = block.project.beta.double() - near.bias + LIFT * columns.sum(1)
    project = replace(
        _of_affine(near, block.project.gamma, block.project.beta),
        weight=columns[:, :, None, None].float(),
        mean=mean.float(),
        stride=1,
    )
    return replace(
        block, kind="depthwise", depthwise=depthwise, project=project, expand=None, gate=None
    )


def _as_inverted(block: SeedBlock, spread: Tensor) -> SeedBlock:
    assert block.expand is not None
    kernel = block.expand.weight.double()
    hidden, channels, k, _ = kernel.shape
    left, size, right = torch.linalg.svd(
        kernel.reshape(hidden, channels, k * k), full_matrices=False
    )
    rows = left[:, :, 0] * size[:, :1]
    width = (rows**2 @ spread.double() ** 2).sqrt().clamp(min=0.05)
    own = (right[:, 0] * width[:, None]).reshape(hidden, 1, k, k)
    mean = block.expand.mean.double() + LIFT * own.sum((1, 2, 3))
    depthwise = replace(block.expand, weight=own.float(), mean=mean.float())
    expand = _unit(rows[:, :, None, None], width, 1)
    return replace(block, kind="inverted", expand=expand, depthwise=depthwise)


def _unit(weight: Tensor, width: Tensor, stride: int) -> SeedConv:
    """A convolution whose outputs, of deviation `width`, are brought to 1 and lifted."""
    ones = torch.ones(len(weight))
    return SeedConv(
        weight=weight.float(),
        gamma=ones,
        beta=LIFT * ones,
        mean=0 * ones,
        var=(width**2 - BN_EPS).float(),
        stride=stride,
    )


def _of_affine(near: Affine, gamma: Tensor, beta: Tensor) -> SeedConv:
    """The convolution with a batch norm of a line whose outputs have mean beta, deviation gamma."""
    spread = gamma.double().abs().clamp(min=2 * BN_EPS**0.5)
    return SeedConv(
        weight=near.kernel.float(),
        gamma=spread.float(),
        beta=beta,
        mean=(beta.double() - near.bias).float(),
        var=(spread**2 - BN_EPS).float(),
        stride=near.stride,
    )
