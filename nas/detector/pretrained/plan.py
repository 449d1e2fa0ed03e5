"""Which block of a seed stands for which block of a detector.

A staged backbone is a stem, then blocks in groups of one width and stride. Groups and the seed's
stages are paired where they work at the same stride, in order. A group that stands alone where the
seed has two stages is halved between them if it can be; a stage that still has no group is crossed
by its line (`linear.affine`), which the next group's first block reads through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from nas.detector.pretrained.seed import Kind, Seed
from nas.space.blocks import Block, Layer, layers
from nas.space.spec import ModelSpec

STEMS: Final = ("Conv", "Focus")
OPERATORS: Final = ("MBConv", "FusedMBConv", "InvertedResidual")

_SIZE: Final = 256
"""Pixels; groups do not depend on it."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A block of a detector: row, place within the row, and what it is."""

    row: int
    part: int
    block: Block


@dataclass(frozen=True, kw_only=True)
class Group:
    """Blocks of one width; the first may have a stride. `stage` of the seed stands for them.

    crossed   stages of the seed, between the group before and this one, that have no group
    """

    places: tuple[Place, ...]
    stage: int
    crossed: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The stem's row, the groups that a seed has stages for, and why no more follow."""

    stem: Place | None
    groups: tuple[Group, ...]
    end: str


def kind_of(block: Block) -> Kind:
    """The kind of seed block that an operator's weights are."""
    if block.module == "FusedMBConv":
        return "dense" if block.expand_ratio == 1 else "fused"
    return "depthwise" if block.expand_ratio == 1 else "inverted"


def plan(spec: ModelSpec, seed: Seed) -> Plan:
    """Which stage of the seed stands for which blocks."""
    strides, at = [stage.stride for stage in seed.stages], 2
    stages: dict[int, list[int]] = {}
    for number, stride in enumerate(strides):
        at *= stride
        stages.setdefault(at, []).append(number)
    stem, chain, end = backbone(spec)
    if stem is None:
        return Plan(stem=None, groups=(), end=end)
    runs = [(stride, by_width(places)) for stride, places in by_stride(chain)]
    groups: list[Group] = []
    crossed: tuple[int, ...] = ()
    if runs and runs[0][0] != 2:
        runs.insert(0, (2, []))
    for index, (stride, own) in enumerate(runs):
        there = stages.get(stride, [])
        is_last = index == len(runs) - 1
        taken = own if is_last else halved(own, len(there))
        for part, stage in zip(taken, there, strict=False):
            groups.append(Group(places=tuple(part), stage=stage, crossed=crossed))
            crossed = ()
        if len(there) < len(own):
            row = own[len(there)][0].row
            end = f"row {row}: {seed.name} has no stage more of stride {stride}"
            return Plan(stem=stem, groups=tuple(groups), end=end)
        crossed += tuple(there[len(taken) :])
    return Plan(stem=stem, groups=tuple(groups), end=end)


def by_stride(chain: Sequence[Place]) -> list[tuple[int, list[Place]]]:
    """The blocks that work at each stride (pixels of the image a cell of their output)."""
    at, found = 2, []
    for place in chain:
        at *= place.block.stride
        found.append((at, place))
    return [
        (stride, [place for _, place in own])
        for stride, own in groupby(found, key=lambda pair: pair[0])
    ]


def by_width(places: Sequence[Place]) -> list[list[Place]]:
    """Runs of blocks of one width."""
    return [list(own) for _, own in groupby(places, key=lambda place: place.block.channels_out)]


def halved(groups: list[list[Place]], count: int) -> list[list[Place]]:
    """At most `count` groups, the longest cut in two while there are fewer."""
    parts = list(groups)
    while parts and len(parts) < count:
        longest = max(range(len(parts)), key=lambda index: len(parts[index]))
        own = parts[longest]
        if len(own) < 2:
            break
        middle = _boundary(own)
        parts[longest : longest + 1] = [own[:middle], own[middle:]]
    return parts


def _boundary(places: list[Place]) -> int:
    """Where a group of equal widths falls in two: the place nearest to its middle of those where
    blocks change, or else where a row of a single block stands, as a stage's first does."""
    inner = range(1, len(places))
    rows = [place.row for place in places]
    changes = [n for n in inner if _made_as(places[n]) != _made_as(places[n - 1])]
    singles = [n for n in inner if rows.count(rows[n]) == 1]
    middle = (len(places) + 1) // 2
    return min(changes or singles or inner, key=lambda n: (abs(n - middle), n))


def _made_as(place: Place) -> tuple[object, ...]:
    block = place.block
    return block.module, block.kernel, block.expand_ratio, block.se_ratio


def backbone(spec: ModelSpec) -> tuple[Place | None, list[Place], str]:
    """Stem, the chain of blocks behind it that a seed can stand for, and what ends it."""
    walked = layers(spec, _SIZE)
    first = walked[0]
    if first.row.module not in STEMS or len(first.blocks) > 1 or _stride(first) != 2:
        return None, [], f"row 0 ({first.row.module}) is no Conv or Focus of stride 2"
    chain: list[Place] = []
    for layer in walked[1 : len(spec.backbone)]:
        if layer.inputs != (layer.index - 1,) or layer.row.module not in OPERATORS:
            return Place(row=0, part=0, block=first.blocks[0]), chain, _ended(layer, chain)
        chain += [
            Place(row=layer.index, part=part, block=block)
            for part, block in enumerate(layer.blocks)
        ]
    return Place(row=0, part=0, block=first.blocks[0]), chain, ""


def _stride(layer: Layer) -> int:
    return _SIZE // layer.height


def _ended(layer: Layer, chain: list[Place]) -> str:
    if chain and layer.row.module in ("SPPF", "SPP"):
        return ""
    return f"row {layer.index} ({layer.row.module}) has no counterpart"
