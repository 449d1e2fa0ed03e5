"""Cut-outs of a part's pictures, from the files as they came where they lie on the disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nas.data.decode import decode_image
from nas.data.images import ImageSet

CONTEXT: Final = 2.2
"""How many times a box's longer side a cut-out is wide."""

LEAST_SIDE: Final = 40
"""Pixels that a cut-out has at least, so that a tiny box is seen in its place."""

Pixels = NDArray[np.uint8]

Corners = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of a cut-out; they may reach beyond it."""


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A part of a picture, and a box in it."""

    pixels: Pixels
    """(H, W, 3) RGB."""
    box: Corners
    others: tuple[Corners, ...] = ()
    """What lies around the box: of a false box the objects, of a missed object the boxes."""


def picture(part: ImageSet, index: int) -> Pixels:
    """The picture (H, W, 3) as it came; of a drawn set as it lies in memory, without its border."""
    width, height = (int(one) for one in part.sizes[index])
    file = Path(part.files[index]) if part.files else None
    pixels = decode_image(file) if file is not None and file.is_file() else None
    if pixels is not None and pixels.shape[:2] == (height, width):
        return pixels
    left, top, inner_width, inner_height = (int(one) for one in part.frames[index])
    inside: Pixels = part.images[index][top : top + inner_height, left : left + inner_width]
    return inside


def crop(part: ImageSet, index: int, box: NDArray[np.float64], others: NDArray[np.float64]) -> Crop:
    """The square around a box, (4,) left, top, right, bottom in pixels of the picture as it came.

    others  (n, 4) more boxes on that picture
    """
    return cut(picture(part, index), part.sizes[index], np.concatenate([box[None], others]))


def cut(
    pixels: Pixels, size: NDArray[np.int64], boxes: NDArray[np.float64], least: float = LEAST_SIDE
) -> Crop:
    """The square around the first of the boxes, with them all.

    size    (2,) width and height of the picture as it came, in whose pixels the boxes count
    least   the cut-out's least side in pixels, as far as the picture goes
    """
    shape = np.array([pixels.shape[1], pixels.shape[0]])
    boxes = boxes * np.tile(shape / size, 2)
    low, high = boxes[0, :2], boxes[0, 2:]
    side = round(max(float((high - low).max()) * CONTEXT, least))
    start = np.round((low + high - side) / 2).astype(int)
    start = np.clip(start, 0, np.maximum(shape - side, 0))
    end = np.minimum(start + side, shape)
    moved = boxes - np.tile(start, 2)
    own, *rest = ((float(a), float(b), float(c), float(d)) for a, b, c, d in moved)
    return Crop(pixels=pixels[start[1] : end[1], start[0] : end[0]], box=own, others=tuple(rest))
