"""The blocks that a row of a model YAML stands for, once it is known what the row reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from nas.space.arguments import DEPTH_INSIDE, SpecError, read_arguments
from nas.space.block import Block, output_size
from nas.space.spec import ModelSpec, Row

OUTPUTS_PER_ANCHOR: Final = 5
"""x, y, w, h and objectness, before the classes (YOLOv5's Detect)."""

BOX_BINS: Final = 16
"""Bins of each of the four distances of a box, before the classes (YOLOv8's Detect: `reg_max`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RowInput:
    """What a row reads: its sources' channels and map sizes, and where it stands."""

    channels: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...]
    where: str
    spec: ModelSpec


def _single(inputs: RowInput) -> tuple[int, int, int]:
    if len(inputs.channels) != 1:
        raise SpecError(
            inputs.where, "the module reads one row", f"{len(inputs.channels)} rows in 'from'"
        )
    return inputs.channels[0], *inputs.sizes[0]


def _same_size(inputs: RowInput) -> tuple[int, int]:
    if len(set(inputs.sizes)) != 1:
        sizes = ", ".join(f"{h}x{w}" for h, w in inputs.sizes)
        raise SpecError(
            inputs.where,
            "the maps that are joined are of one size",
            sizes,
            "Check 'from', and that the image size is a multiple of the largest stride",
        )
    return inputs.sizes[0]


def _plain_row(row: Row, inputs: RowInput) -> tuple[Block, ...]:
    """One block for a row, or `number` equal ones, each reading the one before."""
    values = read_arguments(row.module, row.args, inputs.where)
    channels_in, height, width = _single(inputs)
    channels_out = values.pop("channels")
    activation = values.pop("activation", None) or inputs.spec.activation
    if values.get("groups", 1) > 1 and channels_in % values["groups"]:
        raise SpecError(
            inputs.where,
            "the groups divide the input channels",
            f"{channels_in} in {values['groups']}",
        )
    block = Block(
        module=row.module,
        channels_in=(channels_in,),
        channels_out=channels_out,
        height=height,
        width=width,
        activation=activation,
        depth=row.number if row.module in DEPTH_INSIDE else 1,
        **values,
    )
    if row.module in DEPTH_INSIDE or row.number == 1:
        return (block,)
    if channels_in != channels_out or output_size(block) != (height, width):
        raise SpecError(
            inputs.where,
            "a row that repeats a block keeps its channels and its map size",
            f"{channels_in} -> {channels_out} channels, stride {block.stride}, {row.number} times",
            "Put the first block in a row of its own",
        )
    return (block,) * row.number


def _once(row: Row, inputs: RowInput) -> None:
    if row.number != 1:
        raise SpecError(inputs.where, f"{row.module} is not repeated", f"number {row.number}")


def _concat_row(row: Row, inputs: RowInput) -> tuple[Block, ...]:
    _once(row, inputs)
    read_arguments(row.module, row.args, inputs.where)
    height, width = _same_size(inputs)
    return (
        Block(
            module="Concat",
            channels_in=inputs.channels,
            channels_out=sum(inputs.channels),
            height=height,
            width=width,
        ),
    )


def _add_row(row: Row, inputs: RowInput) -> tuple[Block, ...]:
    _once(row, inputs)
    read_arguments(row.module, row.args, inputs.where)
    height, width = _same_size(inputs)
    if len(inputs.channels) < 2 or len(set(inputs.channels)) != 1:
        raise SpecError(
            inputs.where,
            "the maps that are added are two or more of equal channels",
            " + ".join(map(str, inputs.channels)),
            "Concat joins maps of different channels",
        )
    return (
        Block(
            module="Add",
            channels_in=inputs.channels,
            channels_out=inputs.channels[0],
            height=height,
            width=width,
        ),
    )


def _focus_row(row: Row, inputs: RowInput) -> tuple[Block, ...]:
    _, height, width = _single(inputs)
    if height % 2 or width % 2:
        raise SpecError(inputs.where, "Focus reads a map of even sides", f"{height}x{width}")
    _once(row, inputs)
    return _plain_row(row, inputs)


def _one_map(
    row: Row, inputs: RowInput, *, channels_out: int | None = None, **values: Any
) -> tuple[Block, ...]:
    """The one block of a row that reads one map; its channels stay unless they are given."""
    _once(row, inputs)
    channels, height, width = _single(inputs)
    return (
        Block(
            module=row.module,
            channels_in=(channels,),
            channels_out=channels if channels_out is None else channels_out,
            height=height,
            width=width,
            **values,
        ),
    )


def _upsample_row(row: Row, inputs: RowInput) -> tuple[Block, ...]:
    read_arguments(row.module, row.args, inputs.where)
    return _one_map(row, inputs)


def _spp_row(row: Row, inputs: RowInput) -> tuple[Block, ...]:
    values = read_arguments(row.module, row.args, inputs.where)
    return _one_map(
        row,
        inputs,
        channels_out=values["channels"],
        kernel=values["kernels"][0],
        activation=values["activation"] or inputs.spec.activation,
    )


def _pool_row(row: Row, inputs: RowInput) -> tuple[Block, ...]:
    values = read_arguments(row.module, row.args, inputs.where)
    kernel, padding = values["kernel"], values["padding"]
    if 2 * padding > kernel:
        raise SpecError(
            inputs.where,
            "a max pool is padded by half its kernel at most",
            f"{padding} at kernel {kernel}",
        )
    stride = kernel if values["stride"] is None else values["stride"]
    return _one_map(row, inputs, kernel=kernel, stride=stride, padding=padding)


def _pad_row(row: Row, inputs: RowInput) -> tuple[Block, ...]:
    values = read_arguments(row.module, row.args, inputs.where)
    return _one_map(row, inputs, padding=values["padding"][1])


def _group_row(row: Row, inputs: RowInput) -> tuple[Block, ...]:
    """Darknet's `route` with groups: one of so many equal parts of the channels."""
    values = read_arguments(row.module, row.args, inputs.where)
    channels, _, _ = _single(inputs)
    groups, index = values["groups"], values["index"]
    if channels % groups or index >= groups:
        raise SpecError(
            inputs.where,
            "the groups divide the channels, and the index names one of them (from 0)",
            f"group {index} of {groups} in {channels} channels",
        )
    return _one_map(row, inputs, channels_out=channels // groups, groups=groups, index=index)


def _detect_row(row: Row, inputs: RowInput) -> tuple[Block, ...]:
    _once(row, inputs)
    read_arguments(row.module, row.args, inputs.where)
    spec = inputs.spec
    if not spec.anchors:
        return _anchor_free(inputs)
    if len(inputs.channels) != len(spec.anchors):
        raise SpecError(
            inputs.where,
            f"Detect reads one row for each of the {len(spec.anchors)} levels of anchors",
            f"{len(inputs.channels)} rows in 'from'",
        )
    per_level = len(spec.anchors[0]) // 2
    return tuple(
        Block(
            module="Detect",
            channels_in=(channels,),
            channels_out=per_level * (OUTPUTS_PER_ANCHOR + spec.num_classes),
            height=height,
            width=width,
        )
        for channels, (height, width) in zip(inputs.channels, inputs.sizes, strict=True)
    )


def _anchor_free(inputs: RowInput) -> tuple[Block, ...]:
    """YOLOv8's Detect: branches for boxes and classes, whose widths follow from the first level."""
    classes, first = inputs.spec.num_classes, inputs.channels[0]
    branches = (max(16, first // 4, 4 * BOX_BINS), max(first, min(classes, 100)))
    return tuple(
        Block(
            module="Detect",
            channels_in=(channels,),
            channels_out=4 * BOX_BINS + classes,
            height=height,
            width=width,
            activation=inputs.spec.activation,
            branches=branches,
        )
        for channels, (height, width) in zip(inputs.channels, inputs.sizes, strict=True)
    )


ROW_BLOCKS: Final[dict[str, Callable[[Row, RowInput], tuple[Block, ...]]]] = {
    "Conv": _plain_row,
    "DWConvBlock": _plain_row,
    "ShuffleBlock": _plain_row,
    "LCBlock": _plain_row,
    "InvertedResidual": _plain_row,
    "RepVGGBlock": _plain_row,
    "ConvMaxPool": _plain_row,
    "Dense": _plain_row,
    "Add": _add_row,
    "FusedMBConv": _plain_row,
    "MBConv": _plain_row,
    "C3": _plain_row,
    "SPPF": _plain_row,
    "nn.Upsample": _upsample_row,
    "Concat": _concat_row,
    "Detect": _detect_row,
    "Focus": _focus_row,
    "Bottleneck": _plain_row,
    "C2f": _plain_row,
    "SPP": _spp_row,
    "nn.MaxPool2d": _pool_row,
    "nn.ZeroPad2d": _pad_row,
    "RouteGroup": _group_row,
}
"""Module name -> the blocks of its row."""
