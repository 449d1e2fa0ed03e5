"""The anchors of a model YAML: sizes in pixels, or how many a level has."""

from __future__ import annotations

import math
from typing import Any, Final

from nas.space.modules.argument import SpecError, is_int, is_number

Anchors = tuple[tuple[float, ...], ...]
"""One tuple (w, h, w, h, ...) in pixels for each level."""

DEFAULT_ANCHORS: Final[Anchors] = (
    (10, 13, 16, 30, 33, 23),
    (30, 61, 62, 45, 59, 119),
    (116, 90, 156, 198, 373, 326),
)
"""YOLOv5's anchors for COCO at 640 px: (w, h) pairs in pixels for P3, P4, P5."""

MOST_PER_LEVEL: Final = 64
LARGEST_SIDE: Final = 100_000
"""Pixels."""

SMALLEST_PRIOR: Final = 10.0
LARGEST_PRIOR: Final = 370.0
"""Sides in pixels, as those of YOLOv5's own."""


def default_anchors(levels: int, per_level: int) -> Anchors:
    """Anchors where there is no data to fit them to: YOLOv5's where the counts are its own.

    Others are squares, their sides evenly spread by ratio, the smallest on the first level.
    """
    if (levels, per_level) == (len(DEFAULT_ANCHORS), len(DEFAULT_ANCHORS[0]) // 2):
        return DEFAULT_ANCHORS
    count = levels * per_level
    ratio = (LARGEST_PRIOR / SMALLEST_PRIOR) ** (1 / max(count - 1, 1))
    sides = [float(round(SMALLEST_PRIOR * ratio**i)) for i in range(count)]
    return tuple(
        tuple(side for side in sides[level * per_level :][:per_level] for _ in "wh")
        for level in range(levels)
    )


def scale_anchors(anchors: Anchors, factor: float) -> Anchors:
    """The same anchors at an image size that is `factor` times theirs."""
    return tuple(tuple(value * factor for value in level) for level in anchors)


def read_anchors(value: Any, levels: int, where: str) -> Anchors:
    """The anchors that a model YAML states, or default ones where it says how many (SpecError).

    levels   those that the model's last row reads
    """
    if is_int(value) and 1 <= value <= MOST_PER_LEVEL:
        return default_anchors(levels, value)
    rule = (
        "the anchors are a list for each level, of as many (w, h) pairs in each, pixels above 0,"
        " or a number: so many for each level"
    )
    remedy = (
        "Example: 3, or [[10,13, 16,30, 33,23], [30,61, 62,45, 59,119], [116,90, 156,198, 373,326]]"
    )
    if not isinstance(value, list) or not value or not all(map(_is_level, value)):
        raise SpecError(where, rule, repr(value), remedy)
    if len({len(level) for level in value}) != 1:
        raise SpecError(where, rule, repr(value), remedy)
    return tuple(map(tuple, value))


def _is_level(value: Any) -> bool:
    """Whether a value is a list of pairs of sides."""
    return (
        isinstance(value, list)
        and 2 <= len(value) <= 2 * MOST_PER_LEVEL
        and len(value) % 2 == 0
        and all(
            is_number(side) and math.isfinite(side) and 0 < side < LARGEST_SIDE for side in value
        )
    )
