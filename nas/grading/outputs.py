"""What a file's outputs mean: its layout, and the boxes (B, N, 5 + classes) in it.

maps     one output a level, (B, channels, height, width), before the head's decoding
yolov5   (B, N, 5 + classes): box, objectness, class probabilities
yolov8   (B, 4 + classes, N): the same without objectness
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from nas.detector.anchor_free import decode_without_anchors
from nas.detector.head import decode_with_anchors, split_anchors
from nas.grading.detector_file import DetectorFileError
from nas.space.anchors import Anchors
from nas.space.blocks import OUTPUTS_PER_ANCHOR

OutputLayout = Literal["maps", "yolov5", "yolov8"]

Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadFacts:
    """What decodes raw maps; a file says it itself, or its report does."""

    num_classes: int
    strides: tuple[int, ...] = ()
    anchors: Anchors = ()

    @property
    def num_anchors(self) -> int:
        """Boxes of a cell that have anchors; 0 of a head without."""
        return len(self.anchors[0]) // 2 if self.anchors else 0


def layout_of_shapes(shapes: list[tuple[int, ...]], facts: HeadFacts, where: str) -> OutputLayout:
    """The layout of outputs of these shapes; DetectorFileError where it is none of ours.

    Boxes of both layouts at once (as many boxes as a box has numbers) are taken for YOLOv5's.
    """
    if len(shapes) == 1 and len(shapes[0]) == 3:
        if shapes[0][2] == OUTPUTS_PER_ANCHOR + facts.num_classes:
            return "yolov5"
        if shapes[0][1] == 4 + facts.num_classes:
            return "yolov8"
    elif shapes and all(len(shape) == 4 for shape in shapes):
        _check_maps(shapes, facts, where)
        return "maps"
    count = facts.num_classes
    raise DetectorFileError(
        where,
        f"for {count} class{'' if count == 1 else 'es'} the output is boxes, (1, N, {5 + count})"
        f" or (1, {4 + count}, N), or a raw map a level, (1, channels, height, width)",
        _told(shapes),
        "Export it by nas.export, or in YOLOv5's or YOLOv8's own layout, without NMS in it",
    )


def boxes_of_outputs(outputs: list[Array], layout: OutputLayout, facts: HeadFacts) -> Array:
    """Boxes (B, N, 5 + classes): centre x, y, width, height in pixels, objectness, classes."""
    if layout == "yolov5":
        return outputs[0]
    if layout == "yolov8":
        rows = outputs[0].transpose(0, 2, 1)
        certain = np.ones_like(rows[..., :1])
        return np.concatenate([rows[..., :4], certain, rows[..., 4:]], axis=-1)
    maps = [torch.from_numpy(np.ascontiguousarray(one)) for one in outputs]
    if facts.anchors:
        logits = [split_anchors(one, facts.num_anchors) for one in maps]
        sizes = torch.tensor(facts.anchors).view(len(maps), -1, 2)
        boxes = decode_with_anchors(logits, sizes, facts.strides)
    else:
        bins = (outputs[0].shape[1] - facts.num_classes) // 4
        boxes = decode_without_anchors(maps, bins, facts.strides)
    found: Array = boxes.numpy()
    return found


def _check_maps(shapes: list[tuple[int, ...]], facts: HeadFacts, where: str) -> None:
    """DetectorFileError unless the maps are those of the head."""
    if len(shapes) != len(facts.strides):
        raise DetectorFileError(
            where,
            f"there is a raw map for each of the head's {len(facts.strides)} strides",
            _told(shapes),
            "Export it again by nas.export",
        )
    channels = {shape[1] for shape in shapes}
    if facts.anchors:
        right = facts.num_anchors * (OUTPUTS_PER_ANCHOR + facts.num_classes)
        is_right, rule = channels == {right}, f"{right}"
    else:
        rest = min(channels) - facts.num_classes
        is_right = len(channels) == 1 and rest >= 4 and rest % 4 == 0
        rule = f"4 for each bin and {facts.num_classes}"
    if not is_right:
        raise DetectorFileError(
            where,
            f"a raw map has {rule} channels, by the file's classes and anchors",
            _told(shapes),
            "Export it again by nas.export",
        )


def _told(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join(str(shape) for shape in shapes) or "no output"
