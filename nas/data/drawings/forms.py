"""Forms: the classes' bodies as parts in a unit circle, each part contours and a tone.

A form is fixed by its class. How it is placed, coloured and textured is each object's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

BODY: Final = 0
ACCENT: Final = 1
DETAIL: Final = 2
TONES: Final = 3
"""A part is painted as the body is, as its accents are, or in the dark of its details."""

TURN: Final = 2 * np.pi


@dataclass(frozen=True, kw_only=True)
class FormPart:
    """Contours (n, 2) about the origin, filled by the even-odd rule, in one tone."""

    contours: tuple[Points, ...]
    tone: int = BODY


Form = tuple[FormPart, ...]


def part(*contours: Points | Sequence[tuple[float, float]], tone: int = BODY) -> FormPart:
    """A part of contours; y points down, as in pictures."""
    return FormPart(contours=tuple(np.asarray(one, np.float64) for one in contours), tone=tone)


def polar(radii: Points | float, angles: Points) -> Points:
    """Points (n, 2) at radii and angles (n,)."""
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def regular(corners: int, radius: float = 1.0, turn: float = -0.25) -> Points:
    """A regular polygon; `turn` (of the circle) is where its first corner lies."""
    return polar(radius, (np.arange(corners) / corners + turn) * TURN)


def star(points: int, inner: float) -> Points:
    """A star with so many points whose dents lie at radius `inner`."""
    return polar(
        np.tile([1.0, inner], points), (np.arange(2 * points) / (2 * points) - 0.25) * TURN
    )


def oval(x: float, y: float, wide: float, high: float | None = None) -> Points:
    """An ellipse about (x, y); a circle where no height is given."""
    circle = polar(1.0, np.linspace(0, TURN, 36, endpoint=False))
    return circle * (wide, wide if high is None else high) + (x, y)


def box(left: float, top: float, right: float, bottom: float) -> Points:
    """A rectangle."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)


def arc(x: float, y: float, radius: float, first: float, last: float, inner: float = 0.0) -> Points:
    """A sector from `first` to `last` (of the circle); with an inner radius, a piece of a ring."""
    angles = np.linspace(first, last, 24) * TURN
    outer = polar(radius, angles)
    back = polar(inner, angles[::-1]) if inner else np.zeros((1, 2))
    return np.asarray(np.concatenate([outer, back]) + np.array([x, y]), np.float64)


def gear(teeth: int) -> Points:
    """A cog wheel's outline."""
    radii = np.tile([1.0, 1.0, 0.76, 0.76], teeth)
    return polar(radii, np.arange(4 * teeth) / (4 * teeth) * TURN)


def smooth(seed: int, waves: int, depth: float) -> Points:
    """A closed curve of so many random waves: a blob of that seed's own."""
    rng = np.random.default_rng([77, seed])
    angles = np.linspace(0, TURN, 72, endpoint=False)
    radii = np.ones(72)
    for wave in range(1, waves + 1):
        strength = depth * rng.uniform(0.5, 1) / np.sqrt(wave)
        radii += strength * np.cos(wave * angles + rng.uniform(0, TURN))
    radii = np.clip(radii, 0.15, None)
    return polar(radii / radii.max(), angles)


def _heart() -> Points:
    t = np.linspace(0, TURN, 48, endpoint=False)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([16 * np.sin(t) ** 3, -y], axis=1) / 17


def _drop() -> Points:
    t = np.linspace(0, TURN, 40, endpoint=False)
    return np.stack([np.sin(t) * np.sin(t / 2) ** 1.5 * 0.8, np.cos(t)], axis=1)


def _crescent() -> Points:
    outer = polar(1.0, np.linspace(0.1, 0.9, 30) * TURN)
    inner = np.add(polar(0.82, np.linspace(0.86, 0.14, 26) * TURN), (0.32, 0.0))
    return np.concatenate([outer, inner])


def _lens() -> Points:
    side = np.linspace(-1, 1, 20)
    bow = 0.42 * (1 - side**2)
    return np.concatenate([np.stack([side, -bow], 1), np.stack([side[::-1], bow], 1)])


def _cross(arm: float) -> Points:
    corner = [(arm, arm), (arm, 1.0), (-arm, 1.0), (-arm, arm), (-1.0, arm), (-1.0, -arm)]
    return np.array(corner + [(-x, -y) for x, y in corner])


ARROW: Final = [(0, -1), (0.7, -0.2), (0.28, -0.2), (0.28, 1), (-0.28, 1), (-0.28, -0.2),
                (-0.7, -0.2)]  # fmt: skip
DOUBLE_ARROW: Final = [(-1, 0), (-0.5, -0.5), (-0.5, -0.2), (0.5, -0.2), (0.5, -0.5), (1, 0),
                       (0.5, 0.5), (0.5, 0.2), (-0.5, 0.2), (-0.5, 0.5)]  # fmt: skip
BOLT: Final = [(0.2, -1), (-0.6, 0.15), (-0.05, 0.15), (-0.25, 1), (0.6, -0.25), (0.05, -0.25),
               (0.45, -1)]  # fmt: skip
ANGLE: Final = [(-0.8, -1), (-0.3, -1), (-0.3, 0.5), (0.8, 0.5), (0.8, 1), (-0.8, 1)]
TEE: Final = [(-0.9, -1), (0.9, -1), (0.9, -0.55), (0.25, -0.55), (0.25, 1), (-0.25, 1),
              (-0.25, -0.55), (-0.9, -0.55)]  # fmt: skip
CHEVRON: Final = [(-0.8, -0.9), (0.1, -0.9), (0.8, 0), (0.1, 0.9), (-0.8, 0.9), (-0.1, 0)]
TRAPEZIUM: Final = [(-0.45, -0.65), (0.45, -0.65), (1, 0.65), (-1, 0.65)]

SIMPLE: Final[dict[str, Form]] = {
    "disc": (part(oval(0, 0, 1)),),
    "ring": (part(oval(0, 0, 1), oval(0, 0, 0.58)),),
    "target": (part(oval(0, 0, 1)), part(oval(0, 0, 0.68), oval(0, 0, 0.34), tone=ACCENT)),
    "ellipse": (part(oval(0, 0, 1, 0.5)),),
    "half-disc": (part(arc(0, 0.4, 1, 0.5, 1.0)),),
    "sector": (part(arc(0, 0, 1, 0.1, 0.9)),),
    "crescent": (part(_crescent()),),
    "drop": (part(_drop()),),
    "heart": (part(_heart()),),
    "lens": (part(_lens()),),
    "triangle": (part(regular(3)),),
    "square": (part(regular(4, turn=0.125)),),
    "frame": (part(box(-0.8, -0.8, 0.8, 0.8), box(-0.5, -0.5, 0.5, 0.5)),),
    "bar": (part(box(-1, -0.2, 1, 0.2)),),
    "pentagon": (part(regular(5)),),
    "hexagon": (part(regular(6)),),
    "trapezium": (part(TRAPEZIUM),),
    "cross": (part(_cross(0.32)),),
    "thin cross": (part(_cross(0.13)),),
    "angle": (part(ANGLE),),
    "tee": (part(TEE),),
    "chevron": (part(CHEVRON),),
    "arrow": (part(ARROW),),
    "double arrow": (part(DOUBLE_ARROW),),
    "bolt": (part(BOLT),),
    "star 4": (part(star(4, 0.36)),),
    "star 5": (part(star(5, 0.42)),),
    "star 9": (part(star(9, 0.66)),),
    "gear": (part(gear(9), oval(0, 0, 0.3)),),
    "blob 1": (part(smooth(1, 3, 0.32)),),
    "blob 2": (part(smooth(2, 4, 0.34)),),
    "blob 3": (part(smooth(3, 5, 0.36)),),
    "blob 4": (part(smooth(4, 6, 0.34)),),
}
"""Classes of one or two contours."""
