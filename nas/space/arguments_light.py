"""The arguments of the light families' modules: ShuffleNetV2, MobileNetV3, PP-LCNet, RepVGG."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from nas.space.activation import ACTIVATION
from nas.space.argument import (
    CHANNELS,
    STRIDE,
    Argument,
    expand_ratio,
    is_int,
    is_number,
    kernel,
    se_ratio,
)

_KERNEL_3 = Argument(
    name="kernel", rule="the kernel is 3", check=lambda v: is_int(v) and v == 3, default=3
)

LIGHT: Final[dict[str, tuple[Argument, ...]]] = {
    "ShuffleBlock": (CHANNELS, kernel(3), STRIDE, ACTIVATION),
    "LCBlock": (CHANNELS, kernel(3), STRIDE, se_ratio(0), ACTIVATION),
    "InvertedResidual": (CHANNELS, kernel(3), STRIDE, expand_ratio(4), se_ratio(0.25), ACTIVATION),
    "RepVGGBlock": (CHANNELS, _KERNEL_3, STRIDE, ACTIVATION),
    "ConvMaxPool": (CHANNELS, kernel(3), replace(STRIDE, default=2), ACTIVATION),
    "Dense": (
        CHANNELS,
        kernel(1),
        Argument(
            name="dropout",
            rule="the dropout is a number from 0 to below 1",
            check=lambda v: is_number(v) and 0 <= v < 1,
            default=0.2,
        ),
        replace(ACTIVATION, default="Hardswish"),
    ),
    "Add": (),
}
"""Module name -> its positional arguments, in the order that all stages of a space share."""
