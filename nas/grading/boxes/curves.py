"""The curves by which a detector is read: precision over recall, and F1 over confidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nas.grading.boxes.matching import Matches

RECALLS: Final = np.linspace(0, 1, 101)
"""COCO's recalls at which precision is read."""

CONFIDENCES: Final = np.linspace(0, 1, 101)
"""Scores from which on boxes are shown, in hundredths."""

USUAL_CONFIDENCE: Final = 0.25
"""What is told where no confidence is better than another: nothing was found at all."""

Curve = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ClassCurves:
    """Of one class that the part shows."""

    name: str
    precision: Curve
    """(101,) interpolated, at RECALLS and an IoU of 0.5: its mean is the class's mAP50."""
    precision_from: Curve
    """(101,) the share of true boxes among those shown from each of CONFIDENCES on; 1 if none."""
    recall_from: Curve
    """(101,) the share of objects found by boxes from each of CONFIDENCES on."""

    @property
    def f1(self) -> Curve:
        """(101,) the harmonic mean of precision and recall, at CONFIDENCES."""
        total = self.precision_from + self.recall_from
        product = 2 * self.precision_from * self.recall_from
        return np.divide(product, total, out=np.zeros_like(total), where=total > 0)

    @property
    def best_confidence(self) -> float:
        """The confidence of the highest F1."""
        return best_confidence(self.f1)


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Of all classes that the part shows."""

    per_class: tuple[ClassCurves, ...]

    @property
    def precision(self) -> Curve:
        """(101,) the classes' mean at RECALLS; its own mean is mAP50."""
        return _mean([one.precision for one in self.per_class])

    @property
    def f1(self) -> Curve:
        """(101,) the classes' mean at CONFIDENCES."""
        return _mean([one.f1 for one in self.per_class])

    @property
    def best_confidence(self) -> float:
        """The confidence of the highest mean F1."""
        return best_confidence(self.f1)


def _mean(all_of_them: list[Curve]) -> Curve:
    found: Curve = np.mean(all_of_them, axis=0)
    return found


def best_confidence(f1: Curve) -> float:
    """The confidence of the highest F1: the middle of the first stretch that has it."""
    if f1.max() <= 0:
        return USUAL_CONFIDENCE
    is_best = f1 >= f1.max() - 1e-9
    first = int(is_best.argmax())
    last = first + int((~np.append(is_best[first:], False)).argmax()) - 1
    return float(CONFIDENCES[(first + last) // 2])


def curves(precision: NDArray[np.float64], matches: Matches, names: tuple[str, ...]) -> Curves:
    """The curves, of precision (101, classes) at an IoU of 0.5 and of who found whom."""
    found = []
    for index, name in enumerate(names):
        objects = int((matches.objects.classes == index).sum())
        if not objects:
            continue
        is_own = matches.detections.classes == index
        scores, is_true = matches.scores[is_own], matches.is_true[is_own]
        shown = np.searchsorted(-scores, -CONFIDENCES, side="right")
        true = np.concatenate([[0], np.cumsum(is_true)])[shown]
        found.append(
            ClassCurves(
                name=name,
                precision=precision[:, index],
                precision_from=np.where(shown > 0, true / np.maximum(shown, 1), 1.0),
                recall_from=true / objects,
            )
        )
    return Curves(per_class=tuple(found))
