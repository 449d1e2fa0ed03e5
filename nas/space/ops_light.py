"""The blocks of the light families in primitive ops, as they run on a board."""

from __future__ import annotations

from nas.space.block import Block, has_residual, hidden_channels, squeeze_channels
from nas.space.graph import Drawing
from nas.space.widths import nearest_multiple

SHUFFLE_GROUPS = 2


def has_two_branches(block: Block) -> bool:
    """Whether both halves of a ShuffleBlock are computed: at stride 2, or where widths differ.

    ShuffleNetV2 (arXiv 1807.11164, figure 3) has equal widths at stride 1. Where they differ, the
    block of stride 2 is built with stride 1, so that a stage of any stride may begin with it.
    """
    return block.stride != 1 or block.channels_in[0] != block.channels_out


def shuffle_block(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
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


def lc_block(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """Depthwise k x k, SE if set, 1x1: PP-LCNet's block (arXiv 2109.15099)."""
    x = _depthwise(drawing, block, inputs[0], block.activation)
    x = _hard_squeeze_excite(drawing, x, squeeze_channels(block))
    return drawing.convolution(x, block.channels_out, activation=block.activation)


def inverted_residual(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """1x1 expansion (none at ratio 1), depthwise k x k, SE, 1x1 without activation, the input."""
    x, hidden = inputs[0], hidden_channels(block)
    if block.expand_ratio != 1:
        x = drawing.convolution(x, hidden, activation=block.activation)
    x = _depthwise(drawing, block, x, block.activation)
    x = _hard_squeeze_excite(drawing, x, inverted_squeeze(block))
    x = drawing.convolution(x, block.channels_out)
    return drawing.add(x, inputs[0]) if has_residual(block) else x


def rep_vgg_block(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """One 3x3 convolution with a bias: its branches of training are summed into it."""
    return drawing.convolution(
        inputs[0],
        block.channels_out,
        block.kernel,
        block.stride,
        activation=block.activation,
        has_batch_norm=False,
    )


def conv_max_pool(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """A convolution, then a 3x3 max pool of stride 2: the stem of ShuffleNetV2."""
    x = drawing.convolution(
        inputs[0], block.channels_out, block.kernel, block.stride, activation=block.activation
    )
    return drawing.max_pool(x, 3, stride=2)


def dense(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """A convolution with a bias and no batch norm, and its activation."""
    return drawing.convolution(
        inputs[0],
        block.channels_out,
        block.kernel,
        activation=block.activation,
        has_batch_norm=False,
    )


def add(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """The sum of maps."""
    x = inputs[0]
    for other in inputs[1:]:
        x = drawing.add(x, other)
    return x
