"""The Pareto front of latency (less is better) and score (more is better), and what it covers.

A latency is that on one board, or a row of them, of which each counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


def non_dominated(latencies_ms: ArrayLike, scores: ArrayLike) -> Indices:
    """Indices of the points that no other point dominates, by rising latency, shape (k,).

    latencies_ms   (n,), or (n, d) of d boards: then by rising latency on the first
    scores         (n,)

    A point dominates another that is at least as slow on every board and at most as good, and not
    equal to it in all: equal points stand together. O(n log n) for one board: sorted by latency,
    only a new best score is in; for several O(n k).
    """
    latency, score = _columns(latencies_ms, scores)
    # What dominates a point comes before it, and is itself kept, or dominated by what is.
    order = np.lexsort((-score, *latency.T[::-1]))
    if latency.shape[1] > 1:
        return _undominated(latency, score, order)
    kept: list[int] = []
    for index in order.tolist():
        if not kept or score[index] > score[kept[-1]] or _same(latency, score, index, kept[-1]):
            kept.append(index)
    return np.array(kept, dtype=np.int64)


def is_as_fast(first_ms: Sequence[float], second_ms: Sequence[float]) -> bool:
    """Whether the first is at least as fast as the second on every board."""
    return all(a <= b for a, b in zip(first_ms, second_ms, strict=True))


def best_within(latencies_ms: ArrayLike, scores: ArrayLike, bounds_ms: ArrayLike) -> Array:
    """The best score of the points that are as fast on every board as each bound, shape (m,).

    bounds_ms   (m, d), or (m,) for one board; minus infinity where no point is as fast
    """
    latency, score = _columns(latencies_ms, scores)
    bounds = np.asarray(bounds_ms, dtype=np.float64).reshape(-1, latency.shape[1])
    front = non_dominated(latency, score)
    found = np.full(len(bounds), -np.inf)
    for index in front.tolist():
        is_within = (latency[index] <= bounds).all(axis=1)
        found = np.where(is_within, np.maximum(found, score[index]), found)
    return found


def hypervolume(
    latencies_ms: ArrayLike, scores: ArrayLike, *, limit_ms: float, base_score: float = 0.0
) -> float:
    """The area that the points dominate inside latency < `limit_ms` and score > `base_score`.

    In milliseconds times score; 0 without a point inside. Larger is better; it rises if, and only
    if, the front improves there (Zitzler and Thiele 1998, for two objectives).
    """
    columns, score = _columns(latencies_ms, scores)
    assert columns.shape[1] == 1, "the area is that of one board"
    latency = columns[:, 0]
    inside = (latency < limit_ms) & (score > base_score)
    latency, score = latency[inside], score[inside]
    front = non_dominated(latency, score)
    ends = np.append(latency[front][1:], limit_ms)
    return float(np.sum((ends - latency[front]) * (score[front] - base_score)))


def thin(latencies_ms: ArrayLike, scores: ArrayLike, count: int) -> Indices:
    """Indices of at most `count` points of the front, by rising latency, that cover it best.

    The fastest and the best point stay (for a `count` of 1 the best alone). Of the others the one
    whose loss costs the least area goes, again and again; areas are taken over the logarithm of
    latency, so that the fast end of the front counts as much as the slow one. For several boards,
    latencies of shape (n, d), they are volumes, by SAMPLED bounds.
    """
    assert count >= 1, f"a front is thinned to one point at least: {count}"
    latency, score = _columns(latencies_ms, scores)
    front = non_dominated(latency, score).tolist()
    best = max(reversed(front), key=lambda i: score[i], default=0)
    if count == 1:
        return np.array([best] if front else [], dtype=np.int64)
    logs = np.log(np.maximum(latency, np.finfo(np.float64).tiny))
    while len(front) > count:
        losses = _losses(logs[front], score[front])
        # `count` is at least 2, so that there is another point whenever one has to go.
        free = [place for place in range(1, len(front)) if front[place] != best]
        del front[min(free, key=lambda place: losses[place])]
    return np.array(front, dtype=np.int64)


SAMPLED: Final = 1024
"""Bounds by which a volume over the latencies of several boards is taken."""


def sampled_bounds(low: Array, high: Array) -> Array:
    """SAMPLED bounds spread evenly over a box, (SAMPLED, d), the same every time.

    low, high   (d,) of the box

    An additive recurrence by the generalised golden ratio (Roberts 2018, "The unreasonable
    effectiveness of quasirandom sequences"): it fills a box of any d more evenly than chance.
    """
    dimensions = len(low)
    ratio = 2.0
    for _ in range(32):
        ratio = (1 + ratio) ** (1 / (dimensions + 1))
    steps = ratio ** -np.arange(1.0, dimensions + 1)
    places: Array = (0.5 + np.arange(1, SAMPLED + 1)[:, None] * steps) % 1.0
    return low + places * (high - low)


def _losses(logs: Array, scores: Array) -> Array:
    """What the loss of each point of a front costs, (n,): area or volume that it alone covers."""
    if logs.shape[1] == 1:
        found = np.full(len(scores), np.inf)
        found[1:-1] = np.diff(logs[:, 0])[1:] * np.diff(scores)[:-1]
        return found
    bounds = sampled_bounds(logs.min(axis=0), logs.max(axis=0))
    is_within = (logs[:, None] <= bounds).all(axis=2)
    reached = np.where(is_within, scores[:, None], min(0.0, float(scores.min())))
    top = reached.argmax(axis=0)
    second = np.sort(reached, axis=0)[-2] if len(scores) > 1 else 0.0
    gains = reached.max(axis=0) - second
    found = np.bincount(top, weights=gains, minlength=len(scores))
    return np.asarray(found, dtype=np.float64)


def _undominated(latency: Array, score: Array, order: Indices) -> Indices:
    kept: list[int] = []
    for index in order.tolist():
        before = np.array(kept, dtype=np.int64)
        as_good = (latency[before] <= latency[index]).all(axis=1) & (score[before] >= score[index])
        equal = (latency[before] == latency[index]).all(axis=1) & (score[before] == score[index])
        if not bool((as_good & ~equal).any()):
            kept.append(index)
    return np.array(kept, dtype=np.int64)


def _columns(latencies_ms: ArrayLike, scores: ArrayLike) -> tuple[Array, Array]:
    score = np.asarray(scores, dtype=np.float64).reshape(-1)
    latency = np.asarray(latencies_ms, dtype=np.float64)
    latency = latency.reshape(len(score), -1) if latency.size else latency.reshape(len(score), 1)
    assert bool(np.isfinite(latency).all() and np.isfinite(score).all()), "only finite values"
    return latency, score


def _same(latency: Array, score: Array, first: int, second: int) -> bool:
    return bool((latency[first] == latency[second]).all() and score[first] == score[second])
