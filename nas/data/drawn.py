"""The drawn data set: shapes on textured backgrounds, from a seed, so that nothing is downloaded.

Six classes told by their form, some of them alike: disc and ring, square and cross, triangle and
star. Each leans towards a hue of its own, widely enough that colour alone misleads, so that a
training of seconds learns something and a long one has more to learn. Objects are small to large,
turned, sheared, overlapping, cut by the border; lines, arcs, letters and irregular blobs distract.
Part and index seed each image, so any image can be drawn alone and no two parts share one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from nas.data.images import ImageSet, Labels, Picture, gather
from nas.space.image_size import ImageSize

NAME: Final = "shapes"
NAMES: Final = ("disc", "ring", "square", "cross", "triangle", "star")

VERSION: Final = "shapes 1"
"""Changes with anything that changes a pixel or a box. 1: the first."""

SIZE: Final = 320
"""Side of the drawn square in pixels."""

SMALLEST: Final = 22.0
LARGEST: Final = 150.0
"""Diameters in pixels of the drawn square; drawn log-uniformly between them."""

OBJECTS: Final = (2, 9)
"""Fewest and most objects drawn on one image."""

VISIBLE_SHARE: Final = 0.3
"""An object of which less is seen (behind others, or outside) is not labelled."""

MINIMAL_SIDE: Final = 6
"""A visible box thinner than this, in pixels, is not labelled."""

HUE_SPREAD: Final = 26.0
"""Standard deviation in degrees of a class's hue around its own; the classes' lie 60 apart."""

ANY_HUE_SHARE: Final = 0.15
"""Share of objects of any hue whatever."""

SHIFT: Final = 4
"""Fractional bits of the coordinates given to OpenCV: 1/16 pixel."""

SEEDS: Final = {"train": 1, "val": 2, "test": 3}
COUNTS: Final = {"train": 512, "val": 128, "test": 128}

Rng = np.random.Generator
Pixels = NDArray[np.uint8]
Contours = list[NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class DrawnSource:
    """One part of the drawn data set."""

    part: str
    count: int

    def load(self, image_size: ImageSize, threads: int) -> ImageSet:
        """The part's images, drawn now; about 2 ms each."""

        def load_one(index: int) -> Picture:
            return draw(np.random.default_rng([SEEDS[self.part], index]))

        files = [f"{NAME}/{self.part}/{index:04d}" for index in range(self.count)]
        return gather(files, load_one, NAMES, image_size, threads)


def parts() -> Mapping[str, DrawnSource]:
    """The parts of the drawn data set by name."""
    return {part: DrawnSource(part=part, count=count) for part, count in COUNTS.items()}


def draw(rng: Rng) -> Picture:
    """One image (SIZE, SIZE, 3) and the objects seen on it."""
    image = _background(rng)
    _distract(image, rng)
    owner: NDArray[np.uint8] = np.zeros((SIZE, SIZE), np.uint8)
    count = int(rng.integers(OBJECTS[0], OBJECTS[1] + 1))
    kinds = rng.integers(0, len(NAMES), count)
    # Large ones first: nearer objects are drawn later, and a small one behind a large one is lost.
    diameters = np.sort(np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST), count)))[::-1]
    areas = [
        _draw_object(image, owner, index + 1, NAMES[kinds[index]], diameters[index], rng)
        for index in range(count)
    ]
    _light(image, rng)
    return image, _visible(owner, kinds, areas)


def _visible(owner: Pixels, kinds: NDArray[np.int64], areas: list[float]) -> Labels:
    """Class and box of each object of which enough is seen."""
    classes, boxes = [], []
    for index, area in enumerate(areas):
        seen = cv2.compare(owner, np.full(1, index + 1, np.float64), cv2.CMP_EQ)
        if cv2.countNonZero(seen) < VISIBLE_SHARE * area:
            continue
        left, top, width, height = cv2.boundingRect(seen)
        if min(width, height) >= MINIMAL_SIDE:
            classes.append(kinds[index])
            boxes.append((left, top, left + width, top + height))
    return Labels(
        classes=np.array(classes, np.int64),
        boxes=np.array(boxes, np.float64).reshape(-1, 4) / SIZE,
    )


def _draw_object(
    image: Pixels, owner: Pixels, number: int, kind: str, diameter: float, rng: Rng
) -> float:
    """Draws an object, marks its pixels in `owner`, and returns its whole area in pixels."""
    # A small object must lie inside, a large one may be cut by the border.
    margin = diameter * rng.uniform(0.25, 0.55)
    centre = rng.uniform(margin, SIZE - margin, 2)
    contours = [_place(points, diameter / 2, centre, rng) for points in _outline(kind)]
    if len(contours) == 2:  # a ring: both circles must be turned and sheared alike
        contours[1] = centre + (contours[0] - centre) * rng.uniform(0.45, 0.62)
    local = np.array(cv2.mean(image[_around(centre, diameter)])[:3])
    colour = _object_colour(kind, local, rng)
    fixed = [_fixed(contour) for contour in contours]
    cv2.fillPoly(image, fixed, colour, cv2.LINE_AA, SHIFT)
    if rng.random() < 0.4:
        edge = tuple(float(channel) * rng.uniform(0.3, 0.8) for channel in colour)
        thickness = 1 + int(diameter > 60)
        cv2.polylines(image, fixed, True, edge, thickness, cv2.LINE_AA, SHIFT)
    cv2.fillPoly(owner, fixed, (number,), cv2.LINE_8, SHIFT)
    sizes = [abs(float(cv2.contourArea(contour.astype(np.float32)))) for contour in contours]
    return sizes[0] - sum(sizes[1:])


def _outline(kind: str) -> Contours:
    """The contours of a shape in the unit circle; a second one is a hole."""
    turn = 2 * np.pi
    if kind in ("disc", "ring"):
        angles = np.linspace(0, turn, 40, endpoint=False)
        return [_polar(np.ones(40), angles)] * (2 if kind == "ring" else 1)
    if kind == "square":
        return [_polar(np.ones(4), np.arange(4) * turn / 4)]
    if kind == "triangle":
        return [_polar(np.ones(3), np.arange(3) * turn / 3)]
    if kind == "star":
        return [_polar(np.tile([1.0, 0.45], 5), np.arange(10) * turn / 10)]
    arm = 0.33
    corner = [(arm, arm), (arm, 0.94), (-arm, 0.94), (-arm, arm), (-0.94, arm), (-0.94, -arm)]
    return [np.array(corner + [(-x, -y) for x, y in corner])]


def _polar(radii: NDArray[np.float64], angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (n, 2) at radii and angles."""
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _place(
    points: NDArray[np.float64], radius: float, centre: NDArray[np.float64], rng: Rng
) -> NDArray[np.float64]:
    """The points turned, stretched and sheared a little, scaled and moved."""
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    stretch = np.exp(rng.uniform(-0.22, 0.22))
    warp = np.array([[stretch, rng.uniform(-0.15, 0.15)], [0.0, 1 / stretch]])
    moved: NDArray[np.float64] = centre + radius * points @ (warp @ turn).T
    return moved


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Points in OpenCV's fixed-point form; a pixel's centre is at its index."""
    return np.rint((points - 0.5) * (1 << SHIFT)).astype(np.int32)


def _around(centre: NDArray[np.float64], diameter: float) -> tuple[slice, slice]:
    """The rows and columns around a point."""
    x, y = (int(value) for value in centre)
    reach = max(2, int(diameter / 2))
    return slice(max(0, y - reach), y + reach), slice(max(0, x - reach), x + reach)


def _object_colour(kind: str, local: NDArray[Any], rng: Rng) -> tuple[float, ...]:
    """A colour near the class's hue, at least 50 levels from `local` in some channel if it can."""
    own = 360.0 * NAMES.index(kind) / len(NAMES)
    for _ in range(20):
        hue = rng.uniform(0, 360) if rng.random() < ANY_HUE_SHARE else rng.normal(own, HUE_SPREAD)
        colour = _vivid(hue, rng)
        if np.abs(np.array(colour) - local).max() >= 50:
            break
    return colour


def _vivid(hue: float, rng: Rng) -> tuple[float, ...]:
    """A saturated colour (r, g, b in 0..255) of a hue in degrees."""
    value, saturation = rng.uniform(110, 250), rng.uniform(0.5, 1.0)
    # The share of each channel runs linearly between the primaries, a third of the circle apart.
    away = np.abs((hue - np.array([0.0, 120.0, 240.0]) + 180) % 360 - 180)
    share = np.clip(2 - away / 60, 0, 1)
    return tuple(float(level) for level in value * (1 - saturation * (1 - share)))


def _background(rng: Rng) -> Pixels:
    """A texture (SIZE, SIZE, 3): clouds of two grains around one colour, and fine noise."""
    base = rng.uniform(50, 205) + rng.normal(0, 14, 3)
    coarse = base + rng.normal(0, rng.uniform(5, 30), (3, 3, 3))
    cells = int(rng.integers(8, 40))
    fine = rng.normal(0, rng.uniform(3, 18), (cells, cells, 3))
    texture = cv2.add(_enlarge(coarse), _enlarge(fine))
    grain = cv2.merge([rng.integers(0, 256, (SIZE, SIZE), np.uint8)] * 3)
    strength = rng.uniform(0.02, 0.16)
    mixed = cv2.addWeighted(texture, 1.0, grain, strength, -127.5 * strength, dtype=cv2.CV_8U)
    return np.asarray(mixed, np.uint8)


def _enlarge(clouds: NDArray[np.float64]) -> NDArray[np.float32]:
    """A smooth surface (SIZE, SIZE, 3) through a few cells."""
    large = cv2.resize(clouds.astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    return np.asarray(large, np.float32)


def _distract(image: Pixels, rng: Rng) -> None:
    """Draws things that are of no class: lines, arcs, letters, irregular blobs."""
    for _ in range(int(rng.integers(1, 7))):
        colour = _vivid(rng.uniform(0, 360), rng)
        x, y = (int(value) for value in rng.integers(0, SIZE, 2))
        kind = rng.integers(0, 4)
        if kind == 0:
            end = tuple(int(value) for value in rng.integers(0, SIZE, 2))
            cv2.line(image, (x, y), end, colour, int(rng.integers(1, 6)), cv2.LINE_AA)
        elif kind == 1:
            axes = tuple(int(value) for value in rng.integers(8, 60, 2))
            start = float(rng.uniform(0, 360))
            stop = start + float(rng.uniform(40, 160))
            turn = float(rng.uniform(0, 180))
            thickness = int(rng.integers(1, 6))
            cv2.ellipse(image, (x, y), axes, turn, start, stop, colour, thickness, cv2.LINE_AA)
        elif kind == 2:
            letters = "".join(chr(code) for code in rng.integers(65, 91, 3))
            scale = float(rng.uniform(0.4, 1.6))
            font = cv2.FONT_HERSHEY_SIMPLEX
            cv2.putText(image, letters, (x, y), font, scale, colour, 2, cv2.LINE_AA)
        else:
            angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
            blob = _polar(rng.uniform(0.3, 1.0, 9), angles) * rng.uniform(8, 45) + (x, y)
            cv2.fillPoly(image, [_fixed(blob)], colour, cv2.LINE_AA, SHIFT)


def _light(image: Pixels, rng: Rng) -> None:
    """Shades the image from one corner to another, and blurs some images a little."""
    corners = rng.uniform(0.65, 1.15, (2, 2, 1)).astype(np.float32)
    shade = cv2.resize(corners, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    cv2.multiply(image, cv2.merge([shade] * 3), dst=image, dtype=cv2.CV_8U)
    if rng.random() < 0.3:
        np.copyto(image, cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.5, 1.2))))
