"""Data that a network of the tiny space learns something of in a few steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from nas.data.dataset import DataConfig
from nas.data.images import ImageSet
from nas.space.anchors import DEFAULT_ANCHORS
from nas.space.search_space import Candidate, read_space
from nas.study.candidates import Candidates
from tests.data.pictures import squares


@dataclass(frozen=True, kw_only=True)
class Squares:
    """A part of so many drawn images; `loads` notes each decoding."""

    count: int
    seed: int
    loads: list[int] = field(default_factory=list)

    def load(self, image_size: int, threads: int) -> ImageSet:
        self.loads.append(image_size)
        return squares(self.count, image_size, self.seed)


def learnable_data() -> DataConfig:
    """Bright squares of two classes: 16 images to learn from, 8 to be graded on."""
    return DataConfig(
        name="squares",
        names=("red", "green"),
        parts={"train": Squares(count=16, seed=0), "val": Squares(count=8, seed=1)},
        digest="0" * 16,
    )


def candidates() -> Candidates:
    """What builds those of the tiny space for this data."""
    return Candidates(space=read_space("tiny"), num_classes=2, anchors=DEFAULT_ANCHORS)


def some_candidates(count: int) -> list[Candidate]:
    """Candidates of the tiny space for this data."""
    draw = partial(candidates().random, np.random.default_rng(0))
    return [draw() for _ in range(count)]
