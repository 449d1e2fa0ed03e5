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


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A part of a picture, and a box in it."""

    pixels: Pixels
    """(H, W, 3) RGB."""
    box: tuple[float, float, float, float]
    """Left, top, right, bottom in pixels of the cut-out; it may reach beyond it."""


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


def crop(part: ImageSet, index: int, box: NDArray[np.float64]) -> Crop:
    """The square around a box (left, top, right, bottom, pixels of the picture as it came)."""
    pixels = picture(part, index)
    height, width = pixels.shape[:2]
    scale = np.array([width, height]) / part.sizes[index]
    low, high = box[:2] * scale, box[2:] * scale
    side = max(float((high - low).max()) * CONTEXT, LEAST_SIDE)
    start = np.round((low + high - side) / 2).astype(int)
    limit = np.maximum(np.array([width, height]) - round(side), 0)
    start = np.clip(start, 0, limit)
    end = np.minimum(start + round(side), [width, height])
    return Crop(
        pixels=pixels[start[1] : end[1], start[0] : end[0]],
        box=(*(low - start).tolist(), *(high - start).tolist()),
    )
