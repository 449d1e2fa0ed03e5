"""Depth and width multiples of a model YAML, in YOLOv5's form and in Ultralytics'.

    depth_multiple: 0.33                      scales:    # depth, width, cap of the channels
    width_multiple: 0.25                        n: [0.33, 0.25, 1024]
    channel_multiple: 8    # optional           m: [0.67, 0.75, 768]
    max_channels: 1024     # optional         scale: n   # or the file's name: yolov8n.yaml

Widths are capped, multiplied, and rounded up to a multiple of 8, at the multiple 1 too, as both
tools do; YOLOv5's `channel_multiple` puts another number in the place of the 8. Depths above 1 are
multiplied and rounded, to 1 at least.

(YOLOv5 leaves a width as it is that equals its head's outputs, anchors times 5 + classes, and so
does Ultralytics with one that equals the classes. The same file would then be another network for
other data: here each width is rounded.)
"""

from __future__ import annotations

import functools
import logging
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from nas.space.modules.argument import SpecError, is_int, is_number

logger = logging.getLogger(__name__)

SCALE_KEYS: Final = frozenset(
    {"depth_multiple", "width_multiple", "channel_multiple", "max_channels", "scales", "scale"}
)
"""The keys of a model YAML that speak of multiples."""

DIVISOR: Final = 8
"""What widths are rounded up to a multiple of, unless a file says `channel_multiple`."""

LARGEST: Final = 1000.0
"""Of a multiple."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """What multiplies a model's depths and widths; max_channels caps a width before that."""

    depth: float = 1.0
    width: float = 1.0
    max_channels: float | None = None
    divisor: int = DIVISOR

    def at(self, depth: float, width: float) -> Scale:
        """The same with other multiples.

        What states true widths keeps them at 1; multiplied, they are rounded as all others are.
        """
        divisor = self.divisor if width == 1 else max(self.divisor, DIVISOR)
        return replace(self, depth=depth, width=width, divisor=divisor)

    def channels(self, channels: int) -> int:
        """A true width."""
        capped = channels if self.max_channels is None else min(channels, self.max_channels)
        return make_divisible(capped * self.width, self.divisor)

    def number(self, number: int) -> int:
        """A true depth."""
        return max(round(number * self.depth), 1) if number > 1 else number


def make_divisible(channels: float, divisor: int = DIVISOR) -> int:
    """The smallest multiple of `divisor` that is not below `channels` (YOLOv5's rule)."""
    return math.ceil(channels / divisor) * divisor


def read_scale(document: dict[Any, Any], where: str, name: str) -> Scale:
    """The multiples that a model YAML states; `name` is its file's, without the ending.

    SpecError where both forms stand beside each other, or it isn't said which scale is meant.
    """
    if "scales" in document:
        return _chosen_scale(document, where, name)
    if "scale" in document:
        raise SpecError(
            f"{where}, scale",
            "a scale is one of those that the key scales lists",
            "no key scales",
            "Write depth_multiple and width_multiple, or the scales",
        )
    cap = document.get("max_channels")
    return Scale(
        depth=_positive(document.get("depth_multiple", 1.0), f"{where}, depth_multiple"),
        width=_positive(document.get("width_multiple", 1.0), f"{where}, width_multiple"),
        max_channels=None if cap is None else _positive(cap, f"{where}, max_channels", math.inf),
        divisor=_divisor(document, where),
    )


def _chosen_scale(document: dict[Any, Any], where: str, name: str) -> Scale:
    scales = document["scales"]
    rule = "the scales are names with [depth, width, max_channels] each, numbers above 0"
    if not isinstance(scales, dict) or not scales:
        raise SpecError(f"{where}, scales", rule, repr(scales), "Example: {n: [0.33, 0.25, 1024]}")
    beside = sorted({"depth_multiple", "width_multiple", "max_channels"} & document.keys())
    if beside:
        raise SpecError(where, "multiples stand under scales or beside them", " ".join(beside))
    for key, values in scales.items():
        if not isinstance(values, list) or len(values) != 3:
            raise SpecError(f"{where}, scales, {key}", rule, repr(values))
    chosen = _choice(document, scales, where, name)
    place = f"{where}, scales, {chosen}"
    depth, width, cap = scales[chosen]
    return Scale(
        depth=_positive(depth, place),
        width=_positive(width, place),
        max_channels=_positive(cap, place, math.inf),
        divisor=_divisor(document, where),
    )


def _choice(document: dict[Any, Any], scales: dict[Any, Any], where: str, name: str) -> Any:
    """The key of the scale that is meant: by `scale`, by the file's name, or else the first."""
    said, named, first = document.get("scale"), letter_of(name), next(iter(scales))
    among = ", ".join(map(str, scales))
    if said is None and named is None:
        other = list(scales)[-1]
        by_name = f" or name the file by it (yolov8{other}.yaml)" if other in _LETTERS else ""
        _say(
            f"{where}: scale {first} of {among} is assumed, the first, as Ultralytics does; "
            f"for another one write its name (scale: {other}){by_name}"
        )
        return first
    chosen = named if said is None else said
    if not isinstance(chosen, str | int) or chosen not in scales:
        raise SpecError(
            f"{where}, scale",
            f"the model is one of its scales, {among}",
            repr(chosen) if said is not None else f"{chosen!r} in the file's name",
            f"Write one of them, scale: {first}",
        )
    if said is None and not _IS_NAME.fullmatch(name):
        _say(f"{where}: scale {chosen} of {among}, by its name")
    if said is not None and named not in (None, said):
        _say(f"{where}: scale {said}, as it says; Ultralytics goes by the name, {named}")
    return chosen


_LETTERS: Final = ("n", "s", "l", "m", "x")
"""What a file's name can say."""

_IN_NAME: Final = re.compile(r"yolo(?:e-)?v?\d+([nslmx])")
"""Where Ultralytics looks for the scale."""

_IS_NAME: Final = re.compile(r"yolov?\d+[nslmx]")
"""A name that says it and nothing else."""


def letter_of(name: str) -> str | None:
    """The scale in a model's name, where Ultralytics looks for it: n of my_yolov8n_2; or None."""
    found = _IN_NAME.search(name)
    return found[1] if found else None


@functools.cache
def _say(message: str) -> None:
    """Tells the person at the terminal, once: a model is read several times by a command."""
    logger.warning(message)


def family_file(path: Path) -> Path:
    """The file that describes a model: its own, or else that of its family without the letter.

    yolov8m.yaml, where there is none, is scale m of yolov8.yaml.
    """
    found = _IN_NAME.search(path.name)
    if found is None or path.exists():
        return path
    family = path.with_name(path.name[: found.start(1)] + path.name[found.end(1) :])
    return family if family.exists() else path


def _positive(value: Any, where: str, most: float = LARGEST) -> float:
    """A number above 0; a cap may be infinite."""
    if not is_number(value) or not 0 < value <= most:
        limit = "" if most == math.inf else f" and at most {most:g}"
        raise SpecError(where, f"the value is a number above 0{limit}", repr(value))
    return float(value)


def _divisor(document: dict[Any, Any], where: str) -> int:
    value = document.get("channel_multiple")
    if value is None:
        return DIVISOR
    if not is_int(value) or not 1 <= value <= 256:
        rule = "widths are rounded up to a multiple of a whole number from 1 to 256"
        raise SpecError(f"{where}, channel_multiple", rule, repr(value), "Leave it out for 8")
    return int(value)
