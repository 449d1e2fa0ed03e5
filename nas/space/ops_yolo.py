"""The blocks of the YOLO families in primitive ops."""

from __future__ import annotations

from nas.space.blocks import BOX_BINS, Block
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


def spp(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """Spatial pyramid pooling (YOLOv3-SPP, YOLOv5 v5): max pools of three sizes side by side."""
    x = drawing.convolution(inputs[0], block.channels_in[0] // 2, activation=block.activation)
    pools = [drawing.max_pool(x, kernel) for kernel in pyramid(block.kernel)]
    return drawing.convolution(
        drawing.concat((x, *pools)), block.channels_out, activation=block.activation
    )


def pyramid(kernel: int) -> tuple[int, int, int]:
    """The kernels of an SPP that begins with this one: 5 gives 5, 9, 13."""
    return kernel, 2 * kernel - 1, 3 * kernel - 2


def focus(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """Each 2x2 cells as channels, then a convolution (YOLOv5 up to v5)."""
    return drawing.convolution(
        drawing.space_to_depth(inputs[0]),
        block.channels_out,
        block.kernel,
        activation=block.activation,
    )


def has_sum(block: Block) -> bool:
    """Whether a Bottleneck adds its input: it is told to, and widths are equal."""
    return block.shortcut and block.channels_in[0] == block.channels_out


def bottleneck(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """1x1 to half the width, 3x3 back (Darknet-53; YOLOv5's form of YOLOv3)."""
    x = drawing.convolution(inputs[0], block.channels_out // 2, activation=block.activation)
    x = drawing.convolution(x, block.channels_out, 3, activation=block.activation)
    return drawing.add(inputs[0], x) if has_sum(block) else x


def c2f(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
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


def anchor_free_detect(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """YOLOv8's decoupled head at one level: bins of distances, then logits of classes."""
    maps = []
    for hidden, channels in zip(
        block.branches, (4 * BOX_BINS, block.channels_out - 4 * BOX_BINS), strict=True
    ):
        x = drawing.convolution(inputs[0], hidden, 3, activation=block.activation)
        x = drawing.convolution(x, hidden, 3, activation=block.activation)
        maps.append(drawing.convolution(x, channels, has_batch_norm=False))
    return drawing.concat(tuple(maps))
