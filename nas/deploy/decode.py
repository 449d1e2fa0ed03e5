"""A head's decoding as ONNX nodes: from the raw maps `out0`, `out1`, ... to one output of boxes.

Two layouts, each as the tool that has the head writes it, so that what reads its files reads ours:

yolov5   a head with anchors: (1, N, 5 + classes), centre x, y, width, height in pixels of the
         input, objectness, class probabilities
yolov8   a head without: (1, 4 + classes, N), centre x, y, width, height, class probabilities
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from nas.detector.anchor_free import AnchorFreeDetect
from nas.detector.builder import Detector
from nas.detector.head import Detect

Layout = Literal["yolov5", "yolov8"]


def layout_of(detector: Detector) -> Layout:
    """How this detector's boxes lie in an exported file."""
    return "yolov5" if isinstance(detector.head, Detect) else "yolov8"


def in_layout(boxes: torch.Tensor, layout: Layout) -> torch.Tensor:
    """What a detector gives in eval mode, (B, N, 5 + classes), as the layout has it."""
    if layout == "yolov5":
        return boxes
    return torch.cat((boxes[..., :4], boxes[..., 5:]), -1).transpose(1, 2)


def append_decoding(graph: onnx.GraphProto, detector: Detector) -> None:
    """Replaces the raw maps among the graph's outputs by `output0`, the boxes of all levels."""
    head, written = detector.head, _Written()
    count, axis = 0, 1 if isinstance(head, Detect) else 2
    for level, value in enumerate(graph.output):
        _, _, rows, columns = (int(one.dim_value) for one in value.type.tensor_type.shape.dim)
        if isinstance(head, Detect):
            _with_anchors(written.at(level), head, level, rows, columns)
            count += head.num_anchors * rows * columns
        else:
            _anchor_free(written.at(level), head, level, rows, columns)
            count += rows * columns
    boxes = [f"head_boxes{level}" for level in range(head.num_levels)]
    graph.node.extend([*written.nodes, helper.make_node("Concat", boxes, ["output0"], axis=axis)])
    graph.initializer.extend(written.constants)
    shape = [1, count, head.num_outputs]
    if not isinstance(head, Detect):
        shape = [1, 4 + head.num_classes, count]
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("output0", onnx.TensorProto.FLOAT, shape))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Level:
    """Where the nodes of one level go; names in it stand for `head_<name><level>`."""

    nodes: list[onnx.NodeProto]
    constants: list[onnx.TensorProto]
    number: int

    def add(self, kind: str, inputs: list[Any], outputs: list[str], **attributes: Any) -> None:
        """A node; an input that is an array becomes a constant."""
        names = []
        for position, value in enumerate(inputs):
            if isinstance(value, str):
                names.append(self.name(value))
                continue
            names.append(self.name(f"{outputs[0]}_constant{position}_"))
            self.constants.append(numpy_helper.from_array(value, names[-1]))
        ends = [self.name(name) for name in outputs]
        self.nodes.append(helper.make_node(kind, names, ends, **attributes))

    def name(self, name: str) -> str:
        return f"{'' if name == 'out' else 'head_'}{name}{self.number}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Written:
    """The nodes and constants of all levels."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def at(self, level: int) -> _Level:
        return _Level(nodes=self.nodes, constants=self.constants, number=level)


def _shape(*sizes: int) -> NDArray[np.int64]:
    return np.array(sizes, np.int64)


def _cells(rows: int, columns: int, stride: int, shift: float) -> NDArray[np.float32]:
    """x and y of all cells, (2, cells) in pixels: their corners, moved by `shift` cells."""
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows), indexing="xy"))
    found: NDArray[np.float32] = ((grid.reshape(2, -1) + shift) * stride).astype(np.float32)
    return found


def _with_anchors(at: _Level, head: Detect, level: int, rows: int, columns: int) -> None:
    """`Detect.decode` of one level: (1, anchors * outputs, rows, columns) -> (1, N, outputs)."""
    stride, anchors, cells = head.strides[level], head.num_anchors, rows * columns
    offset = _cells(rows, columns, stride, -0.5).reshape(1, 1, 2, cells)
    sizes = 4 * head.anchors[level].detach().cpu().numpy().reshape(1, anchors, 2, 1)
    scale = np.full((1, 1, 1, 1), 2 * stride, np.float32)
    at.add("Reshape", ["out", _shape(1, anchors, head.num_outputs, cells)], ["split"])
    at.add("Sigmoid", ["split"], ["shares"])
    parts = _shape(2, 2, head.num_outputs - 4)
    at.add("Split", ["shares", parts], ["xy_share", "wh_share", "scores"], axis=2)
    at.add("Mul", ["xy_share", scale], ["xy_scaled"])
    at.add("Add", ["xy_scaled", offset], ["xy"])
    at.add("Mul", ["wh_share", "wh_share"], ["wh_squared"])
    at.add("Mul", ["wh_squared", sizes.astype(np.float32)], ["wh"])
    at.add("Concat", ["xy", "wh", "scores"], ["joined"], axis=2)
    at.add("Transpose", ["joined"], ["turned"], perm=[0, 1, 3, 2])
    at.add("Reshape", ["turned", _shape(1, anchors * cells, head.num_outputs)], ["boxes"])


def _anchor_free(at: _Level, head: AnchorFreeDetect, level: int, rows: int, columns: int) -> None:
    """`AnchorFreeDetect.decode` of one level: -> (1, 4 + classes, cells).

    The mean over the bins is a convolution, as YOLOv8's own export has it (OpenCV runs that form).
    """
    stride, cells, bins = head.strides[level], rows * columns, head.bins
    scale = np.full((1, 1, 1), stride, np.float32)
    half = np.full((1, 1, 1), 0.5, np.float32)
    centres = _cells(rows, columns, stride, 0.5)[None]
    at.add("Reshape", ["out", _shape(1, head.num_outputs, cells)], ["flat"])
    at.add("Split", ["flat", _shape(4 * bins, head.num_classes)], ["bins", "logits"], axis=1)
    if bins == 1:
        at.add("Softplus", ["bins"], ["distances"])
    else:
        places = np.arange(bins, dtype=np.float32).reshape(1, bins, 1, 1)
        at.add("Reshape", ["bins", _shape(1, 4, bins, cells)], ["sides"])
        at.add("Transpose", ["sides"], ["turned"], perm=[0, 2, 1, 3])
        at.add("Softmax", ["turned"], ["shares"], axis=1)
        at.add("Conv", ["shares", places], ["means"], kernel_shape=[1, 1])
        at.add("Reshape", ["means", _shape(1, 4, cells)], ["distances"])
    at.add("Mul", ["distances", scale], ["pixels"])
    at.add("Split", ["pixels", _shape(2, 2)], ["before", "after"], axis=1)
    at.add("Sub", ["after", "before"], ["difference"])
    at.add("Mul", ["difference", half], ["shift"])
    at.add("Add", ["shift", centres], ["xy"])
    at.add("Add", ["before", "after"], ["wh"])
    at.add("Sigmoid", ["logits"], ["scores"])
    at.add("Concat", ["xy", "wh", "scores"], ["boxes"], axis=1)
