"""What a surrogate chooses from: architectures whose latency is known, and that meet the limits.

Latency and description cost a millisecond and no training, so there are thousands of them: random
ones of the whole space, and then neighbours of whatever is on the front. The random ones come in
STAGES, so that the first grading need not wait for all of them. What the pool holds follows from
its seed, its stage and what it was told, and from no clock.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nas.latency.answer import Latency, LatencyModel
from nas.space.blocks import blocks
from nas.space.search_space import Candidate
from nas.study.candidates import REFERENCE_SIZE, Candidates
from nas.study.limits import NO_SIZE_LIMITS, SizeLimits
from nas.study.sampling import is_ordinal
from nas.study.surrogate.description import block_amounts, describe
from nas.study.unseen import ENUMERABLE

Array = NDArray[np.float64]

FIRST: Final = 2000
"""Random architectures, once all stages are there."""

STAGES: Final = 16
"""Equal parts of them."""

MOST: Final = 20000
"""Architectures, at most: of those that were bred, the oldest go."""

LOOKED_AT: Final = 4000
"""Of so many a proposal is the best: the youngest half, and as many random ones of the others."""

TRIES: Final = 4
"""Draws for each architecture wanted, at most: under a narrow limit few of them meet it."""

CHANGES: Final = 4
"""Choices of a parent that a neighbour has otherwise, at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """An architecture of the pool: what of it is kept while there are thousands."""

    digest: str
    choices: tuple[tuple[str, Any], ...]
    latency_ms: float
    others_ms: tuple[float, ...]
    """On the search's other boards that count."""
    row: Array
    """What the surrogate learns over (d,): its description, then its own space's choices."""

    @property
    def each_ms(self) -> tuple[float, ...]:
        """The latency on every board that counts, the first's first."""
        return (self.latency_ms, *self.others_ms)


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
        """`within` is a candidate known to meet the limits, for limits that hardly any meets.

        The first stage is there at once, and all of a small space.
        """
        self._candidates, self._model, self._seed = candidates, model, seed
        self._limit_ms = math.inf if limit_ms is None else limit_ms
        self._sizes = sizes
        self._object_share = median_share(candidates)
        self._known: dict[str, Member] = {}
        self._pairs: dict[tuple[str, Any], tuple[str, Any]] = {}
        self._first: dict[str, Member] = {}
        self._bred: dict[str, Member] = {}
        self._stage = 0
        self._rng = np.random.default_rng([seed, FIRST])
        if candidates.space.size() <= ENUMERABLE:
            self._stage = STAGES
            for candidate in candidates.shuffled(self._rng):
                self._add(candidate, self._first)
        elif within is not None:
            self._add(within, self._first)
        self.grow(1)

    def __iter__(self) -> Iterator[Member]:
        yield from self._first.values()
        yield from (one for digest, one in self._bred.items() if digest not in self._first)

    def __len__(self) -> int:
        return len(self._first.keys() | self._bred.keys())

    @property
    def slowest_ms(self) -> tuple[float, ...]:
        """The limit, else the latency of the slowest random one; of that on each other board."""
        found = np.max([one.each_ms for one in self._first.values()] or [(1.0,)], axis=0).tolist()
        if self._limit_ms < math.inf:
            found[0] = self._limit_ms
        return tuple(found)

    def grow(self, stage: int) -> None:
        """Adds random architectures until this stage is there. Later ones than STAGES add none."""
        while self._stage < min(stage, STAGES):
            self._stage += 1
            self._fill(FIRST * self._stage // STAGES)

    def looked_at(self, asked: Collection[str], number: int) -> list[Member]:
        """LOOKED_AT of the architectures at most, without those that were `asked` for.

        The young ones are always among them, of the others some for each `number`.
        """
        free = [one for one in self if one.digest not in asked]
        if len(free) <= LOOKED_AT:
            return free
        old, young = free[: -(LOOKED_AT // 2)], free[-(LOOKED_AT // 2) :]
        rng = np.random.default_rng([self._seed, LOOKED_AT, number])
        places = np.sort(rng.choice(len(old), size=LOOKED_AT - len(young), replace=False))
        return [*(old[int(place)] for place in places), *young]

    def member(self, candidate: Candidate) -> Member:
        """The candidate described, whether it meets the limits or not."""
        known = self._known.get(candidate.digest)
        return known or self._described(candidate, self._latency(candidate))

    def breed(self, parents: Sequence[Member], count: int, rng: np.random.Generator) -> None:
        """Adds neighbours of the parents and random architectures, as many of each."""
        for number in range(count):
            if number % 2 and parents:
                parent = dict(parents[int(rng.integers(len(parents)))].choices)
                changes = 1 + int(rng.integers(CHANGES))
                self._add(self._candidates.mutate(parent, changes, rng), self._bred)
            else:
                self._add(self._candidates.random(rng), self._bred)
        for digest in list(self._bred)[: max(0, FIRST + len(self._bred) - MOST)]:
            del self._bred[digest]
            self._known.pop(digest, None)

    def _fill(self, wanted: int) -> None:
        """Draws a stage's share; then, where limits are narrow, neighbours of what met them."""
        rng = self._rng
        for _ in range(FIRST // STAGES):
            self._add(self._candidates.random(rng), self._first)
        for _ in range((TRIES - 1) * FIRST // STAGES):
            if len(self._first) >= wanted or not self._first:
                break
            parents = list(self._first.values())
            parent = dict(parents[int(rng.integers(len(parents)))].choices)
            changes = 1 + int(rng.integers(CHANGES))
            self._add(self._candidates.mutate(parent, changes, rng), self._first)

    def _add(self, candidate: Candidate, members: dict[str, Member]) -> None:
        if candidate.digest in members:
            return
        known = self._known.get(candidate.digest)
        latency = self._latency(candidate)
        # What is refused is not described, which costs more than all the rest.
        if latency.ms <= self._limit_ms and self._sizes.is_met(candidate):
            members[candidate.digest] = known or self._described(candidate, latency)

    def _latency(self, candidate: Candidate) -> Latency:
        return self._model.predict(candidate.spec, candidate.image_size)

    def _described(self, candidate: Candidate, latency: Latency) -> Member:
        found = Member(
            digest=candidate.digest,
            choices=tuple(self._pairs.setdefault(pair, pair) for pair in candidate.choices),
            latency_ms=latency.ms,
            others_ms=latency.others,
            row=architecture_row(candidate, latency.ms, self._candidates, self._object_share),
        )
        self._known[candidate.digest] = found
        return found


def architecture_row(
    candidate: Candidate,
    latency_ms: float,
    candidates: Candidates,
    object_share: float | None = None,
) -> Array:
    """What a surrogate learns over (d,): the description, then the choices of the own space.

    object_share   median_share(candidates), where it is at hand
    """
    share = median_share(candidates) if object_share is None else object_share
    described = described_row(candidate, latency_ms, share)
    return np.concatenate([described, coordinates(candidate, candidates.space.options())])


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
