"""The loop between search and board closed: who was refused by a prediction that was too high.

Once a front was verified and the predictions corrected, some candidates that were refused over the
limit may keep it. The largest of them are graded as the finalists were and join the runners-up,
are timed with them, and may enter the front. One such round is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from nas.latency.verified.residuals import Interval90, ResidualCorrection
from nas.study.after.finalists import Front, Point
from nas.study.after.grading_again import grade_further
from nas.study.limits import NO_SIZE_LIMITS, SizeLimits
from nas.study.on_disk.record import CLOSING, Record
from nas.study.trial import Ending, Outcome, Trial
from nas.study.workers import Grader

SHARE: Final = 0.1
"""Of the budget, at most so many are graded; LEAST of them always may be."""

LEAST: Final = 4


def brought_under(
    ending: Ending,
    corrections: Mapping[str | None, ResidualCorrection],
    limit_ms: float | None,
    budget: int,
    sizes: SizeLimits = NO_SIZE_LIMITS,
) -> list[Trial]:
    """Refused trials that keep the limit by the corrected prediction, the slowest of them.

    corrections   by the way to run; where none of a trial's way is applied it stays refused

    One that is over another limit (`sizes`) stays refused.
    """
    if limit_ms is None:
        return []
    found: dict[str, tuple[float, Trial]] = {}
    for trial in ending.trials:
        latency = trial.latency
        correction = corrections.get(latency.way)
        if correction is None or not correction.is_applied:
            continue
        predicted = Interval90(ms=latency.ms, low_ms=latency.low_ms, high_ms=latency.high_ms)
        ms = correction.corrected(predicted).ms
        is_kept = ms <= limit_ms and sizes.is_met(trial.candidate)
        if trial.outcome is Outcome.REFUSED and is_kept:
            found.setdefault(trial.candidate.digest, (ms, trial))
    ordered = sorted(found.values(), key=lambda pair: (-pair[0], pair[1].number))
    return [trial for _, trial in ordered[: max(LEAST, int(SHARE * budget))]]


def grade_newcomers(
    trials: Sequence[Trial],
    front: Front,
    seed: int,
    record: Record,
    grader: Grader,
    on_done: Callable[[int, int], None],
) -> list[Point]:
    """The trials as points, graded under the search's seed and as often anew as the front was."""
    again = len(front.points[0].again) if front.points else 0
    seeds = range(seed, seed + 1 + again)
    wanted = [(trial.candidate, s) for s in seeds for trial in trials]
    grade_further(wanted, CLOSING, record, grader, on_done)
    return known_newcomers(trials, front, seed, record)


def known_newcomers(
    trials: Sequence[Trial], front: Front, seed: int, record: Record
) -> list[Point]:
    """The refused trials that an earlier round graded, as points; by number."""
    again = len(front.points[0].again) if front.points else 0
    scores = record.scores(CLOSING)
    found: dict[str, Point] = {}
    for trial in trials:
        digest = trial.candidate.digest
        own = [scores.get((digest, s)) for s in range(seed, seed + 1 + again)]
        known = [score for score in own if score is not None]
        if trial.outcome is Outcome.REFUSED and len(known) == len(own):
            graded = replace(trial, outcome=Outcome.GRADED, score=known[0])
            found.setdefault(digest, Point(trial=graded, again=tuple(known[1:])))
    return list(found.values())


def with_newcomers(front: Front, newcomers: Sequence[Point]) -> Front:
    """The front with these among its runners-up, by rising latency."""
    known = {point.trial.candidate.digest for point in front.runners_up}
    new = [point for point in newcomers if point.trial.candidate.digest not in known]
    ordered = sorted((*front.runners_up, *new), key=lambda point: point.trial.latency.ms)
    return replace(front, runners_up=tuple(ordered))
