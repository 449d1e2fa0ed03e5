"""Depth and width multiples of a model YAML, in YOLOv5's form and in YOLOv8's.

    depth_multiple: 0.33                      scales:    # depth, width, cap of the channels
    width_multiple: 0.25                        n: [0.33, 0.25, 1024]
    max_channels: 1024     # optional           m: [0.67, 0.75, 768]
                                              scale: n   # or the file's name: yolov8n.yaml

Widths are capped, multiplied, and rounded up to a multiple of 8; depths above 1 are multiplied and
rounded, to 1 at least.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nas.space.argument import SpecError, is_number

SCALE_KEYS: Final = frozenset(
    {"depth_multiple", "width_multiple", "max_channels", "scales", "scale"}
)
"""The keys of a model YAML that speak of multiples."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """What multiplies a model's depths and widths; max_channels caps a width before that."""

    depth: float = 1.0
    width: float = 1.0
    max_channels: float | None = None

    def channels(self, channels: int) -> int:
        """A true width; at the multiple 1 a file states true widths, which are only capped."""
        capped = channels if self.max_channels is None else min(channels, self.max_channels)
        return make_divisible(capped * self.width) if self.width != 1.0 else int(capped)

    def number(self, number: int) -> int:
        """A true depth."""
        return max(round(number * self.depth), 1) if number > 1 else number


def make_divisible(channels: float, divisor: int = 8) -> int:
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
        max_channels=None if cap is None else _positive(cap, f"{where}, max_channels"),
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
    chosen = document.get("scale", letter_of(name))
    if chosen not in scales:
        raise SpecError(
            f"{where}, scale",
            f"the model is one of its scales, {', '.join(map(str, scales))}",
            "no word of it" if chosen is None else repr(chosen),
            "Write it (scale: n), or name the file by it (yolov8n.yaml)",
        )
    place = f"{where}, scales, {chosen}"
    depth, width, cap = (_positive(value, place) for value in scales[chosen])
    return Scale(depth=depth, width=width, max_channels=cap)


def letter_of(name: str) -> str | None:
    """The scale in a model's name, the letter behind its number: n of yolov8n; None without."""
    found = re.search(r"\d([a-z])(?![a-z0-9])", name)
    return found[1] if found else None


def family_file(path: Path) -> Path:
    """The file that describes a model: its own, or else that of its family without the letter.

    yolov8m.yaml, where there is none, is scale m of yolov8.yaml.
    """
    letter = letter_of(path.stem)
    if letter is None or path.exists():
        return path
    family = path.with_name(re.sub(rf"(\d){letter}(?![a-z0-9])", r"\1", path.name, count=1))
    return family if family.exists() else path


def _positive(value: Any, where: str) -> float:
    if not is_number(value) or not 0 < value < math.inf:
        raise SpecError(where, "the value is a number above 0", repr(value))
    return float(value)
