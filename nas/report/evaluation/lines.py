"""The lines of the two curve plots, as the page and the PNGs both draw them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nas.grading.boxes.curves import CONFIDENCES, RECALLS, ClassCurves, Curves
from nas.grading.boxes.matching import MATCH_IOU
from nas.grading.examination import Examination

COLOURS: Final = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b", "#7b4fbf",
    "#a6a800", "#d62768", "#3a7d7d", "#8a97a6",
)  # fmt: skip
"""Okabe and Ito's first, told apart by the colour-blind too."""

MEAN: Final = "#24303d"
CROWD: Final = "#c9d1da"
"""All classes', where they are more than there are colours."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line, and what stands for it in the legend."""

    name: str
    figure: str
    """The number that sums it up: a mAP50, or a best F1 and where it is."""
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    colour: str
    is_mean: bool = False


@dataclass(frozen=True, kw_only=True)
class CurvePlot:
    """One plot, its axes both from 0 to 1."""

    title: str
    note: str
    x_title: str
    y_title: str
    lines: tuple[Line, ...]
    """Each class's, and the mean last, where there are several."""
    mark: float | None = None
    """A place on the x axis that is pointed out."""

    @property
    def is_crowded(self) -> bool:
        """Whether there are more classes than colours."""
        return len(self.lines) > len(COLOURS) + 1


def precision_recall(one: Examination) -> CurvePlot:
    """Precision over recall: the area under a line is its mAP50."""
    per_class, colours = one.curves.per_class, _colours(len(one.curves.per_class))
    lines = [
        Line(name=c.name, figure=f"{c.precision.mean():.3f}", x=RECALLS, y=c.precision, colour=k)
        for c, k in zip(per_class, colours, strict=True)
    ]
    if len(lines) > 1:
        mean = one.curves.precision
        figure = f"{mean.mean():.3f}"
        lines.append(Line(name="mean", figure=figure, x=RECALLS, y=mean, colour=MEAN, is_mean=True))
    return CurvePlot(
        title="Precision over recall",
        note=f"IoU {MATCH_IOU:g}, at COCO's 101 recalls; the area under a line is its mAP50",
        x_title="recall: share of the objects that are found",
        y_title="precision: share of the boxes that are right",
        lines=tuple(lines),
    )


def f1_confidence(one: Examination) -> CurvePlot:
    """F1 over confidence: where a detector is best run."""
    per_class, colours = one.curves.per_class, _colours(len(one.curves.per_class))
    lines = [
        Line(name=c.name, figure=f1_words(c), x=CONFIDENCES, y=c.f1, colour=k)
        for c, k in zip(per_class, colours, strict=True)
    ]
    mean, best = one.curves.f1, one.curves.best_confidence
    if len(lines) > 1:
        lines.append(
            Line(
                name="mean",
                figure=f1_words(one.curves),
                x=CONFIDENCES,
                y=mean,
                colour=MEAN,
                is_mean=True,
            )
        )
    what = "the mean" if len(lines) > 1 else "F1"
    note = f"{what} is highest, {mean.max():.3f}, with boxes from {best:.2f} on; IoU {MATCH_IOU:g}"
    return CurvePlot(
        title="F1 over confidence",
        note=note if mean.max() > 0 else "no box finds an object",
        x_title="confidence from which on boxes are shown",
        y_title="F1 of precision and recall",
        lines=tuple(lines),
        mark=best if mean.max() > 0 else None,
    )


def f1_words(one: ClassCurves | Curves) -> str:
    """The highest F1, and the confidence that gives it."""
    return f"{one.f1.max():.3f} at {one.best_confidence:.2f}" if one.f1.max() > 0 else "0"


def _colours(count: int) -> list[str]:
    return [CROWD] * count if count > len(COLOURS) else list(COLOURS[:count])
