"""Names and shapes of timm's and torchvision's state dicts, with random numbers in them.

Written down from the libraries (timm 1.0.31, torchvision 0.29.1); what the networks compute under
these names was compared with both libraries once, LOG.md has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

State = dict[str, Tensor]


@dataclass(frozen=True)
class Row:
    """A stage of a classifier: blocks, kind (ir, ds, er, cn), kernel, width, expansion, SE."""

    depth: int
    kind: str
    kernel: int
    width: int
    expand: float = 1
    squeeze: float = 0


V2_TINY = (
    Row(2, "cn", 3, 24), Row(2, "er", 3, 48, 4), Row(1, "er", 3, 64, 4),
    Row(2, "ir", 3, 128, 4, 0.25), Row(1, "ir", 3, 160, 6, 0.25), Row(1, "ir", 3, 256, 6, 0.25),
)  # fmt: skip
"""EfficientNetV2-S with fewer blocks a stage."""

B0 = (
    Row(1, "ds", 3, 16, 1, 0.25), Row(2, "ir", 3, 24, 6, 0.25), Row(2, "ir", 5, 40, 6, 0.25),
    Row(3, "ir", 3, 80, 6, 0.25), Row(3, "ir", 5, 112, 6, 0.25), Row(1, "ir", 5, 192, 6, 0.25),
    Row(1, "ir", 3, 320, 6, 0.25),
)  # fmt: skip

MOBILENET_V2 = (
    Row(1, "ds", 3, 16), Row(2, "ir", 3, 24, 6), Row(3, "ir", 3, 32, 6), Row(4, "ir", 3, 64, 6),
    Row(3, "ir", 3, 96, 6), Row(3, "ir", 3, 160, 6), Row(1, "ir", 3, 320, 6),
)  # fmt: skip

# With one expansion a stage; the network's own are 4.5, 3.67, 4, 6, 6, 3, 3, 6.
MOBILENET_V3_SMALL = (
    Row(1, "ds", 3, 16, 1, 0.5), Row(2, "ir", 3, 24, 4), Row(3, "ir", 5, 40, 6, 0.25),
    Row(2, "ir", 5, 48, 3, 0.25), Row(3, "ir", 5, 96, 6, 0.25),
)  # fmt: skip


class _State:
    def __init__(self) -> None:
        self.state: State = {}
        self.generator = torch.Generator().manual_seed(0)

    def conv(self, name: str, norm: str, *shape: int) -> None:
        fan = shape[1] * shape[2] ** 2
        self.state[f"{name}.weight"] = torch.randn(*shape[:3], shape[2], generator=self.generator)
        self.state[f"{name}.weight"] /= fan**0.5
        for part, low, high in (
            ("weight", 0.5, 1.5), ("bias", -0.2, 0.2), ("running_mean", -0.1, 0.1),
            ("running_var", 0.5, 1.5),
        ):  # fmt: skip
            value = torch.rand(shape[0], generator=self.generator)
            self.state[f"{norm}.{part}"] = low + (high - low) * value
        self.state[f"{norm}.num_batches_tracked"] = torch.tensor(1)

    def gate(self, reduce: str, expand: str, channels: int, squeeze: int) -> None:
        for name, out, into in ((reduce, squeeze, channels), (expand, channels, squeeze)):
            self.state[f"{name}.weight"] = torch.randn(out, into, 1, 1, generator=self.generator)
            self.state[f"{name}.bias"] = torch.zeros(out)


def _blocks(rows: tuple[Row, ...], width: int) -> Iterator[tuple[int, int, Row, int, int]]:
    """Stage, block, row, input channels, hidden channels."""
    for stage, row in enumerate(rows):
        for number in range(row.depth):
            yield stage, number, row, width, round(width * row.expand)
            width = row.width


def timm(rows: tuple[Row, ...], stem: int) -> State:
    """timm's names; SE goes by the block's input, as in EfficientNet."""
    made = _State()
    made.conv("conv_stem", "bn1", stem, 3, 3)
    for stage, number, row, into, hidden in _blocks(rows, stem):
        own = f"blocks.{stage}.{number}."
        convs = {
            "ds": [("conv_dw", into, 1, row.kernel), ("conv_pw", row.width, into, 1)],
            "ir": [("conv_pw", hidden, into, 1), ("conv_dw", hidden, 1, row.kernel),
                   ("conv_pwl", row.width, hidden, 1)],
            "er": [("conv_exp", hidden, into, row.kernel), ("conv_pwl", row.width, hidden, 1)],
            "cn": [("conv", row.width, into, row.kernel)],
        }[row.kind]  # fmt: skip
        for index, (name, *shape) in enumerate(convs, start=1):
            made.conv(own + name, f"{own}bn{index}", *shape)
        if row.squeeze:
            squeeze = max(1, int(into * row.squeeze))
            made.gate(f"{own}se.conv_reduce", f"{own}se.conv_expand", hidden, squeeze)
    made.conv("conv_head", "bn2", 64, rows[-1].width, 1)
    made.state["classifier.weight"] = torch.zeros(10, 64)
    return made.state


def torchvision(rows: tuple[Row, ...], stem: int, is_flat: bool) -> State:
    """torchvision's names; `is_flat`: blocks are numbered through, as in MobileNetV3."""
    made = _State()
    made.conv("features.0.0", "features.0.1", stem, 3, 3)
    count = 0
    for stage, number, row, into, hidden in _blocks(rows, stem):
        count += 1
        own = f"features.{count}.block." if is_flat else f"features.{stage + 1}.{number}.block."
        shapes = {
            "ds": [(into, 1, row.kernel), (row.width, into, 1)],
            "ir": [(hidden, into, 1), (hidden, 1, row.kernel), (row.width, hidden, 1)],
            "er": [(hidden, into, row.kernel), (row.width, hidden, 1)],
            "cn": [(row.width, into, row.kernel)],
        }[row.kind]
        part = 0
        for index, shape in enumerate(shapes):
            if row.squeeze and index == len(shapes) - 1:
                squeeze = max(1, int(into * row.squeeze))
                made.gate(f"{own}{part}.fc1", f"{own}{part}.fc2", hidden, squeeze)
                part += 1
            made.conv(f"{own}{part}.0", f"{own}{part}.1", *shape)
            part += 1
    last = count + 1 if is_flat else len(rows) + 1
    made.conv(f"features.{last}.0", f"features.{last}.1", 64, rows[-1].width, 1)
    made.state["classifier.1.weight"] = torch.zeros(10, 64)
    return made.state


def torchvision_mobilenet_v2() -> State:
    """MobileNetV2's names, which have no `block`."""
    made = _State()
    made.conv("features.0.0", "features.0.1", 32, 3, 3)
    for count, (_, _, row, into, hidden) in enumerate(_blocks(MOBILENET_V2, 32), start=1):
        own, part = f"features.{count}.conv.", 0
        if row.kind == "ir":
            made.conv(f"{own}0.0", f"{own}0.1", hidden, into, 1)
            part = 1
        made.conv(f"{own}{part}.0", f"{own}{part}.1", hidden, 1, 3)
        made.conv(f"{own}{part + 1}", f"{own}{part + 2}", row.width, hidden, 1)
    made.conv("features.18.0", "features.18.1", 1280, 320, 1)
    made.state["classifier.1.weight"] = torch.zeros(10, 1280)
    return made.state
