"""How each module of neck and head is cut from one of the same kind.

A cutter takes the module, the starter's, the channels (an index of each) of the maps that it
reads, the starter's widths of those, and whether its own channels are tied to others' by a sum. It
fills the module in place and returns the channels that it gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from nas.detector.anchor_free import AnchorFreeDetect
from nas.detector.builder import Head
from nas.detector.convolution import BN_EPS, Conv, activation_name
from nas.detector.head import Detect
from nas.detector.light import DWConvBlock
from nas.detector.pretrained.conv import NEW, best_channels, carry, first_channels
from nas.detector.pretrained.linear import response
from nas.detector.pretrained.starter import conv_of
from nas.detector.yolo import C3, SPP, SPPF, Bottleneck, C2f

Cutter = Callable[[nn.Module, nn.Module, list[Tensor], list[int], bool], Tensor | None]


@dataclass(frozen=True)
class Carried:
    """A map of the starter's, by its key, and which of its channels are here."""

    row: int
    index: Tensor


def joined(indices: Sequence[Tensor], widths: Sequence[int]) -> Tensor:
    """The index of maps joined along their channels; `widths` are the starter's."""
    found, start = [], 0
    for index, width in zip(indices, widths, strict=True):
        found.append(torch.where(index >= 0, index + start, NEW))
        start += width
    return torch.cat(found)


def levels(conv: Conv) -> tuple[Tensor, Tensor]:
    """About the mean and the deviation of each channel that a Conv gives, (c,) each."""
    source = conv_of(conv)
    name = activation_name(conv.act)
    value, slope = response(name, source.beta, source.gamma)
    return value, slope * source.gamma.double().abs()


def chosen(conv: nn.Module, source: nn.Module, is_tied: bool) -> Tensor:
    """The channels that a Conv keeps of the starter's: the liveliest; where tied or in order the
    first."""
    assert isinstance(conv, Conv)
    assert isinstance(source, Conv)
    wanted, there = conv.conv.out_channels, source.conv.out_channels
    if is_tied or source.is_ordered or wanted >= there:
        return first_channels(wanted, there)
    return best_channels(wanted, levels(source)[1].abs())


def cut_one(
    conv: nn.Module, source: nn.Module, into: Tensor | None, out: Tensor | None = None
) -> Tensor:
    """One Conv, depthwise where `into` is None; the channels that it gives."""
    assert isinstance(conv, Conv)
    out = chosen(conv, source, False) if out is None else out
    carry(conv, conv_of(source), out, into)
    return out


def cut_conv(
    module: nn.Module, source: nn.Module, inputs: list[Tensor], widths: list[int], is_tied: bool
) -> Tensor | None:
    return cut_one(module, source, inputs[0], chosen(module, source, is_tied))


def cut_separable(
    module: nn.Module, source: nn.Module, inputs: list[Tensor], widths: list[int], is_tied: bool
) -> Tensor | None:
    assert isinstance(module, DWConvBlock)
    assert isinstance(source, DWConvBlock)
    cut_one(module.depthwise, source.depthwise, None, inputs[0])
    out = chosen(module.pointwise, source.pointwise, is_tied)
    return cut_one(module.pointwise, source.pointwise, inputs[0], out)


def cut_c3(
    module: nn.Module, source: nn.Module, inputs: list[Tensor], widths: list[int], is_tied: bool
) -> Tensor | None:
    assert isinstance(module, C3)
    assert isinstance(source, C3)
    inner = cut_one(module.cv1, source.cv1, inputs[0])
    side = cut_one(module.cv2, source.cv2, inputs[0])
    _cut_bottlenecks(module.m, source.m, inner)
    width = source.cv1.conv.out_channels
    out = chosen(module.cv3, source.cv3, is_tied)
    return cut_one(module.cv3, source.cv3, joined((inner, side), (width, width)), out)


def cut_c2f(
    module: nn.Module, source: nn.Module, inputs: list[Tensor], widths: list[int], is_tied: bool
) -> Tensor | None:
    assert isinstance(module, C2f)
    assert isinstance(source, C2f)
    there, here = source.hidden, module.hidden
    live = levels(source.cv1)[1].abs()
    is_first = source.cv1.is_ordered or here >= there
    halves = [
        first_channels(here, there) if is_first else best_channels(here, own)
        for own in (live[:there], live[there:])
    ]
    cut_one(module.cv1, source.cv1, inputs[0], joined(halves, (there, there)))
    _cut_bottlenecks(module.m, source.m, halves[1])
    parts = [*halves, *(halves[1] for _ in module.m)]
    for number in range(2 + len(source.m), len(parts)):
        parts[number] = torch.full_like(parts[number], NEW)
    out = chosen(module.cv2, source.cv2, is_tied)
    return cut_one(module.cv2, source.cv2, joined(parts, [there] * len(parts)), out)


def _cut_bottlenecks(own: nn.Module, theirs: nn.Module, index: Tensor) -> None:
    """Bottlenecks that read and give the same channels; those that are more stay as they are."""
    assert isinstance(own, nn.Sequential | nn.ModuleList)
    assert isinstance(theirs, nn.Sequential | nn.ModuleList)
    for part, source in zip(own, theirs, strict=False):
        assert isinstance(part, Bottleneck)
        assert isinstance(source, Bottleneck)
        middle = cut_one(part.cv1, source.cv1, index)
        cut_one(part.cv2, source.cv2, middle, index)


def cut_pooling(
    module: nn.Module, source: nn.Module, inputs: list[Tensor], widths: list[int], is_tied: bool
) -> Tensor | None:
    assert isinstance(module, SPPF | SPP)
    assert isinstance(source, SPPF | SPP)
    inner = cut_one(module.cv1, source.cv1, inputs[0])
    width = source.cv1.conv.out_channels
    out = chosen(module.cv2, source.cv2, is_tied)
    return cut_one(module.cv2, source.cv2, joined([inner] * 4, [width] * 4), out)


def _kept(
    module: nn.Module, source: nn.Module, inputs: list[Tensor], widths: list[int], is_tied: bool
) -> Tensor | None:
    return inputs[0]


def _joined(
    module: nn.Module, source: nn.Module, inputs: list[Tensor], widths: list[int], is_tied: bool
) -> Tensor | None:
    return joined(inputs, widths)


def _summed(
    module: nn.Module, source: nn.Module, inputs: list[Tensor], widths: list[int], is_tied: bool
) -> Tensor | None:
    same = all(torch.equal(inputs[0], index) for index in inputs)
    return inputs[0] if same else None


CUTTERS: Final[dict[str, Cutter]] = {
    "Conv": cut_conv,
    "DWConvBlock": cut_separable,
    "C3": cut_c3,
    "C2f": cut_c2f,
    "SPPF": cut_pooling,
    "SPP": cut_pooling,
    "nn.Upsample": _kept,
    "Concat": _joined,
    "Add": _summed,
}
"""Module -> how it is cut; of what isn't here nothing is taken."""


def last_conv(module: nn.Module) -> Conv:
    """The convolution that a module's map comes from."""
    if isinstance(module, Conv):
        return module
    if isinstance(module, DWConvBlock):
        return module.pointwise
    if isinstance(module, C3):
        return module.cv3
    assert isinstance(module, C2f | SPPF | SPP)
    return module.cv2


@torch.no_grad()
def pass_on(block: DWConvBlock, before: nn.Module, index: Tensor) -> None:
    """Fills a separable block so that it gives what it reads, where that is not below zero.

    before   the module that the map comes from, whose last batch norm says what its channels are
             like: our batch norms then leave them as they are
    """
    mean, spread = levels(last_conv(before))
    known = index >= 0
    chosen_mean, chosen_spread = mean[index[known]], spread[index[known]].abs().clamp(min=0.1)
    for conv in (block.depthwise, block.pointwise):
        kernel, norm = conv.conv.weight, conv.bn
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        middle = kernel.shape[-1] // 2
        kernel[known] = 0
        rows = known.nonzero()[:, 0]
        columns = rows if kernel.shape[1] > 1 else torch.zeros_like(rows)
        kernel[rows, columns, middle, middle] = 1
        norm.weight[known] = chosen_spread.float()
        norm.bias[known] = chosen_mean.float()
        norm.running_mean[known] = chosen_mean.float()
        norm.running_var[known] = (chosen_spread**2 - BN_EPS).float()


def cut_head(
    head: Head, source: nn.Module, inputs: list[Tensor], keeps_classes: bool
) -> Tensor | None:
    """Fills Detect from the starter's of the same kind, level by level.

    Returns an index of the outputs of a level, NEW where those of classes are not taken; None
    where the heads differ.
    """
    same_classes = keeps_classes and head.num_classes == getattr(source, "num_classes", None)
    if isinstance(head, AnchorFreeDetect) and isinstance(source, AnchorFreeDetect):
        boxes = head.num_outputs - head.num_classes
        branches = [*head.cv2, *head.cv3], [*source.cv2, *source.cv3]
        same_boxes = boxes == source.num_outputs - source.num_classes
        if len(branches[0]) != len(branches[1]) or not same_boxes:
            return None
        if not all(is_alike(*pair) for pair in zip(*branches, strict=True)):
            return None
        for number, (branch, other) in enumerate(zip(*branches, strict=True)):
            is_taken = number < head.num_levels or same_classes
            cut_branch(branch, other, inputs[number % head.num_levels], is_taken)
        outputs = torch.arange(head.num_outputs)
        return outputs if same_classes else torch.where(outputs < boxes, outputs, NEW)
    if isinstance(head, Detect) and isinstance(source, Detect):
        if (head.num_levels, head.num_anchors) != (source.num_levels, source.num_anchors):
            return None
        out = torch.arange(head.num_outputs)
        out = out if same_classes else torch.where(out < 5, out, NEW)
        whole = torch.cat(
            [torch.where(out >= 0, out + a * source.num_outputs, NEW)
             for a in range(head.num_anchors)]
        )  # fmt: skip
        for conv, other, index in zip(head.m, source.m, inputs, strict=True):
            _cut_last(conv, other, whole, index)
        return out
    return None


def is_alike(branch: nn.Module, source: nn.Module) -> bool:
    """Whether two branches of a head have the same kinds of convolutions, one by one."""

    def kinds(one: nn.Module) -> list[tuple[type[nn.Module], bool]]:
        return [
            (type(part), isinstance(part, nn.Conv2d) and part.groups > 1) for part in one.children()
        ]

    return kinds(branch) == kinds(source)


def cut_branch(branch: nn.Module, source: nn.Module, index: Tensor, is_taken: bool) -> None:
    """Fills a branch from one that `is_alike`; its last convolution where that is taken.

    Before the last come Convs, and depthwise convolutions with a bias and no norm.
    """
    (*convs, last), (*others, other_last) = branch.children(), source.children()
    for conv, other in zip(convs, others, strict=True):
        if isinstance(conv, Conv):
            index = cut_one(conv, other, index)
        else:
            _cut_last(conv, other, index, torch.zeros(1, dtype=torch.long))
    if is_taken:
        assert isinstance(last, nn.Conv2d)
        _cut_last(last, other_last, torch.arange(last.out_channels), index)


@torch.no_grad()
def _cut_last(conv: nn.Module, source: nn.Module, out: Tensor, into: Tensor) -> None:
    """A convolution with a bias and no norm, of one kernel in both; depthwise: `into` is [0]."""
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(source, nn.Conv2d)
    assert conv.bias is not None
    assert source.bias is not None
    known = out >= 0
    rows = source.weight[out[known]][:, into.clamp(min=0)]
    conv.weight[known] = rows * (into >= 0).view(1, -1, 1, 1)
    conv.bias[known] = source.bias[out[known]]
