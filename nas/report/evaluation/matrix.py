"""The confusion matrix as a PNG."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nas.grading.boxes.confusion import Confusion
from nas.grading.boxes.matching import MATCH_IOU
from nas.report.evaluation.canvas import INK, Canvas, shortened, text_width
from nas.report.evaluation.plots import titles

COUNTED: Final = 15
"""Classes up to which a matrix shows its counts in its cells."""

CELLS: Final = (26, 66)
"""Pixels of a cell, at least with its label and at most."""

CROWDED_CELL: Final = 12
"""Pixels of a cell where there are more classes."""

DARKEST: Final = (8, 81, 156)
"""The colour of a cell that holds all of its row."""


BACKGROUND: Final = ("nothing", "no box")
"""What the last row and the last column are called."""


def confusion_png(one: Confusion, names: tuple[str, ...], about: str) -> bytes:
    """The confusion matrix; a cell's colour is its share of its row."""
    count = len(names) + 1
    least = CELLS[0] if count <= COUNTED + 1 else CROWDED_CELL
    cell = int(np.clip(520 / count, least, CELLS[1]))
    size = 13 if cell >= 20 else 10
    labels = ((*names, BACKGROUND[0]), (*names, BACKGROUND[1]))
    widest = max(text_width(name, size, False) for side in labels for name in side)
    room = round(min(widest + 14, 170))
    left, top = room + 34, 96 + room
    canvas = Canvas(max(left + cell * count + 24, 560), top + cell * count + 24)
    titles(canvas, "What objects were taken for", about, confusion_note(one))
    _cells(canvas, one.counts, (left, top, cell))
    for place in range(count):
        middle = cell * (place + 0.5)
        row, column = (shortened(side[place], room - 8, size) for side in labels)
        canvas.text(row, left - 8, top + middle + size / 3, size=size, align="right")
        canvas.text_upwards(column, left + middle + size / 3, top - 7, size=size)
    canvas.text_upwards("what it is", 22, top + min(cell * count, 70), size=12)
    canvas.text("what its box says", left, 86, size=12)
    return canvas.png()


def _cells(canvas: Canvas, counts: NDArray[np.int64], place: tuple[int, int, int]) -> None:
    """Draws the cells from left and top on, so wide each."""
    left, top, cell = place
    shares = row_shares(counts)
    for (row, column), count in np.ndenumerate(counts):
        x, y, share = left + column * cell, top + row * cell, float(shares[row, column])
        canvas.fill((x, y, x + cell - 1, y + cell - 1), cell_colour(share))
        if count and len(counts) <= COUNTED + 1:
            canvas.text(
                str(count),
                x + cell / 2,
                y + cell / 2 + 5,
                size=min(13, cell / 2.6),
                colour="#ffffff" if share > 0.45 else INK,
                align="centre",
            )


def row_shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Each count as a share of its row; 0 in an empty row."""
    shares: NDArray[np.float64] = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


def confusion_note(one: Confusion) -> str:
    """At which confidence and overlap."""
    return (
        f"boxes from confidence {one.confidence:.2f} on, IoU {MATCH_IOU:g};"
        " colour: share of the row"
    )


def cell_colour(share: float) -> str:
    """From nearly white to DARKEST; a few of many show, too."""
    values = [round(246 + (dark - 246) * share**0.7) for dark in DARKEST]
    return "#" + "".join(f"{value:02x}" for value in values)
