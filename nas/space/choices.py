"""What every space is made of: choices, their options, and who picks."""

from __future__ import annotations

from typing import Annotated, Any, Final, Protocol, TypeVar

from pydantic import AfterValidator, Field, PlainValidator

from nas import NasError
from nas.space.image_size import by_area, read_image_size, sides, written
from nas.space.modules.argument import SpecError, is_int

Option = TypeVar("Option", int, float, str, int | str)


SMALLEST_SIDE: Final = 64
LARGEST_SIDE: Final = 2048
"""Pixels of the images that a space may have."""


class SpaceError(NasError):
    """A search space that cannot be read or built."""


class Choose(Protocol):
    """Picks one of the options. Called once for each name, in the same order every time."""

    def __call__(self, name: str, options: tuple[Option, ...], /) -> Option: ...


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) != len(values):
        raise ValueError("no option stands twice")
    if all(isinstance(v, int | float) for v in values) and list(values) != sorted(values):
        raise ValueError("options that are numbers stand in ascending order")
    return values


def _width(value: int) -> int:
    if value % 8:
        raise ValueError("a width is a multiple of 8")
    return value


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("a kernel is odd")
    return value


def _image_size(value: Any) -> int | str:
    """An image size as it is written, and as a trial has it: a square's number, else text."""
    rule = "an image size is a multiple of 32, the largest stride"
    rule += f", from {SMALLEST_SIDE} to {LARGEST_SIDE}: 320, or 320x192 for width x height"
    try:
        size = read_image_size(value, "")
    except SpecError as error:
        raise ValueError(f"{rule}. {error.remedy}" if error.remedy else rule) from None
    if not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in sides(size)):
        raise ValueError(rule)
    return written(size)


def _in_order(values: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Sizes of which some are rectangles, from the fewest pixels to the most: the file may have
    them in any order."""
    if all(map(is_int, values)):
        return values
    return tuple(sorted(values, key=lambda value: by_area(read_image_size(value, ""))))


Width = Annotated[int, Field(ge=8, le=2048, strict=True), AfterValidator(_width)]
Depth = Annotated[int, Field(ge=1, le=32, strict=True)]
Kernel = Annotated[int, Field(ge=1, le=11, strict=True), AfterValidator(_odd)]
Size = Annotated[int | str, PlainValidator(_image_size)]
_T = TypeVar("_T")
Options = Annotated[tuple[_T, ...], Field(min_length=1), AfterValidator(_distinct)]
Sizes = Annotated[Options[Size], AfterValidator(_in_order)]
