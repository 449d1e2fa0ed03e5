"""What lies behind the objects, and what stands among them that is of no class."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from nas.data.drawings.forms import Points, polar
from nas.data.drawings.textures import (
    CLOUDS,
    PATTERNS,
    Pixels,
    Rng,
    any_colour,
    coloured,
    near,
    piece,
)

CLUTTER: Final = 14
"""Most things of no class in a picture."""


def background(rng: Rng, size: int) -> Pixels:
    """A ground (size, size, 3): a surface, two that meet at a line, or a patchwork."""
    image = _surface(rng, size, size)
    kind = rng.random()
    if kind < 0.35:  # as of earth and sky, table and wall
        _paste_half(image, rng)
    elif kind < 0.5:
        for _ in range(int(rng.integers(2, 7))):
            _paste_box(image, rng)
    if rng.random() < 0.5:
        blotches = cv2.merge([piece(rng, 0, CLOUDS, size, size, size / 200)] * 3)
        share = float(rng.uniform(0.1, 0.4))
        cv2.addWeighted(image, 1.0, blotches, share, -127 * share, dst=image)
    return image


def _surface(rng: Rng, height: int, width: int) -> Pixels:
    """Clouds or a pattern in colours near to each other, or far apart."""
    first = any_colour(rng)
    spread = float(rng.uniform(6, 60))
    colours = [first, *(near(first, rng, spread) for _ in range(int(rng.integers(1, 4))))]
    if rng.random() < 0.25:
        colours.append(any_colour(rng))
    is_regular = rng.random() < 0.22
    low, high = (CLOUDS, CLOUDS + PATTERNS) if is_regular else (0, CLOUDS)
    zoom = float(np.exp(rng.uniform(np.log(0.55), np.log(4.0))))
    return coloured(piece(rng, low, high, height, width, zoom), colours)


def _paste_half(image: Pixels, rng: Rng) -> None:
    """Another surface on one side of a slanted line."""
    size = image.shape[0]
    other = _surface(rng, size, size)
    left, right = (
        float(one) for one in size * rng.uniform(0.2, 0.8) + rng.normal(0, 0.1 * size, 2)
    )
    mask = np.zeros((size, size), np.uint8)
    area = np.array([(0, left), (size, right), (size, size), (0, size)])
    cv2.fillPoly(mask, [area.astype(np.int32)], (255,))
    if rng.random() < 0.3:
        mask = np.ascontiguousarray(mask.T)
    cv2.copyTo(other, mask, image)


def _paste_box(image: Pixels, rng: Rng) -> None:
    """A rectangle of another surface."""
    size = image.shape[0]
    width, height = (int(one) for one in rng.integers(size // 8, size // 2, 2))
    x, y = int(rng.integers(0, size - width)), int(rng.integers(0, size - height))
    image[y : y + height, x : x + width] = _surface(rng, height, width)


def distract(image: Pixels, rng: Rng) -> None:
    """Draws things of no class: lines, arcs, words, irregular blobs, tufts, in place."""
    size = image.shape[0]
    unit = size / 256
    count = int(rng.integers(0, CLUTTER + 1)) if rng.random() < 0.8 else 0
    for _ in range(count):
        colour = tuple(float(one) for one in any_colour(rng))
        x, y = (int(one) for one in rng.integers(0, size, 2))
        kind = int(rng.integers(0, 5))
        if kind == 0:
            end = [int(one) for one in rng.integers(0, size, 2)]
            width = int(rng.integers(1, 2 + int(6 * unit)))
            cv2.line(image, (x, y), (end[0], end[1]), colour, width, cv2.LINE_AA)
        elif kind == 1:
            _arc(image, (x, y), colour, unit, rng)
        elif kind == 2:
            word = "".join(chr(code) for code in rng.integers(97, 123, int(rng.integers(2, 8))))
            scale = float(unit * rng.uniform(0.25, 1.0))
            cv2.putText(image, word, (x, y), 1, scale, colour, 1, cv2.LINE_AA)
        elif kind == 3:
            cv2.fillPoly(image, [_blob(x, y, unit, rng)], colour, cv2.LINE_AA)
        else:
            _tuft(image, (x, y), colour, unit, rng)


def _arc(
    image: Pixels, middle: tuple[int, int], colour: tuple[float, ...], unit: float, rng: Rng
) -> None:
    wide, high = (int(unit * one) for one in rng.integers(8, 60, 2))
    start, turn = float(rng.uniform(0, 360)), float(rng.uniform(0, 180))
    stop = start + float(rng.uniform(40, 160))
    width = int(rng.integers(1, 6))
    cv2.ellipse(image, middle, (wide, high), turn, start, stop, colour, width, cv2.LINE_AA)


def _blob(x: int, y: int, unit: float, rng: Rng) -> Points:
    """An irregular polygon that is no class's."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    radii = rng.uniform(0.3, 1.0, 9) * rng.uniform(5, 40) * unit
    return (polar(1.0, angles) * radii[:, None] + (x, y)).astype(np.int32)


def _tuft(
    image: Pixels, middle: tuple[int, int], colour: tuple[float, ...], unit: float, rng: Rng
) -> None:
    """Blades of grass, or leaves."""
    for angle in rng.normal(-np.pi / 2, 0.7, 8):
        reach = unit * rng.uniform(8, 36)
        end = (int(middle[0] + reach * np.cos(angle)), int(middle[1] + reach * np.sin(angle)))
        cv2.line(image, middle, end, colour, 1 + int(unit), cv2.LINE_AA)
