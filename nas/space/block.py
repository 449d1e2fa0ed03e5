"""`Block`, the one row that the house turns on.

The builder builds a block, the latency table keys on it, the predictor sums over it, MACs are
counted from it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any, Final

BOX_BINS: Final = 16
"""Bins of each of the four distances of a box, before the classes (YOLOv8's Detect: `reg_max`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """What is built, timed and counted as one: a module with its widths and the map it reads.

    channels_in   channels of each input (several for Concat)
    height, width of the input map(s), in cells
    expand_ratio  of MBConv, FusedMBConv and InvertedResidual
    se_ratio      of the *input* channels, of InvertedResidual's hidden ones (0: no SE)
    depth         bottlenecks inside a C3 or C2f; convolutions before the last of a LightDetect
    padding       None: half the kernel
    dropout       share of what a Dense drops in training
    index         of a RouteGroup: which of its groups
    branches      hidden widths of a head without anchors: of its boxes, of its classes
    bins          of each distance of a head without anchors; 1: the distance itself
    operator      of a LightDetect: what its branches are made of
    """

    module: str
    channels_in: tuple[int, ...]
    channels_out: int
    height: int
    width: int
    kernel: int = 1
    stride: int = 1
    padding: int | None = None
    groups: int = 1
    expand_ratio: float = 1
    se_ratio: float = 0
    depth: int = 1
    shortcut: bool = False
    activation: str = "SiLU"
    index: int = 0
    branches: tuple[int, ...] = ()
    dropout: float = 0
    bins: int = BOX_BINS
    operator: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The block as JSON-able fields; those at their default are left out."""
        found: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                found[field.name] = list(value) if isinstance(value, tuple) else value
        return found

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Block:
        """The block that `to_dict` wrote; TypeError where the fields are not a block's."""
        named = ("channels_in", "branches")
        tuples = {name: tuple(values[name]) for name in named if name in values}
        return cls(**{**values, **tuples})

    def key(self) -> str:
        """The block as one line of canonical JSON: equal keys are equal blocks."""
        values = {
            name: int(value) if isinstance(value, float) and value.is_integer() else value
            for name, value in self.to_dict().items()
        }
        return json.dumps(values, sort_keys=True, separators=(",", ":"))

    def __str__(self) -> str:
        text = f"{self.module} {'+'.join(map(str, self.channels_in))}->{self.channels_out}"
        text += f" k{self.kernel} s{self.stride}"
        if (self.expand_ratio, self.se_ratio) != (1, 0):
            text += f" e{self.expand_ratio:g} se{self.se_ratio:g}"
        if self.depth != 1:
            text += f" n{self.depth}"
        return f"{text} @{self.height}x{self.width}"


def convolved_size(block: Block) -> tuple[int, int]:
    """Height and width of the output map of a convolution or pool of this kernel, in cells."""
    padding = block.kernel // 2 if block.padding is None else block.padding
    reach = 2 * padding - block.kernel
    return (block.height + reach) // block.stride + 1, (block.width + reach) // block.stride + 1


def hidden_channels(block: Block) -> int:
    """Channels between expansion and projection of an inverted residual."""
    return round(block.channels_in[0] * block.expand_ratio)


def squeeze_channels(block: Block) -> int:
    """Channels inside an SE that goes by the block's input channels; 0 where it has none.

    EfficientNet, EfficientNetV2 (arXiv 2104.00298) and PP-LCNet take the ratio of the *input*.
    """
    return max(1, int(block.channels_in[0] * block.se_ratio)) if block.se_ratio else 0


def nearest_multiple(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor`, the next one up if that loses more than a tenth.

    The rule of MobileNet, MobileNetV3 and EfficientNet (arXiv 1905.11946) for scaled widths.
    """
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * channels else nearest


def has_residual(block: Block) -> bool:
    """Whether a block adds its input: stride 1 and equal widths."""
    return block.stride == 1 and block.channels_in[0] == block.channels_out
