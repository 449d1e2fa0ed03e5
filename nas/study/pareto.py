"""The Pareto front of latency (less is better) and score (more is better), and what it covers."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


def non_dominated(latencies_ms: ArrayLike, scores: ArrayLike) -> Indices:
    """Indices of the points that no other point dominates, by rising latency, shape (k,).

    A point dominates another that is at least as slow and at most as good, and not equal to it in
    both: equal points stand together. O(n log n): sorted by latency, only a new best score is in.
    """
    latency, score = _columns(latencies_ms, scores)
    order = np.lexsort((-score, latency))
    kept: list[int] = []
    for index in order.tolist():
        if not kept or score[index] > score[kept[-1]] or _same(latency, score, index, kept[-1]):
            kept.append(index)
    return np.array(kept, dtype=np.int64)


def hypervolume(
    latencies_ms: ArrayLike, scores: ArrayLike, *, limit_ms: float, base_score: float = 0.0
) -> float:
    """The area that the points dominate inside latency < `limit_ms` and score > `base_score`.

    In milliseconds times score; 0 without a point inside. Larger is better; it rises if, and only
    if, the front improves there (Zitzler and Thiele 1998, for two objectives).
    """
    latency, score = _columns(latencies_ms, scores)
    inside = (latency < limit_ms) & (score > base_score)
    latency, score = latency[inside], score[inside]
    front = non_dominated(latency, score)
    ends = np.append(latency[front][1:], limit_ms)
    return float(np.sum((ends - latency[front]) * (score[front] - base_score)))


def thin(latencies_ms: ArrayLike, scores: ArrayLike, count: int) -> Indices:
    """Indices of at most `count` points of the front, by rising latency, that cover it best.

    The fastest and the best point stay (for a `count` of 1 the best alone). Of the others the one
    whose loss costs the least area goes, again and again; areas are taken over the logarithm of
    latency, so that the fast end of the front counts as much as the slow one.
    """
    assert count >= 1, f"a front is thinned to one point at least: {count}"
    latency, score = _columns(latencies_ms, scores)
    front = non_dominated(latency, score).tolist()
    if count == 1:
        return np.array(front[-1:], dtype=np.int64)
    logs = np.log(np.maximum(latency, np.finfo(np.float64).tiny))
    while len(front) > count:
        inner = range(1, len(front) - 1)
        loss = [
            (logs[front[i + 1]] - logs[front[i]]) * (score[front[i]] - score[front[i - 1]])
            for i in inner
        ]
        # `count` is at least 2, so that there is an inner point whenever one has to go.
        del front[1 + int(np.argmin(loss))]
    return np.array(front, dtype=np.int64)


def _columns(latencies_ms: ArrayLike, scores: ArrayLike) -> tuple[Array, Array]:
    latency = np.asarray(latencies_ms, dtype=np.float64).reshape(-1)
    score = np.asarray(scores, dtype=np.float64).reshape(-1)
    assert latency.shape == score.shape, "one score for each latency"
    assert bool(np.isfinite(latency).all() and np.isfinite(score).all()), "only finite values"
    return latency, score


def _same(latency: Array, score: Array, first: int, second: int) -> bool:
    return bool(latency[first] == latency[second] and score[first] == score[second])
