"""Whether limits can be met at all: said before the search starts, not found out by it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from nas import NasError
from nas.latency.answer import LatencyModel
from nas.space.search_space import Candidate, SearchSpace
from nas.study.limits import NO_SIZE_LIMITS, SizeLimit, SizeLimits, number_words

SWEEPS: Final = 4
"""Passes over all choices, at most; on the default space the second changes nothing any more."""

STARTS: Final = 4
"""Descents, at most: one from the smallest candidate, the others from random ones."""

DRAWS: Final = 300
"""Random architectures that tell how much of a space a limit leaves out."""


class LimitError(NasError):
    """Limits that no architecture of the space meets."""


def find_within(
    space: SearchSpace,
    num_classes: int,
    model: LatencyModel,
    limit_ms: float | None,
    seed: int,
    sizes: SizeLimits = NO_SIZE_LIMITS,
) -> Candidate:
    """A candidate that meets every limit: `limit_ms` by the model's central value, and `sizes`.

    LimitError says how much of the space each limit leaves out, and the least there is, if there is
    none. The smallest candidate is tried first, and as a rule that is the whole work.
    """
    search = _Limited(space, num_classes, model, limit_ms, sizes)
    start = space.rebuild({n: o[0] for n, o in space.options().items()}, num_classes)
    rng = np.random.default_rng(seed)
    for _ in range(STARTS):
        found = _descend(space, search.excess, start)
        if search.excess(found) <= 0:
            return found
        start = space.random(rng, num_classes)
    raise search.error(seed)


@dataclass(frozen=True)
class _Limited:
    """A space under limits."""

    space: SearchSpace
    num_classes: int
    model: LatencyModel
    limit_ms: float | None
    sizes: SizeLimits

    def shares(self, candidate: Candidate) -> Mapping[str, float]:
        """How much of each limit a candidate takes, by the limit's name."""
        found = {}
        if self.limit_ms is not None:
            ms = self.model.predict(candidate.spec, candidate.image_size).ms
            found["latency"] = ms / self.limit_ms
        return found | self.sizes.shares(candidate)

    def excess(self, candidate: Candidate) -> float:
        """How far a candidate is over all limits together; 0 where it meets them."""
        shares = self.shares(candidate).values()
        return sum(max(0.0, math.log(share)) for share in shares if share > 0)

    def error(self, seed: int) -> LimitError:
        """What each limit leaves out of the space, and the least that there is of it."""
        rng = np.random.default_rng([seed, DRAWS])
        drawn = [self.shares(self.space.random(rng, self.num_classes)) for _ in range(DRAWS)]
        told = [self._told(one, drawn) for one in self._names()]
        together = _left_out([max(shares.values()) for shares in drawn])
        flags = ["--max-latency-ms"] if self.limit_ms is not None else []
        flags += ["--limit"] if self.sizes.limits else []
        several = f"; all limits together leave out {together}" if len(told) > 1 else ""
        return LimitError(
            " and ".join(flags),
            f"some architecture of the space meets {'the limit' if len(told) == 1 else 'them all'}",
            "; ".join(told) + several,
            f"Raise {'the limit' if len(told) == 1 else 'what leaves out most'}, or name a --space"
            " with smaller models or images",
        )

    def _names(self) -> list[str]:
        latency = [] if self.limit_ms is None else ["latency"]
        return [*latency, *(one.name for one in self.sizes.limits)]

    def _told(self, name: str, drawn: list[Mapping[str, float]]) -> str:
        """One limit in words."""
        start = self.space.rebuild(
            {n: o[0] for n, o in self.space.options().items()}, self.num_classes
        )
        least = _descend(self.space, lambda one: self.shares(one)[name], start)
        share, left_out = self.shares(least)[name], _left_out([one[name] for one in drawn])
        if name == "latency":
            assert self.limit_ms is not None, "a limit that was named"
            kind = self.model.predict(least.spec, least.image_size).kind.value
            return (
                f"{self.limit_ms:g} ms ({kind} latency) leaves out {left_out}, and the fastest of"
                f" {self.space.name} takes {share * self.limit_ms:.3g} ms"
            )
        (limit,) = [one for one in self.sizes.limits if one.name == name]
        return f"{limit} leaves out {left_out}, and the least of {self.space.name} is " + (
            _amount(limit, share)
        )


def _amount(limit: SizeLimit, share: float) -> str:
    """So much of a limit, to three digits."""
    return number_words(float(f"{share * limit.most:.3g}"))


def _left_out(shares: list[float]) -> str:
    """How many of the drawn are over a limit, in words."""
    part = sum(share > 1 for share in shares) / len(shares)
    return f"{part:.0%} of {len(shares)} random ones"


def _descend(space: SearchSpace, cost: Callable[[Candidate], float], start: Candidate) -> Candidate:
    """The candidate that no single other choice makes cheaper; at once where the cost is 0."""
    best, best_cost = start, cost(start)
    options = space.options()
    for _ in range(SWEEPS):
        before = best_cost
        for name, values in options.items():
            for value in values:
                if best_cost <= 0:
                    return best
                choices: dict[str, Any] = {**dict(best.choices), name: value}
                candidate = space.rebuild(choices, start.spec.num_classes)
                found = cost(candidate)
                if found < best_cost:
                    best, best_cost = candidate, found
        if best_cost == before:
            break
    return best
