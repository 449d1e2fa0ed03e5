"""Picks of the front, taught to the end, so that a search leaves detectors and not plans alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nas.accuracy import Finish, Score, weights_file
from nas.space.search_space import Candidate
from nas.study.after.finalists import Front, Point
from nas.study.after.grading_again import grade_further
from nas.study.on_disk.record import TAUGHT, Record
from nas.study.pareto import thin
from nas.study.workers import Grader

FOLDER: Final = "taught"
"""Of the weights, inside a run's folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Taught:
    """A pick that was taught: what it reached, and where its weights lie."""

    score: Score
    weights: Path


def choose_picks(front: Front, count: int) -> list[Point]:
    """At most `count` points of the front, by rising latency, that cover it best."""
    points = front.points
    if not points:
        return []
    chosen = thin([p.trial.latency.each_ms for p in points], [p.score for p in points], count)
    return [points[int(place)] for place in chosen]


def teach_all(
    wanted: Sequence[tuple[Candidate, int]],
    finish: Finish,
    *,
    start: str,
    run: Path,
    record: Record,
    teacher: Grader,
    on_done: Callable[[int, int], None],
) -> dict[tuple[str, int], Score]:
    """What each candidate reaches under its seed, by (digest, seed); known ones from the record.

    start  what `teacher` begins with: what was taught from something else or for another length,
           or whose weights are gone from the run's folder, is taught again
    """
    folder, kind = run / FOLDER, finish.kind(start)

    def is_known(key: tuple[str, int], score: Score) -> bool:
        return is_taught(key, score, folder, kind)

    return grade_further(wanted, TAUGHT, record, teacher, on_done, is_valid=is_known)


def is_taught(key: tuple[str, int], score: Score, folder: Path, kind: str) -> bool:
    """Whether a recorded score is of such a teaching, and its weights are still there."""
    return score.kind == kind and (score.is_diverged or weights_file(folder, *key).exists())


def affordable_picks(
    front: Front,
    finish: Finish,
    is_affordable: Callable[[int], bool],
    *,
    start: str,
    seed: int,
    run: Path,
    record: Record,
) -> list[Point]:
    """As many picks as `is_affordable` allows teachings of; what was taught before is free."""
    kind = finish.kind(start)
    scores = record.scores(TAUGHT)
    taught = {key for key, one in scores.items() if is_taught(key, one, run / FOLDER, kind)}
    for count in range(finish.picks, 0, -1):
        picks = choose_picks(front, count)
        if is_affordable(sum((p.trial.candidate.digest, seed) not in taught for p in picks)):
            return picks
    return []


def teach_picks(
    picks: Sequence[Point],
    finish: Finish,
    *,
    start: str,
    seed: int,
    run: Path,
    record: Record,
    teacher: Grader,
    on_done: Callable[[int, int], None],
) -> dict[str, Taught]:
    """The picks by architecture digest, each taught under `seed`; without those that diverged."""
    scores = teach_all(
        [(point.trial.candidate, seed) for point in picks], finish,
        start=start, run=run, record=record, teacher=teacher, on_done=on_done,
    )  # fmt: skip
    return {
        digest: Taught(score=score, weights=weights_file(run / FOLDER, digest, seed))
        for (digest, _), score in scores.items()
        if not score.is_diverged
    }
