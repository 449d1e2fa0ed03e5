"""The modules of the YOLO families, as YOLOv5 and YOLOv8 write them."""

from __future__ import annotations

from typing import Final

from nas.space.block import Block
from nas.space.graph import Drawing
from nas.space.modules.activation import ACTIVATION
from nas.space.modules.argument import (
    CHANNELS,
    Argument,
    SpecError,
    is_list,
    is_pyramid,
    kernel,
    shortcut,
)
from nas.space.modules.module import (
    Family,
    Module,
    RowInput,
    one_block,
    refuse_repeats,
    single_map,
    usual_blocks,
)


def _draw_c3(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """CSP bottleneck with three convolutions: cv1 and its bottlenecks beside cv2, then cv3."""
    hidden, act = block.channels_out // 2, block.activation
    x = drawing.convolution(inputs[0], hidden, activation=act)
    for _ in range(block.depth):
        y = drawing.convolution(x, hidden, activation=act)
        y = drawing.convolution(y, hidden, 3, activation=act)
        x = drawing.add(x, y) if block.shortcut else y
    side = drawing.convolution(inputs[0], hidden, activation=act)
    return drawing.convolution(drawing.concat((x, side)), block.channels_out, activation=act)


C3: Final = Module(
    name="C3",
    arguments=(CHANNELS, shortcut(True), ACTIVATION),
    blocks=usual_blocks,
    draw=_draw_c3,
    has_depth=True,
    stage_choices=("kernel", "depth"),
    family=Family.CROSS_STAGE,
)
"""YOLOv5's block."""


def _draw_sppf(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """Fast spatial pyramid pooling: three max pools in a chain stand for 5, 9 and 13."""
    maps = [drawing.convolution(inputs[0], block.channels_in[0] // 2, activation=block.activation)]
    for _ in range(3):
        maps.append(drawing.max_pool(maps[-1], block.kernel))
    return drawing.convolution(
        drawing.concat(tuple(maps)), block.channels_out, activation=block.activation
    )


SPPF: Final = Module(
    name="SPPF",
    arguments=(CHANNELS, kernel(5), ACTIVATION),
    blocks=usual_blocks,
    draw=_draw_sppf,
    family=Family.CROSS_STAGE,
)
"""YOLOv5 v6's pyramid pooling."""


def _draw_spp(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """Spatial pyramid pooling (YOLOv3-SPP, YOLOv5 v5): max pools of three sizes side by side."""
    x = drawing.convolution(inputs[0], block.channels_in[0] // 2, activation=block.activation)
    pools = [drawing.max_pool(x, kernel) for kernel in pyramid(block.kernel)]
    return drawing.convolution(
        drawing.concat((x, *pools)), block.channels_out, activation=block.activation
    )


def pyramid(kernel: int) -> tuple[int, int, int]:
    """The kernels of an SPP that begins with this one: 5 gives 5, 9, 13."""
    return kernel, 2 * kernel - 1, 3 * kernel - 2


def _spp_blocks(module: Module, row: RowInput) -> tuple[Block, ...]:
    values = module.read(row.args, row.where)
    return one_block(
        row,
        channels_out=values["channels"],
        kernel=values["kernels"][0],
        activation=values["activation"] or row.activation,
    )


SPP: Final = Module(
    name="SPP",
    arguments=(
        CHANNELS,
        Argument(
            name="kernels",
            rule="the kernels are three odd numbers k, 2k - 1, 3k - 2, such as [5, 9, 13]",
            check=lambda v: is_list(v, 3) and v[0] in (3, 5, 7) and is_pyramid(v),
            default=(5, 9, 13),
        ),
        ACTIVATION,
    ),
    blocks=_spp_blocks,
    draw=_draw_spp,
)
"""Max pools of three sizes side by side."""


def _draw_focus(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """Each 2x2 cells as channels, then a convolution (YOLOv5 up to v5)."""
    return drawing.convolution(
        drawing.space_to_depth(inputs[0]),
        block.channels_out,
        block.kernel,
        activation=block.activation,
    )


def _focus_blocks(module: Module, row: RowInput) -> tuple[Block, ...]:
    _, height, width = single_map(row)
    if height % 2 or width % 2:
        raise SpecError(row.where, "Focus reads a map of even sides", f"{height}x{width}")
    refuse_repeats(row)
    return usual_blocks(module, row)


FOCUS: Final = Module(
    name="Focus",
    arguments=(CHANNELS, kernel(1), ACTIVATION),
    blocks=_focus_blocks,
    draw=_draw_focus,
    output_size=lambda block: (block.height // 2, block.width // 2),
    stem_stride=2,
)
"""The stem of YOLOv5 up to v5."""


def has_sum(block: Block) -> bool:
    """Whether a Bottleneck adds its input: it is told to, and widths are equal."""
    return block.shortcut and block.channels_in[0] == block.channels_out


def _draw_bottleneck(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """1x1 to half the width, 3x3 back (Darknet-53; YOLOv5's form of YOLOv3)."""
    x = drawing.convolution(inputs[0], block.channels_out // 2, activation=block.activation)
    x = drawing.convolution(x, block.channels_out, 3, activation=block.activation)
    return drawing.add(inputs[0], x) if has_sum(block) else x


BOTTLENECK: Final = Module(
    name="Bottleneck",
    arguments=(CHANNELS, shortcut(True), ACTIVATION),
    blocks=usual_blocks,
    draw=_draw_bottleneck,
)
"""Darknet-53's residual block."""


def _draw_c2f(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """YOLOv8's CSP block: a half of cv1's map goes through bottlenecks, all of which cv2 reads.

    cv1's whole map stands in the concat for its two halves: the same numbers, one copy less.
    """
    hidden, act = block.channels_out // 2, block.activation
    whole = drawing.convolution(inputs[0], 2 * hidden, activation=act)
    x = drawing.slice(whole, hidden, hidden)
    maps = [whole]
    for _ in range(block.depth):
        y = drawing.convolution(x, hidden, 3, activation=act)
        y = drawing.convolution(y, hidden, 3, activation=act)
        x = drawing.add(x, y) if block.shortcut else y
        maps.append(x)
    return drawing.convolution(drawing.concat(tuple(maps)), block.channels_out, activation=act)


C2F: Final = Module(
    name="C2f",
    arguments=(CHANNELS, shortcut(False), ACTIVATION),
    blocks=usual_blocks,
    draw=_draw_c2f,
    has_depth=True,
    stage_choices=("kernel", "depth"),
)
"""YOLOv8's block."""
