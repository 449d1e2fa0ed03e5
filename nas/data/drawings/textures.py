"""Textures: fields of grey levels from a bank, coloured by palettes."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Rng = np.random.Generator
Pixels = NDArray[np.uint8]
Colour = NDArray[np.float64]

BANK_SIDE: Final = 512
CLOUDS: Final = 12
PATTERNS: Final = 20
GRAINS: Final = 2


@lru_cache(maxsize=1)
def bank() -> tuple[Pixels, ...]:
    """Fields (BANK_SIDE, BANK_SIDE): clouds of several grains, patterns, and fine noise.

    They are the same for ever; what varies is which piece of them is shown, how large and in which
    colours. Some 30 ms, once a process.
    """
    rng = np.random.default_rng(79)
    clouds = [_clouds(rng, slope) for slope in np.linspace(0.4, 1.5, CLOUDS)]
    patterns = [_pattern(rng, number) for number in range(PATTERNS)]
    grains = [rng.integers(0, 256, (BANK_SIDE, BANK_SIDE), np.uint8) for _ in range(GRAINS)]
    return (*clouds, *patterns, *grains)


def _clouds(rng: Rng, slope: float) -> Pixels:
    """Noise of all scales; from octave to octave it falls by 2^slope, as nature's does."""
    field = np.zeros((BANK_SIDE, BANK_SIDE), np.float32)
    for octave in range(2, 9):
        cells = rng.normal(0, 1, (1 << octave, 1 << octave)).astype(np.float32)
        large = cv2.resize(cells, (BANK_SIDE, BANK_SIDE), interpolation=cv2.INTER_CUBIC)
        field += large * 2.0 ** (-slope * octave)
    if rng.random() < 0.3:  # ridges, as of marble and water
        field = -np.abs(field - field.mean())
    return _levels(field)


def _pattern(rng: Rng, number: int) -> Pixels:
    """Stripes, checks, dots, scales, bricks: regular, a little bent."""
    y, x = np.mgrid[0:BANK_SIDE, 0:BANK_SIDE].astype(np.float32) * (2 * np.pi / 32)
    bend = _clouds(rng, 1.4).astype(np.float32) / 255 * rng.uniform(0, 3)
    x, y = x + bend, y - bend
    kind = number % 5
    if kind == 0:
        return _levels(np.sin(x * rng.uniform(0.8, 2)))
    if kind == 1:
        return _levels(np.tanh(4 * np.sin(x) * np.sin(y)))
    if kind == 2:
        return _levels(np.tanh(5 * (np.cos(x) + np.cos(y) - rng.uniform(0.2, 1))))
    if kind == 3:
        return _levels(np.tanh(8 * np.sin(x * rng.uniform(0.7, 1.6))))
    odd = np.floor(y / np.pi) % 2
    joints = np.maximum(np.cos(2 * y), np.cos(x + odd * np.pi))
    return _levels(np.tanh(6 * (joints - 0.9)))


def _levels(field: NDArray[np.float32]) -> Pixels:
    """The field over the whole range of grey levels."""
    return np.asarray(cv2.normalize(field, None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U), np.uint8)  # type: ignore[call-overload]


def piece(rng: Rng, first: int, last: int, height: int, width: int, zoom: float) -> Pixels:
    """A random piece (height, width) of one of the bank's fields, turned over at random.

    zoom   pixels of the piece a pixel of the field
    """
    field = bank()[int(rng.integers(first, last))]
    rows = int(np.clip(height / zoom, 2, BANK_SIDE))
    columns = int(np.clip(width / zoom, 2, BANK_SIDE))
    top = int(rng.integers(0, BANK_SIDE - rows + 1))
    left = int(rng.integers(0, BANK_SIDE - columns + 1))
    cut = field[top : top + rows, left : left + columns]
    turns = int(rng.integers(0, 4))
    if turns & 1:
        cut = cut[::-1]
    if turns & 2:
        cut = cut[:, ::-1]
    return np.asarray(cv2.resize(cut, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def coloured(field: Pixels, colours: list[Colour]) -> Pixels:
    """A field (h, w) as a picture (h, w, 3): its levels run through the colours in order."""
    places = np.linspace(0, 255, len(colours))
    levels = np.arange(256)
    table = np.stack([np.interp(levels, places, [one[c] for one in colours]) for c in range(3)], 1)
    table = np.clip(table, 0, 255).astype(np.uint8).reshape(1, 256, 3)
    return np.asarray(cv2.LUT(cv2.merge([field] * 3), table), np.uint8)


def any_colour(rng: Rng, hue: float | None = None) -> Colour:
    """A colour (3,), RGB in 0..255: bright or dark, vivid or dull; of a hue in degrees if given."""
    hue = float(rng.uniform(0, 360)) if hue is None else hue
    value = 255 * float(rng.beta(2.2, 1.6))
    saturation = float(rng.beta(1.2, 1.6))
    away = np.abs((hue - np.array([0.0, 120.0, 240.0]) + 180) % 360 - 180)
    share = np.clip(2 - away / 60, 0, 1)
    return np.asarray(value * (1 - saturation * (1 - share)), np.float64)


def near(colour: Colour, rng: Rng, spread: float) -> Colour:
    """A colour like another: lighter or darker by about `spread` levels, and tinted a little."""
    return np.clip(colour + rng.normal(0, spread) + rng.normal(0, spread / 3, 3), 0, 255)
