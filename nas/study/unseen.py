"""A candidate that the search has not had, drawn without the sampler.

For when the sampler repeats itself, as samplers do on discrete spaces (optuna #2021, #5440), or
draws nothing but candidates over the limit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from nas.space.search_space import Candidate
from nas.study.candidates import Candidates

DRAWS: Final = 500
"""Uniform draws at most, and as many among the neighbours of known candidates."""

ENUMERABLE: Final = 2000
"""A space of at most so many combinations is gone through one by one, so that none is missed."""

CHANGES: Final = 5
"""Choices of a known candidate that are drawn anew, at most: 1 at first, then more and more."""


def draw_fresh(
    candidates: Candidates,
    is_fresh: Callable[[Candidate], bool],
    starts: Sequence[Candidate],
    rng: np.random.Generator,
) -> Candidate | None:
    """A candidate for which `is_fresh` holds, or None if none was found.

    Uniform among all of them where that can be had: by going through a small space, else by drawing
    until one is met. Under a limit that a uniform draw hardly ever meets, from the neighbourhood
    of `starts`, candidates that do meet it. None is certain in a small space; in a large one it
    means that 2 x DRAWS draws were in vain.
    """
    if candidates.space.size() <= ENUMERABLE:
        return next((c for c in candidates.shuffled(rng) if is_fresh(c)), None)
    for _ in range(DRAWS):
        candidate = candidates.random(rng)
        if is_fresh(candidate):
            return candidate
    for draw in range(DRAWS if starts else 0):
        start = starts[int(rng.integers(len(starts)))]
        candidate = candidates.mutate(dict(start.choices), 1 + draw * CHANGES // DRAWS, rng)
        if is_fresh(candidate):
            return candidate
    return None
