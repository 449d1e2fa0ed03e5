"""Primitive ops: what a block and a whole detector expand into; all that is counted comes from it.

A block expands into a dozen kinds of op with shapes (graph.py). MACs, parameters, bytes moved, the
ncnn and ONNX graphs that are timed on a board, and the features of the cost model all read them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from nas.space.block import has_residual, hidden_channels, squeeze_channels
from nas.space.blocks import Block, layers
from nas.space.graph import Drawing, Graph, Op, OpKind, Shape, macs, params
from nas.space.ops_light import (
    add,
    conv_max_pool,
    dense,
    inverted_residual,
    lc_block,
    rep_vgg_block,
    shuffle_block,
)
from nas.space.ops_yolo import anchor_free_detect, bottleneck, c2f, c3, focus, spp, sppf
from nas.space.spec import ModelSpec

__all__ = [
    "Graph",
    "Op",
    "OpKind",
    "Shape",
    "expand",
    "has_residual",
    "hidden_channels",
    "macs",
    "model_graph",
    "params",
    "squeeze_channels",
]


@lru_cache(maxsize=65536)
def expand(block: Block) -> Graph:
    """The block as a graph of its own, its inputs being tensors 0, 1, ..."""
    drawing = Drawing()
    shapes = tuple(Shape(c, block.height, block.width) for c in block.channels_in)
    inputs = tuple(drawing.input(shape) for shape in shapes)
    output = _EXPAND[block.module](drawing, block, inputs)
    return Graph(inputs=inputs, input_shapes=shapes, ops=tuple(drawing.ops), outputs=(output,))


def model_graph(spec: ModelSpec, image_size: int) -> Graph:
    """The whole detector as one graph, for a square image (pixels); outputs P3, P4, P5 raw maps."""
    drawing = Drawing()
    shape = Shape(3, image_size, image_size)
    tensors = {-1: drawing.input(shape)}
    outputs: list[int] = []
    for layer in layers(spec, image_size):
        inputs = [tensors[source] for source in layer.inputs]
        if layer.row.module == "Detect":
            outputs = [
                _EXPAND["Detect"](drawing, block, (tensor,))
                for block, tensor in zip(layer.blocks, inputs, strict=True)
            ]
            continue
        for block in layer.blocks:
            inputs = [_EXPAND[block.module](drawing, block, tuple(inputs))]
        tensors[layer.index] = inputs[0]
    return Graph(inputs=(0,), input_shapes=(shape,), ops=tuple(drawing.ops), outputs=tuple(outputs))


def _conv(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    return drawing.convolution(
        inputs[0],
        block.channels_out,
        block.kernel,
        block.stride,
        padding=block.padding,
        groups=block.groups,
        activation=block.activation,
    )


def _depthwise_conv_block(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """Depthwise k x k and 1x1, each with batch norm and activation (MobileNet, YOLOv5-Lite)."""
    x = drawing.convolution(
        inputs[0],
        block.channels_in[0],
        block.kernel,
        block.stride,
        groups=block.channels_in[0],
        activation=block.activation,
    )
    return drawing.convolution(x, block.channels_out, activation=block.activation)


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


def _mbconv(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    x, hidden = inputs[0], hidden_channels(block)
    if block.expand_ratio != 1:
        x = drawing.convolution(x, hidden, activation=block.activation)
    x = drawing.convolution(
        x, hidden, block.kernel, block.stride, groups=hidden, activation=block.activation
    )
    x = _squeeze_excite(drawing, block, x)
    x = drawing.convolution(x, block.channels_out)
    return drawing.add(x, inputs[0]) if has_residual(block) else x


def _fused_mbconv(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
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


def _detect(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    if block.branches:
        return anchor_free_detect(drawing, block, inputs)
    return drawing.convolution(inputs[0], block.channels_out, has_batch_norm=False)


_EXPAND: Final[dict[str, Callable[[Drawing, Block, tuple[int, ...]], int]]] = {
    "Conv": _conv,
    "DWConvBlock": _depthwise_conv_block,
    "FusedMBConv": _fused_mbconv,
    "MBConv": _mbconv,
    "ShuffleBlock": shuffle_block,
    "LCBlock": lc_block,
    "InvertedResidual": inverted_residual,
    "RepVGGBlock": rep_vgg_block,
    "ConvMaxPool": conv_max_pool,
    "Dense": dense,
    "Add": add,
    "C3": c3,
    "SPPF": sppf,
    "nn.Upsample": lambda drawing, block, inputs: drawing.upsample(inputs[0]),
    "Concat": lambda drawing, block, inputs: drawing.concat(inputs),
    "Detect": _detect,
    "Focus": focus,
    "Bottleneck": bottleneck,
    "C2f": c2f,
    "SPP": spp,
    "nn.MaxPool2d": lambda drawing, block, inputs: drawing.max_pool(
        inputs[0], block.kernel, block.stride, block.padding
    ),
    "nn.ZeroPad2d": lambda drawing, block, inputs: drawing.pad(inputs[0], block.padding or 0),
    "RouteGroup": lambda drawing, block, inputs: drawing.slice(
        inputs[0], block.index * block.channels_out, block.channels_out
    ),
}
