"""One position of a row's arguments, and the rules that several modules share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nas import NasError


class SpecError(NasError):
    """A model YAML that cannot be read, or whose rows do not fit together."""


Check = Callable[[Any], bool]


def is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_list(value: Any, length: int) -> bool:
    """Whether a value is a list of so many whole numbers."""
    return isinstance(value, list | tuple) and len(value) == length and all(map(is_int, value))


def is_pyramid(kernels: Any) -> bool:
    """Whether kernels are those of an SPP: what one, two and three max pools of the first see."""
    first = kernels[0]
    return list(kernels) == [first, 2 * first - 1, 3 * first - 2]


@dataclass(frozen=True, kw_only=True, slots=True)
class Argument:
    """One position of `args`: its name, the rule it obeys, and what stands for it when absent."""

    name: str
    rule: str
    check: Check
    default: Any = None
    is_required: bool = False


CHANNELS = Argument(
    name="channels",
    rule="the output channels are a whole number of at least 1",
    check=lambda v: is_int(v) and v >= 1,
    is_required=True,
)
STRIDE = Argument(
    name="stride",
    rule="the stride is 1 or 2",
    check=lambda v: is_int(v) and v in (1, 2),
    default=1,
)


def kernel(default: int) -> Argument:
    return Argument(
        name="kernel",
        rule="the kernel is an odd whole number from 1 to 11",
        check=lambda v: is_int(v) and v % 2 == 1 and 1 <= v <= 11,
        default=default,
    )


def expand_ratio(default: float) -> Argument:
    return Argument(
        name="expand_ratio",
        rule="the expansion is a number from 1 to 64",
        check=lambda v: is_number(v) and 1 <= v <= 64,
        default=default,
    )


def se_ratio(default: float) -> Argument:
    return Argument(
        name="se_ratio",
        rule="the SE ratio is a number from 0 (no SE) to 1",
        check=lambda v: is_number(v) and 0 <= v <= 1,
        default=default,
    )


def shortcut(default: bool) -> Argument:
    """Whether a bottleneck adds its input."""
    return Argument(
        name="shortcut",
        rule="the shortcut is true or false",
        check=lambda v: isinstance(v, bool),
        default=default,
    )
