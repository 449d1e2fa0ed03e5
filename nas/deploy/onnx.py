"""A detector as one ONNX file, in the form that YOLOv5's own export has.

The input is `images` (1, 3, S, S), RGB in 0..1. With boxes, the output is `output0` (1, N, 5 +
classes): centre x, y, width, height in pixels of the input, objectness, class probabilities; so
that what reads YOLOv5's ONNX files (its detect.py, demos for OpenCV) reads this. Without, the
outputs are `out0`, `out1`, ...: the raw maps, as in the ncnn files.

In fp16 each filter is stored in half precision and cast to fp32 when the model is loaded.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from nas.deploy.weights import ConvolutionWeights, Precision, convolution_weights
from nas.detector.builder import Detector
from nas.latency.emit_onnx import emit_onnx
from nas.space.ops import model_graph

Nodes = list[onnx.NodeProto]
Constants = dict[str, NDArray[np.generic]]


def to_onnx(
    detector: Detector,
    image_size: int,
    precision: Precision = "fp32",
    *,
    has_boxes: bool = True,
    names: tuple[str, ...] = (),
) -> bytes:
    """The serialised model for a square image (pixels).

    has_boxes  the head's decoding is part of the model
    names      class names, kept in the model's metadata with the largest stride (as YOLOv5's are)
    """
    graph = model_graph(detector.spec, image_size)
    emitted = emit_onnx(graph)
    model = onnx.ModelProto.FromString(emitted.content)
    weights = convolution_weights(detector, graph, precision)
    _fill(model.graph, weights, precision)
    for node in model.graph.node:
        node.input[:] = ["images" if name == "in0" else name for name in node.input]
    model.graph.input[0].name = "images"
    if has_boxes:
        _decode(model.graph, detector)
    metadata = {"stride": str(max(detector.head.strides))}
    if names:
        metadata["names"] = str(dict(enumerate(names)))
    helper.set_model_props(model, metadata)
    model.producer_name = "pi-detector-nas"
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


def _decode(graph: onnx.GraphProto, detector: Detector) -> None:
    """Replaces the raw maps among the outputs by the boxes of `Detect.decode`."""
    head = detector.head
    constants: Constants = {"sizes": np.array([2, 2, 1 + head.num_classes], np.int64)}
    boxes, count = [], 0
    for level, value in enumerate(list(graph.output)):
        _, _, rows, columns = (int(one.dim_value) for one in value.type.tensor_type.shape.dim)
        graph.node.extend(_decode_level(detector, level, rows, columns, constants))
        boxes.append(f"boxes{level}")
        count += head.num_anchors * rows * columns
    graph.node.append(helper.make_node("Concat", boxes, ["output0"], axis=1))
    graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in constants.items()
    )
    del graph.output[:]
    shape = [1, count, head.num_outputs]
    graph.output.append(helper.make_tensor_value_info("output0", onnx.TensorProto.FLOAT, shape))


def _decode_level(
    detector: Detector, level: int, rows: int, columns: int, constants: Constants
) -> Nodes:
    """Nodes from `outN` (1, anchors * outputs, rows, columns) to `boxesN` (1, cells, outputs)."""
    head, stride = detector.head, detector.head.strides[level]
    anchors, cells = head.num_anchors, rows * columns
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows), indexing="xy"))
    offset = (grid.reshape(1, 1, 2, cells) - 0.5) * stride
    sizes = head.anchors[level].detach().cpu().numpy().reshape(1, anchors, 2, 1)
    own: Constants = {
        "split": np.array([1, anchors, head.num_outputs, cells], np.int64),
        "flat": np.array([1, anchors * cells, head.num_outputs], np.int64),
        "stride": np.array(2 * stride, np.float32).reshape(1, 1, 1, 1),
        "offset": offset.astype(np.float32),
        "anchors": (4 * sizes).astype(np.float32),
    }
    constants |= {f"{name}{level}": array for name, array in own.items()}

    def node(kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> onnx.NodeProto:
        def name(text: str) -> str:
            return f"{text}{level}" if text != "sizes" else text

        return helper.make_node(kind, [*map(name, inputs)], [*map(name, outputs)], **attributes)

    return [
        node("Reshape", ["out", "split"], ["cells"]),
        node("Sigmoid", ["cells"], ["shares"]),
        node("Split", ["shares", "sizes"], ["xy_share", "wh_share", "scores"], axis=2),
        node("Mul", ["xy_share", "stride"], ["xy_scaled"]),
        node("Add", ["xy_scaled", "offset"], ["xy"]),
        node("Mul", ["wh_share", "wh_share"], ["wh_squared"]),
        node("Mul", ["wh_squared", "anchors"], ["wh"]),
        node("Concat", ["xy", "wh", "scores"], ["columns"], axis=2),
        node("Transpose", ["columns"], ["rows"], perm=[0, 1, 3, 2]),
        node("Reshape", ["rows", "flat"], ["boxes"]),
    ]
