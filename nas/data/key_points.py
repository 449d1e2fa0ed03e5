"""Rows of key points that look like polygons: a box and points behind it, or points alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nas.data.images import DataError

SLACK: Final = 0.01
"""How far a key point may lie outside of its box, as a share of the image."""


@dataclass(kw_only=True)
class LongRows:
    """What the label lines of more than a box have in common, line by line.

    Segmentation data has rows of many lengths. Rows that are all of one length, and in each of
    which the last numbers are points inside the box that the first four would be, are as well
    key points: read as polygons, their boxes would be wrong.
    """

    count: int = 0
    """Rows so far."""
    length: int = 0
    """Numbers in each, class included."""
    where: str = ""
    """File and line of the first."""
    fitting: tuple[int, ...] = (2, 3)
    """Numbers of a key point for which every row so far could be a box with key points."""
    is_convex: bool = True
    """Whether every polygon is convex, as turned boxes are. A box with key points around its
    centre never is: the centre lies inside."""

    def add(self, values: list[float], where: str) -> None:
        """Takes one more row into account."""
        if self.count == 0:
            self.length, self.where = len(values), where
        self.count += 1
        if len(values) != self.length:
            self.fitting = ()
        if not self.fitting:
            return
        row = np.array(values[1:])
        self.fitting = tuple(size for size in self.fitting if _fits(row, size))
        if self.fitting and self.is_convex:
            self.is_convex = _is_convex(row.reshape(-1, 2))

    def refuse_doubtful(self, data_file: str) -> None:
        """Raises DataError where the rows fit key points and not polygons."""
        if not self.count or not self.fitting or (self.is_convex and self.length > 7):
            return
        size = self.fitting[0]
        points = (self.length - 5) // size
        raise DataError(
            self.where,
            f"rows of {self.length} numbers are key points where {data_file} says `kpt_shape`, "
            "else polygons",
            f"{self.count} such row{'s' if self.count > 1 else ''} that fit a box and {points} key "
            f"point{'s' if points > 1 else ''} inside it, in a data set without kpt_shape",
            f"Write `kpt_shape: [{points}, {size}]` into {data_file}, or `task: segment` if they "
            "are polygons",
        )


def _fits(row: NDArray[np.float64], size: int) -> bool:
    """Whether a row (without its class) may be a box and key points of so many numbers."""
    if (len(row) - 4) % size:
        return False
    low, high = row[:2] - row[2:4] / 2, row[:2] + row[2:4] / 2
    if row[2:4].min() <= 0 or low.min() < -SLACK or high.max() > 1 + SLACK:
        return False
    points = row[4:].reshape(-1, size)
    if size == 3 and not np.isin(points[:, 2], (0, 1, 2)).all():
        return False
    is_inside = ((points[:, :2] >= low - SLACK) & (points[:, :2] <= high + SLACK)).all(axis=1)
    is_absent = (points[:, :2] == 0).all(axis=1)
    return bool((is_inside | is_absent).all() and is_inside.any())


def _is_convex(points: NDArray[np.float64]) -> bool:
    """Whether the polygon (n, 2) turns one way at every corner, as a (turned) box does."""
    sides = np.roll(points, -1, axis=0) - points
    following = np.roll(sides, -1, axis=0)
    turns = sides[:, 0] * following[:, 1] - sides[:, 1] * following[:, 0]
    return bool((turns >= 0).all() or (turns <= 0).all())
