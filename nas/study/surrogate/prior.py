"""What earlier runs expect of an architecture, and how much of that holds in this one.

A Gaussian process is fitted to an earlier run's scores; its mean is what that run expects. Level
and scale of those scores are of other data, or of another board, and may have nothing to say here.
So an expectation is scaled and shifted by least squares onto the scores that this search was told,
and the slope is shrunk while they are few or do not agree: by James and Stein's factor 1 - (SURE /
t)^2, of the slope's t statistic. A slope below 0, or not to be told from 0, drops the earlier run,
and so does an earlier run whose own scores do not follow from one another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nas.study.surrogate.gaussian import GaussianProcess
from nas.study.surrogate.pool import MOST, Member

Array = NDArray[np.float64]

SURE: Final = 3.0
"""How many of its standard errors a slope must exceed to count at all (benchmarks/replay.py: 2 lets
shuffled scores in)."""

FEWEST: Final = 4
"""Scores, at least, that tell anything: of the earlier run, and of this one."""

EXPLAINED: Final = 0.5
"""The least share of an earlier run's variance that its other scores must tell of each. What is
fitted to shuffled scores reaches 0.5 at times, for its lengths have seen them all; to real ones 0.9
and more."""


@dataclass(frozen=True, kw_only=True)
class EarlierScores:
    """What an earlier run graded, described as it would be here.

    rows    (n, d) as Member.row, or their first d numbers where it searched another space
    scores  (n,) in its own unit
    """

    rows: Array
    scores: Array


class Expectation:
    """What an earlier run expects of an architecture, in standard deviations of its scores."""

    def __init__(self, earlier: EarlierScores) -> None:
        self._width = earlier.rows.shape[1]
        self._level, self._unit = float(earlier.scores.mean()), float(earlier.scores.std())
        self._process = GaussianProcess(earlier.rows, earlier.scores)
        is_enough = len(earlier.scores) >= FEWEST
        self.is_sound = is_enough and self._process.explained() >= EXPLAINED

    def of(self, row: Array) -> float:
        """Of the architecture that a row (d or more,) describes; 0 is the run's mean."""
        if not self.is_sound:
            return 0.0
        # One at a time: with others beside it in a product of matrices it may end in another bit.
        found = self._process.expect(row[None, : self._width])
        return (float(found[0]) - self._level) / self._unit


class Prior:
    """What all earlier runs together add to what is believed here.

    slopes  what a unit of each run's expectation is worth here, (k,); 0 drops the run
    """

    def __init__(self, earlier: Sequence[EarlierScores]) -> None:
        self._expectations = [Expectation(one) for one in earlier]
        self._known: dict[str, Array] = {}
        self.slopes = np.zeros(len(earlier))

    def hold(self, members: Sequence[Member], scores: Array) -> None:
        """Holds the earlier runs against scores (n,) that were told of members."""
        if self._expectations:
            self.slopes = agreed_slopes(self._expected(members), scores)

    def offsets(self, members: Sequence[Member]) -> Array:
        """What the earlier runs expect of members (m,), in the unit of this run's scores."""
        if not self.slopes.any():
            return np.zeros(len(members))
        found: Array = (self._expected(members) * self.slopes).sum(axis=1)
        return found

    def _expected(self, members: Sequence[Member]) -> Array:
        """Of each member, by each run: (m, k)."""
        if len(self._known) > 2 * MOST:
            self._known.clear()
        for one in members:
            if one.digest not in self._known:
                found = [expectation.of(one.row) for expectation in self._expectations]
                self._known[one.digest] = np.array(found)
        return np.stack([self._known[one.digest] for one in members])


def agreed_slopes(expected: Array, scores: Array) -> Array:
    """What a unit of each earlier run's expectation is worth here, (k,); 0 drops the run.

    expected  (n, k) by each run, of the architectures that were told of here
    scores    (n,) that were told

    The run that agrees best is taken first, and the next is held against what it leaves
    unexplained: two earlier runs that say the same count once.
    """
    slopes, rest = np.zeros(expected.shape[1]), scores - scores.mean()
    left = list(range(expected.shape[1]))
    while left:
        found = {place: _slope(expected[:, place], rest) for place in left}
        best = max(left, key=lambda place: found[place][1])
        slope, share = found[best]
        if share == 0.0:
            break
        slopes[best] = slope * share
        rest = rest - slopes[best] * (expected[:, best] - expected[:, best].mean())
        left.remove(best)
    return slopes


def _slope(expected: Array, scores: Array) -> tuple[float, float]:
    """The slope of least squares, and the share of it that is believed (0 to 1)."""
    off = expected - expected.mean()
    width = float(off @ off)
    if len(scores) < FEWEST or width < 1e-12:
        return 0.0, 0.0
    slope = float(off @ scores) / width
    left = scores - scores.mean() - slope * off
    error = math.sqrt(float(left @ left) / (len(scores) - 2) / width)
    sure = slope / max(error, 1e-12)
    return slope, 1.0 - (SURE / sure) ** 2 if sure > SURE else 0.0
