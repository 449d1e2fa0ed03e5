"""What all gradings together say of each: nearer to the truth than one noisy score, and unsure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas.accuracy import Score
from nas.report.figures import pareto_figure
from nas.report.files import front_table, summary_lines, write_report
from nas.study.after.beliefs import LEAST, beliefs
from nas.study.after.finalists import Point, plain_front
from nas.study.findings import Findings
from nas.study.on_disk.pareto_file import read_pareto
from nas.study.trial import Ending, Trial
from tests.study.boards import candidates_of, notebook, search
from tests.study.on_disk.test_run import some_settings

NOISE = 0.05


def _truth(trial: Trial) -> float:
    """Twice the widths and depths, and something of a kernel."""
    choices = dict(trial.candidate.choices)
    wide = sum(np.log(float(v)) for k, v in choices.items() if k.endswith((".width", ".depth")))
    return float(0.02 * wide + 0.03 * (choices["stage3.kernel"] == 5))


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> list[Trial]:
    """120 random architectures whose true score and noise are known."""
    folder = tmp_path_factory.mktemp("search")
    graded = search(folder, notebook(), budget=120, sampler="random").graded
    rng = np.random.default_rng(5)
    return [replace(trial, score=_score(_truth(trial) + rng.normal(0, NOISE))) for trial in graded]


def _score(value: float) -> Score:
    return Score(score=value, kind="made up", is_map=False, seconds=1.0)


def test_they_are_nearer_to_the_truth_and_hold_it(noisy: list[Trial]) -> None:
    found = beliefs(noisy, plain_front(noisy), candidates_of("large"))
    true = np.array([_truth(trial) for trial in noisy])
    own = [found[trial.candidate.digest] for trial in noisy]
    off = np.abs(np.array([one.mean for one in own]) - true).mean()
    scores = np.array([trial.score.score for trial in noisy if trial.score])
    assert off < 0.5 * np.abs(scores - true).mean()
    inside = np.mean([one.low <= value <= one.high for one, value in zip(own, true, strict=True)])
    assert 0.75 < inside <= 1.0
    front = plain_front(noisy).points
    flattery = np.mean([p.score - _truth(p.trial) for p in front])
    believed = np.mean([found[p.trial.candidate.digest].mean - _truth(p.trial) for p in front])
    assert abs(believed) < 0.5 * flattery


def test_a_step_that_noise_made_is_not_told_apart(noisy: list[Trial]) -> None:
    front = plain_front(noisy)
    found = beliefs(noisy, front, candidates_of("large"))
    digests = [p.trial.candidate.digest for p in front.points]
    assert found[digests[0]].is_told_apart is None, "none is faster"
    told = [found[digest] for digest in digests[1:]]
    assert any(one.is_told_apart is False for one in told)
    elsewhere = [one for digest, one in found.items() if digest not in digests]
    assert {one.better for one in elsewhere} == {None}
    exact = [replace(trial, score=_score(_truth(trial))) for trial in noisy]
    front = plain_front(exact)
    found = beliefs(exact, front, candidates_of("large"))
    told = [found[p.trial.candidate.digest] for p in front.points[1:]]
    assert sum(one.is_told_apart is True for one in told) > 0.6 * len(told)


def test_what_was_graded_again_is_surer(noisy: list[Trial]) -> None:
    front = plain_front(noisy)
    before = beliefs(noisy, front, candidates_of("large"))
    rng = np.random.default_rng(6)
    points = tuple(
        Point(trial=p.trial, again=tuple(_score(_truth(p.trial) + rng.normal(0, NOISE))
                                         for _ in range(8)))
        for p in front.points
    )  # fmt: skip
    after = beliefs(noisy, replace(front, points=points), candidates_of("large"))
    widths = [
        [found[p.trial.candidate.digest].high - found[p.trial.candidate.digest].low
         for found in (before, after)]
        for p in points
    ]  # fmt: skip
    assert np.mean([new < old for old, new in widths]) > 0.9


def test_of_few_nothing_is_said(noisy: list[Trial]) -> None:
    few = noisy[: LEAST - 1]
    assert beliefs(few, plain_front(few), candidates_of("large")) == {}


def test_equal_scores_are_believed(noisy: list[Trial]) -> None:
    equal = [replace(trial, score=_score(0.25)) for trial in noisy[:40]]
    found = beliefs(equal, plain_front(equal), candidates_of("large"))
    assert all(one.mean == pytest.approx(0.25) for one in found.values())


def test_the_report_shows_them(tmp_path: Path, noisy: list[Trial]) -> None:
    front = plain_front(noisy)
    found = beliefs(noisy, front, candidates_of("large"))
    report = Findings(
        settings=some_settings(),
        ending=Ending(trials=tuple(noisy), is_exhausted=False),
        front=front,
        beliefs=found,
    )
    steps = [found[p.trial.candidate.digest] for p in front.points][1:]
    noise = sum(one.is_told_apart is False for one in steps)
    assert any(
        line.startswith(f"Of {len(steps)} steps of the front {noise} may be noise")
        for line in summary_lines(report)
    )
    assert "believed" in [column.header for column in front_table(report).columns]
    write_report(report, tmp_path)
    for row, point in zip(read_pareto(tmp_path).front, front.points, strict=True):
        belief = found[point.trial.candidate.digest]
        assert row.believed == pytest.approx(belief.mean, abs=1e-6)
        assert row.told_apart == belief.is_told_apart
    traces = {trace.name: trace for trace in pareto_figure(report).data}
    (own,) = (trace for name, trace in traces.items() if "hollow" in str(name))
    assert list(own.marker.color).count("white") == noise
    bars = traces["what all gradings together say of it, with 90 %"]
    assert len(bars.error_y.array) == len(front.points)
