"""How large the image is that a detector reads: a square's side, or a rectangle's two.

A rectangle is written as cameras and screens write it, **width x height**: 320x192 is 320 pixels
wide and 192 high. A square stays the number of its side, in memory and in every file; a rectangle
is a `Rectangle` in memory and the text `320x192` in files, so that nothing that knows squares
alone is told another thing than before. Arrays hold the height first, (..., height, width): `sides`
gives it in that order, and nothing else turns one order into the other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import PlainSerializer, PlainValidator

from nas.space.modules.argument import SpecError, is_int

SMALLEST_IMAGE_SIZE: Final = 32
LARGEST_IMAGE_SIZE: Final = 8192
"""Pixels of a side. Far above any detector's: a slip of the finger is met where it is read, not by
a full memory."""

SIZE_STRIDE: Final = 32
"""Sides are multiples of this, the largest stride of a detector with the usual three levels."""

FORM: Final = "320, or 320x192 for width x height"
"""How flags and messages say what an image size looks like."""

RULE: Final = (
    f"the image size is a multiple of {SIZE_STRIDE} up to {LARGEST_IMAGE_SIZE}, or two of them,"
    " width x height (320x192)"
)
"""What `read_image_size` holds a size against."""

_TEXT: Final = re.compile(r"([0-9]+)(?:x([0-9]+))?")

_SPOKEN: Final = re.compile(r"\s*([0-9]+)\s*[xX\u00d7*,:/ ]\s*([0-9]+)\s*(?:px)?\s*")
"""Ways to write a rectangle that are understood well enough to say how it is written here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rectangle:
    """An image size whose sides (pixels) differ; it prints as width x height: 320x192."""

    width: int
    height: int

    def __post_init__(self) -> None:
        assert self.width != self.height, "a square is the number of its side"

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


ImageSize = int | Rectangle
"""A square's side in pixels, or a rectangle."""


def of_sides(height: int, width: int) -> ImageSize:
    """The image size with these sides (pixels), in the order of arrays."""
    return height if height == width else Rectangle(width=width, height=height)


def sides(size: ImageSize) -> tuple[int, int]:
    """Height and width in pixels, in the order of arrays."""
    return (size.height, size.width) if isinstance(size, Rectangle) else (size, size)


def area(size: ImageSize) -> int:
    """Its pixels: what sizes are ordered by."""
    height, width = sides(size)
    return height * width


def by_area(size: ImageSize) -> tuple[int, int]:
    """What a list of sizes is sorted by: the area, then the width."""
    return area(size), sides(size)[1]


def longest(size: ImageSize) -> int:
    """Its longer side in pixels."""
    return max(sides(size))


def side_of(size: ImageSize) -> float:
    """The side (pixels) of the square with as many pixels: a square's own."""
    return size if isinstance(size, int) else float(area(size)) ** 0.5


def is_multiple(size: ImageSize, stride: int) -> bool:
    """Whether both sides are multiples of a stride (pixels), and no side is none."""
    return all(side >= stride and side % stride == 0 for side in sides(size))


def nearest(size: ImageSize, stride: int = SIZE_STRIDE) -> ImageSize:
    """The size whose sides are the nearest multiples of a stride (pixels)."""
    low, high = -(-SMALLEST_IMAGE_SIZE // stride), LARGEST_IMAGE_SIZE // stride
    return of_sides(*(min(max(round(side / stride), low), high) * stride for side in sides(size)))


def scaled(size: ImageSize, share: float, stride: int, smallest: int) -> ImageSize:
    """The size with its sides times `share`, the nearest multiples of `stride` of at least
    `smallest` (pixels), none longer than it was."""
    return of_sides(
        *(min(max(round(side * share / stride) * stride, smallest), side) for side in sides(size))
    )


def written(size: ImageSize) -> int | str:
    """As files have it: a square's number, a rectangle's text."""
    return size if isinstance(size, int) else str(size)


def _kept(value: Any) -> ImageSize:
    size = value if isinstance(value, Rectangle) else parse_image_size(value)
    if size is None or min(sides(size)) < 1:
        raise ValueError(f"an image size is a number of pixels, or {FORM}")
    return size


KeptSize = Annotated[ImageSize, PlainValidator(_kept), PlainSerializer(written)]
"""An image size in a file of ours that pydantic reads and writes."""


def read_image_size(value: Any, where: str) -> ImageSize:
    """The image size that a file or a flag states, as a number or as text; SpecError else.

    Text holds a number, 320, or two, 320x192: the width comes first. 320x320 is the square 320.
    """
    size = parse_image_size(value)
    if size is None:
        raise SpecError(where, RULE, repr(value), _remedy(value))
    if any(not SMALLEST_IMAGE_SIZE <= side <= LARGEST_IMAGE_SIZE for side in sides(size)):
        raise SpecError(where, RULE, _shown(value))
    if not is_multiple(size, SIZE_STRIDE):
        raise SpecError(where, RULE, _shown(value), f"The nearest is {nearest(size)}")
    return size


def parse_image_size(value: Any) -> ImageSize | None:
    """The size that a number or text says, whatever its sides; None where it says none."""
    if is_int(value):
        return int(value)
    found = _TEXT.fullmatch(value) if isinstance(value, str) else None
    # A side of a hundred digits is none: int() would refuse it in words of its own.
    if found is None or len(value) > 2 * 12:
        return None
    width = int(found[1])
    return width if found[2] is None else of_sides(int(found[2]), width)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def _remedy(value: Any) -> str:
    """What to write instead; nothing where it can't be told what was meant."""
    if isinstance(value, list | tuple):
        return "A list does not say which side is which: write 320x192, width x height"
    found = _SPOKEN.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return f"Write {FORM}"
    return f"Write {found[1]}x{found[2]}, if {found[1]} is the width"
