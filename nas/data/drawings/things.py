"""Things: classes composed of several parts, as most of what people detect is."""

from __future__ import annotations

from typing import Final

import numpy as np

from nas.data.drawings.forms import (
    ACCENT,
    BODY,
    DETAIL,
    TURN,
    Form,
    Points,
    arc,
    box,
    oval,
    part,
    polar,
    regular,
)


def _around(count: int, radius: float, wide: float, turn: float = 0.0) -> list[Points]:
    """Circles about points of a circle."""
    centres = polar(radius, (np.arange(count) / count + turn) * TURN)
    return [oval(float(x), float(y), wide) for x, y in centres]


def _bug() -> Form:
    legs = [
        part([(0, y - 0.05), (side * 0.95, y + lean), (side * 0.9, y + lean + 0.1), (0, y + 0.05)],
             tone=DETAIL)
        for side in (-1, 1) for y, lean in ((-0.3, -0.3), (0.0, 0.0), (0.3, 0.3))
    ]  # fmt: skip
    return (*legs, part(oval(0, 0.1, 0.42, 0.75)), part(oval(0, -0.7, 0.28), tone=ACCENT))


def _flower() -> Form:
    return (*(part(one) for one in _around(6, 0.62, 0.37)), part(oval(0, 0, 0.36), tone=ACCENT))


def _die() -> Form:
    pips = [oval(x, y, 0.15) for x in (-0.42, 0.42) for y in (-0.42, 0.42)]
    return (part(box(-0.8, -0.8, 0.8, 0.8)), part(*pips, oval(0, 0, 0.15), tone=DETAIL))


def _ladder() -> Form:
    rungs = [part(box(-0.4, y, 0.4, y + 0.12), tone=ACCENT) for y in (-0.8, -0.4, 0.0, 0.4, 0.75)]
    return (part(box(-0.5, -1, -0.35, 1)), part(box(0.35, -1, 0.5, 1)), *rungs)


def _wheel() -> Form:
    spokes = [
        part(polar(np.array([0.9, 0.9, 0.9, 0.9]), angle + np.array([-0.07, 0.07, np.pi - 0.07,
             np.pi + 0.07])), tone=ACCENT)
        for angle in (0, TURN / 6, TURN / 3)
    ]  # fmt: skip
    return (*spokes, part(oval(0, 0, 1), oval(0, 0, 0.78)), part(oval(0, 0, 0.2)))


def _butterfly() -> Form:
    pairs = ((-0.35, 0.5, BODY), (0.5, 0.36, ACCENT))
    wings = [
        part(oval(side * 0.5, y, 0.48, high), tone=tone)
        for side in (-1, 1)
        for y, high, tone in pairs
    ]
    return (*wings, part(oval(0, 0.05, 0.12, 0.75), tone=DETAIL))


def _berries() -> Form:
    fruit = [part(one) for one in _around(3, 0.42, 0.46, 0.08)]
    return (*fruit, part([(-0.1, -0.3), (0.05, -1), (0.2, -0.95), (0.1, -0.3)], tone=DETAIL))


THINGS: Final[dict[str, Form]] = {
    "house": (
        part(box(-0.7, -0.1, 0.7, 0.9)),
        part([(-0.95, -0.1), (0, -0.95), (0.95, -0.1)], tone=ACCENT),
        part(box(-0.2, 0.3, 0.2, 0.9), tone=DETAIL),
    ),
    "tree": (
        part(box(-0.12, 0.3, 0.12, 1), tone=DETAIL),
        part(oval(0, -0.3, 0.68)),
    ),
    "fir": (
        part(box(-0.1, 0.6, 0.1, 1), tone=DETAIL),
        part([(0, -1), (0.5, -0.2), (-0.5, -0.2)]),
        part([(0, -0.6), (0.62, 0.25), (-0.62, 0.25)]),
        part([(0, -0.2), (0.75, 0.7), (-0.75, 0.7)]),
    ),
    "cart": (
        part(
            [
                (-1, -0.1),
                (-0.5, -0.1),
                (-0.3, -0.5),
                (0.4, -0.5),
                (0.6, -0.1),
                (1, -0.05),
                (1, 0.3),
                (-1, 0.3),
            ]
        ),
        part([(-0.4, -0.1), (-0.24, -0.4), (0.33, -0.4), (0.45, -0.1)], tone=ACCENT),
        part(oval(-0.55, 0.32, 0.23), oval(0.55, 0.32, 0.23), tone=DETAIL),
    ),
    "bottle": (
        part(
            [
                (-0.14, -1),
                (0.14, -1),
                (0.14, -0.5),
                (0.35, -0.2),
                (0.35, 1),
                (-0.35, 1),
                (-0.35, -0.2),
                (-0.14, -0.5),
            ]
        ),
        part(box(-0.35, 0.1, 0.35, 0.6), tone=ACCENT),
        part(box(-0.17, -1, 0.17, -0.85), tone=DETAIL),
    ),
    "mug": (
        part(oval(0.55, 0, 0.42), oval(0.55, 0, 0.24)),
        part(box(-0.75, -0.7, 0.5, 0.8)),
        part(oval(-0.125, -0.7, 0.625, 0.16), tone=ACCENT),
    ),
    "key": (
        part(oval(0, -0.6, 0.4), oval(0, -0.6, 0.2)),
        part(box(-0.09, -0.25, 0.09, 1)),
        part(box(0.05, 0.5, 0.36, 0.64)),
        part(box(0.05, 0.8, 0.3, 0.95)),
    ),
    "dumb-bell": (
        part(box(-0.7, -0.1, 0.7, 0.1), tone=ACCENT),
        part(oval(-0.66, 0, 0.34)),
        part(oval(0.66, 0, 0.34)),
    ),
    "fish": (
        part([(0.45, 0), (1, -0.5), (0.85, 0), (1, 0.5)], tone=ACCENT),
        part(oval(-0.2, 0, 0.78, 0.42)),
        part(oval(-0.65, -0.1, 0.08), tone=DETAIL),
    ),
    "bird": (
        part(oval(0, 0.1, 0.7, 0.36)),
        part(oval(-0.6, -0.3, 0.27)),
        part([(-0.1, 0.1), (0.7, -0.8), (0.5, 0.2)], tone=ACCENT),
        part([(-0.85, -0.35), (-1.05, -0.22), (-0.83, -0.2)], tone=DETAIL),
    ),
    "mushroom": (
        part([(-0.2, 0), (0.2, 0), (0.3, 1), (-0.3, 1)], tone=ACCENT),
        part(arc(0, 0.15, 0.95, 0.5, 1)),
    ),
    "umbrella": (
        part(box(-0.05, -0.2, 0.05, 0.95), tone=DETAIL),
        part(arc(0, 0.1, 1, 0.5, 1)),
        part(arc(0, 0.1, 1, 0.67, 0.83), tone=ACCENT),
    ),
    "person": (
        part(oval(0, -0.78, 0.21), tone=ACCENT),
        part(
            [
                (-0.35, -0.52),
                (0.35, -0.52),
                (0.5, 0.1),
                (0.36, 0.12),
                (0.24, -0.22),
                (0.26, 0.2),
                (-0.26, 0.2),
                (-0.24, -0.22),
                (-0.36, 0.12),
                (-0.5, 0.1),
            ]
        ),
        part(
            [(-0.26, 0.2), (0.26, 0.2), (0.3, 1), (0.08, 1), (0, 0.4), (-0.08, 1), (-0.3, 1)],
            tone=DETAIL,
        ),
    ),
    "face": (
        part(oval(0, 0, 0.95)),
        part(oval(-0.35, -0.25, 0.14), oval(0.35, -0.25, 0.14), tone=DETAIL),
        part(arc(0, 0.1, 0.55, 0.02, 0.48, 0.42), tone=ACCENT),
    ),
    "lights": (
        part(box(-0.4, -1, 0.4, 1), tone=DETAIL),
        part(oval(0, -0.6, 0.25), tone=ACCENT),
        part(oval(0, 0, 0.25)),
        part(oval(0, 0.6, 0.25), tone=ACCENT),
    ),
    "flag": (
        part(box(-0.7, -1, -0.58, 1), tone=DETAIL),
        part([(-0.58, -0.95), (0.8, -0.5), (-0.58, -0.05)]),
    ),
    "hammer": (
        part(box(-0.1, -0.5, 0.1, 1), tone=ACCENT),
        part(box(-0.6, -0.85, 0.5, -0.45)),
    ),
    "spanner": (
        part(box(-0.14, -0.5, 0.14, 0.6)),
        part(arc(0, -0.65, 0.38, 0.82, 1.68, 0.16)),
        part(oval(0, 0.7, 0.28), oval(0, 0.7, 0.13)),
    ),
    "chip": (
        part(
            *(
                box(side - 0.2, y, side + 0.2, y + 0.16)
                for side in (-0.6, 0.6)
                for y in (-0.85, -0.45, -0.05, 0.35, 0.72)
            ),
            tone=ACCENT,
        ),
        part(box(-0.6, -1, 0.6, 1), tone=DETAIL),
        part(oval(-0.35, -0.75, 0.12), tone=ACCENT),
    ),
    "sweet": (
        part([(-0.4, 0), (-1, -0.4), (-1, 0.4)], [(0.4, 0), (1, -0.4), (1, 0.4)], tone=ACCENT),
        part(oval(0, 0, 0.5)),
    ),
    "bug": _bug(),
    "flower": _flower(),
    "die": _die(),
    "ladder": _ladder(),
    "wheel": _wheel(),
    "butterfly": _butterfly(),
    "berries": _berries(),
    "lantern": (
        part(regular(6, 0.8)),
        part(box(-0.3, -1, 0.3, -0.75), tone=DETAIL),
        part(box(-0.8, -0.1, 0.8, 0.1), tone=ACCENT),
    ),
}
"""Classes of several parts, painted in this order."""
