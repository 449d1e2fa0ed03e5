"""One object: its form placed in the picture, painted, and who owns which pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from nas.data.drawings.classes import UPRIGHT, Kind
from nas.data.drawings.forms import ACCENT, BODY, TONES, TURN, Points
from nas.data.drawings.textures import (
    CLOUDS,
    PATTERNS,
    Colour,
    Pixels,
    Rng,
    any_colour,
    coloured,
    near,
    piece,
)

SHIFT: Final = 4
"""Fractional bits of the coordinates given to OpenCV: 1/16 pixel."""

OWN_HUE: Final = 0.35
"""Share of objects near a hue of their class; the others are of any colour."""

HUE_STEP: Final = 137.5
"""Degrees between the hues of neighbouring classes, so that classes that look alike differ in it
no more than others."""

CONTRAST: Final = 38.0
"""Levels by which most objects differ from what is behind them in some channel."""

CAMOUFLAGED: Final = 0.12
"""Share of objects that may differ by less."""


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Where an object lies in the picture, in pixels, and how much of it there is."""

    left: int
    top: int
    right: int
    bottom: int
    area: int
    """Pixels that it covers, those outside the picture too."""


@dataclass(frozen=True, kw_only=True)
class Paint:
    """The look of an object: a colour and a texture for each tone."""

    colours: tuple[list[Colour], ...]
    """Of each tone, from the dark of its texture to the light."""
    textures: tuple[int, ...]
    """0 flat, 1 clouds, 2 a pattern, 3 shaded as a ball is."""


def draw_object(
    image: Pixels, owner: Pixels, number: int, kind: Kind, diameter: float, middle: Points, rng: Rng
) -> Placed | None:
    """Draws an object about a point, marks its pixels in `owner`; None where none lie inside."""
    contours = _placed(kind, diameter / 2, rng)
    every = np.concatenate([one for part in contours for one in part]) + middle
    low = np.floor(every.min(axis=0)).astype(int) - 1
    high = np.ceil(every.max(axis=0)).astype(int) + 2
    size = image.shape[0]
    inside_low, inside_high = np.maximum(low, 0), np.minimum(high, size)
    if (inside_high - inside_low < 2).any():
        return None
    height, width = int(high[1] - low[1]), int(high[0] - low[0])
    window = (
        slice(inside_low[1] - low[1], inside_high[1] - low[1]),
        slice(inside_low[0] - low[0], inside_high[0] - low[0]),
    )
    there = image[inside_low[1] : inside_high[1], inside_low[0] : inside_high[0]]
    paint = _paint(kind, np.array(cv2.mean(there)[:3]), rng)
    whole = np.zeros((height, width), np.uint8)
    looks = [_look(paint, tone, (height, width), rng) for tone in range(TONES)]
    _shadow(image, contours[0], middle, diameter, rng)
    for part, placed in zip(kind.form, contours, strict=True):
        mask = np.zeros((height, width), np.uint8)
        fixed = [_fixed(one + (middle - low)) for one in placed]
        cv2.fillPoly(mask, fixed, (255,), cv2.LINE_AA, SHIFT)
        cv2.max(whole, mask, dst=whole)
        _blend(there, looks[part.tone][window], mask[window])
    own = owner[inside_low[1] : inside_high[1], inside_low[0] : inside_high[0]]
    seen = whole > 127
    own[seen[window]] = number
    return Placed(
        left=int(inside_low[0]), top=int(inside_low[1]), right=int(inside_high[0]),
        bottom=int(inside_high[1]), area=int(np.count_nonzero(seen)),
    )  # fmt: skip


def _placed(kind: Kind, radius: float, rng: Rng) -> list[list[Points]]:
    """The parts' contours turned, mirrored, stretched, sheared, in perspective, and enlarged."""
    angle = rng.uniform(0, TURN) if kind.turns else rng.normal(0, UPRIGHT)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    stretch = np.exp(rng.normal(0, 0.14))
    warp = np.array([[stretch, rng.normal(0, 0.1)], [0.0, 1 / stretch]])
    matrix = turn @ warp
    tilt = rng.normal(0, 0.1, 2)
    placed = []
    for part in kind.form:
        own = []
        for contour in part.contours:
            flat = contour @ matrix.T
            own.append(radius * flat / (1 + flat @ tilt)[:, None].clip(0.5, 2))
        placed.append(own)
    return placed


def _fixed(points: Points) -> NDArray[np.int32]:
    """Points in OpenCV's fixed-point form; a pixel's centre is at its index."""
    return np.rint((points - 0.5) * (1 << SHIFT)).astype(np.int32)


def _paint(kind: Kind, behind: Colour, rng: Rng) -> Paint:
    """Colours that differ from what is behind, mostly, and from one another."""
    hue = HUE_STEP * kind.number + rng.normal(0, 22)
    is_own = rng.random() < OWN_HUE
    wanted = 0.0 if rng.random() < CAMOUFLAGED else CONTRAST
    body = any_colour(rng, hue if is_own else None)
    for _ in range(12):
        if np.abs(body - behind).max() >= wanted:
            break
        body = any_colour(rng, hue if is_own else None)
    accent = any_colour(rng)
    for _ in range(6):
        if np.abs(accent - body).max() >= CONTRAST:
            break
        accent = any_colour(rng)
    detail = near(body * rng.uniform(0.1, 0.5), rng, 12)
    colours = []
    for tone in (body, accent, detail):
        spread = float(rng.uniform(4, 40))
        other = any_colour(rng) if rng.random() < 0.15 else near(tone, rng, spread)
        colours.append([tone, other])
    textures = rng.choice(4, TONES, p=(0.3, 0.25, 0.15, 0.3))
    return Paint(colours=tuple(colours), textures=tuple(int(one) for one in textures))


def _look(paint: Paint, tone: int, shape: tuple[int, int], rng: Rng) -> Pixels:
    """What a tone looks like over a whole object (h, w, 3)."""
    texture, colours = paint.textures[tone], paint.colours[tone]
    if texture == 0 or (tone > ACCENT and min(shape) < 40):
        return np.full((*shape, 3), colours[0].astype(np.uint8), np.uint8)
    if texture == 3 and tone == BODY:
        return _ball(shape, colours[0], rng)
    zoom = max(min(shape) / 60, 0.3) * float(np.exp(rng.normal(0, 0.5)))
    first, last = (0, CLOUDS) if texture != 2 else (CLOUDS, CLOUDS + PATTERNS)
    return coloured(piece(rng, first, last, *shape, zoom), colours)


def _ball(shape: tuple[int, int], colour: Colour, rng: Rng) -> Pixels:
    """A colour lit from one side: bright where the light falls, dark away from it."""
    height, width = shape
    x0, y0 = rng.uniform(0.2, 0.8, 2)
    x = (np.arange(width, dtype=np.float32) / width - np.float32(x0)) ** 2
    y = (np.arange(height, dtype=np.float32) / height - np.float32(y0)) ** 2
    field = np.clip(255 * (1 - (x[None] + y[:, None]) / 0.8), 0, 255).astype(np.uint8)
    light = np.clip(colour * rng.uniform(1.1, 1.6) + rng.uniform(0, 40), 0, 255)
    return coloured(field, [colour * rng.uniform(0.3, 0.7), colour, light])


def _blend(there: Pixels, look: Pixels, mask: Pixels) -> None:
    """Paints where the mask is white, in place; its grey edge mixes."""
    share = mask.astype(np.float32) * np.float32(1 / 255)
    np.copyto(there, cv2.blendLinear(np.ascontiguousarray(look), there.copy(), share, 1 - share))


def _shadow(
    image: Pixels, contours: list[Points], middle: Points, diameter: float, rng: Rng
) -> None:
    """Some objects throw a soft shadow on what is behind them."""
    if rng.random() > 0.3 or diameter < 14:
        return
    size = image.shape[0]
    shift = rng.uniform(-0.14, 0.14, 2) * diameter
    low = np.clip((middle + shift - 0.75 * diameter).astype(int), 0, size)
    high = np.clip((middle + shift + 0.75 * diameter).astype(int), 0, size)
    width, height = (int(one) for one in high - low)
    if width < 4 or height < 4:
        return
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [_fixed(one + middle + shift - low) for one in contours], (255,), 8, SHIFT)
    reach = 2 * int(1 + 0.05 * diameter) + 1
    soft = cv2.blur(mask, (reach, reach)).astype(np.float32)
    kept = 1 - soft * np.float32(rng.uniform(0.25, 0.6) / 255)
    there = image[low[1] : high[1], low[0] : high[0]]
    np.copyto(there, cv2.multiply(there, cv2.merge([kept] * 3), dtype=cv2.CV_8U))
