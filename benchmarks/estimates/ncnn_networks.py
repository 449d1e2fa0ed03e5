"""The layers of benchncnn's networks, as listed beside the public logs, as rows of work."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Final

from nas.latency.estimated.op_work import OpWork

FREE: Final = ("Input", "Split", "MemoryData", "Noop", "Dropout", "Reshape", "Flatten")
"""Layers that move nothing."""

KINDS: Final[dict[str, str]] = {
    "BatchNorm": "activation",
    "Concat": "move",
    "Crop": "move",
    "DetectionOutput": "detections",
    "YoloDetectionOutput": "detections",
    "Yolov3DetectionOutput": "detections",
    "HardSigmoid": "activation",
    "HardSwish": "activation",
    "Interp": "upsample",
    "LRN": "normalisation",
    "Padding": "move",
    "Permute": "move",
    "ReLU": "activation",
    "Reduction": "reduction",
    "ShuffleChannel": "move",
    "Sigmoid": "exponential",
    "Slice": "move",
    "Swish": "exponential",
}
"""ncnn's layer -> kind of work, where it needs no look at the shapes; any other is an output."""


def read_works(path: Path) -> dict[str, list[OpWork]]:
    """Network -> its work, from networks.json."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return {name: _works(network["layers"]) for name, network in document.items()}


def _works(layers: list[dict[str, Any]]) -> list[OpWork]:
    return [_work(layer) for layer in layers if layer["op"] not in FREE and layer["outputs"]]


def _work(layer: dict[str, Any]) -> OpWork:
    op, inputs = layer["op"], layer["inputs"]
    numbers_in = sum(math.prod(shape) for shape in inputs)
    numbers_out = sum(math.prod(shape) for shape in layer["outputs"])
    channels_out, height, width = layer["outputs"][0]
    kernel = layer.get("kernel", [4, 4] if op.startswith("Deconv") else [1, 1])
    cells = max(kernel[0], 1) * max(kernel[1], 1)
    kind = _kind(layer, cells)
    if kind == "detections":
        numbers_in += _comparisons(layer)
        numbers_out, height, width = 0, 1, 1
    weights = layer.get("weights", cells * channels_out if op.startswith("Deconv") else 0)
    return OpWork(
        kind=kind,
        channels_in=math.prod(inputs[0]) if op == "InnerProduct" else inputs[0][0],
        channels_out=channels_out,
        height=height,
        width=width,
        cells=cells if "onv" in op or kind == "pool" else 1,
        stride=layer.get("stride", 2 if op.startswith("Deconv") else 1),
        groups=layer.get("groups", 1),
        numbers_in=numbers_in,
        numbers_out=numbers_out,
        weights=weights,
    )


def _comparisons(layer: dict[str, Any]) -> int:
    """Boxes compared in suppressing others, one counting like two scores.

    benchncnn's weights are all alike, so that where one box passes all do, and each is held against
    the half of those that are kept in the end.
    """
    count, kept, *_ = layer["outputs"][0]
    if layer["op"] != "Yolov3DetectionOutput" or count != 1:
        return 0
    boxes = sum(3 * height * width for _, height, width in layer["inputs"])
    return int(boxes * kept)


def _kind(layer: dict[str, Any], cells: int) -> str:
    op, inputs = layer["op"], layer["inputs"]
    if "onv" in op:
        return _convolution(layer, cells)
    if op == "InnerProduct":
        return "vector"
    if op == "Pooling":
        return "global pool" if layer["global"] else "pool"
    if op in ("BinaryOp", "Eltwise"):
        sizes = [math.prod(shape) for shape in inputs]
        return "scale" if len(sizes) == 2 and min(sizes) < max(sizes) else "add"
    return KINDS.get(op, "output")


def _convolution(layer: dict[str, Any], cells: int) -> str:
    channels_in, height, width = layer["inputs"][0]
    channels_out = layer["outputs"][0][0]
    groups = layer.get("groups", channels_in)
    if layer["op"].startswith("Deconv"):
        return "depthwise"
    if height * width == 1 and groups == 1:
        return "cell"
    if groups == channels_in == channels_out and groups > 1:
        plain = {9: "depthwise 3x3", 25: "depthwise 5x5"}
        return plain.get(cells, "depthwise") if layer["dilation"] == 1 else "depthwise"
    if cells == 1:
        return "1x1"
    wide = max(channels_in, channels_out) // groups >= 8
    is_plain = layer["stride"] == 1 and layer["dilation"] == 1
    return "winograd" if cells == 9 and is_plain and wide else "dense"
