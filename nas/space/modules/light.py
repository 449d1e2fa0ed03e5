"""The modules of the light families: ShuffleNetV2, MobileNet, MobileNetV3, PP-LCNet, RepVGG."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from nas.space.block import (
    Block,
    has_residual,
    hidden_channels,
    nearest_multiple,
    squeeze_channels,
)
from nas.space.graph import Drawing
from nas.space.modules.activation import ACTIVATION
from nas.space.modules.argument import (
    CHANNELS,
    STRIDE,
    Argument,
    SpecError,
    expand_ratio,
    is_int,
    is_number,
    kernel,
    se_ratio,
)
from nas.space.modules.module import Family, Module, Values, usual_blocks

SHUFFLE_GROUPS: Final = 2


def has_two_branches(block: Block) -> bool:
    """Whether both halves of a ShuffleBlock are computed: at stride 2, or where widths differ.

    ShuffleNetV2 (arXiv 1807.11164, figure 3) has equal widths at stride 1. Where they differ, the
    block of stride 2 is built with stride 1, so that a stage of any stride may begin with it.
    """
    return block.stride != 1 or block.channels_in[0] != block.channels_out


def _draw_shuffle_block(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """Half of the map passes, half goes through 1x1, depthwise k x k, 1x1; then they are dealt."""
    half, act = block.channels_out // 2, block.activation
    if has_two_branches(block):
        own = inputs[0]
        side = _depthwise(drawing, block, own)
        side = drawing.convolution(side, half, activation=act)
    else:
        side, own = drawing.split(inputs[0], 2)
    y = drawing.convolution(own, half, activation=act)
    y = _depthwise(drawing, block, y)
    y = drawing.convolution(y, half, activation=act)
    return drawing.shuffle(drawing.concat((side, y)), SHUFFLE_GROUPS)


def _depthwise(drawing: Drawing, block: Block, x: int, activation: str = "") -> int:
    channels = drawing.shapes[x].channels
    return drawing.convolution(
        x, channels, block.kernel, block.stride, groups=channels, activation=activation
    )


def _check_shuffle(values: Values, where: str) -> None:
    if values["channels"] % 2:
        raise SpecError(
            where, "the channels of a ShuffleBlock are even", f"{values['channels']} channels"
        )


SHUFFLE_BLOCK: Final = Module(
    name="ShuffleBlock",
    arguments=(CHANNELS, kernel(3), STRIDE, ACTIVATION),
    check=_check_shuffle,
    blocks=usual_blocks,
    draw=_draw_shuffle_block,
    stage_choices=("kernel",),
)
"""ShuffleNetV2's (arXiv 1807.11164)."""


def _draw_dw_conv_block(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """Depthwise k x k and 1x1, each with batch norm and activation."""
    x = _depthwise(drawing, block, inputs[0], block.activation)
    return drawing.convolution(x, block.channels_out, activation=block.activation)


DW_CONV_BLOCK: Final = Module(
    name="DWConvBlock",
    arguments=(CHANNELS, kernel(3), STRIDE, ACTIVATION),
    blocks=usual_blocks,
    draw=_draw_dw_conv_block,
    stage_choices=("kernel",),
    family=Family.SEPARABLE,
)
"""MobileNet's (arXiv 1704.04861), YOLOv5-Lite's."""


def inverted_squeeze(block: Block) -> int:
    """Channels inside an InvertedResidual's SE: its share of the hidden ones, nearest of 8s."""
    return nearest_multiple(hidden_channels(block) * block.se_ratio) if block.se_ratio else 0


def _hard_squeeze_excite(drawing: Drawing, x: int, squeeze: int) -> int:
    """SE as in MobileNetV3 (arXiv 1905.02244): ReLU inside, a hard sigmoid for the gate."""
    if not squeeze:
        return x
    gate = drawing.global_pool(x)
    gate = drawing.convolution(gate, squeeze, activation="ReLU", has_batch_norm=False)
    gate = drawing.convolution(
        gate, drawing.shapes[x].channels, activation="Hardsigmoid", has_batch_norm=False
    )
    return drawing.multiply(x, gate)


def _draw_lc_block(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """Depthwise k x k, SE if set, 1x1: PP-LCNet's block (arXiv 2109.15099)."""
    x = _depthwise(drawing, block, inputs[0], block.activation)
    x = _hard_squeeze_excite(drawing, x, squeeze_channels(block))
    return drawing.convolution(x, block.channels_out, activation=block.activation)


LC_BLOCK: Final = Module(
    name="LCBlock",
    arguments=(CHANNELS, kernel(3), STRIDE, se_ratio(0), ACTIVATION),
    blocks=usual_blocks,
    draw=_draw_lc_block,
    stage_choices=("kernel", "se_ratio"),
)
"""PP-LCNet's."""


def _draw_inverted_residual(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """1x1 expansion (none at ratio 1), depthwise k x k, SE, 1x1 without activation, the input."""
    x, hidden = inputs[0], hidden_channels(block)
    if block.expand_ratio != 1:
        x = drawing.convolution(x, hidden, activation=block.activation)
    x = _depthwise(drawing, block, x, block.activation)
    x = _hard_squeeze_excite(drawing, x, inverted_squeeze(block))
    x = drawing.convolution(x, block.channels_out)
    return drawing.add(x, inputs[0]) if has_residual(block) else x


INVERTED_RESIDUAL: Final = Module(
    name="InvertedResidual",
    arguments=(CHANNELS, kernel(3), STRIDE, expand_ratio(4), se_ratio(0.25), ACTIVATION),
    blocks=usual_blocks,
    draw=_draw_inverted_residual,
    stage_choices=("kernel", "expand_ratio", "se_ratio"),
)
"""MobileNetV3's."""


def _draw_rep_vgg_block(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """One 3x3 convolution with a bias: its branches of training are summed into it."""
    return drawing.convolution(
        inputs[0],
        block.channels_out,
        block.kernel,
        block.stride,
        activation=block.activation,
        has_batch_norm=False,
    )


REP_VGG_BLOCK: Final = Module(
    name="RepVGGBlock",
    arguments=(
        CHANNELS,
        Argument(
            name="kernel", rule="the kernel is 3", check=lambda v: is_int(v) and v == 3, default=3
        ),
        STRIDE,
        ACTIVATION,
    ),
    blocks=usual_blocks,
    draw=_draw_rep_vgg_block,
    stage_choices=(),
)
"""RepVGG's (arXiv 2101.03697), as it runs on a board."""


def _draw_conv_max_pool(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """A convolution, then a 3x3 max pool of stride 2: the stem of ShuffleNetV2."""
    x = drawing.convolution(
        inputs[0], block.channels_out, block.kernel, block.stride, activation=block.activation
    )
    return drawing.max_pool(x, 3, stride=2)


def _pooled_size(block: Block) -> tuple[int, int]:
    height, width = (-(-side // block.stride) for side in (block.height, block.width))
    return -(-height // 2), -(-width // 2)


CONV_MAX_POOL: Final = Module(
    name="ConvMaxPool",
    arguments=(CHANNELS, kernel(3), replace(STRIDE, default=2), ACTIVATION),
    blocks=usual_blocks,
    draw=_draw_conv_max_pool,
    output_size=_pooled_size,
    stem_stride=4,
)
"""ShuffleNetV2's stem."""


def _draw_dense(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """A convolution with a bias and no batch norm, and its activation."""
    return drawing.convolution(
        inputs[0],
        block.channels_out,
        block.kernel,
        activation=block.activation,
        has_batch_norm=False,
    )


DENSE: Final = Module(
    name="Dense",
    arguments=(
        CHANNELS,
        kernel(1),
        Argument(
            name="dropout",
            rule="the dropout is a number from 0 to below 1",
            check=lambda v: is_number(v) and 0 <= v < 1,
            default=0.2,
        ),
        replace(ACTIVATION, default="Hardswish"),
    ),
    blocks=usual_blocks,
    draw=_draw_dense,
)
"""The last layer of YOLOv5-Lite-c's backbone."""
