"""A head's decoding as ONNX nodes: from the raw maps to the boxes that `decode` gives in torch."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from nas.detector.anchor_free import AnchorFreeDetect
from nas.detector.builder import Head
from nas.detector.head import Detect
from nas.space.blocks import BOX_BINS

Nodes = list[onnx.NodeProto]
Constants = dict[str, NDArray[np.generic]]

SHARED: Final = ("sizes", "sides", "places")
"""Constants that all levels read."""


def decode_outputs(graph: onnx.GraphProto, head: Head) -> None:
    """Replaces the raw maps among the outputs by boxes, `output0` (1, N, 5 + classes)."""
    constants: Constants = {}
    boxes, count = [], 0
    for level, value in enumerate(list(graph.output)):
        _, _, rows, columns = (int(one.dim_value) for one in value.type.tensor_type.shape.dim)
        if isinstance(head, Detect):
            graph.node.extend(_anchored(head, level, rows, columns, constants))
            count += head.num_anchors * rows * columns
        else:
            graph.node.extend(_anchor_free(head, level, rows, columns, constants))
            count += rows * columns
        boxes.append(f"boxes{level}")
    graph.node.append(helper.make_node("Concat", boxes, ["output0"], axis=1))
    graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in constants.items()
    )
    del graph.output[:]
    shape = [1, count, 5 + head.num_classes]
    graph.output.append(helper.make_tensor_value_info("output0", onnx.TensorProto.FLOAT, shape))


def _cells(rows: int, columns: int) -> NDArray[np.float64]:
    """Column and row of each cell, shape (1, 1, 2, cells)."""
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows), indexing="xy"))
    return grid.reshape(1, 1, 2, rows * columns).astype(np.float64)


def _anchored(head: Detect, level: int, rows: int, columns: int, constants: Constants) -> Nodes:
    """Nodes from `outN` (1, anchors * outputs, rows, columns) to `boxesN` (1, cells, outputs)."""
    stride, anchors, cells = head.strides[level], head.num_anchors, rows * columns
    sizes = head.anchors[level].detach().cpu().numpy().reshape(1, anchors, 2, 1)
    constants[_name("sizes", level)] = np.array([2, 2, 1 + head.num_classes], np.int64)
    own: Constants = {
        "split": np.array([1, anchors, head.num_outputs, cells], np.int64),
        "flat": np.array([1, anchors * cells, head.num_outputs], np.int64),
        "stride": np.full((1, 1, 1, 1), 2 * stride, np.float32),
        "offset": ((_cells(rows, columns) - 0.5) * stride).astype(np.float32),
        "anchors": (4 * sizes).astype(np.float32),
    }
    constants |= {_name(name, level): array for name, array in own.items()}
    return [
        _node(level, "Reshape", ["out", "split"], ["cells"]),
        _node(level, "Sigmoid", ["cells"], ["shares"]),
        _node(level, "Split", ["shares", "sizes"], ["xy_share", "wh_share", "scores"], axis=2),
        _node(level, "Mul", ["xy_share", "stride"], ["xy_scaled"]),
        _node(level, "Add", ["xy_scaled", "offset"], ["xy"]),
        _node(level, "Mul", ["wh_share", "wh_share"], ["wh_squared"]),
        _node(level, "Mul", ["wh_squared", "anchors"], ["wh"]),
        _node(level, "Concat", ["xy", "wh", "scores"], ["columns"], axis=2),
        _node(level, "Transpose", ["columns"], ["rows"], perm=[0, 1, 3, 2]),
        _node(level, "Reshape", ["rows", "flat"], ["boxes"]),
    ]


def _anchor_free(
    head: AnchorFreeDetect, level: int, rows: int, columns: int, constants: Constants
) -> Nodes:
    """Nodes from `outN` (1, 4 * bins + classes, rows, columns) to `boxesN` (1, cells, outputs).

    The mean of a distance's bins is a 1x1 convolution over them, which every runtime has.
    """
    stride, cells = head.strides[level], rows * columns
    constants[_name("sizes", level)] = np.array([4 * BOX_BINS, head.num_classes], np.int64)
    constants[_name("sides", level)] = np.array([2, 2], np.int64)
    constants[_name("places", level)] = np.arange(BOX_BINS, dtype=np.float32).reshape(
        1, BOX_BINS, 1, 1
    )
    own: Constants = {
        "bins": np.array([1, 4, BOX_BINS, cells], np.int64),
        "split": np.array([1, 1, head.num_classes, cells], np.int64),
        "flat": np.array([1, cells, 5 + head.num_classes], np.int64),
        "stride": np.full((1, 1, 1, 1), stride, np.float32),
        "half": np.full((1, 1, 1, 1), 0.5, np.float32),
        "centres": ((_cells(rows, columns) + 0.5) * stride).astype(np.float32),
        "certain": np.ones((1, 1, 1, cells), np.float32),
    }
    constants |= {_name(name, level): array for name, array in own.items()}
    return [
        _node(level, "Split", ["out", "sizes"], ["distributions", "logits"], axis=1),
        _node(level, "Reshape", ["distributions", "bins"], ["by_side"]),
        _node(level, "Transpose", ["by_side"], ["by_bin"], perm=[0, 2, 1, 3]),
        _node(level, "Softmax", ["by_bin"], ["shares"], axis=1),
        _node(level, "Conv", ["shares", "places"], ["cells"]),
        _node(level, "Mul", ["cells", "stride"], ["distances"]),
        _node(level, "Split", ["distances", "sides"], ["before", "after"], axis=2),
        _node(level, "Add", ["before", "after"], ["wh"]),
        _node(level, "Sub", ["after", "before"], ["difference"]),
        _node(level, "Mul", ["difference", "half"], ["shift"]),
        _node(level, "Add", ["centres", "shift"], ["xy"]),
        _node(level, "Sigmoid", ["logits"], ["classes"]),
        _node(level, "Reshape", ["classes", "split"], ["scores"]),
        _node(level, "Concat", ["xy", "wh", "certain", "scores"], ["columns"], axis=2),
        _node(level, "Transpose", ["columns"], ["rows"], perm=[0, 1, 3, 2]),
        _node(level, "Reshape", ["rows", "flat"], ["boxes"]),
    ]


def _node(
    level: int, kind: str, inputs: list[str], outputs: list[str], **attributes: Any
) -> onnx.NodeProto:
    read, made = ([_name(text, level) for text in texts] for texts in (inputs, outputs))
    return helper.make_node(kind, read, made, **attributes)


def _name(text: str, level: int) -> str:
    """A tensor's name, unlike those of the network's own; the maps and the boxes keep theirs."""
    if text in ("out", "boxes"):
        return f"{text}{level}"
    return f"decode_{text}" if text in SHARED else f"decode_{text}_{level}"
