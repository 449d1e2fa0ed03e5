"""Which detection found which object.

COCO's rule at one IoU: within an image and a class, each detection in the order of its score takes
the object that it overlaps most of those still free, if it overlaps it enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nas.data.images import ImageSet
from nas.training.metrics import Detections

MATCH_IOU: Final = 0.5
"""Overlap from which on a box has found an object: mAP50's."""


@dataclass(frozen=True, kw_only=True)
class BoxList:
    """n boxes on the images of a part."""

    images: NDArray[np.int64]
    """(n,) which image each lies on."""
    boxes: NDArray[np.float64]
    """(n, 4) left, top, right, bottom in pixels of the picture as it came."""
    classes: NDArray[np.int64]
    """(n,) class indices."""

    def __len__(self) -> int:
        return len(self.classes)


@dataclass(frozen=True, kw_only=True)
class Matches:
    """All detections, best first, all objects, and who found whom."""

    detections: BoxList
    scores: NDArray[np.float64]
    """(n,) of the detections, falling."""
    objects: BoxList
    object_of: NDArray[np.int64]
    """(n,) the object that a detection found; -1 where it found none."""

    @property
    def is_true(self) -> NDArray[np.bool_]:
        """(n,) whether a detection found an object."""
        return self.object_of >= 0

    @property
    def found_at(self) -> NDArray[np.float64]:
        """(m,) the score of the detection that found an object; 0 where none did."""
        scores = np.zeros(len(self.objects))
        scores[self.object_of[self.is_true]] = self.scores[self.is_true]
        return scores


def match(found: list[Detections], part: ImageSet) -> Matches:
    """Who found whom, of detections for each image of the part in its order."""
    objects = _objects(part)
    detections, scores = _detections(found)
    object_of = np.full(len(detections), -1, np.int64)
    for index in range(len(part)):
        ours = np.nonzero(detections.images == index)[0]
        theirs = np.arange(part.starts[index], part.starts[index + 1])
        if not len(ours) or not len(theirs):
            continue
        same = detections.classes[ours][:, None] == objects.classes[theirs][None]
        overlaps = np.where(same, overlap(detections.boxes[ours], objects.boxes[theirs]), 0.0)
        taken = _greedy(overlaps)
        object_of[ours[taken >= 0]] = theirs[taken[taken >= 0]]
    return Matches(detections=detections, scores=scores, objects=objects, object_of=object_of)


def overlap(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union (n, m) of boxes (n, 4) and (m, 4)."""
    low = np.maximum(ours[:, None, :2], theirs[None, :, :2])
    high = np.minimum(ours[:, None, 2:], theirs[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (ours, theirs)]
    union = areas[0][:, None] + areas[1][None] - common
    shares: NDArray[np.float64] = np.zeros_like(common)
    np.divide(common, union, out=shares, where=union > 0)
    return shares


def _greedy(overlaps: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) which column each row takes, in the order of the rows; -1 where none is left."""
    taken = np.full(len(overlaps), -1, np.int64)
    left = overlaps.copy()
    for row in np.nonzero(overlaps.max(axis=1) >= MATCH_IOU)[0]:
        best = int(left[row].argmax())
        if left[row, best] >= MATCH_IOU:
            taken[row] = best
            left[:, best] = 0.0
    return taken


def _objects(part: ImageSet) -> BoxList:
    owners = np.repeat(np.arange(len(part)), np.diff(part.starts))
    return BoxList(images=owners, boxes=part.to_original(owners, part.boxes), classes=part.classes)


def _detections(found: list[Detections]) -> tuple[BoxList, NDArray[np.float64]]:
    """All of them, best first; those of equal score in the order of the images."""
    scores = np.concatenate([np.zeros(0), *(one.scores for one in found)])
    order = np.argsort(-scores, kind="stable")
    images = np.repeat(np.arange(len(found)), [len(one.scores) for one in found])
    boxes = np.concatenate([np.zeros((0, 4)), *(one.boxes for one in found)])
    classes = np.concatenate([np.zeros(0, np.int64), *(one.classes for one in found)])
    listed = BoxList(images=images[order], boxes=boxes[order], classes=classes[order])
    return listed, scores[order]
