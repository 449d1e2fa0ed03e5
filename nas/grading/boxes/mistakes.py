"""The worst false boxes and the worst misses: what a person looks at first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from nas.data.images import ImageSet
from nas.grading.boxes.crops import Crop, crop
from nas.grading.boxes.matching import MATCH_IOU, Matches, overlap

SHOWN: Final = 12
"""Of each kind."""


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A box that is none, or an object without a box."""

    file: str
    """The picture's name."""
    name: str
    """The class that the box says, or that the object has."""
    score: float
    """Of the false box; of a missed object's best box below the confidence, 0 where none is."""
    box: tuple[float, float, float, float]
    """Left, top, right, bottom in pixels of the picture as it came."""
    why: str
    """What is there instead, in a few words."""
    crop: Crop


def false_boxes(matches: Matches, part: ImageSet) -> tuple[Mistake, ...]:
    """The false boxes of the highest scores."""
    places = np.nonzero(~matches.is_true)[0][:SHOWN]
    found, scores = matches.detections, matches.scores
    return tuple(
        _mistake(
            part,
            int(found.images[one]),
            (int(found.classes[one]), float(scores[one])),
            found.boxes[one],
            _instead(matches, int(one), part.names),
        )
        for one in places
    )


def missed_objects(matches: Matches, part: ImageSet, confidence: float) -> tuple[Mistake, ...]:
    """Objects that no box from the confidence on finds: the least found first, then the largest."""
    objects, found_at = matches.objects, matches.found_at
    areas = (objects.boxes[:, 2:] - objects.boxes[:, :2]).prod(axis=1)
    order = np.lexsort((-areas, found_at))
    places = [one for one in order if found_at[one] < confidence][:SHOWN]
    return tuple(
        _mistake(
            part,
            int(objects.images[one]),
            (int(objects.classes[one]), float(found_at[one])),
            objects.boxes[one],
            f"its box scores {found_at[one]:.2f}" if found_at[one] else "no box of any score",
        )
        for one in places
    )


def _mistake(
    part: ImageSet, image: int, kind: tuple[int, float], box: np.ndarray, why: str
) -> Mistake:
    left, top, right, bottom = (float(one) for one in box)
    return Mistake(
        file=Path(part.files[image]).name if part.files else str(image),
        name=part.names[kind[0]],
        score=kind[1],
        box=(left, top, right, bottom),
        why=why,
        crop=crop(part, image, box),
    )


def _instead(matches: Matches, detection: int, names: tuple[str, ...]) -> str:
    """What lies under a false box."""
    objects = matches.objects
    here = np.nonzero(objects.images == matches.detections.images[detection])[0]
    if not len(here):
        return "nothing is labelled in this picture"
    overlaps = overlap(matches.detections.boxes[[detection]], objects.boxes[here])[0]
    best = int(overlaps.argmax())
    name, share = names[objects.classes[here[best]]], float(overlaps[best])
    is_own = objects.classes[here[best]] == matches.detections.classes[detection]
    if share < 0.05:
        return "nothing is labelled here"
    if share < MATCH_IOU:
        return f"beside {name}, IoU {share:.2f}"
    return f"a second box of it, IoU {share:.2f}" if is_own else f"it is {name}, IoU {share:.2f}"
