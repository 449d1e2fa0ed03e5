"""What earlier runs' priors turned out to be worth: their expectations beside this run's scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas.study.candidates import Candidates
from nas.study.on_disk.warm_start import TakenRun
from nas.study.surrogate.gaussian import one_blas_thread
from nas.study.surrogate.pool import architecture_row
from nas.study.surrogate.prior import FEWEST, Expectation, agreed_slopes
from nas.study.trial import Trial


def prior_lines(
    taken: Sequence[TakenRun], graded: Sequence[Trial], candidates: Candidates
) -> tuple[str, ...]:
    """A sentence for each earlier run; none where too few were graded to say."""
    scores = np.array([trial.score.score for trial in graded if trial.score])
    if not taken or len(scores) < FEWEST or scores.std() < 1e-12:
        return ()
    rows = [
        architecture_row(trial.candidate, trial.latency.ms, candidates)
        for trial in graded
        if trial.score
    ]
    with one_blas_thread():
        expectations = [Expectation(one.earlier) for one in taken]
        expected = np.array([[one.of(row) for one in expectations] for row in rows])
    slopes = agreed_slopes(expected, scores)
    found = []
    for place, (run, expectation) in enumerate(zip(taken, expectations, strict=True)):
        if not expectation.is_sound:
            words = "its own scores do not follow from one another, and it was left out"
        else:
            spread = expected[:, place].std()
            agree = np.corrcoef(expected[:, place], scores)[0, 1] if spread > 1e-12 else 0.0
            used = "it counts as a prior" if slopes[place] else "it counts for nothing"
            words = (
                f"what it expects of the {len(scores)} graded architectures and their scores here"
                f" correlate by {agree:.2f}: {used}"
            )
        found.append(f"Warm start from {run.name}: {words}.")
    return tuple(found)
