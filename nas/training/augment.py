"""Training batches: mosaic, flips, scale and shift, colour jitter, each a function of an rng.

Geometry is one 3x3 matrix an image, in continuous coordinates (the left edge of the first pixel is
0, the right edge of the last is the width), so that pixels and boxes can't drift apart; the pixels
are resampled once.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from nas.data.images import GREY, ImageSet
from nas.space.image_size import ImageSize, of_sides, sides

Rng = np.random.Generator
Matrix = NDArray[np.float64]

MINIMAL_SIDE = 2.0
"""A box thinner than this after the warp, in pixels, is dropped."""

MINIMAL_AREA_SHARE = 0.1
"""A box of which less than this is left inside the image is dropped (YOLOv5's criterion)."""

MAXIMAL_ASPECT = 20.0
"""A box longer than this times its width after the warp is dropped (YOLOv5's criterion)."""


@dataclass(frozen=True, kw_only=True)
class AugmentSettings:
    """How strongly images are varied. All strengths 0 leaves the letterboxed image as it is."""

    mosaic: float = 1.0
    """Share of training images made of four."""
    scale: float = 0.5
    """Zoom is drawn between 1 - scale and 1 + scale."""
    translate: float = 0.1
    """Shift is drawn up to this share of each side, each way."""
    flip_horizontal: float = 0.5
    """Share of images mirrored left to right."""
    flip_vertical: float = 0.0
    """Share of images mirrored top to bottom."""
    hue: float = 0.015
    """Hue is shifted by up to this share of the circle, each way."""
    saturation: float = 0.7
    """Saturation is multiplied by 1 - saturation to 1 + saturation."""
    value: float = 0.4
    """Brightness is multiplied by 1 - value to 1 + value."""

    def __post_init__(self) -> None:
        for name in ("mosaic", "flip_horizontal", "flip_vertical"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: a share lies in 0..1; got {getattr(self, name)}")
        for name in ("scale", "translate", "hue", "saturation", "value"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"{name}: a strength lies in 0..1 (not 1); got {getattr(self, name)}"
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """B augmented images and their objects."""

    images: NDArray[np.uint8]
    """(B, H, W, 3) RGB."""
    owners: NDArray[np.int64]
    """(M,) the image of each object."""
    classes: NDArray[np.int64]
    """(M,) its class."""
    boxes: NDArray[np.float64]
    """(M, 4) left, top, right, bottom in pixels."""


def make_batch(
    part: ImageSet,
    indices: NDArray[np.int64],
    settings: AugmentSettings,
    rng: Rng,
    image_size: ImageSize | None = None,
) -> Batch:
    """The images `indices` of a part, augmented. The same rng state gives the same batch.

    image_size   by default the part's own
    """
    size = part.image_size if image_size is None else image_size
    images = np.empty((len(indices), *sides(size), 3), np.uint8)
    owners, classes, boxes = [], [], []
    for place, index in enumerate(indices):
        if rng.random() < settings.mosaic:
            others = rng.integers(0, len(part), 3)
            source, objects, there, kinds = _mosaic(part, np.array([index, *others]), rng)
        else:
            rows = part.of(int(index))
            source, objects, kinds = part.images[index], part.boxes[rows], part.classes[rows]
            there = objects
        matrix = random_matrix(of_sides(*source.shape[:2]), size, settings, rng)
        warp(source, matrix, images[place])
        jitter_colour(images[place], settings, rng)
        moved, keep = move_boxes(objects, matrix, size, there)
        owners.append(np.full(len(moved), place, np.int64))
        classes.append(kinds[keep])
        boxes.append(moved)
    return Batch(
        images=images,
        owners=np.concatenate(owners),
        classes=np.concatenate(classes),
        boxes=np.concatenate(boxes),
    )


def _mosaic(
    part: ImageSet, indices: NDArray[np.int64], rng: Rng
) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Four pictures around a random centre on an image of twice the size, with their objects.

    The first fills the top left, then top right, bottom left, bottom right; each touches the
    centre and is cut where it would leave the image. Boxes (n, 4) come twice: whole, and what
    the cuts have left of them (without width or height where that is nothing).
    """
    high, wide = sides(part.image_size)
    canvas = np.full((2 * high, 2 * wide, 3), GREY, np.uint8)
    middle_x, middle_y = (int(rng.integers(s // 2, s + s // 2 + 1)) for s in (wide, high))
    boxes, there, classes = [], [], []
    for quarter, index in enumerate(indices):
        left, top, width, height = (int(value) for value in part.frames[index])
        x = middle_x if quarter % 2 else middle_x - width
        y = middle_y if quarter >= 2 else middle_y - height
        x0, y0 = max(0, x), max(0, y)
        x1, y1 = min(2 * wide, x + width), min(2 * high, y + height)
        shift_x, shift_y = left - x, top - y
        canvas[y0:y1, x0:x1] = part.images[
            index, y0 + shift_y : y1 + shift_y, x0 + shift_x : x1 + shift_x
        ]
        rows = part.of(int(index))
        boxes.append(part.boxes[rows] - (shift_x, shift_y, shift_x, shift_y))
        there.append(np.clip(boxes[-1], (x0, y0, x0, y0), (x1, y1, x1, y1)))
        classes.append(part.classes[rows])
    return canvas, np.concatenate(boxes), np.concatenate(there), np.concatenate(classes)


def random_matrix(
    source_size: ImageSize, size: ImageSize, settings: AugmentSettings, rng: Rng
) -> Matrix:
    """A random zoom, shift and mirroring from an image of `source_size` to one of `size`."""
    zoom, shift_x, shift_y, mirror_x, mirror_y = rng.random(5)
    scale = 1 + settings.scale * (2 * zoom - 1)
    height, width = sides(size)
    centre_x = width / 2 + settings.translate * width * (2 * shift_x - 1)
    centre_y = height / 2 + settings.translate * height * (2 * shift_y - 1)
    scale_x = -scale if mirror_x < settings.flip_horizontal else scale
    scale_y = -scale if mirror_y < settings.flip_vertical else scale
    source_height, source_width = sides(source_size)
    return np.array(
        [
            [scale_x, 0.0, centre_x - scale_x * (source_width / 2)],
            [0.0, scale_y, centre_y - scale_y * (source_height / 2)],
            [0.0, 0.0, 1.0],
        ]
    )


def warp(source: NDArray[np.uint8], matrix: Matrix, target: NDArray[np.uint8]) -> None:
    """Fills `target` (H, W, 3) with the source seen through an affine matrix, grey around it."""
    # OpenCV counts from the centre of the first pixel: half a pixel there and back.
    offset = matrix[:2, 2] + 0.5 * matrix[:2, :2].sum(axis=1) - 0.5
    inside = np.concatenate([matrix[:2, :2], offset[:, None]], axis=1)
    size = (target.shape[1], target.shape[0])
    cv2.warpAffine(
        source, inside, size, dst=target, flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT, borderValue=(GREY, GREY, GREY),
    )  # fmt: skip


def move_boxes(
    boxes: NDArray[np.float64],
    matrix: Matrix,
    size: ImageSize,
    there: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """What can be seen of boxes (n, 4) after an affine matrix, and which of n are kept.

    there   the part (n, 4) of each box that its picture shows; by default all of it

    Dropped are those of which too little is left: see MINIMAL_SIDE, MINIMAL_AREA_SHARE (of the
    whole box) and MAXIMAL_ASPECT.
    """
    whole = _moved(boxes, matrix)
    height, width = sides(size)
    edges = (width, height, width, height)
    clipped = np.clip(whole if there is None else _moved(there, matrix), 0, edges)
    left = clipped[:, 2:] - clipped[:, :2]
    area = (whole[:, 2:] - whole[:, :2]).prod(axis=1)
    aspect = left.max(axis=1) / np.maximum(left.min(axis=1), 1e-9)
    keep: NDArray[np.bool_] = (
        (left.min(axis=1) >= MINIMAL_SIDE)
        & (left.prod(axis=1) >= MINIMAL_AREA_SHARE * area)
        & (aspect <= MAXIMAL_ASPECT)
    )
    return clipped[keep], keep


def _moved(boxes: NDArray[np.float64], matrix: Matrix) -> NDArray[np.float64]:
    """The boxes (n, 4) around the corners of boxes after an affine matrix."""
    x, y = boxes[:, [0, 2, 0, 2]], boxes[:, [1, 1, 3, 3]]
    moved_x = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]
    moved_y = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]
    return np.stack(
        [moved_x.min(axis=1), moved_y.min(axis=1), moved_x.max(axis=1), moved_y.max(axis=1)], axis=1
    )


def jitter_colour(image: NDArray[np.uint8], settings: AugmentSettings, rng: Rng) -> None:
    """Shifts hue and multiplies saturation and brightness of an RGB image, in place."""
    hue, saturation, value = 2 * rng.random(3) - 1
    if settings.hue == settings.saturation == settings.value == 0:
        return
    levels = np.arange(256, dtype=np.float64)
    table = np.empty((1, 256, 3), np.uint8)
    # OpenCV's 8-bit hue counts half degrees: 180 to the circle.
    table[0, :, 0] = (levels + round(180 * settings.hue * hue)) % 180
    table[0, :, 1] = np.clip(levels * (1 + settings.saturation * saturation), 0, 255)
    table[0, :, 2] = np.clip(levels * (1 + settings.value * value), 0, 255)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    cv2.LUT(hsv, table, dst=hsv)
    cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB, dst=image)
