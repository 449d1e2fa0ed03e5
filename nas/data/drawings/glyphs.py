"""Glyphs: letters and digits in several hands, and strokes that a class's seed made up."""

from __future__ import annotations

from functools import cache
from typing import Final

import cv2
import numpy as np

from nas.data.drawings.forms import ACCENT, Form, FormPart, part

LETTERS: Final = "AEGKMRS24578"
"""None of them is another one turned."""

FONTS: Final = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_SIMPLEX | cv2.FONT_ITALIC,
)
WEIGHTS: Final = (9, 14, 22)
"""Widths of a letter's stroke, in pixels of the canvas that it is traced on."""

HANDS: Final = len(FONTS) * len(WEIGHTS)
STROKES: Final = 6
CARDS: Final = 4

CANVAS: Final = 256


@cache
def letter(glyph: str, hand: int) -> Form:
    """A letter in one of HANDS hands."""
    font, weight = FONTS[hand % len(FONTS)], WEIGHTS[hand // len(FONTS)]
    canvas = np.zeros((CANVAS, CANVAS), np.uint8)
    (wide, high), _ = cv2.getTextSize(glyph, font, 6.0, weight)
    corner = ((CANVAS - wide) // 2, (CANVAS + high) // 2)
    cv2.putText(canvas, glyph, corner, font, 6.0, 255, weight, cv2.LINE_8)
    return (_traced(canvas),)


@cache
def stroke(number: int) -> Form:
    """A thick smooth line through random points: class `number`'s own."""
    rng = np.random.default_rng([78, number])
    points = rng.uniform(36, CANVAS - 36, (5, 2))
    t = np.linspace(0, 4, 60)
    line = np.stack([np.interp(t, np.arange(5), points[:, axis]) for axis in (0, 1)], 1)
    flat = line.reshape(-1, 1, 2)
    bent = cv2.GaussianBlur(flat, (1, 15), 0, borderType=cv2.BORDER_REPLICATE)
    canvas = np.zeros((CANVAS, CANVAS), np.uint8)
    cv2.polylines(canvas, [bent.astype(np.int32)], False, 255, 26, cv2.LINE_8)
    return (_traced(canvas),)


@cache
def card(number: int, hand: int) -> Form:
    """A plate with a sign on it: what tells the classes apart is the sign alone."""
    sign = letter("XZ36"[number], hand)[0]
    small = tuple(0.5 * contour for contour in sign.contours)
    plate = np.array([(-0.66, -0.9), (0.66, -0.9), (0.66, 0.9), (-0.66, 0.9)])
    return (part(plate), part(*small, tone=ACCENT))


def _traced(canvas: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> FormPart:
    """What is white on a canvas as contours in the unit circle."""
    found, _ = cv2.findContours(canvas, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_TC89_L1)
    contours = [one[:, 0].astype(np.float64) for one in found if len(one) > 2]
    every = np.concatenate(contours)
    middle = (every.min(axis=0) + every.max(axis=0)) / 2
    reach = np.abs(every - middle).max()
    return part(*((one - middle) / reach for one in contours))
