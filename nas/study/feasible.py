"""Whether a latency limit can be met at all: said before the search starts, not found out by it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from nas import NasError
from nas.latency.answer import LatencyModel
from nas.space.search_space import Candidate, SearchSpace

SWEEPS: Final = 4
"""Passes over all choices, at most; on the default space the second changes nothing any more."""

STARTS: Final = 4
"""Descents, at most: one from the smallest candidate, the others from random ones."""


class LimitError(NasError):
    """A latency limit that no architecture of the space meets."""


def find_within(
    space: SearchSpace, num_classes: int, model: LatencyModel, limit_ms: float, seed: int
) -> Candidate:
    """A candidate whose latency by the model (the central value) is at most `limit_ms`.

    LimitError names the fastest one found if there is none. The smallest candidate is tried
    first, and as a rule that is the whole work.
    """
    best = space.rebuild({n: o[0] for n, o in space.options().items()}, num_classes)
    best_ms = model.predict(best.spec, best.image_size).ms
    rng = np.random.default_rng(seed)
    start = best
    for _ in range(STARTS):
        if best_ms <= limit_ms:
            return best
        found, found_ms = _descend(space, model, start)
        if found_ms < best_ms:
            best, best_ms = found, found_ms
        start = space.random(rng, num_classes)
    if best_ms <= limit_ms:
        return best
    kind = model.predict(best.spec, best.image_size).kind.value
    raise LimitError(
        "--max-latency-ms",
        f"some architecture of the space meets the limit (on the {kind} latency)",
        f"{limit_ms:g} ms, where the fastest of {space.name} takes {best_ms:.3g} ms",
        "Raise the limit, or name a --space with smaller models or images",
    )


def _descend(space: SearchSpace, model: LatencyModel, start: Candidate) -> tuple[Candidate, float]:
    """The candidate, with its latency in ms, that no single other choice makes faster."""
    best = start
    best_ms = model.predict(best.spec, best.image_size).ms
    options = space.options()
    for _ in range(SWEEPS):
        before = best_ms
        for name, values in options.items():
            for value in values:
                choices: dict[str, Any] = {**dict(best.choices), name: value}
                candidate = space.rebuild(choices, start.spec.num_classes)
                latency_ms = model.predict(candidate.spec, candidate.image_size).ms
                if latency_ms < best_ms:
                    best, best_ms = candidate, latency_ms
        if best_ms == before:
            break
    return best, best_ms
