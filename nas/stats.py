"""Statistics of measurements and predictions, on plain numpy arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def median(values: ArrayLike) -> float:
    """The median of at least one value, in the values' unit."""
    array = np.asarray(values, dtype=np.float64)
    assert array.size > 0, "the median of nothing"
    return float(np.median(array))


def relative_errors(predicted: ArrayLike, true: ArrayLike) -> Array:
    """Signed errors (predicted - true) / true, as fractions, shape (n,)."""
    truth = np.asarray(true, dtype=np.float64)
    return (np.asarray(predicted, dtype=np.float64) - truth) / truth


def mape(predicted: ArrayLike, true: ArrayLike) -> float:
    """Mean absolute percentage error as a fraction (0.05 is 5 %)."""
    return float(np.mean(np.abs(relative_errors(predicted, true))))


def share_within(predicted: ArrayLike, true: ArrayLike, tolerance: float) -> float:
    """The share of predictions whose relative error is at most `tolerance` (a fraction)."""
    return float(np.mean(np.abs(relative_errors(predicted, true)) <= tolerance))


def ranks(values: ArrayLike) -> Array:
    """Ranks from 1, ties averaged, shape (n,)."""
    array = np.asarray(values, dtype=np.float64)
    _, inverse, counts = np.unique(array, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2.0)[inverse], dtype=np.float64)


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's rank correlation; nan where one side is constant or has under two values."""
    a, b = ranks(first), ranks(second)
    if a.size < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def spearman_in_bands(predicted: ArrayLike, true: ArrayLike, half_width: float = 0.15) -> float:
    """The mean Spearman inside bands of +-`half_width` (a fraction) of a true value.

    A rank correlation over a whole space flatters: size alone gives it. So every item in turn
    is the centre of a band, and only bands of at least five items count; nan when there is none.
    """
    p, t = np.asarray(predicted, dtype=np.float64), np.asarray(true, dtype=np.float64)
    found = []
    for centre in t:
        inside = np.abs(t - centre) <= half_width * centre
        if inside.sum() >= 5:
            found.append(spearman(p[inside], t[inside]))
    finite = [value for value in found if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")


def conformal_quantile(errors: ArrayLike, coverage: float) -> float:
    """The split-conformal bound on absolute errors that a new one stays under with `coverage`.

    The ceil((n + 1) * coverage)-th smallest of n calibration errors (Vovk et al. 2005; Lei et al.,
    arXiv 1604.04173, algorithm 2). With too few errors for the coverage asked, the largest one:
    a finite bound, and the honest choice only for a caller who says how many errors there were.
    """
    array = np.sort(np.abs(np.asarray(errors, dtype=np.float64)))
    assert array.size > 0, "no calibration errors"
    rank = int(np.ceil((array.size + 1) * coverage))
    return float(array[min(rank, array.size) - 1])


def huber_residuals(off: Array, bend: float) -> Array:
    """Numbers whose squares are Huber's loss of `off`, twice over: lines beyond `bend` (1964)."""
    size = np.abs(off)
    bent = np.sqrt(np.maximum(2 * bend * size - bend**2, 0.0))
    return np.asarray(np.sign(off) * np.where(size < bend, size, bent), dtype=np.float64)
