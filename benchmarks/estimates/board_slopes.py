"""Slopes of the times of networks to everything that benchmarks/estimates/board_fit.py fits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas.latency.estimated.board_model import CACHE_EDGE, Parts
from nas.latency.estimated.features import COMPUTING, MOVING, STARTING, Features

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


def slopes(known: Features, parts: Parts, counts: Array) -> Array:
    """Slopes of networks' ms to the logarithm of each parameter, the cache, the coefficients of
    the shape (on computing, on moving) and the uneven tiles, shape (networks, P + 2 SHAPES + 3)."""
    columns = [
        *_by_kind(known.computing, parts.computing, len(COMPUTING)),
        *_by_kind(known.moving, parts.moving, len(MOVING)),
        parts.transforming,
        parts.weights,
        parts.traffic,
        *_by_kind(known.start, parts.starting, len(STARTING)),
        -parts.traffic * (1 - parts.missed) / CACHE_EDGE,
        *(parts.computing[:, None] * known.shape).T,
        *(parts.moving[:, None] * known.shape).T,
        *_by_kind(known.family, parts.computing * known.imbalance, 3),
    ]
    return np.asarray(counts @ np.stack(columns, axis=1), dtype=np.float64)


def _by_kind(kinds: Indices, values: Array, count: int) -> list[Array]:
    return [np.where(kinds == kind, values, 0.0) for kind in range(count)]
