"""EfficientNet's block and EfficientNetV2's fused one."""

from __future__ import annotations

from typing import Final

from nas.space.block import Block, has_residual, hidden_channels, squeeze_channels
from nas.space.graph import Drawing
from nas.space.modules.activation import ACTIVATION
from nas.space.modules.argument import CHANNELS, STRIDE, expand_ratio, kernel, se_ratio
from nas.space.modules.module import Family, Module, usual_blocks


def _squeeze_excite(drawing: Drawing, block: Block, x: int) -> int:
    if not block.se_ratio:
        return x
    gate = drawing.global_pool(x)
    gate = drawing.convolution(
        gate, squeeze_channels(block), activation=block.activation, has_batch_norm=False
    )
    gate = drawing.convolution(
        gate, drawing.shapes[x].channels, activation="Sigmoid", has_batch_norm=False
    )
    return drawing.multiply(x, gate)


def _draw_mbconv(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    x, hidden = inputs[0], hidden_channels(block)
    if block.expand_ratio != 1:
        x = drawing.convolution(x, hidden, activation=block.activation)
    x = drawing.convolution(
        x, hidden, block.kernel, block.stride, groups=hidden, activation=block.activation
    )
    x = _squeeze_excite(drawing, block, x)
    x = drawing.convolution(x, block.channels_out)
    return drawing.add(x, inputs[0]) if has_residual(block) else x


def _draw_fused_mbconv(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """k x k expansion, SE, 1x1 projection; at expansion 1 SE, then one k x k with activation."""
    x = inputs[0]
    if block.expand_ratio != 1:
        x = drawing.convolution(
            x, hidden_channels(block), block.kernel, block.stride, activation=block.activation
        )
        x = _squeeze_excite(drawing, block, x)
        x = drawing.convolution(x, block.channels_out)
    else:
        x = _squeeze_excite(drawing, block, x)
        x = drawing.convolution(
            x, block.channels_out, block.kernel, block.stride, activation=block.activation
        )
    return drawing.add(x, inputs[0]) if has_residual(block) else x


FUSED_MBCONV: Final = Module(
    name="FusedMBConv",
    arguments=(CHANNELS, kernel(3), STRIDE, expand_ratio(4), se_ratio(0), ACTIVATION),
    blocks=usual_blocks,
    draw=_draw_fused_mbconv,
    stage_choices=("kernel", "expand_ratio", "se_ratio"),
    family=Family.FUSED,
)
"""EfficientNetV2's (arXiv 2104.00298, figure 2)."""

MBCONV: Final = Module(
    name="MBConv",
    arguments=(CHANNELS, kernel(3), STRIDE, expand_ratio(4), se_ratio(0.25), ACTIVATION),
    blocks=usual_blocks,
    draw=_draw_mbconv,
    stage_choices=("kernel", "expand_ratio", "se_ratio"),
    family=Family.SEPARABLE,
)
"""1x1 expansion, depthwise k x k, SE, 1x1 (arXiv 1801.04381, 1905.11946)."""
