"""YOLO label files: one line an object, `class x_centre y_centre width height`, all in 0..1."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas.training.images import DataError, Labels

EDGE_TOLERANCE = 0.01
"""How far a box may stick out of the image (a rounded label); what sticks out is clipped."""

NONE = Labels(classes=np.zeros(0, np.int64), boxes=np.zeros((0, 4)))
"""The labels of background."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Flaw:
    """One line of a label file that breaks a rule."""

    where: str
    rule: str
    got: str
    remedy: str


def read_labels(path: Path, names: tuple[str, ...], flaws: list[Flaw]) -> Labels:
    """The objects of a label file; lines that break a rule are appended to `flaws`.

    An absent file means background. A line of a class and three or more points (a polygon, as
    segmentation data has it) becomes the box around its points. Equal lines count once.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return NONE
    except (OSError, UnicodeDecodeError) as error:
        flaws.append(
            Flaw(
                where=str(path),
                rule="a label file is readable UTF-8 text",
                got=str(error),
                remedy="Repair the file, or delete it if the image is background",
            )
        )
        return NONE
    rows: dict[tuple[float, ...], None] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        found = _parse(line, f"{path}:{number}", names)
        if isinstance(found, Flaw):
            flaws.append(found)
        else:
            rows[found] = None
    if not rows:
        return NONE
    table: NDArray[np.float64] = np.array(list(rows), np.float64)
    return Labels(classes=table[:, 0].astype(np.int64), boxes=table[:, 1:])


def refuse(flaws: list[Flaw]) -> None:
    """Raises the first flaw as a DataError that says how many more there are."""
    if not flaws:
        return
    first = flaws[0]
    more = len(flaws) - 1
    got = first.got
    if more:
        got += f" (and {more} more bad line{'s' if more > 1 else ''} in this data set)"
    raise DataError(first.where, first.rule, got, first.remedy)


def _parse(line: str, where: str, names: tuple[str, ...]) -> tuple[float, ...] | Flaw:
    """Class, left, top, right, bottom of one line, or what is wrong with it."""
    flaw = _Line(where, line.strip())
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        values = []
    is_box = len(values) == 5
    is_polygon = len(values) >= 7 and len(values) % 2 == 1
    if not (is_box or is_polygon) or not np.isfinite(values).all():
        return flaw.says(
            "a label line is `class x_centre y_centre width height`, or a class and the x y of "
            "three or more points",
            "Write it so, separated by spaces",
        )
    number = values[0]
    if number != int(number) or not 0 <= number < len(names):
        return flaw.says(
            f"the class is a whole number from 0 to {len(names) - 1} (data.yaml names "
            f"{len(names)} class{'es' if len(names) != 1 else ''})",
            "Correct the class, or name it in data.yaml",
        )
    if min(values[1:]) < 0 or max(values[1:]) > 1:
        return flaw.says(
            "positions and sizes lie in 0..1, as shares of the image's width and height",
            "Divide pixels by the image's size",
        )
    corners = _corners(np.array(values[1:]), is_box)
    if not (corners[2] > corners[0] and corners[3] > corners[1]):
        return flaw.says("a box has a width and a height above 0", "Delete the line or correct it")
    if corners.min() < -EDGE_TOLERANCE or corners.max() > 1 + EDGE_TOLERANCE:
        return flaw.says(
            f"a box lies within its image, 0..1 (edges may stick out by {EDGE_TOLERANCE:g})",
            "Clip the box to the image",
        )
    return (number, *np.clip(corners, 0.0, 1.0).tolist())


def _corners(values: NDArray[np.float64], is_box: bool) -> NDArray[np.float64]:
    """Left, top, right, bottom of centre and size, or of the points of a polygon."""
    if is_box:
        return np.concatenate([values[:2] - values[2:] / 2, values[:2] + values[2:] / 2])
    points = values.reshape(-1, 2)
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


@dataclass(frozen=True, slots=True)
class _Line:
    """A line and its place, to be quoted in a flaw."""

    where: str
    text: str

    def says(self, rule: str, remedy: str) -> Flaw:
        text = self.text if len(self.text) <= 80 else self.text[:77] + "..."
        return Flaw(where=self.where, rule=rule, got=f"`{text}`", remedy=remedy)
