"""The range of numbers that an 8 bit map stands for, found on the maps of some pictures.

min-max     the least and the largest number that was seen
percentile  all but 0.01 % of the numbers, half of these at each end (99.99 %)
mse         the range, each end a share of min-max's, that changes the numbers least in the mean
            square, by rounding and by cutting

Numbers are counted in bins of equal width around 0. A map whose numbers grow past the last bin has
its bins joined in pairs, so that none is lost and no picture is run twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

RangeMethod = Literal["min-max", "percentile", "mse"]

METHODS: Final[tuple[RangeMethod, ...]] = get_args(RangeMethod)

BINS: Final = 4096
"""Of a map's histogram: 16 or more in a step of an 8 bit map, before its range is cut."""

TAIL: Final = 0.5e-4
"""Share of the numbers beyond each end of a percentile's range."""

SHARES: Final = tuple(float(one) for one in np.linspace(1.0, 0.2, 41))
"""Of min-max, that `mse` tries."""

EVERY: Final = 3
"""Of this many numbers of a map one is counted: as good as all of them, in a third of the time.
The least and the largest are looked for among all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """The least and the largest number of a map; 0 lies within."""

    low: float
    high: float

    @property
    def largest(self) -> float:
        """The largest number without its sign."""
        return max(-self.low, self.high)


class Histogram:
    """The numbers of one map over many pictures."""

    def __init__(self) -> None:
        self.low = self.high = 0.0
        self.limit = 0.0
        self.counts = np.zeros(BINS, np.int64)

    def add(self, values: NDArray[np.float32]) -> None:
        """Counts the numbers of one picture's map."""
        low, high = float(values.min()), float(values.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        largest = max(-low, high)
        if self.limit == 0.0 and largest > 0:
            self.limit = 2.0 ** np.ceil(np.log2(largest) + 1e-9)
        while largest > self.limit:
            self._widen()
        if self.limit == 0.0:
            return
        some = values.reshape(-1)[::EVERY]
        places = ((some + np.float32(self.limit)) * np.float32(BINS / 2 / self.limit)).astype(
            np.int32
        )
        self.counts += np.bincount(places.clip(0, BINS - 1), minlength=BINS)

    def range(self, method: RangeMethod, *, is_symmetric: bool) -> Range:
        """The map's range.

        is_symmetric  its numbers are stored around 0 (ncnn), not from its least one (ONNX Runtime)
        """
        widest = Range(low=self.low, high=self.high)
        if method == "min-max" or self.limit == 0.0 or widest.largest == 0:
            return widest
        if method == "percentile":
            return self._percentile(widest)
        return self._least_error(widest, is_symmetric=is_symmetric)

    def _widen(self) -> None:
        """Twice the limit: bins in pairs, in the middle."""
        pairs = self.counts.reshape(-1, 2).sum(axis=1)
        self.counts = np.zeros(BINS, np.int64)
        self.counts[BINS // 4 : 3 * BINS // 4] = pairs
        self.limit *= 2

    def _edges(self) -> NDArray[np.float64]:
        found: NDArray[np.float64] = np.linspace(-self.limit, self.limit, BINS + 1)
        return found

    def _percentile(self, widest: Range) -> Range:
        share = np.cumsum(self.counts) / max(int(self.counts.sum()), 1)
        edges = self._edges()
        # The bin in which the tail ends stays inside.
        low = edges[int(np.searchsorted(share, TAIL, side="right"))]
        high = edges[min(int(np.searchsorted(share, 1 - TAIL, side="left")) + 1, BINS)]
        return Range(
            low=min(max(float(low), widest.low), 0.0), high=max(min(float(high), widest.high), 0.0)
        )

    def _least_error(self, widest: Range, *, is_symmetric: bool) -> Range:
        """The range that changes the numbers least: first its upper end, then its lower one."""
        largest = widest.largest
        if is_symmetric:
            return self._best([Range(low=-s * largest, high=s * largest) for s in SHARES], True)
        upper = [Range(low=widest.low, high=s * widest.high) for s in SHARES]
        high = self._best(upper, False).high
        return self._best([Range(low=s * widest.low, high=high) for s in SHARES], False)

    def _best(self, tried: list[Range], is_symmetric: bool) -> Range:
        return min(tried, key=lambda one: self._error(one, is_symmetric=is_symmetric))

    def _error(self, tried: Range, *, is_symmetric: bool) -> float:
        """The mean square that such a range changes the numbers by."""
        edges = self._edges()
        values = (edges[:-1] + edges[1:]) / 2
        step = tried.largest / 127 if is_symmetric else (tried.high - tried.low) / 255
        kept = np.clip(np.round(values / max(step, 1e-30)) * step, tried.low, tried.high)
        return float(((kept - values) ** 2) @ self.counts)
