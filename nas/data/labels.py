"""YOLO label files: one line an object, `class x_centre y_centre width height`, all in 0..1."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas.data.images import DataError, Labels
from nas.data.key_points import LongRows
from nas.data.text import lines_of, read_text

EDGE_TOLERANCE = 0.01
"""How far a position, a size or a box's edge may leave 0..1 (rounding); boxes are clipped."""

NONE = Labels(classes=np.zeros(0, np.int64), boxes=np.zeros((0, 4)))
"""The labels of background."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Flaw:
    """One line of a label file that breaks a rule."""

    where: str
    rule: str
    got: str
    remedy: str


@dataclass(kw_only=True)
class LabelReader:
    """Reads the label files of a data set, and keeps count of what stands in them."""

    names: tuple[str, ...]
    """The class names."""
    key_points: tuple[int, int] | None = None
    """`kpt_shape`: key points behind each box, and the numbers of each."""
    flaws: list[Flaw] = field(default_factory=list)
    """Lines that break a rule, in the order in which they were read."""
    equal_rows: int = 0
    """Lines that stand in a file a second time; they count once."""
    polygons: int = 0
    """Lines of a class and three or more points."""
    long_rows: LongRows = field(default_factory=LongRows)
    """Whether these look like key points; shared by the parts of a data set."""

    def read(self, path: Path) -> Labels:
        """The objects of a label file; an absent or empty one means background.

        A line of a class and three or more points (a polygon, as segmentation data has it)
        becomes the box around its points; where the data has key points, its first four numbers
        behind the class are the box. Equal lines count once.
        """
        try:
            text = read_text(path)
        except FileNotFoundError:
            return NONE
        except OSError as error:
            self._unreadable(path, error.strerror or str(error))
            return NONE
        except DataError as error:
            self.flaws.append(
                Flaw(where=error.where, rule=error.rule, got=error.got, remedy=error.remedy)
            )
            return NONE
        rows: dict[tuple[float, ...], None] = {}
        for number, line in enumerate(lines_of(text), start=1):
            if not line.strip():
                continue
            found = self._parse(line, f"{path}:{number}")
            if isinstance(found, Flaw):
                self.flaws.append(found)
            else:
                self.equal_rows += found in rows
                rows[found] = None
        if not rows:
            return NONE
        table: NDArray[np.float64] = np.array(list(rows), np.float64)
        return Labels(classes=table[:, 0].astype(np.int64), boxes=table[:, 1:])

    def _unreadable(self, path: Path, got: str) -> None:
        self.flaws.append(
            Flaw(
                where=str(path),
                rule="a label file can be read",
                got=got,
                remedy="Repair the file, or delete it if the image is background",
            )
        )

    def _parse(self, line: str, where: str) -> tuple[float, ...] | Flaw:
        """Class, left, top, right, bottom of one line, or what is wrong with it."""
        flaw = _Line(where, line.strip())
        try:
            values = [float(word) for word in line.split()]
        except ValueError:
            values = []
        if not self._has_form(len(values)) or not np.isfinite(values).all():
            return flaw.says(*self._form())
        number = values[0]
        if number != int(number) or not 0 <= number < len(self.names):
            return flaw.says(
                f"the class is a whole number from 0 to {len(self.names) - 1} (data.yaml names "
                f"{len(self.names)} class{'es' if len(self.names) != 1 else ''})",
                "Correct the class, or name it in data.yaml",
            )
        is_box = len(values) == 5 or self.key_points is not None
        places = values[1:5] if is_box else values[1:]
        if not is_box:
            self.polygons += 1
            self.long_rows.add(values, where)
        if min(places) < -EDGE_TOLERANCE or max(places) > 1 + EDGE_TOLERANCE:
            return flaw.says(
                "positions and sizes lie in 0..1, as shares of the image's width and height",
                "Divide pixels by the image's size" + ("" if is_box else _OR_KEY_POINTS),
            )
        return _box(number, np.array(places), is_box, flaw)

    def _has_form(self, count: int) -> bool:
        """Whether a line may have so many numbers."""
        if self.key_points is not None:
            return count in (5, 5 + self.key_points[0] * self.key_points[1])
        return count == 5 or (count >= 7 and count % 2 == 1)

    def _form(self) -> tuple[str, str]:
        """The rule for a line's form, and what to do where it is broken."""
        if self.key_points is None:
            return (
                "a label line is `class x_centre y_centre width height`, or a class and the x y of "
                "three or more points",
                "Write it so, separated by spaces" + _OR_KEY_POINTS,
            )
        points, numbers = self.key_points
        return (
            f"a label line is `class x_centre y_centre width height`, alone or with {points} key "
            f"points of {numbers} numbers, as kpt_shape says",
            "Write it so, separated by spaces, or correct kpt_shape",
        )


_OR_KEY_POINTS = (
    "; if key points stand behind the box, give data.yaml their number and size, such as "
    "`kpt_shape: [17, 3]`"
)


def refuse(flaws: list[Flaw]) -> None:
    """Raises the first flaw as a DataError that says how many more there are."""
    if not flaws:
        return
    first = flaws[0]
    more = len(flaws) - 1
    got = first.got
    if more:
        got += f" (and {more} more bad line{'s' if more > 1 else ''} in this part)"
    raise DataError(first.where, first.rule, got, first.remedy)


def _box(
    number: float, values: NDArray[np.float64], is_box: bool, flaw: _Line
) -> tuple[float, ...] | Flaw:
    """Class and corners, clipped to the image, or what is wrong with them."""
    corners = _corners(values, is_box)
    if not (corners[2] > corners[0] and corners[3] > corners[1]):
        return flaw.says("a box has a width and a height above 0", "Delete the line or correct it")
    clipped = np.clip(corners, 0.0, 1.0)
    is_gone = not (clipped[2] > clipped[0] and clipped[3] > clipped[1])
    if is_gone or corners.min() < -EDGE_TOLERANCE or corners.max() > 1 + EDGE_TOLERANCE:
        return flaw.says(
            f"a box lies within its image, 0..1 (edges may stick out by {EDGE_TOLERANCE:g})",
            "Clip the box to the image",
        )
    return (number, *clipped.tolist())


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
