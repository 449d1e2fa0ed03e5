"""What all gradings together say of each: a Gaussian process in the place of one noisy score.

The best of many noisy scores flatter. The process knows an architecture's numbers and its choices
(nas.study.surrogate), and has seen what its likes reached: its posterior draws a lucky score back
to them, and says how unsure it is. The noise of a grading is fitted with it: the standard errors
that scores bring come from validation images, which all candidates share, and would count an error
that is common to all as one of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from nas.study.after.finalists import Front, Point
from nas.study.candidates import Candidates
from nas.study.pareto import is_as_fast
from nas.study.surrogate.gaussian import GaussianProcess, one_blas_thread
from nas.study.surrogate.pool import architecture_row
from nas.study.surrogate.sampler import learnt_from
from nas.study.trial import Trial

Array = NDArray[np.float64]

LEAST: Final = 16
"""Graded architectures, below which nothing is said."""

NINETY: Final = 1.645
"""Standard deviations to both sides that hold 90 % of a normal distribution."""

APART: Final = 0.9
"""A point is told apart from another where it is better with at least this probability."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Belief:
    """What is believed of an architecture's score under the proxy, its noise taken out.

    low, high    hold 90 %
    better       the probability that it is better than the next faster point of the front, which is
                 the best of those that are as fast on every board; None of the fastest, and of what
                 is not on the front
    """

    mean: float
    low: float
    high: float
    better: float | None = None

    @property
    def is_told_apart(self) -> bool | None:
        """Whether more than noise puts it above the next faster point; None where there is none."""
        return None if self.better is None else self.better >= APART


def beliefs(graded: Sequence[Trial], front: Front, candidates: Candidates) -> dict[str, Belief]:
    """The belief of each graded architecture by digest; none of fewer than LEAST.

    What was graded again counts as often as it was graded.
    """
    if len(graded) < LEAST:
        return {}
    observed = {trial.candidate.digest: Point(trial=trial) for trial in graded}
    again = {p.trial.candidate.digest: p for p in (*front.points, *front.runners_up) if p.again}
    trials = [point.trial for point in observed.values()]
    rows = np.stack([architecture_row(t.candidate, t.latency.ms, candidates) for t in trials])
    scores = np.array([point.score for point in observed.values()])
    kept = learnt_from(np.array([trial.latency.each_ms for trial in trials]), scores)
    more = [
        (place, score.score)
        for place, digest in enumerate(observed)
        if digest in again
        for score in again[digest].again
    ]
    places = np.array([*kept, *(place for place, _ in more)], dtype=np.intp)
    values = np.concatenate([scores[kept], [score for _, score in more]])
    with one_blas_thread():
        process = GaussianProcess(rows[places], values)
        believed = process.believe(rows)
        better = _better(process, rows, list(observed), front)
    return {
        digest: Belief(
            mean=float(mean),
            low=float(mean - NINETY * deviation),
            high=float(mean + NINETY * deviation),
            better=better.get(digest),
        )
        for digest, mean, deviation in zip(observed, believed.mean, believed.deviation, strict=True)
    }


def _better(
    process: GaussianProcess, rows: Array, observed: Sequence[str], front: Front
) -> dict[str, float]:
    """How probable it is of each point of the front, but the fastest, that it beats the faster one.

    Runners-up of a verified front may have been refused by the search: they have no row here.
    """
    known = {digest: place for place, digest in enumerate(observed)}
    points = [point for point in front.points if point.trial.candidate.digest in known]
    if len(points) < 2:
        return {}
    digests = [point.trial.candidate.digest for point in points]
    mean, covariance = process.together(rows[[known[digest] for digest in digests]])
    spread = np.diag(covariance)
    found = {}
    for place, digest in enumerate(digests):
        faster = _next_faster(points, place)
        if faster is not None:
            variance = spread[place] + spread[faster] - 2 * covariance[place, faster]
            off = (mean[place] - mean[faster]) / np.sqrt(max(variance, 1e-18))
            found[digest] = float(ndtr(off))
    return found


def _next_faster(points: Sequence[Point], place: int) -> int | None:
    """The place of the best of a front's points that are as fast as one on every board."""
    own = points[place].trial.latency.each_ms
    others = [
        other
        for other, point in enumerate(points)
        if other != place and is_as_fast(point.trial.latency.each_ms, own)
    ]
    return max(others, key=lambda other: (points[other].score, other), default=None)
