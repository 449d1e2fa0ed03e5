"""Convolutions, and what only moves a map: joins, pools, upsampling, padding, Darknet's route."""

from __future__ import annotations

from typing import Final

from nas.space.block import Block, convolved_size
from nas.space.graph import Drawing
from nas.space.modules.activation import ACTIVATION
from nas.space.modules.argument import (
    CHANNELS,
    STRIDE,
    Argument,
    SpecError,
    is_int,
    is_list,
)
from nas.space.modules.module import (
    Family,
    Module,
    RowInput,
    Values,
    common_size,
    one_block,
    refuse_repeats,
    single_map,
    usual_blocks,
)


def _check_conv(values: Values, where: str) -> None:
    if values["kernel"] % 2 == 0 and values["padding"] is None:
        raise SpecError(
            where,
            "a Conv with an even kernel states its padding",
            f"kernel {values['kernel']}",
            "Write it as YOLOv5 does: [64, 6, 2, 2]",
        )
    if values["channels"] % values["groups"]:
        raise SpecError(
            where,
            "the groups of a Conv divide its output channels",
            f"{values['channels']} channels in {values['groups']} groups",
        )


def _draw_conv(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    return drawing.convolution(
        inputs[0],
        block.channels_out,
        block.kernel,
        block.stride,
        padding=block.padding,
        groups=block.groups,
        activation=block.activation,
    )


CONV: Final = Module(
    name="Conv",
    arguments=(
        CHANNELS,
        Argument(
            name="kernel",
            rule="the kernel is a whole number from 1 to 11 (an even one needs its padding)",
            check=lambda v: is_int(v) and 1 <= v <= 11,
            default=1,
        ),
        STRIDE,
        Argument(
            name="padding",
            rule="the padding is null (half the kernel) or a whole number from 0 to 5",
            check=lambda v: v is None or (is_int(v) and 0 <= v <= 5),
        ),
        Argument(
            name="groups",
            rule="the number of groups is a whole number of at least 1",
            check=lambda v: is_int(v) and v >= 1,
            default=1,
        ),
        ACTIVATION,
    ),
    check=_check_conv,
    blocks=usual_blocks,
    draw=_draw_conv,
    stem_stride=2,
)
"""A convolution with its batch norm and activation."""


def _concat_blocks(module: Module, row: RowInput) -> tuple[Block, ...]:
    refuse_repeats(row)
    module.read(row.args, row.where)
    height, width = common_size(row)
    return (
        Block(
            module=module.name,
            channels_in=row.channels,
            channels_out=sum(row.channels),
            height=height,
            width=width,
        ),
    )


CONCAT: Final = Module(
    name="Concat",
    arguments=(
        Argument(
            name="dimension",
            rule="the dimension is 1 (channels)",
            check=lambda v: is_int(v) and v == 1,
            default=1,
        ),
    ),
    blocks=_concat_blocks,
    draw=lambda drawing, block, inputs: drawing.concat(inputs),
    family=Family.JOINING,
)
"""Maps of one size, their channels behind one another."""


def _add_blocks(module: Module, row: RowInput) -> tuple[Block, ...]:
    refuse_repeats(row)
    module.read(row.args, row.where)
    height, width = common_size(row)
    if len(row.channels) < 2 or len(set(row.channels)) != 1:
        raise SpecError(
            row.where,
            "the maps that are added are two or more of equal channels",
            " + ".join(map(str, row.channels)),
            "Concat joins maps of different channels",
        )
    return (
        Block(
            module=module.name,
            channels_in=row.channels,
            channels_out=row.channels[0],
            height=height,
            width=width,
        ),
    )


def _draw_add(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    x = inputs[0]
    for other in inputs[1:]:
        x = drawing.add(x, other)
    return x


ADD: Final = Module(name="Add", arguments=(), blocks=_add_blocks, draw=_draw_add)
"""The sum of maps."""


def _upsample_blocks(module: Module, row: RowInput) -> tuple[Block, ...]:
    module.read(row.args, row.where)
    return one_block(row)


UPSAMPLE: Final = Module(
    name="nn.Upsample",
    arguments=(
        Argument(
            name="size",
            rule="the size is null (the scale decides)",
            check=lambda v: v is None,
            is_required=True,
        ),
        Argument(
            name="scale",
            rule="the scale is the whole number 2",
            check=lambda v: is_int(v) and v == 2,
            is_required=True,
        ),
        Argument(
            name="mode",
            rule="the mode is nearest",
            check=lambda v: v == "nearest",
            default="nearest",
        ),
    ),
    blocks=_upsample_blocks,
    draw=lambda drawing, block, inputs: drawing.upsample(inputs[0]),
    output_size=lambda block: (2 * block.height, 2 * block.width),
    family=Family.JOINING,
)
"""Each cell as 2x2 cells."""


def _pool_blocks(module: Module, row: RowInput) -> tuple[Block, ...]:
    values = module.read(row.args, row.where)
    kernel, padding = values["kernel"], values["padding"]
    if 2 * padding > kernel:
        raise SpecError(
            row.where,
            "a max pool is padded by half its kernel at most",
            f"{padding} at kernel {kernel}",
        )
    stride = kernel if values["stride"] is None else values["stride"]
    return one_block(row, kernel=kernel, stride=stride, padding=padding)


MAX_POOL: Final = Module(
    name="nn.MaxPool2d",
    arguments=(
        Argument(
            name="kernel",
            rule="the kernel is a whole number from 2 to 13",
            check=lambda v: is_int(v) and 2 <= v <= 13,
            is_required=True,
        ),
        Argument(
            name="stride",
            rule="the stride is null (as the kernel) or a whole number from 1 to 4",
            check=lambda v: v is None or (is_int(v) and 1 <= v <= 4),
        ),
        Argument(
            name="padding",
            rule="the padding is a whole number from 0 to half the kernel",
            check=lambda v: is_int(v) and 0 <= v <= 6,
            default=0,
        ),
    ),
    blocks=_pool_blocks,
    draw=lambda drawing, block, inputs: drawing.max_pool(
        inputs[0], block.kernel, block.stride, block.padding
    ),
)
"""torch's max pool (YOLOv3-tiny, YOLOv4-tiny)."""


def _pad_blocks(module: Module, row: RowInput) -> tuple[Block, ...]:
    values = module.read(row.args, row.where)
    return one_block(row, padding=values["padding"][1])


def _padded_size(block: Block) -> tuple[int, int]:
    padding = block.padding or 0
    return block.height + padding, block.width + padding


ZERO_PAD: Final = Module(
    name="nn.ZeroPad2d",
    arguments=(
        Argument(
            name="padding",
            rule="the padding is [0, n, 0, n]: 1 to 5 columns on the right and as many rows below",
            check=lambda v: is_list(v, 4) and v[0] == v[2] == 0 and v[1] == v[3] in range(1, 6),
            is_required=True,
        ),
    ),
    blocks=_pad_blocks,
    draw=lambda drawing, block, inputs: drawing.pad(inputs[0], block.padding or 0),
    output_size=_padded_size,
)
"""Zeros on the right and below."""


def _group_blocks(module: Module, row: RowInput) -> tuple[Block, ...]:
    values = module.read(row.args, row.where)
    channels, _, _ = single_map(row)
    groups, index = values["groups"], values["index"]
    if channels % groups or index >= groups:
        raise SpecError(
            row.where,
            "the groups divide the channels, and the index names one of them (from 0)",
            f"group {index} of {groups} in {channels} channels",
        )
    return one_block(row, channels_out=channels // groups, groups=groups, index=index)


ROUTE_GROUP: Final = Module(
    name="RouteGroup",
    arguments=(
        Argument(
            name="groups",
            rule="the number of groups is a whole number of at least 2",
            check=lambda v: is_int(v) and v >= 2,
            is_required=True,
        ),
        Argument(
            name="index",
            rule="the index of the group is a whole number of at least 0",
            check=lambda v: is_int(v) and v >= 0,
            is_required=True,
        ),
    ),
    blocks=_group_blocks,
    draw=lambda drawing, block, inputs: drawing.slice(
        inputs[0], block.index * block.channels_out, block.channels_out
    ),
    output_size=convolved_size,
)
"""Darknet's `route` with `groups` and `group_id` (yolov4-tiny): one of so many equal parts."""
