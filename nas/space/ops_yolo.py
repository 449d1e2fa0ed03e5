"""The blocks of the YOLO families in primitive ops."""

from __future__ import annotations

from nas.space.blocks import Block
from nas.space.graph import Drawing


def c3(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """CSP bottleneck with three convolutions: cv1 and its bottlenecks beside cv2, then cv3."""
    hidden, act = block.channels_out // 2, block.activation
    x = drawing.convolution(inputs[0], hidden, activation=act)
    for _ in range(block.depth):
        y = drawing.convolution(x, hidden, activation=act)
        y = drawing.convolution(y, hidden, 3, activation=act)
        x = drawing.add(x, y) if block.shortcut else y
    side = drawing.convolution(inputs[0], hidden, activation=act)
    return drawing.convolution(drawing.concat((x, side)), block.channels_out, activation=act)


def sppf(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """Fast spatial pyramid pooling: three max pools in a chain stand for 5, 9 and 13."""
    maps = [drawing.convolution(inputs[0], block.channels_in[0] // 2, activation=block.activation)]
    for _ in range(3):
        maps.append(drawing.max_pool(maps[-1], block.kernel))
    return drawing.convolution(
        drawing.concat(tuple(maps)), block.channels_out, activation=block.activation
    )
