"""The curve plots as PNGs."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nas.report.evaluation.canvas import GRID, INK, PALE, Canvas, shortened, text_width
from nas.report.evaluation.lines import CROWD, CurvePlot, Line

WIDTH: Final = 720
HEIGHT: Final = 470
LEFT, TOP, RIGHT, BOTTOM = 64, 78, 210, 52
"""Room around a plot's axes; the legend stands on the right."""


def curve_png(plot: CurvePlot, about: str) -> bytes:
    """A curve plot; `about` says of what, under its title."""
    canvas = Canvas(WIDTH, HEIGHT)
    inner = (LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM)
    titles(canvas, plot.title, about, plot.note)
    _axes(canvas, inner, plot)
    for line in plot.lines:
        width = 2.4 if line.is_mean else 1.0 if plot.is_crowded else 1.6
        canvas.line(_placed(inner, line.x, line.y), line.colour, width)
    if plot.mark is not None:
        (x, top), (_, bottom) = _placed(inner, np.array([plot.mark] * 2), np.array([1.0, 0.0]))
        canvas.box((x, top, x, bottom), INK, 1, is_dashed=True)
        canvas.text(f"{plot.mark:.2f}", x + 4, top + 12, size=12)
    _legend(canvas, plot)
    return canvas.png()


def titles(canvas: Canvas, title: str, *small: str) -> None:
    """Writes a plot's title, and small lines under it."""
    canvas.text(title, 16, 24, size=17, is_bold=True)
    for place, line in enumerate(small):
        text = shortened(line, canvas.width - 32, 11.5)
        canvas.text(text, 16, 43 + 16 * place, size=11.5, colour=PALE)


def _axes(canvas: Canvas, inner: tuple[int, int, int, int], plot: CurvePlot) -> None:
    left, _, right, bottom = inner
    for tick in np.linspace(0, 1, 6):
        ((x, y),) = _placed(inner, np.array([tick]), np.array([tick]))
        canvas.line([(left, y), (right, y)], GRID, 1)
        canvas.line([(x, inner[1]), (x, bottom)], GRID, 1)
        canvas.text(f"{tick:.1f}", left - 8, y + 4, size=12, align="right", colour=PALE)
        canvas.text(f"{tick:.1f}", x, bottom + 17, size=12, align="centre", colour=PALE)
    canvas.text(plot.x_title, (left + right) / 2, bottom + 39, align="centre")
    long = text_width(plot.y_title, 13, False)
    canvas.text_upwards(plot.y_title, 26, (inner[1] + bottom + long) / 2)


def _placed(
    inner: tuple[int, int, int, int], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    left, top, right, bottom = inner
    return np.stack([left + x * (right - left), bottom - y * (bottom - top)], axis=1)


def _legend(canvas: Canvas, plot: CurvePlot) -> None:
    lines = list(plot.lines)
    if plot.is_crowded:
        *crowd, mean = lines
        figures = [float(one.figure.split()[0]) for one in crowd]
        spread = f"{min(figures):.3f} to {max(figures):.3f}"
        empty = np.zeros(0)
        lines = [
            Line(name=f"{len(crowd)} classes", figure=spread, x=empty, y=empty, colour=CROWD),
            mean,
        ]
    x, y = WIDTH - RIGHT + 18, TOP + 8
    for line in lines:
        canvas.line([(x, y), (x + 18, y)], line.colour, 2.4 if line.is_mean else 2)
        room = RIGHT - 18 - 26 - 12
        figure = text_width(line.figure, 12, False)
        name = shortened(line.name, room - figure - 6, 12, is_bold=line.is_mean)
        canvas.text(name, x + 26, y + 4, size=12, is_bold=line.is_mean)
        canvas.text(line.figure, WIDTH - 12, y + 4, size=12, colour=PALE, align="right")
        y += 24
