"""The worst false boxes and the worst misses: what a person looks at first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

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
    found, objects = matches.detections, matches.objects
    mistakes = []
    for place in np.nonzero(~matches.is_true)[0][:SHOWN]:
        image = int(found.images[place])
        mistakes.append(
            _Place(part, image, objects.boxes[objects.images == image]).mistake(
                int(found.classes[place]),
                float(matches.scores[place]),
                found.boxes[place],
                _instead(matches, int(place), part.names),
            )
        )
    return tuple(mistakes)


def missed_objects(matches: Matches, part: ImageSet, confidence: float) -> tuple[Mistake, ...]:
    """Objects that no box from the confidence on finds: the least found first, then the largest."""
    found, objects, found_at = matches.detections, matches.objects, matches.found_at
    areas = (objects.boxes[:, 2:] - objects.boxes[:, :2]).prod(axis=1)
    missed = [one for one in np.lexsort((-areas, found_at)) if found_at[one] < confidence]
    mistakes = []
    for place in missed[:SHOWN]:
        image, score = int(objects.images[place]), float(found_at[place])
        shown = (found.images == image) & (matches.scores >= confidence)
        mistakes.append(
            _Place(part, image, found.boxes[shown]).mistake(
                int(objects.classes[place]),
                score,
                objects.boxes[place],
                f"its box scores {score:.2f}" if score else "no box of any score",
            )
        )
    return tuple(mistakes)


@dataclass(frozen=True, slots=True)
class _Place:
    """A picture, and what else lies on it."""

    part: ImageSet
    image: int
    others: NDArray[np.float64]

    def mistake(self, kind: int, score: float, box: NDArray[np.float64], why: str) -> Mistake:
        left, top, right, bottom = (float(one) for one in box)
        return Mistake(
            file=self.part.name_of(self.image),
            name=self.part.names[kind],
            score=score,
            box=(left, top, right, bottom),
            why=why,
            crop=crop(self.part, self.image, box, self.others),
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
