"""Activations: as people write them in a model YAML, and the names that stand for them here.

SiLU, ReLU, ReLU6, Hardswish, LeakyReLU   our own; LeakyReLU has Darknet's slope, 0.1
LeakyReLU(0.01)                      our own for any other slope
nn.LeakyReLU(0.1)                    YOLOv5's and Ultralytics': a call of torch's class, whose
                                     default slope is 0.01. `torch.nn.` is read too
"""

from __future__ import annotations

import ast
import math
from typing import Any, Final

from nas.space.modules.argument import Argument, SpecError

ACTIVATIONS: Final = ("SiLU", "ReLU", "ReLU6", "Hardswish", "LeakyReLU")
"""What a model YAML's `activation`, or a row's, may be."""

DARKNET_SLOPE: Final = 0.1
"""Of `LeakyReLU` without parentheses."""

TORCH_SLOPE: Final = 0.01
"""Of `nn.LeakyReLU()`."""

_PARAMETERS: Final = {"LeakyReLU": ("negative_slope", "inplace")}
"""Those of torch's classes; the others have `inplace` alone."""

_LONGEST: Final = 100
"""Characters of an activation's text."""


def kind_of(activation: str) -> str:
    """The name without the slope: LeakyReLU of LeakyReLU(0.2)."""
    return activation.partition("(")[0]


def slope_of(activation: str) -> float:
    """The slope below zero of a LeakyReLU, by its name here."""
    _, _, slope = activation.partition("(")
    return float(slope.removesuffix(")")) if slope else DARKNET_SLOPE


def leaky_name(slope: float) -> str:
    """The name here of a LeakyReLU of that slope."""
    return "LeakyReLU" if slope == DARKNET_SLOPE else f"LeakyReLU({float(slope):.12g})"


def is_activation(value: Any) -> bool:
    """Whether a value is the name here of an activation, as `read_activation` gives it."""
    try:
        return isinstance(value, str) and read_activation(value, "") == value
    except SpecError:
        return False


def read_activation(value: Any, where: str) -> str:
    """The name here of an activation as people write it; SpecError where there is no such one."""
    prefix, name, call = _parted(value)
    if name not in ACTIVATIONS:
        raise _error(where, value)
    if call is None:
        if prefix and name == "LeakyReLU":
            raise SpecError(
                where,
                "a LeakyReLU of torch's says its slope",
                repr(value),
                "Write nn.LeakyReLU(0.1) for Darknet's slope, nn.LeakyReLU() for torch's 0.01",
            )
        return name
    given = _given(call, _PARAMETERS.get(name, ("inplace",)), value, where)
    if not isinstance(given.get("inplace", False), bool):
        raise _error(where, value)
    if name != "LeakyReLU":
        return name
    return _leaky(given.get("negative_slope", TORCH_SLOPE), value, where)


def written_activation(activation: str) -> str:
    """The activation as YOLOv5 and Ultralytics read it: a call of torch's class."""
    if kind_of(activation) == "LeakyReLU":
        return f"nn.LeakyReLU({slope_of(activation):.12g})"
    return f"nn.{activation}()"


def _leaky(slope: Any, value: Any, where: str) -> str:
    is_number = isinstance(slope, int | float) and not isinstance(slope, bool)
    if not is_number or not math.isfinite(slope) or not 0 <= slope <= 1:
        raise SpecError(where, "the slope of a LeakyReLU is a number from 0 to 1", repr(value))
    return "ReLU" if slope == 0 else leaky_name(slope)


def _parted(value: Any) -> tuple[str, str, ast.Call | None]:
    """`nn.` or nothing, the name, and the call where there are parentheses; no name: not one."""
    text = value.strip() if isinstance(value, str) else ""
    try:
        found = ast.parse(text[:_LONGEST], mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "", "", None
    call = found if isinstance(found, ast.Call) else None
    named = ast.unparse(found.func if isinstance(found, ast.Call) else found)
    bare = named.removeprefix("torch.").removeprefix("nn.")
    return named.removesuffix(bare), bare, call


def _given(
    call: ast.Call, parameters: tuple[str, ...], value: Any, where: str
) -> dict[str, bool | int | float]:
    """What a call gives, by the name of the parameter."""
    pairs = [*zip(parameters, call.args, strict=False)]
    pairs += [(keyword.arg or "", keyword.value) for keyword in call.keywords]
    names = [name for name, _ in pairs]
    if (
        len(call.args) > len(parameters)
        or len(set(names)) != len(names)
        or not set(names) <= {*parameters}
    ):
        rule = f"its arguments are {' and '.join(parameters)}"
        raise SpecError(where, rule, repr(value), "Write it as torch's class takes them")
    try:
        return {name: ast.literal_eval(node) for name, node in pairs}
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise _error(where, value) from None


def _error(where: str, value: Any) -> SpecError:
    rule = f"the activation is one of {', '.join(ACTIVATIONS)}"
    remedy = "Take one of them (nn.ReLU(), nn.LeakyReLU(0.1)): the others can't be built here"
    return SpecError(where, rule, repr(value), remedy)


ACTIVATION = Argument(
    name="activation",
    rule=f"the activation is null (the model's) or one of {', '.join(ACTIVATIONS)}",
    check=lambda v: v is None or is_activation(v),
)
"""A row's, by its name here (`read_activation` comes before)."""
