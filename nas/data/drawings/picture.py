"""A whole drawn picture and its labels, from a generator of random numbers."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from nas.data.drawings.camera import photograph
from nas.data.drawings.classes import NAMES, any_kind
from nas.data.drawings.objects import Placed, draw_object
from nas.data.drawings.scene import background, distract
from nas.data.drawings.textures import Pixels, Rng
from nas.data.images import Labels, Picture

VISIBLE_SHARE: Final = 0.3
"""An object of which less is seen (behind others, or outside) is not labelled."""

MINIMAL_SIDE: Final = 4
"""A visible box thinner than this, in pixels, is not labelled."""

EMPTY: Final = 0.04
"""Share of pictures without an object."""

SCENES: Final = (
    (0.30, (1, 4), (0.20, 0.85)),
    (0.40, (2, 10), (0.08, 0.45)),
    (0.20, (6, 26), (0.035, 0.16)),
    (0.10, (8, 30), (0.06, 0.25)),
)
"""Share of pictures, fewest and most objects, smallest and largest diameter as shares of the side.
In the last scene, a crowd, the objects are of one or two classes and of like size."""

CROWD: Final = len(SCENES) - 1


def draw(rng: Rng, size: int) -> Picture:
    """One picture (size, size, 3) RGB and the objects seen on it."""
    image = background(rng, size)
    distract(image, rng)
    kinds, diameters, middles = _cast(rng, size)
    owner: Pixels = np.zeros((size, size), np.uint8)
    placed = [
        draw_object(image, owner, index + 1, any_kind(int(kind), rng), diameter, middle, rng)
        for index, (kind, diameter, middle) in enumerate(
            zip(kinds, diameters, middles, strict=True)
        )
    ]
    return photograph(image, rng), visible(owner, kinds, placed)


def _cast(
    rng: Rng, size: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Classes (n,), diameters (n,) and middles (n, 2) in pixels, the largest objects first.

    Nearer objects are drawn later, and a small one behind a large one would be lost.
    """
    if rng.random() < EMPTY:
        return np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 2))
    scene = int(rng.choice(len(SCENES), p=[one[0] for one in SCENES]))
    _, (fewest, most), (smallest, largest) = SCENES[scene]
    count = int(rng.integers(fewest, most + 1))
    kinds = rng.integers(0, len(NAMES), count)
    low, high = np.log(smallest * size), np.log(largest * size)
    diameters = np.exp(rng.uniform(low, high, count))
    middles = rng.uniform(0, size, (count, 2))
    if scene == CROWD:
        kinds = rng.choice(rng.integers(0, len(NAMES), int(rng.integers(1, 3))), count)
        diameters = np.exp(rng.uniform(low, high) + rng.normal(0, 0.18, count))
        centre, reach = rng.uniform(0.3, 0.7, 2), rng.uniform(0.12, 0.4)
        middles = (centre + rng.normal(0, reach, (count, 2))) * size
    order = np.argsort(-diameters)
    # A small object lies inside, a large one may be cut by the border.
    margin = (diameters * rng.uniform(0.15, 0.5, count))[:, None]
    return kinds[order], diameters[order], np.clip(middles, margin, size - margin)[order]


def visible(owner: Pixels, kinds: NDArray[np.int64], placed: list[Placed | None]) -> Labels:
    """Class and box of each object of which enough is seen; object i owns pixels of i + 1."""
    size = owner.shape[0]
    classes, boxes = [], []
    for index, place in enumerate(placed):
        if place is None:
            continue
        window = owner[place.top : place.bottom, place.left : place.right]
        seen = cv2.compare(window, np.full(1, index + 1, np.float64), cv2.CMP_EQ)
        if cv2.countNonZero(seen) < max(1, VISIBLE_SHARE * place.area):
            continue
        left, top, width, height = cv2.boundingRect(seen)
        if min(width, height) >= MINIMAL_SIDE:
            left, top = left + place.left, top + place.top
            classes.append(kinds[index])
            boxes.append((left, top, left + width, top + height))
    return Labels(
        classes=np.array(classes, np.int64),
        boxes=np.array(boxes, np.float64).reshape(-1, 4) / size,
    )
