"""What a surrogate chooses from: architectures whose latency is known, and that meet the limits.

Latency and description cost a millisecond and no training, so there are thousands of them: random
ones of the whole space at first, and then neighbours of whatever is on the front. What the pool
holds follows from its seed and from what it was told, and from no clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nas.latency.answer import LatencyModel
from nas.space.blocks import blocks
from nas.space.search_space import Candidate
from nas.study.candidates import REFERENCE_SIZE, Candidates
from nas.study.limits import NO_SIZE_LIMITS, SizeLimits
from nas.study.sampling import is_ordinal
from nas.study.surrogate.description import block_amounts, describe
from nas.study.unseen import ENUMERABLE

Array = NDArray[np.float64]

FIRST: Final = 2000
"""Random architectures at the beginning."""

MOST: Final = 20000
"""Architectures, at most: those that came first go, but for the first draws' share of FIRST."""

TRIES: Final = 4
"""Draws for each architecture wanted, at most: under a narrow limit few of them meet it."""

CHANGES: Final = 4
"""Choices of a parent that a neighbour has otherwise, at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """An architecture of the pool."""

    candidate: Candidate
    latency_ms: float
    row: Array
    """What the surrogate learns over (d,): its description, then its own space's choices."""


class CandidatePool:
    """The architectures that may be asked for."""

    def __init__(
        self,
        candidates: Candidates,
        model: LatencyModel,
        limit_ms: float | None,
        seed: int,
        within: Candidate | None = None,
        sizes: SizeLimits = NO_SIZE_LIMITS,
    ) -> None:
        """`within` is a candidate known to meet the limits, for limits that hardly any meets."""
        self._candidates, self._model, self._seed = candidates, model, seed
        self._limit_ms = math.inf if limit_ms is None else limit_ms
        self._sizes = sizes
        self._options = candidates.space.options()
        self._object_share = median_share(candidates)
        self._known: dict[str, Member] = {}
        self._members: dict[str, Member] = {}
        self._fill(np.random.default_rng([seed, FIRST]), within)
        self.slowest_ms = limit_ms or max(one.latency_ms for one in self._members.values())

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members.values())

    def __len__(self) -> int:
        return len(self._members)

    def member(self, candidate: Candidate) -> Member:
        """The candidate described, whether it meets the limits or not."""
        known = self._known.get(candidate.digest)
        if known is None:
            ms = self._model.predict(candidate.spec, candidate.image_size).ms
            known = Member(candidate=candidate, latency_ms=ms, row=self._row(candidate, ms))
            self._known[candidate.digest] = known
        return known

    def breed(self, parents: Sequence[Member], count: int, rng: np.random.Generator) -> None:
        """Adds neighbours of the parents and random architectures, as many of each."""
        for number in range(count):
            if number % 2 and parents:
                parent = parents[int(rng.integers(len(parents)))].candidate
                changes = 1 + int(rng.integers(CHANGES))
                self._add(self._candidates.mutate(parent, changes, rng))
            else:
                self._add(self._candidates.random(rng))
        for digest in list(self._members)[FIRST : FIRST + len(self._members) - MOST]:
            del self._members[digest], self._known[digest]

    def _fill(self, rng: np.random.Generator, within: Candidate | None) -> None:
        if self._candidates.space.size() <= ENUMERABLE:
            for candidate in self._candidates.shuffled(rng):
                self._add(candidate)
            return
        if within is not None:
            self._add(within)
        for _ in range(FIRST):
            self._add(self._candidates.random(rng))
        for _ in range((TRIES - 1) * FIRST):
            if len(self._members) >= FIRST or not self._members:
                break
            parents = list(self._members.values())
            parent = parents[int(rng.integers(len(parents)))].candidate
            self._add(self._candidates.mutate(parent, 1 + int(rng.integers(CHANGES)), rng))

    def _add(self, candidate: Candidate) -> None:
        member = self.member(candidate)
        if member.latency_ms <= self._limit_ms and self._sizes.is_met(candidate):
            self._members[candidate.digest] = member

    def _row(self, candidate: Candidate, latency_ms: float) -> Array:
        described = described_row(candidate, latency_ms, self._object_share)
        return np.concatenate([described, coordinates(candidate, self._options)])


def described_row(candidate: Candidate, latency_ms: float, object_share: float) -> Array:
    """The description (len(NAMES),) of a candidate of any space."""
    found = blocks(candidate.spec, candidate.image_size)
    image = (found[0].height, found[0].width)
    total = np.sum([block_amounts(block, image) for block in found], axis=0)
    return describe(total, image, latency_ms, object_share)


def coordinates(candidate: Candidate, options: Mapping[str, tuple[Any, ...]]) -> Array:
    """A candidate's choices: a number's place among its options in 0..1, a word as one of many."""
    choices, found = dict(candidate.choices), []
    for name, values in options.items():
        place = values.index(choices[name])
        if len(values) == 1:
            continue
        if is_ordinal(values):
            found.append(place / (len(values) - 1))
        else:
            found += [float(place == number) for number in range(len(values))]
    return np.array(found)


def median_share(candidates: Candidates) -> float:
    """The median side of the data's objects as a share of the image's, from the fitted anchors."""
    pairs = [
        (level[i], level[i + 1]) for level in candidates.anchors for i in range(0, len(level), 2)
    ]
    sides = [math.sqrt(width * height) for width, height in pairs]
    return float(np.median(sides)) / REFERENCE_SIZE if sides else 0.2
