"""The hypervolume that an architecture is expected to add to a front.

Latency is known before anything is graded, only the score is not. An architecture of latency l and
score y adds, between l and the slowest latency that counts, the part of y that lies above the front
as it stands there. The front is a staircase: the expectation is a sum over its steps of the step's
width times the expected improvement on its height (Jones, Schonlau and Welch 1998, eq. 15), exact
and without sampling.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from nas.study.pareto import non_dominated
from nas.study.surrogate.gaussian import Believed

Array = NDArray[np.float64]


def expected_improvement(
    front_ms: Array,
    front_scores: Array,
    latencies_ms: Array,
    believed: Believed,
    *,
    slowest_ms: float,
    base_score: float,
) -> Array:
    """The expected gain of each of m candidates, (m,), in the unit of the score.

    front_ms, front_scores  (k,) what is known, dominated points among it or not
    latencies_ms            (m,) of the candidates

    Areas are taken over the logarithm of latency up to `slowest_ms`, as everywhere in a search:
    twice as fast counts alike at 10 ms and at 100. Scores count from `base_score`.
    """
    kept = non_dominated(front_ms, front_scores)
    heights = np.concatenate([[base_score], np.maximum(front_scores[kept], base_score)])
    begins = np.concatenate([[-np.inf], np.log(front_ms[kept])])
    ends = np.append(begins[1:], np.inf)
    stop = np.log(slowest_ms)
    # (m, k + 1): how much of each step lies behind the candidate.
    widths = np.minimum(ends, stop) - np.maximum(begins, np.log(latencies_ms)[:, None])
    gains = _expected_above(believed, heights)
    found: Array = (np.maximum(widths, 0.0) * gains).sum(axis=1)
    return found


def _expected_above(believed: Believed, heights: Array) -> Array:
    """How far scores are expected to lie above heights (k,), and not below: (m, k)."""
    mean, deviation = believed.mean[:, None], np.maximum(believed.deviation[:, None], 1e-12)
    off = (mean - heights) / deviation
    density = np.exp(-0.5 * off**2) / np.sqrt(2 * np.pi)
    found: Array = deviation * (off * ndtr(off) + density)
    return found
