"""A picture that is drawn on: lines, rectangles, text. OpenCV draws; from 5.0 on in a real font."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

SHARP: Final = 2
"""Pixels of a plot's file for one that is spoken of here: sharp on any screen."""

INK: Final = "#24303d"
PALE: Final = "#52606f"
GRID: Final = "#e6eaef"

FONT_PIXELS: Final = 28
"""Height of OpenCV's font at scale 1."""

SHIFT: Final = 4
"""Bits behind the point in OpenCV's coordinates."""

Pixels = NDArray[np.uint8]
Align = Literal["left", "centre", "right"]


class Canvas:
    """A white picture; places count from its left upper corner, before it is scaled.

    scale   pixels of the picture for one that is spoken of
    """

    def __init__(self, width: int, height: int, scale: int = SHARP) -> None:
        self.width, self.height, self.scale = width, height, scale
        self.pixels: Pixels = np.full((height * scale, width * scale, 3), 255, np.uint8)

    def text(
        self,
        text: str,
        x: float,
        y: float,
        *,
        size: float = 13,
        colour: str = INK,
        align: Align = "left",
        is_bold: bool = False,
    ) -> None:
        """Writes a line of text whose base is at y."""
        x -= {"left": 0.0, "centre": 0.5, "right": 1.0}[align] * text_width(text, size, is_bold)
        font, scale = _font(is_bold), size * self.scale / FONT_PIXELS
        place = (round(x * self.scale), round(y * self.scale))
        cv2.putText(self.pixels, text, place, font, scale, rgb(colour), 1, cv2.LINE_AA)

    def text_upwards(self, text: str, x: float, y: float, *, size: float = 13) -> None:
        """Writes a line from below upwards; its base is at x, it begins at y."""
        width, height = int(text_width(text, size, False)) + 2, int(size * 1.5)
        strip = Canvas(width, height, self.scale)
        strip.text(text, 0, size, size=size)
        turned = np.rot90(strip.pixels)
        left, low = round((x - size) * self.scale), round(y * self.scale)
        top = max(low - turned.shape[0], 0)
        turned = turned[turned.shape[0] - (low - top) :, : self.pixels.shape[1] - left]
        area = self.pixels[top:low, left : left + turned.shape[1]]
        np.minimum(area, turned, out=area)

    def line(
        self, points: Sequence[tuple[float, float]] | NDArray[np.float64], colour: str, width: float
    ) -> None:
        """Draws through the points."""
        fixed = np.round(np.asarray(points, float) * self.scale * 2**SHIFT).astype(np.int32)
        thick = max(round(width * self.scale), 1)
        cv2.polylines(self.pixels, [fixed], False, rgb(colour), thick, cv2.LINE_AA, SHIFT)

    def box(
        self, corners: Sequence[float], colour: str, width: float, *, is_dashed: bool = False
    ) -> None:
        """Draws the outline of left, top, right, bottom."""
        left, top, right, bottom = corners
        around = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        if not is_dashed:
            self.line(around, colour, width)
            return
        for (x0, y0), (x1, y1) in pairwise(around):
            length = max(abs(x1 - x0) + abs(y1 - y0), 1e-6)
            for start in np.arange(0, length, 7):
                share = np.array([start, min(start + 4, length)]) / length
                self.line([(x0 + (x1 - x0) * t, y0 + (y1 - y0) * t) for t in share], colour, width)

    def fill(self, corners: Sequence[float], colour: str) -> None:
        """Fills left, top, right, bottom."""
        left, top, right, bottom = (round(one * self.scale) for one in corners)
        self.pixels[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = rgb(colour)

    def image(self, pixels: Pixels, x: int, y: int, width: int, height: int) -> None:
        """Lays a picture there, scaled to that size."""
        size = (width * self.scale, height * self.scale)
        shrinks = pixels.shape[1] > size[0]
        way = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        scaled = cv2.resize(pixels, size, interpolation=way)
        left, top = x * self.scale, y * self.scale
        self.pixels[top : top + size[1], left : left + size[0]] = scaled

    def png(self) -> bytes:
        """The picture as a file."""
        return encoded(self.pixels, ".png")


def encoded(pixels: Pixels, kind: Literal[".png", ".jpg"]) -> bytes:
    """An RGB picture as a file."""
    settings = (
        [cv2.IMWRITE_PNG_COMPRESSION, 6] if kind == ".png" else [cv2.IMWRITE_JPEG_QUALITY, 85]
    )
    done, content = cv2.imencode(kind, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), settings)
    assert done, f"OpenCV writes {kind}"
    return content.tobytes()


def text_width(text: str, size: float, is_bold: bool) -> float:
    """How wide a line of text is, before it is scaled."""
    scale = size * SHARP / FONT_PIXELS
    (width, _), _ = cv2.getTextSize(text, _font(is_bold), scale, 1)
    return float(width) / SHARP


def shortened(text: str, width: float, size: float, *, is_bold: bool = False) -> str:
    """The text, or its two ends with dots between them, so that it is at most so wide.

    Names that begin alike are told apart by their ends.
    """
    short, kept = text, len(text)
    while kept > 0 and text_width(short, size, is_bold) > width:
        kept -= 1
        head = (kept + 1) // 2
        short = f"{text[:head]}..{text[len(text) - (kept - head) :]}"
    return short


def rgb(colour: str) -> tuple[int, int, int]:
    """#rrggbb as numbers."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue


def _font(is_bold: bool) -> int:
    return int(cv2.FONT_HERSHEY_DUPLEX if is_bold else cv2.FONT_HERSHEY_SIMPLEX)
