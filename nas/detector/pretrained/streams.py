"""Which of a seed's channels a detector keeps.

The blocks of a stage add to one map, its stream: all that write it or read it keep the same
channels. Hidden channels are each block's own (weight selection, arXiv 2311.18823, keeps the first
or evenly spaced ones; by importance is FNA's and the once-for-all network's way).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from nas.detector.pretrained.conv import best_channels, first_channels
from nas.detector.pretrained.linear import response
from nas.detector.pretrained.seed import Seed, SeedBlock, SeedConv

Order = Literal["importance", "first", "ranked"]
"""importance: the most important channels in their order; first: the first; ranked: the most
important one first, for a network that others are cut from by their first channels."""


@dataclass(frozen=True, kw_only=True)
class Streams:
    """A seed's streams: -1 is the stem's map, 0 and on those of its stages."""

    seed: Seed
    order: Order

    def spread(self, stage: int, blocks: int | None = None) -> Tensor:
        """(width,) about the deviation of a stream's channels after so many of its blocks."""
        if stage < 0:
            stem = self.seed.stem
            slope = response(self.seed.stem_activation, stem.beta, stem.gamma)[1]
            return slope * stem.gamma.double().abs()
        own = self.seed.stages[stage].blocks[:blocks]
        return torch.stack([block.project.gamma.double() ** 2 for block in own]).sum(0).sqrt()

    def index(self, stage: int, wanted: int) -> Tensor:
        """(wanted,) the stream's channels that are kept."""
        width = len(self.seed.stem.weight) if stage < 0 else self.seed.stages[stage].width
        if self.order == "first" or (self.order == "importance" and wanted >= width):
            return first_channels(wanted, width)
        readers = list(self.seed.stages[stage].blocks[1:]) if stage >= 0 else []
        readers += [own.blocks[0] for own in self.seed.stages[stage + 1 : stage + 2]]
        read = torch.zeros(width, dtype=torch.float64)
        for block in readers:
            read += _heard(block)
        weight = read.sqrt() if readers else torch.ones(width, dtype=torch.float64)
        importance = self.spread(stage) * weight
        return best_channels(wanted, importance, is_ranked=self.order == "ranked")

    def hidden(self, block: SeedBlock, wanted: int) -> Tensor:
        """(wanted,) the hidden channels that are kept: by |W_project| times |gamma|."""
        is_whole = self.order == "importance" and wanted >= block.hidden
        if self.order == "first" or is_whole:
            return first_channels(wanted, block.hidden)
        before = block.depthwise or block.expand
        assert before is not None
        size = block.project.weight.double().flatten(2).norm(dim=2)
        said = (size * block.project.scale[:, None]).norm(dim=0)
        importance = said * before.gamma.double().abs()
        return best_channels(wanted, importance, is_ranked=self.order == "ranked")


def _heard(block: SeedBlock) -> Tensor:
    """(in,) how loudly a block hears each of its input channels, squared."""
    conv: SeedConv = block.expand or block.depthwise or block.project
    loud = (conv.weight.double() * conv.scale.view(-1, 1, 1, 1)) ** 2
    if block.expand is None and block.depthwise is not None:
        return loud.sum((1, 2, 3))
    return loud.sum((0, 2, 3))
