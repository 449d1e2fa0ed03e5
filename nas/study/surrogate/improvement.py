"""The hypervolume that an architecture is expected to add to a front.

Latency is known before anything is graded, only the score is not. An architecture of latency l and
score y adds, between l and the slowest latency that counts, the part of y that lies above the front
as it stands there. The front is a staircase: the expectation is a sum over its steps of the step's
width times the expected improvement on its height (Jones, Schonlau and Welch 1998, eq. 15), exact
and without sampling.

Where the latency on several boards counts the staircase is a pile of blocks, whose number
multiplies with every board: there the sum is over bounds on the latencies, spread evenly over
their box.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from nas.study.pareto import best_within, non_dominated, sampled_bounds
from nas.study.surrogate.gaussian import Believed

Array = NDArray[np.float64]


def expected_improvement(
    front_ms: Array,
    front_scores: Array,
    latencies_ms: Array,
    believed: Believed,
    *,
    slowest_ms: float | Sequence[float],
    base_score: float,
) -> Array:
    """The expected gain of each of m candidates, (m,), in the unit of the score.

    front_ms, front_scores  (k,) what is known, dominated points among it or not
    latencies_ms            (m,) of the candidates
    slowest_ms              one for each of several boards: front_ms is (k, d), latencies_ms (m, d)

    Areas are taken over the logarithm of latency up to `slowest_ms`, as everywhere in a search:
    twice as fast counts alike at 10 ms and at 100. Scores count from `base_score`.
    """
    slowest = np.atleast_1d(np.asarray(slowest_ms, dtype=np.float64))
    if len(slowest) > 1:
        return _by_bounds(
            front_ms, front_scores, np.log(latencies_ms), believed, np.log(slowest), base_score
        )
    front_ms, latencies_ms = front_ms.reshape(-1), latencies_ms.reshape(-1)
    kept = non_dominated(front_ms, front_scores)
    heights = np.concatenate([[base_score], np.maximum(front_scores[kept], base_score)])
    begins = np.concatenate([[-np.inf], np.log(front_ms[kept])])
    ends = np.append(begins[1:], np.inf)
    stop = np.log(slowest[0])
    # (m, k + 1): how much of each step lies behind the candidate.
    widths = np.minimum(ends, stop) - np.maximum(begins, np.log(latencies_ms)[:, None])
    gains = _expected_above(believed, heights)
    found: Array = (np.maximum(widths, 0.0) * gains).sum(axis=1)
    return found


def _by_bounds(
    front_ms: Array, front_scores: Array, logs: Array, believed: Believed, stop: Array,
    base_score: float,
) -> Array:  # fmt: skip
    """The same over the logarithms of several latencies (m, d), up to `stop` (d,)."""
    low = np.minimum(np.log(front_ms).min(axis=0), logs.min(axis=0))
    bounds = sampled_bounds(low, stop)
    heights = np.maximum(best_within(front_ms, front_scores, np.exp(bounds)), base_score)
    # Bounds of one height are asked about together: a front has few heights.
    levels, level = np.unique(heights, return_inverse=True)
    gains = _expected_above(believed, levels)
    found = np.zeros(len(logs))
    for place in range(len(levels)):
        own = bounds[level == place]
        share = (logs[:, None] <= own).all(axis=2).sum(axis=1)
        found += share * gains[:, place]
    volume = float(np.prod(stop - low))
    return found * (volume / len(bounds))


def _expected_above(believed: Believed, heights: Array) -> Array:
    """How far scores are expected to lie above heights (k,), and not below: (m, k)."""
    mean, deviation = believed.mean[:, None], np.maximum(believed.deviation[:, None], 1e-12)
    off = (mean - heights) / deviation
    density = np.exp(-0.5 * off**2) / np.sqrt(2 * np.pi)
    found: Array = deviation * (off * ndtr(off) + density)
    return found
