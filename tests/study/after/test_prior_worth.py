"""A run says at its end what the earlier runs that it began from were worth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas.report.files import summary_lines
from nas.study.after.finalists import plain_front
from nas.study.after.prior_worth import prior_lines
from nas.study.findings import Findings
from nas.study.on_disk.warm_start import TakenRun
from nas.study.surrogate.pool import architecture_row
from nas.study.trial import Ending, Trial
from tests.study.boards import candidates_of, notebook, search
from tests.study.on_disk.test_run import some_settings


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> list[Trial]:
    """Random architectures of the large space."""
    folder = tmp_path_factory.mktemp("search")
    return list(search(folder, notebook(), budget=90, sampler="random").graded)


def _taken(name: str, trials: list[Trial], scores: list[float]) -> TakenRun:
    candidates = candidates_of("large")
    rows = [architecture_row(t.candidate, t.latency.ms, candidates) for t in trials]
    return TakenRun(
        digest=name, name=name, rows=tuple(tuple(row.tolist()) for row in rows),
        scores=tuple(scores), front=(),
    )  # fmt: skip


def test_each_is_told_by_its_name(graded: list[Trial]) -> None:
    scores = [trial.score.score for trial in graded if trial.score]
    like = _taken("like", graded[:60], scores[:60])
    contrary = _taken("contrary", graded[:60], [-one for one in scores[:60]])
    shuffled = _taken("shuffled", graded[:60], np.random.default_rng(1).permutation(60).tolist())
    lines = prior_lines([like, contrary, shuffled], graded[60:], candidates_of("large"))
    assert lines[0].startswith("Warm start from like: what it expects of the 30 graded")
    assert lines[0].endswith("it counts as a prior.")
    assert 0.7 < float(lines[0].split("correlate by ")[1].split(":")[0]) <= 1
    assert lines[1].endswith("it counts for nothing.")
    assert "correlate by -0." in lines[1]
    assert lines[2] == (
        "Warm start from shuffled: its own scores do not follow from one another, and it was left"
        " out."
    )


def test_of_few_or_equal_scores_nothing_is_said(graded: list[Trial]) -> None:
    like = _taken("like", graded[:60], [t.score.score for t in graded[:60] if t.score])
    candidates = candidates_of("large")
    assert prior_lines([like], graded[60:63], candidates) == ()
    assert prior_lines([], graded, candidates) == ()
    equal = [replace(t, score=graded[0].score) for t in graded[60:]]
    assert prior_lines([like], equal, candidates) == ()


def test_the_summary_has_it(graded: list[Trial], tmp_path: Path) -> None:
    report = Findings(
        settings=some_settings(), ending=Ending(trials=tuple(graded), is_exhausted=False),
        front=plain_front(graded), prior_words=("Warm start from a: worth it.",),
    )  # fmt: skip
    assert "Warm start from a: worth it." in summary_lines(report)
