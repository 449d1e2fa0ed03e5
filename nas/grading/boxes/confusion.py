"""The confusion matrix: what objects were taken for, with background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.grading.boxes.matching import MATCH_IOU, Matches, overlap


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Counts of boxes from one confidence on. The last row and column are background."""

    confidence: float
    counts: NDArray[np.int64]
    """(classes + 1, classes + 1): a row an object's class, a column its box's. The last column
    holds objects that no box overlaps enough, the last row boxes that no object is left for."""


def confusion(matches: Matches, confidence: float, num_classes: int) -> Confusion:
    """The matrix of the boxes from a confidence on.

    First a box takes an object of its own class, as it does for mAP50. Then what is left is
    matched whatever its class, pairs of the largest overlap first, down to the same IoU. So the
    diagonal holds the true boxes of the curves, and a confusion is no false box and a miss.
    """
    counts = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    shown = matches.scores >= confidence
    true = np.nonzero(shown & matches.is_true)[0]
    kinds = matches.detections.classes[true]
    np.add.at(counts, (kinds, kinds), 1)
    boxes_left = np.nonzero(shown & ~matches.is_true)[0]
    is_found = np.zeros(len(matches.objects), bool)
    is_found[matches.object_of[true]] = True
    objects_left = np.nonzero(~is_found)[0]
    pairs = _pairs(matches, boxes_left, objects_left)
    for box, thing in pairs:
        counts[matches.objects.classes[thing], matches.detections.classes[box]] += 1
    taken_boxes = [box for box, _ in pairs]
    taken_objects = [thing for _, thing in pairs]
    false = matches.detections.classes[np.setdiff1d(boxes_left, taken_boxes)]
    missed = matches.objects.classes[np.setdiff1d(objects_left, taken_objects)]
    counts[-1, :-1] = np.bincount(false, minlength=num_classes)
    counts[:-1, -1] = np.bincount(missed, minlength=num_classes)
    return Confusion(confidence=confidence, counts=counts)


def _pairs(
    matches: Matches, boxes: NDArray[np.int64], objects: NDArray[np.int64]
) -> list[tuple[int, int]]:
    """(detection, object) of those that overlap enough, the largest overlap first, each once."""
    pairs: list[tuple[int, int]] = []
    where = matches.objects.images[objects]
    for image in np.unique(where):
        ours = boxes[matches.detections.images[boxes] == image]
        theirs = objects[where == image]
        left = overlap(matches.detections.boxes[ours], matches.objects.boxes[theirs])
        while left.size and left.max() >= MATCH_IOU:
            row, column = np.unravel_index(int(left.argmax()), left.shape)
            pairs.append((int(ours[row]), int(theirs[column])))
            left[row], left[:, column] = 0.0, 0.0
    return pairs
