"""The arguments that a module takes in a row of a model YAML, checked and named.

A row is `[from, number, module, args]`; `args` is positional there, as in YOLOv5. This table
says what each position means, so that nothing else in the house counts positions.
"""

from __future__ import annotations

from typing import Any, Final

from nas.space.activation import ACTIVATION, ACTIVATIONS
from nas.space.argument import (
    CHANNELS,
    STRIDE,
    Argument,
    SpecError,
    expand_ratio,
    is_int,
    kernel,
    se_ratio,
    shortcut,
)
from nas.space.arguments_light import LIGHT
from nas.space.arguments_yolo import YOLO

__all__ = [
    "ACTIVATIONS",
    "ARGUMENTS",
    "DEPTH_INSIDE",
    "Argument",
    "SpecError",
    "activation_position",
    "check_module",
    "has_channels",
    "read_arguments",
]

ARGUMENTS: Final[dict[str, tuple[Argument, ...]]] = {
    "Conv": (
        CHANNELS,
        Argument(
            name="kernel",
            rule="the kernel is a whole number from 1 to 11 (an even one needs its padding)",
            check=lambda v: is_int(v) and 1 <= v <= 11,
            default=1,
        ),
        STRIDE,
        Argument(
            name="padding",
            rule="the padding is null (half the kernel) or a whole number from 0 to 5",
            check=lambda v: v is None or (is_int(v) and 0 <= v <= 5),
        ),
        Argument(
            name="groups",
            rule="the number of groups is a whole number of at least 1",
            check=lambda v: is_int(v) and v >= 1,
            default=1,
        ),
        ACTIVATION,
    ),
    "DWConvBlock": (CHANNELS, kernel(3), STRIDE, ACTIVATION),
    "FusedMBConv": (CHANNELS, kernel(3), STRIDE, expand_ratio(4), se_ratio(0), ACTIVATION),
    "MBConv": (CHANNELS, kernel(3), STRIDE, expand_ratio(4), se_ratio(0.25), ACTIVATION),
    **LIGHT,
    "C3": (CHANNELS, shortcut(True), ACTIVATION),
    "SPPF": (CHANNELS, kernel(5), ACTIVATION),
    **YOLO,
    "nn.Upsample": (
        Argument(
            name="size",
            rule="the size is null (the scale decides)",
            check=lambda v: v is None,
            is_required=True,
        ),
        Argument(
            name="scale",
            rule="the scale is the whole number 2",
            check=lambda v: is_int(v) and v == 2,
            is_required=True,
        ),
        Argument(
            name="mode",
            rule="the mode is nearest",
            check=lambda v: v == "nearest",
            default="nearest",
        ),
    ),
    "Concat": (
        Argument(
            name="dimension",
            rule="the dimension is 1 (channels)",
            check=lambda v: is_int(v) and v == 1,
            default=1,
        ),
    ),
    "Detect": (
        Argument(
            name="classes",
            rule="the number of classes is the name nc",
            check=lambda v: v == "nc",
            is_required=True,
        ),
        Argument(
            name="anchors",
            rule="the anchors are the name anchors, or nothing (an anchor-free head as YOLOv8's)",
            check=lambda v: v == "anchors",
        ),
    ),
}
"""Module name -> its positional arguments. The list of modules that the house can build."""

DEPTH_INSIDE: Final = frozenset({"C3", "C2f"})
"""Modules that repeat something inside: their `number` is a depth, not copies of the module."""


def has_channels(module: str) -> bool:
    """Whether the module's first argument is its output channels (and so scales with the width)."""
    return ARGUMENTS[module][:1] == (CHANNELS,)


def activation_position(module: str) -> int | None:
    """Where a module's activation stands among its arguments; None where it takes none."""
    names = [argument.name for argument in ARGUMENTS[module]]
    return names.index("activation") if "activation" in names else None


def check_module(module: Any, where: str) -> str:
    """The module's name, if the house can build it; SpecError otherwise."""
    if not isinstance(module, str) or module not in ARGUMENTS:
        raise SpecError(
            where,
            "the module is one that is known here",
            repr(module),
            f"Known: {', '.join(ARGUMENTS)}",
        )
    return module


def read_arguments(module: str, args: tuple[Any, ...], where: str) -> dict[str, Any]:
    """Argument name -> value for one row, defaults filled in; SpecError names the position."""
    table = ARGUMENTS[module]
    if len(args) > len(table):
        raise SpecError(
            where,
            f"{module} takes at most {len(table)} arguments ({', '.join(a.name for a in table)})",
            f"{len(args)}: {list(args)}",
        )
    values: dict[str, Any] = {}
    for position, argument in enumerate(table):
        if position >= len(args):
            if argument.is_required:
                raise SpecError(
                    where, f"{module} needs its argument '{argument.name}'", f"{list(args)}"
                )
            values[argument.name] = argument.default
            continue
        value = args[position]
        if not argument.check(value):
            raise SpecError(
                f"{where}, argument '{argument.name}' of {module}", argument.rule, repr(value)
            )
        values[argument.name] = value
    if module == "Conv":
        _check_conv(values, where)
    if module == "ShuffleBlock" and values["channels"] % 2:
        raise SpecError(
            where, "the channels of a ShuffleBlock are even", f"{values['channels']} channels"
        )
    return values


def _check_conv(values: dict[str, Any], where: str) -> None:
    if values["kernel"] % 2 == 0 and values["padding"] is None:
        raise SpecError(
            where,
            "a Conv with an even kernel states its padding",
            f"kernel {values['kernel']}",
            "Write it as YOLOv5 does: [64, 6, 2, 2]",
        )
    if values["channels"] % values["groups"]:
        raise SpecError(
            where,
            "the groups of a Conv divide its output channels",
            f"{values['channels']} channels in {values['groups']} groups",
        )
