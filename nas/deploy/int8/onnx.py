"""A detector as an ONNX file whose maps and filters are int8 (QDQ), but for what stays float.

The form is that which is timed (nas.emit.qdq): uint8 maps, each with a scale and a zero point of
its own, and int8 filters with a scale for each output channel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from nas.deploy.int8.ncnn import LARGEST, LEAST_STEP
from nas.deploy.int8.ranges import Range
from nas.deploy.onnx import finished
from nas.deploy.weights import ConvolutionWeights
from nas.detector.builder import Detector
from nas.emit.onnx import emit_onnx, map_names
from nas.emit.qdq import Scales
from nas.space.image_size import of_sides
from nas.space.ops import Graph, OpKind

BIAS_LIMIT = 2.0**31 - 256
"""Of an int32 bias, as far as fp32 counts exactly."""


def to_onnx_int8(
    detector: Detector,
    graph: Graph,
    weights: Sequence[ConvolutionWeights],
    ranges: Mapping[str, Range],
    int8: frozenset[int],
    *,
    has_boxes: bool = True,
    names: tuple[str, ...] = (),
) -> bytes:
    """The serialised model.

    weights  of each convolution of the graph, in its order
    ranges   of every map, by its name in the model (nas.emit.onnx.map_names)
    int8     the output tensors of the convolutions that compute so
    """
    convolutions = [op for op in graph.ops if op.kind is OpKind.CONVOLUTION]
    tensors = map_names(graph)
    scales = Scales(
        ranges={name: (one.low, one.high) for name, one in ranges.items()},
        floats=frozenset(tensors[op.output] for op in convolutions if op.output not in int8),
    )
    emitted = emit_onnx(graph, "int8", scales=scales)
    model = onnx.ModelProto.FromString(emitted.content)
    inputs = _input_scales(model.graph)
    numbers: dict[str, NDArray[np.generic]] = {}
    for op, own in zip(convolutions, weights, strict=True):
        numbers.update(_numbers(op.output, own, inputs.get(f"w{op.output}_f")))
    kept = [one for one in model.graph.initializer if one.name not in numbers]
    outside = [one.name for one in model.graph.initializer if one.name in numbers]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    model.graph.initializer.extend(numpy_helper.from_array(numbers[name], name) for name in outside)
    image_size = of_sides(graph.input_shapes[0].height, graph.input_shapes[0].width)
    return finished(model, detector, image_size, has_boxes=has_boxes, names=names)


def _input_scales(graph: onnx.GraphProto) -> dict[str, float]:
    """The name of an int8 convolution's filters, once they are float -> the scale of its input."""
    constants = {one.name: one for one in graph.initializer}
    made = {node.output[0]: node for node in graph.node}
    found = {}
    for node in graph.node:
        source = made.get(node.input[0]) if node.op_type == "Conv" else None
        if source is not None and node.input[1] in made:
            assert source.op_type == "DequantizeLinear", node
            found[node.input[1]] = float(numpy_helper.to_array(constants[source.input[1]]))
    return found


def _numbers(
    tensor: int, own: ConvolutionWeights, input_scale: float | None
) -> dict[str, NDArray[np.generic]]:
    """A convolution's initialisers; an int32 bias counts in steps of input times filter."""
    if input_scale is None:
        return {f"w{tensor}": own.filters, f"b{tensor}": own.bias}
    absmax = np.abs(own.filters).reshape(len(own.filters), -1).max(axis=1).astype(np.float64)
    # A tiny filter's steps may be too small for its bias to be counted in.
    least = np.maximum(np.abs(own.bias) / (input_scale * BIAS_LIMIT), LEAST_STEP)
    steps = np.maximum(absmax / LARGEST, least).astype(np.float32)
    counted = np.round(own.filters / steps[:, None, None, None])
    bias_steps = (steps * np.float32(input_scale)).astype(np.float32)
    return {
        f"w{tensor}": np.clip(counted, -LARGEST, LARGEST).astype(np.int8),
        f"w{tensor}_scale": steps,
        f"b{tensor}": np.round(own.bias.astype(np.float64) / bias_steps).astype(np.int32),
        f"b{tensor}_scale": bias_steps,
    }
