"""Primitive ops: what a block and a whole detector expand into; all that is counted comes from it.

A block expands into a dozen kinds of op with shapes (graph.py). MACs, parameters, bytes moved, the
ncnn and ONNX graphs that are timed on a board, and the features of the cost model all read them.
"""

from __future__ import annotations

from functools import lru_cache

from nas.space.block import Block, has_residual, hidden_channels, squeeze_channels
from nas.space.blocks import layers
from nas.space.graph import Drawing, Graph, Op, OpKind, Shape, macs, params
from nas.space.image_size import ImageSize, sides
from nas.space.modules import MODULES
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
    output = MODULES[block.module].draw(drawing, block, inputs)
    return Graph(inputs=inputs, input_shapes=shapes, ops=tuple(drawing.ops), outputs=(output,))


def model_graph(spec: ModelSpec, image_size: ImageSize) -> Graph:
    """The whole detector as one graph, for images of a size; outputs P3, P4, P5 raw maps."""
    drawing = Drawing()
    shape = Shape(3, *sides(image_size))
    tensors = {-1: drawing.input(shape)}
    outputs: list[int] = []
    for layer in layers(spec, image_size):
        inputs = [tensors[source] for source in layer.inputs]
        if MODULES[layer.row.module].is_head:
            outputs = [
                MODULES[block.module].draw(drawing, block, (tensor,))
                for block, tensor in zip(layer.blocks, inputs, strict=True)
            ]
            continue
        for block in layer.blocks:
            inputs = [MODULES[block.module].draw(drawing, block, tuple(inputs))]
        tensors[layer.index] = inputs[0]
    return Graph(inputs=(0,), input_shapes=(shape,), ops=tuple(drawing.ops), outputs=tuple(outputs))
