"""The front, and the finalists' step that keeps it from being selection noise.

A front is the best of many noisy scores, so its scores flatter: whoever stands on it was lucky too.
Its members are therefore graded again with seeds that the search did not use, all with the same
number of them. What is reported of a finalist is the mean under these new seeds alone: the score
that chose it would carry its luck into the mean. The front is that of these means. By how much the
search had flattered its finalists is reported with it.

The means of all finalists together are unbiased. Those that no other finalist dominates are chosen
by the same means, and still flatter a little: the best of a handful, no more of hundreds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nas.accuracy import Regrade, Score
from nas.study.after.grading_again import grade_further
from nas.study.on_disk.record import REGRADE, Record
from nas.study.pareto import non_dominated, thin
from nas.study.trial import Trial
from nas.study.workers import Grader


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A trial as it is reported: by the mean under new seeds, or by the search's own score.

    again   the gradings under seeds that the search did not use; without any the trial's own counts
    """

    trial: Trial
    again: tuple[Score, ...] = ()

    @property
    def scores(self) -> tuple[Score, ...]:
        """The gradings that are reported: never those that chose it beside those that did not."""
        assert self.trial.score is not None, "what is reported was graded"
        return self.again or (self.trial.score,)

    @property
    def score(self) -> float:
        """The mean score."""
        return float(np.mean([s.score for s in self.scores]))

    @property
    def score_kind(self) -> str:
        """Which proxy, whether it is a mAP, and the mean of how many new seeds."""
        kind = self.scores[0].kind
        if not self.again:
            return kind
        count = len(self.again)
        return f"{kind}, mean of {count} new seeds" if count > 1 else f"{kind}, under 1 new seed"

    @property
    def map50_95(self) -> float | None:
        """The mean mAP50-95 on validation images, if the proxy computes one."""
        return _mean_if_all([s.map50_95 for s in self.scores])

    @property
    def map50(self) -> float | None:
        """The mean mAP50 on validation images, if the proxy computes one."""
        return _mean_if_all([s.map50 for s in self.scores])

    @property
    def name(self) -> str:
        """A name for files: stable, unique, and in the order of latency when sorted."""
        candidate = self.trial.candidate
        return f"{self.trial.latency.ms:06.2f}ms-{candidate.image_size}px-{candidate.digest[:6]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Front:
    """The reported front, by rising latency.

    finalists  who was graded for it; the points are those that no other finalist dominates
    flattery   mean over the finalists of the search's score minus the mean under new seeds; None
               where nothing was graded again
    left_out   members of the search's own front for whose grading there was no share
    runners_up   the points next to it, graded alike: who may enter where latencies turn out to be
                 others; by rising latency
    """

    points: tuple[Point, ...]
    finalists: int
    flattery: float | None
    left_out: int
    runners_up: tuple[Point, ...] = ()


def plain_front(graded: Sequence[Trial]) -> Front:
    """The front of the search's own scores, one grading each."""
    front, rest = _parted([Point(trial=trial) for trial in graded])
    second = _parted(rest)[0] if rest else ()
    chosen = thin(_latencies(second), [p.score for p in second], len(front)) if second else ()
    return Front(
        points=front,
        finalists=0,
        flattery=None,
        left_out=0,
        runners_up=tuple(second[int(i)] for i in chosen),
    )


def choose_finalists(graded: Sequence[Trial], regrade: Regrade) -> tuple[list[Trial], int]:
    """Who is graded again, by rising latency, and under how many new seeds each.

    Members of the search's front; where they are more than the share pays for, those that cover it
    best. Every one gets the same number of seeds, or their means could not be compared.
    """
    points = [Point(trial=trial) for trial in graded]
    allowed = max(regrade.least, int(regrade.share * len(graded)))
    chosen = thin(_latencies(points), [p.score for p in points], allowed).tolist()
    seeds = min(regrade.seeds, allowed // max(len(chosen), 1))
    return [graded[i] for i in chosen], seeds


def regrade_front(
    graded: Sequence[Trial],
    regrade: Regrade,
    seed: int,
    record: Record,
    grader: Grader,
    on_done: Callable[[int, int], None],
) -> Front:
    """The front of the finalists, graded again under the seeds after `seed`.

    One whose grading fails under any of them is left out; if all do, the front is the search's own.
    """
    if not graded:
        return plain_front(graded)
    finalists, count = choose_finalists(graded, regrade)
    seeds = range(seed + 1, seed + 1 + count)
    wanted = [(trial.candidate, s) for s in seeds for trial in finalists]
    scores = grade_further(wanted, REGRADE, record, grader, on_done)
    points = [
        Point(trial=trial, again=tuple(scores[trial.candidate.digest, s] for s in seeds))
        for trial in finalists
        if all((trial.candidate.digest, s) in scores for s in seeds)
    ]
    if not points:
        return plain_front(graded)
    front, rest = _parted(points)
    return Front(
        points=front,
        finalists=len(points),
        flattery=float(np.mean([Point(trial=p.trial).score - p.score for p in points])),
        left_out=len(plain_front(graded).points) - len(points),
        runners_up=rest,
    )


def _parted(points: Sequence[Point]) -> tuple[tuple[Point, ...], tuple[Point, ...]]:
    """The points that no other dominates, and the rest, each by rising latency."""
    front = non_dominated(_latencies(points), [p.score for p in points]).tolist()
    rest = sorted(set(range(len(points))) - set(front), key=lambda i: points[i].trial.latency.ms)
    return tuple(points[i] for i in front), tuple(points[i] for i in rest)


def _latencies(points: Sequence[Point]) -> list[tuple[float, ...]]:
    return [point.trial.latency.each_ms for point in points]


def _mean_if_all(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None
