"""The least image that suits a data set's pictures: what `--image-size auto` stands for.

A square of side L shows a picture with its longer side at L pixels. The rectangle that is proposed
has that longer side too, so that nearly every picture keeps the scale that the square gave it, and
its shorter side is the least multiple of the stride that does not shrink them: only padding goes.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nas.data.dataset import DataConfig, FileSource
from nas.data.decode import decode_image
from nas.data.images import DataError, fit_frame
from nas.space.image_size import SIZE_STRIDE, ImageSize, area, longest, of_sides

SUITED_SHARE: Final = 0.95
"""Pictures that keep their scale, at least; and that are of one orientation."""

KEPT_SCALE: Final = 0.97
"""A picture keeps its scale where it shrinks to no less than this: a rounded side does not cost
another stride."""

MOST_READ: Final = 400
"""Pictures of the training part that are read for it, evenly over the part."""

_SAMPLE_SIDE: Final = 64


@dataclass(frozen=True, kw_only=True)
class ShapeChoice:
    """The size that is proposed for pictures in the place of a square, and why."""

    square: int
    """Its side in pixels."""
    size: ImageSize
    reason: str
    """Why it is this one, in words."""
    padding: float
    """Share of the input that is padding, on average over the pictures."""
    square_padding: float
    """The same in the square."""
    shrunk: float
    """Share of the pictures that are smaller in it than in the square."""

    @property
    def is_rectangle(self) -> bool:
        return self.size != self.square

    def told(self) -> str:
        """One sentence for people."""
        if not self.is_rectangle:
            return (
                f"--image-size auto: the square {self.square} stays: {self.reason}"
                f" ({self.padding:.0%} of it is padding)"
            )
        pixels = 1 - area(self.size) / area(self.square)
        return (
            f"--image-size auto: {self.size} (width x height) instead of {self.square}:"
            f" {self.reason}; padding {self.square_padding:.0%} -> {self.padding:.0%},"
            f" {pixels:.0%} fewer pixels, {self.shrunk:.0%} of the pictures are shown smaller"
        )


def suited(data: DataConfig, size: ImageSize) -> ShapeChoice:
    """The least size that suits a data set's pictures, in the place of one of this longer side."""
    return suiting(picture_sizes(data), longest(size))


def picture_sizes(data: DataConfig) -> NDArray[np.int64]:
    """Widths and heights (n, 2) of at most MOST_READ training pictures, as their EXIF turns them.

    DataError where none can be read.
    """
    source = data.parts["train"]
    if not isinstance(source, FileSource):
        return source.load(_SAMPLE_SIDE, 1).sizes
    places = np.linspace(0, len(source.files) - 1, min(MOST_READ, len(source.files)))
    files = [source.files[int(place)] for place in np.unique(places.round().astype(int))]
    with ThreadPoolExecutor(2) as pool:
        found = [
            None if one is None else (one.shape[1], one.shape[0])
            for one in pool.map(decode_image, files)
        ]
    readable = [one for one in found if one is not None]
    if not readable:
        raise DataError(source.where, "pictures can be read", f"none of {len(files)}")
    return np.array(readable, np.int64)


def suiting(pictures: NDArray[np.int64], square: int, stride: int = SIZE_STRIDE) -> ShapeChoice:
    """The least size that suits pictures of these widths and heights (n, 2), for a square's side.

    A square stays where the pictures lie both ways, or nearly fill it. `stride` divides its sides.
    """
    wide, high = pictures[:, 0], pictures[:, 1]
    lying, standing = float((wide > high).mean()), float((high > wide).mean())
    if min(lying, standing) > 1 - SUITED_SHARE:
        reason = f"{lying:.0%} of the pictures are wider than high, {standing:.0%} higher than wide"
        return _choice(pictures, square, square, reason)
    ratios = pictures.min(axis=1) / pictures.max(axis=1)
    needed = float(np.quantile(ratios, SUITED_SHARE, method="inverted_cdf")) * square * KEPT_SCALE
    shorter = max(stride, int(np.ceil(needed / stride)) * stride)
    if shorter >= square:
        return _choice(pictures, square, square, "the pictures fill it, to the stride")
    is_lying = lying >= standing
    size = of_sides(shorter, square) if is_lying else of_sides(square, shorter)
    middle = float(np.median(wide / high if is_lying else high / wide))
    reason = f"a picture is usually {middle:.2f} times as {'wide' if is_lying else 'high'} as"
    reason += " high" if is_lying else " wide"
    return _choice(pictures, square, size, reason)


def _choice(pictures: NDArray[np.int64], square: int, size: ImageSize, reason: str) -> ShapeChoice:
    before, after = _filled(pictures, square), _filled(pictures, size)
    return ShapeChoice(
        square=square,
        size=size,
        reason=reason,
        padding=float(1 - (after.prod(axis=1) / area(size)).mean()),
        square_padding=float(1 - (before.prod(axis=1) / area(square)).mean()),
        shrunk=float((after.max(axis=1) < KEPT_SCALE * before.max(axis=1)).mean()),
    )


def _filled(pictures: NDArray[np.int64], size: ImageSize) -> NDArray[np.int64]:
    """Width and height (n, 2) of each picture inside its letterboxed image."""
    found = [fit_frame(int(w), int(h), size)[2:] for w, h in pictures]
    return np.array(found, np.int64)
