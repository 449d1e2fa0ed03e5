"""Gradings beside the search's own: finalists under new seeds, baselines, picks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from nas.accuracy import Score
from nas.space.search_space import Candidate
from nas.study.on_disk.record import Record
from nas.study.workers import Grader

logger = logging.getLogger(__name__)

Wanted = tuple[Candidate, int]
"""A candidate and the seed to grade it under."""


def grade_further(
    wanted: Sequence[Wanted],
    kind: str,
    record: Record,
    grader: Grader,
    on_done: Callable[[int, int], None],
    known: Mapping[tuple[str, int], Score] | None = None,
    is_valid: Callable[[tuple[str, int], Score], bool] = lambda key, score: True,
) -> dict[tuple[str, int], Score]:
    """The score of each wanted grading, by (digest, seed); of those that fail none.

    What the record has under this kind, or is known otherwise, is not graded again, and what is
    graded is recorded at once, under the digest and seed that it was graded for. Gradings that are
    wanted twice (two baselines may be one architecture) are done once. `on_done` is told how many
    are done and wanted, at first and after each. A recorded score that `is_valid` denies counts as
    none. What fails is named in a warning, and is tried again by the next session.
    """
    recorded = {key: one for key, one in record.scores(kind).items() if is_valid(key, one)}
    scores = {**(known or {}), **recorded}
    keys = [(candidate.digest, seed) for candidate, seed in wanted]
    missing = {key: job for key, job in zip(keys, wanted, strict=True) if key not in scores}
    for number, (candidate, seed) in enumerate(missing.values()):
        grader.submit(number, candidate, seed)
    on_done(sum(key in scores for key in keys), len(keys))
    while missing:
        for graded in grader.collect(is_waiting=True):
            key = graded.digest, graded.seed
            if missing.pop(key, None) is None:
                continue
            if graded.score is None:
                assert graded.failure is not None
                logger.warning("%s, seed %d, %s", *key, graded.failure.words)
                continue
            record.keep_score(kind, *key, graded.score)
            scores[key] = graded.score
            on_done(sum(key in scores for key in keys), len(keys))
    return {key: scores[key] for key in keys if key in scores}
