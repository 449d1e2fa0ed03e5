"""Heat maps: which parts of a picture made a box.

Grad-CAM (arXiv 1610.02391, eq. 1 and 2) asks how the logit of a class changes with a feature map:
channels weighted by their gradients, summed, what is negative dropped. Here the logit is that of
the cell that gave the box (its class's, plus its objectness's where the head has one), and the map
the last of the backbone at the head's finest stride, through which all that the head reads passes.

It departs from the paper in one point: gradients are not averaged over the map before they weigh
it (HiResCAM, arXiv 2011.08891, eq. 4). Averaged, the logit of one cell lights every object that
looks alike, wherever it stands: a picture of the class, not of the box.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.data.images import ImageSet
from nas.detector.builder import Detector
from nas.detector.head import Detect
from nas.grading.boxes.crops import Crop, Pixels, cut, picture
from nas.grading.boxes.matching import Matches
from nas.training.metrics import to_input, torch_predictor

TRUE_SHOWN: Final = 5
FALSE_SHOWN: Final = 3
"""Boxes that are explained."""

SEEN: Final = 0.5
"""Share of a picture's longer side that is shown around a box, at least."""

Heat = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """What made a box."""

    file: str
    """The picture's name."""
    name: str
    score: float
    is_true: bool
    """Whether it found an object."""
    crop: Crop
    """At least SEEN of the picture's longer side, and the box in it."""
    heat: Heat
    """(H, W) of the cut-out, 0 to 1; the hottest place may lie outside of it."""


def heat_maps(detector: Detector, part: ImageSet, matches: Matches) -> tuple[HeatMap, ...]:
    """Those of the best true boxes, of as many classes as there are, and of the worst false."""
    found = []
    for place in (*_best_true(matches), *np.nonzero(~matches.is_true)[0][:FALSE_SHOWN]):
        image, kind = int(matches.detections.images[place]), int(matches.detections.classes[place])
        score = float(matches.scores[place])
        box = matches.detections.boxes[place]
        row = prediction_of(detector, part, image, (box, kind, score))
        heat = box_heat(detector, part.images[image], row, kind)
        warm, grey = _on_picture(part, image, heat)
        size, least = part.sizes[image], SEEN * max(grey.shape[:2])
        crop = cut(np.dstack([grey, warm]), size, box[None], least)
        found.append(
            HeatMap(
                file=part.name_of(image),
                name=part.names[kind],
                score=score,
                is_true=bool(matches.is_true[place]),
                crop=Crop(pixels=crop.pixels[..., :3], box=crop.box),
                heat=np.asarray(crop.pixels[..., 3] / 255, np.float32),
            )
        )
    return tuple(found)


def _on_picture(part: ImageSet, image: int, heat: Heat) -> tuple[Pixels, Pixels]:
    """The heat of a letterboxed image as bytes (H, W) of its picture, and the picture."""
    pixels = picture(part, image)
    left, top, width, height = (int(one) for one in part.frames[image])
    inside = heat[top : top + height, left : left + width]
    size = (pixels.shape[1], pixels.shape[0])
    return np.asarray(_resized(inside, size) * 255, np.uint8), pixels


def box_heat(detector: Detector, image: NDArray[np.uint8], row: int, kind: int) -> Heat:
    """The heat (H, W), 0 to 1, of the prediction `row` as class `kind`, for an image (H, W, 3)."""
    maps: list[Tensor] = []
    finest = min(detector.head.strides)
    handles = [
        one.register_forward_hook(lambda _, __, out: maps.append(out))
        for one in detector.model[:-1]
    ]
    device, was_training = next(detector.parameters()).device, detector.training
    detector.eval()
    try:
        with torch.enable_grad():
            pixels = to_input(image[None], device).requires_grad_(True)
            raw = detector.maps(pixels)
            seen = deepest_fine(maps, image.shape[0] // finest)
            (gradient,) = torch.autograd.grad(logit_of(detector, raw, row, kind), [seen])
    finally:
        detector.train(was_training)
        for handle in handles:
            handle.remove()
    heat = torch.relu((gradient * seen).sum(1))[0].detach().float().cpu().numpy()
    height, width = image.shape[:2]
    found: Heat = _resized(heat, (width, height))
    found /= max(float(found.max()), 1e-12)
    return found


def _resized(heat: Heat, size: tuple[int, int]) -> Heat:
    """At another width and height."""
    return np.asarray(cv2.resize(heat, size, interpolation=cv2.INTER_LINEAR), np.float32)


def deepest_fine(maps: list[Tensor], height: int) -> Tensor:
    """The last map before the backbone goes below so many rows of cells."""
    coarse = next((i for i, one in enumerate(maps) if one.shape[2] < height), len(maps))
    return maps[max(coarse - 1, 0)]


def logit_of(detector: Detector, raw: list[Tensor], row: int, kind: int) -> Tensor:
    """What a prediction's score rises with: its class's logit, and its objectness's."""
    head = detector.head
    per_cell = head.num_anchors if isinstance(head, Detect) else 1
    for level in raw:
        _, channels, ny, nx = level.shape
        count = per_cell * ny * nx
        if row < count:
            anchor, cell = divmod(row, ny * nx)
            of_cell = level[0].view(per_cell, channels // per_cell, ny * nx)[anchor, :, cell]
            logit = of_cell[of_cell.shape[0] - head.num_classes + kind]
            return logit + of_cell[4] if isinstance(head, Detect) else logit
        row -= count
    raise AssertionError(f"no prediction {row} beyond the last level")


def prediction_of(
    detector: Detector,
    part: ImageSet,
    image: int,
    wanted: tuple[NDArray[np.float64], int, float],
) -> int:
    """Which of an image's predictions a detection was: the one of its box and score."""
    box, kind, score = wanted
    rows = torch_predictor(detector)(part.images[image : image + 1])[0].astype(np.float64)
    corners = np.concatenate([rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2], 1)
    boxes = part.to_original(np.full(len(rows), image), corners)
    off = np.abs(boxes - box).sum(axis=1) / part.sizes[image].max()
    return int((off + np.abs(rows[:, 4] * rows[:, 5 + kind] - score)).argmin())


def _best_true(matches: Matches) -> list[int]:
    """The best true box of each class, then the next best of each, ..., best first."""
    seen: dict[int, int] = {}
    ranked = []
    for place in np.nonzero(matches.is_true)[0]:
        kind = int(matches.detections.classes[place])
        seen[kind] = seen.get(kind, 0) + 1
        ranked.append((seen[kind], int(place)))
    return sorted(place for _, place in sorted(ranked)[:TRUE_SHOWN])
