"""YOLOv5-Lite's names of modules, and their order of arguments, read as ours.

Its blocks have activations of their own. What is written is always in our names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from nas.space.modules.argument import SpecError


def _shuffle_block(channels: Any, stride: Any) -> tuple[str, list[Any]]:
    return "ShuffleBlock", [channels, 3, stride, "ReLU"]


def _conv_max_pool(channels: Any) -> tuple[str, list[Any]]:
    return "ConvMaxPool", [channels, 3, 2, "ReLU"]


def _depthwise_block(channels: Any, kernel: Any, stride: Any) -> tuple[str, list[Any]]:
    return "DWConvBlock", [channels, kernel, stride, "ReLU"]


def _cbh(channels: Any, kernel: Any, stride: Any, groups: Any = 1) -> tuple[str, list[Any]]:
    return "Conv", [channels, kernel, stride, None, groups, "Hardswish"]


def _lc_block(
    channels: Any, stride: Any, kernel: Any, has_se: Any = False
) -> tuple[str, list[Any]]:
    se_ratio = {True: 0.25, False: 0}[has_se] if isinstance(has_se, bool) else has_se
    return "LCBlock", [channels, kernel, stride, se_ratio, "Hardswish"]


def _add(alpha: Any = 1) -> tuple[str, list[Any]]:
    # Its second map times alpha; its models say 1.
    return "Add", [] if alpha == 1 else [alpha]


FOREIGN: Final[dict[str, tuple[Callable[..., tuple[str, list[Any]]], int, int]]] = {
    "Shuffle_Block": (_shuffle_block, 2, 2),
    "conv_bn_relu_maxpool": (_conv_max_pool, 1, 1),
    "DWConvblock": (_depthwise_block, 3, 3),
    "CBH": (_cbh, 3, 4),
    "LC_Block": (_lc_block, 3, 4),
    "ADD": (_add, 0, 1),
}
"""Name there -> what makes a module of ours and its arguments, and how many are given there."""


def translated(module: Any, args: list[Any], where: str) -> tuple[Any, list[Any]]:
    """The module and its arguments in our form; those that are ours already, as they are."""
    if not isinstance(module, str) or module not in FOREIGN:
        return module, args
    make, fewest, most = FOREIGN[module]
    if not fewest <= len(args) <= most:
        count = str(fewest) if fewest == most else f"{fewest} to {most}"
        raise SpecError(where, f"{module} takes {count} arguments", f"{len(args)}: {args}")
    return make(*args)
