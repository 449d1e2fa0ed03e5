"""A detector as one ONNX file, in the form that YOLOv5's and YOLOv8's own exports have.

The input is `images` (1, 3, S, S), RGB in 0..1. With boxes, the output is `output0`, laid out as
`nas.deploy.decode` says, so that what reads such files (detect.py, demos for OpenCV) reads this.
Without, the outputs are `out0`, `out1`, ...: the raw maps, as in the ncnn files. The metadata hold
what reads either: class names, image size, strides, and anchors in pixels ([] where it has none).

In fp16 each filter is stored in half precision and cast to fp32 when the model is loaded.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from nas.deploy.decode import append_decoding
from nas.deploy.weights import ConvolutionWeights, Precision, convolution_weights
from nas.detector.builder import Detector
from nas.emit.onnx import emit_onnx
from nas.places import PROGRAM
from nas.space.image_size import ImageSize, sides
from nas.space.ops import model_graph

Nodes = list[onnx.NodeProto]


def to_onnx(
    detector: Detector,
    image_size: ImageSize,
    precision: Precision = "fp32",
    *,
    has_boxes: bool = True,
    names: tuple[str, ...] = (),
) -> bytes:
    """The serialised model for images of a size.

    has_boxes  the head's decoding is part of the model
    names      class names, kept in the model's metadata, where YOLOv5 and Ultralytics look for them
    """
    graph = model_graph(detector.spec, image_size)
    emitted = emit_onnx(graph)
    model = onnx.ModelProto.FromString(emitted.content)
    weights = convolution_weights(detector, graph, precision)
    _fill(model.graph, weights, precision)
    return finished(model, detector, image_size, has_boxes=has_boxes, names=names)


def finished(
    model: onnx.ModelProto,
    detector: Detector,
    image_size: ImageSize,
    *,
    has_boxes: bool,
    names: tuple[str, ...],
) -> bytes:
    """The model of the raw maps as a file has it: named, decoded if that is asked, and checked."""
    for node in model.graph.node:
        node.input[:] = ["images" if name == "in0" else name for name in node.input]
    model.graph.input[0].name = "images"
    _part_gates(model.graph)
    if has_boxes:
        append_decoding(model.graph, detector)
    metadata = {
        "stride": str(max(detector.head.strides)),
        "task": "detect",
        "batch": "1",
        "imgsz": str([*sides(image_size)]),
        "strides": str([int(stride) for stride in detector.head.strides]),
        "anchors": str([list(level) for level in detector.spec.anchors]),
    }
    if names:
        metadata["names"] = str(dict(enumerate(names)))
    helper.set_model_props(model, metadata)
    model.producer_name = PROGRAM
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content


def output_names(detector: Detector, *, has_boxes: bool) -> tuple[str, ...]:
    """The names of a model's outputs; those of raw maps are the same in ncnn."""
    if has_boxes:
        return ("output0",)
    return tuple(f"out{level}" for level in range(detector.head.num_levels))


def _fill(
    graph: onnx.GraphProto, weights: tuple[ConvolutionWeights, ...], precision: Precision
) -> None:
    """Puts the numbers in the place of the external initialisers, which come in pairs."""
    outside = [one for one in graph.initializer if one.data_location == onnx.TensorProto.EXTERNAL]
    inside = [one for one in graph.initializer if one.data_location != onnx.TensorProto.EXTERNAL]
    numbers = [array for one in weights for array in (one.filters, one.bias)]
    casts: Nodes = []
    for tensor, array in zip(outside, numbers, strict=True):
        assert tuple(tensor.dims) == array.shape, f"{tensor.name}: {tensor.dims}, {array.shape}"
        if precision == "fp16" and array.ndim == 4:
            half = f"{tensor.name}_half"
            inside.append(numpy_helper.from_array(array.astype(np.float16), half))
            casts.append(helper.make_node("Cast", [half], [tensor.name], to=onnx.TensorProto.FLOAT))
        else:
            inside.append(numpy_helper.from_array(array, tensor.name))
    del graph.initializer[:]
    graph.initializer.extend(inside)
    after = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *after])


def _part_gates(graph: onnx.GraphProto) -> None:
    """Puts an Identity behind every HardSigmoid; runtimes take it out again.

    OpenCV (5.0.0) takes the product of anything and a HardSigmoid of anything else for a
    HardSwish, and so loses the map that a squeeze-and-excite gate was to scale.
    """
    nodes: Nodes = []
    for node in graph.node:
        nodes.append(node)
        if node.op_type == "HardSigmoid":
            (name,) = node.output
            node.output[:] = [f"{name}_gate"]
            nodes.append(helper.make_node("Identity", [f"{name}_gate"], [name]))
    del graph.node[:]
    graph.node.extend(nodes)
