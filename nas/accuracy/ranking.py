"""How well a score puts architectures in order, told from what they reach when they are taught.

A score is judged inside bands of latency, since across a whole space size alone orders well. Its
intervals come from a bootstrap over architectures: those of each band are drawn again and again,
with replacement, and two scores are compared on the same draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

DRAWS: Final = 1000
"""Bootstrap draws."""

TIES: Final = 64
"""Orders that equal scores are put in, at random; a regret is the mean over them."""

COVERAGE: Final = 0.9
"""Of every interval."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A figure with its bootstrap interval; nan where nothing could be told."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Band:
    """Architectures of like latency, shape (n,): the mAP50-95 each reaches, and its score."""

    reached: Array
    score: Array

    def __post_init__(self) -> None:
        assert self.reached.shape == self.score.shape, "every architecture has both"

    def drawn(self, places: NDArray[np.int64]) -> Band:
        """The architectures at these places, some more than once."""
        return Band(reached=self.reached[places], score=self.score[places])


def make_band(reached: ArrayLike, score: ArrayLike) -> Band:
    """A band of any two sequences of one length."""
    return Band(reached=np.asarray(reached, np.float64), score=np.asarray(score, np.float64))


def tau(bands: Sequence[Band]) -> float:
    """Kendall's tau of the pairs inside bands, all bands' pairs together; nan without any.

    Tau-a over pairs that differ in what they reach: a pair whose scores are equal counts nothing,
    so that a score which says little has a tau near 0 (Kendall 1938).
    """
    agreeing, pairs = 0.0, 0
    for band in bands:
        first, second = np.triu_indices(len(band.reached), 1)
        truth = np.sign(band.reached[first] - band.reached[second])
        said = np.sign(band.score[first] - band.score[second])
        agreeing += float(np.sum(truth * said))
        pairs += int(np.sum(truth != 0))
    return agreeing / pairs if pairs else float("nan")


def regret(bands: Sequence[Band], picks: int = 1) -> float:
    """What the best of a score's first `picks` falls short of the band's best (mAP50-95).

    The mean over bands, and over orders of equal scores. nan without a band.
    """
    rng, found = np.random.default_rng(0), []
    for band in bands:
        noise = rng.random((TIES, len(band.score)))
        order = np.lexsort((noise, np.broadcast_to(-band.score, noise.shape)), axis=-1)
        best = band.reached[order[:, :picks]].max(axis=1)
        found.append(float(np.mean(band.reached.max() - best)))
    return float(np.mean(found)) if found else float("nan")


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """How one score ranked.

    regrets    by the number of picks
    against    its regret at 1 less that of each other score on the same draws: below 0 is better
    """

    name: str
    tau: Interval
    regrets: dict[int, Interval]
    against: dict[str, Interval]


def judge(
    bands: Sequence[dict[str, Band]], *, picks: Sequence[int] = (1,), seed: int = 0
) -> list[Judgement]:
    """Judges scores on bands: name -> `Band` in each, the same names and architectures in all."""
    names = list(bands[0]) if bands else []
    rng = np.random.default_rng(seed)
    draws = [
        [rng.integers(0, n, n) for n in (len(next(iter(band.values())).reached) for band in bands)]
        for _ in range(DRAWS)
    ]
    own = {name: [band[name] for band in bands] for name in names}
    taus, regrets = {}, {}
    for name in names:
        drawn = [
            [band.drawn(places) for band, places in zip(own[name], draw, strict=True)]
            for draw in draws
        ]
        taus[name] = np.array([tau(one) for one in drawn])
        regrets[name] = {k: np.array([regret(one, k) for one in drawn]) for k in picks}
    found = []
    for name in names:
        against = {
            other: _interval(
                regret(own[name]) - regret(own[other]), regrets[name][1] - regrets[other][1]
            )
            for other in names
            if other != name and 1 in picks
        }
        found.append(
            Judgement(
                name=name,
                tau=_interval(tau(own[name]), taus[name]),
                regrets={k: _interval(regret(own[name], k), regrets[name][k]) for k in picks},
                against=against,
            )
        )
    return found


def _interval(value: float, draws: Array) -> Interval:
    """The value with the middle COVERAGE of its draws."""
    finite = draws[np.isfinite(draws)]
    if finite.size == 0:
        return Interval(value=value, low=float("nan"), high=float("nan"))
    edge = (1 - COVERAGE) / 2
    low, high = np.quantile(finite, [edge, 1 - edge])
    return Interval(value=value, low=float(low), high=float(high))
