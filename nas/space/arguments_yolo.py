"""The arguments of the YOLO families' modules, as YOLOv5 and YOLOv8 write them.

RouteGroup is Darknet's `route` with `groups` and `group_id` (yolov4-tiny).
"""

from __future__ import annotations

from typing import Final

from nas.space.activation import ACTIVATION
from nas.space.argument import (
    CHANNELS,
    Argument,
    is_int,
    is_list,
    is_pyramid,
    kernel,
    shortcut,
)

YOLO: Final[dict[str, tuple[Argument, ...]]] = {
    "Focus": (CHANNELS, kernel(1), ACTIVATION),
    "Bottleneck": (CHANNELS, shortcut(True), ACTIVATION),
    "C2f": (CHANNELS, shortcut(False), ACTIVATION),
    "SPP": (
        CHANNELS,
        Argument(
            name="kernels",
            rule="the kernels are three odd numbers k, 2k - 1, 3k - 2, such as [5, 9, 13]",
            check=lambda v: is_list(v, 3) and v[0] in (3, 5, 7) and is_pyramid(v),
            default=(5, 9, 13),
        ),
        ACTIVATION,
    ),
    "nn.MaxPool2d": (
        Argument(
            name="kernel",
            rule="the kernel is a whole number from 2 to 13",
            check=lambda v: is_int(v) and 2 <= v <= 13,
            is_required=True,
        ),
        Argument(
            name="stride",
            rule="the stride is null (as the kernel) or a whole number from 1 to 4",
            check=lambda v: v is None or (is_int(v) and 1 <= v <= 4),
        ),
        Argument(
            name="padding",
            rule="the padding is a whole number from 0 to half the kernel",
            check=lambda v: is_int(v) and 0 <= v <= 6,
            default=0,
        ),
    ),
    "nn.ZeroPad2d": (
        Argument(
            name="padding",
            rule="the padding is [0, n, 0, n]: 1 to 5 columns on the right and as many rows below",
            check=lambda v: is_list(v, 4) and v[0] == v[2] == 0 and v[1] == v[3] in range(1, 6),
            is_required=True,
        ),
    ),
    "RouteGroup": (
        Argument(
            name="groups",
            rule="the number of groups is a whole number of at least 2",
            check=lambda v: is_int(v) and v >= 2,
            is_required=True,
        ),
        Argument(
            name="index",
            rule="the index of the group is a whole number of at least 0",
            check=lambda v: is_int(v) and v >= 0,
            is_required=True,
        ),
    ),
}
