"""What every space is made of: choices, their options, and who picks."""

from __future__ import annotations

from typing import Annotated, Any, Protocol, TypeVar

from pydantic import AfterValidator, Field

from nas import NasError

Option = TypeVar("Option", int, float, str)


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


def _image_size(value: int) -> int:
    if value % 32:
        raise ValueError("an image size is a multiple of 32, the largest stride")
    return value


Width = Annotated[int, Field(ge=8, le=2048, strict=True), AfterValidator(_width)]
Depth = Annotated[int, Field(ge=1, le=32, strict=True)]
Kernel = Annotated[int, Field(ge=1, le=11, strict=True), AfterValidator(_odd)]
Size = Annotated[int, Field(ge=64, le=2048, strict=True), AfterValidator(_image_size)]
_T = TypeVar("_T")
Options = Annotated[tuple[_T, ...], Field(min_length=1), AfterValidator(_distinct)]
