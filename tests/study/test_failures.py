"""A grading that fails is recorded with the reason, counts for nothing, and the search goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from nas.accuracy import Regrade, Score
from nas.report.files import summary_lines, write_report
from nas.space.search_space import Candidate
from nas.study.after.baselines import grade_baselines, grid
from nas.study.after.finalists import plain_front, regrade_front
from nas.study.findings import Findings
from nas.study.loop import FAILURES, Search, SearchPlan
from nas.study.on_disk.record import Record
from nas.study.sampling import SamplerName
from nas.study.trial import Ending, Failure, FailureKind, Outcome
from nas.study.workers import Graded, WorkerError
from tests.study.boards import MacBoard, candidates_of, notebook
from tests.study.on_disk.test_run import some_settings

FAILURE = Failure(kind=FailureKind.MEMORY, reason="MemoryError", trace="Traceback ...")

Fails = Callable[[Candidate, int], bool]


@dataclass
class Failing:
    """A grader of the fake proxy that gives no score for some, and may be interrupted."""

    fails: Fails
    breaks_after: int | None = None
    queue: list[tuple[int, Candidate, int]] = field(default_factory=list)
    graded: int = 0

    def submit(self, number: int, candidate: Candidate, seed: int) -> None:
        self.queue.append((number, candidate, seed))

    def collect(self, *, is_waiting: bool) -> list[Graded]:
        if not is_waiting:
            return []
        if self.graded == self.breaks_after:
            raise KeyboardInterrupt
        self.graded += 1
        number, candidate, seed = self.queue.pop(0)
        done = Graded(number=number, digest=candidate.digest, seed=seed, failure=FAILURE)
        if self.fails(candidate, seed):
            return [done]
        return [replace(done, score=notebook().proxy.score(candidate, seed), failure=None)]


def every_third(candidate: Candidate, seed: int) -> bool:
    return int(candidate.digest, 16) % 3 == 0


def run(
    journal: Path, grader: Failing, sampler: SamplerName = "tpe", space: str = "large"
) -> Ending:
    return Search(
        candidates=candidates_of(space),
        model=MacBoard(),
        grader=grader,
        record=Record(f"journal:{journal}", "test"),
        plan=SearchPlan(sampler=sampler, seed=0, limit_ms=20.0, in_flight=4),
    ).run(24)


def story(ending: Ending) -> list[tuple[Outcome, str, Score | None, Failure | None]]:
    return [
        (t.outcome, t.candidate.digest, t.score and replace(t.score, seconds=0.0), t.failure)
        for t in ending.trials
    ]


@pytest.mark.parametrize("sampler", ["tpe", "nsgaii", "surrogate", "random"])
def test_what_fails_does_not_count_and_is_recorded(tmp_path: Path, sampler: SamplerName) -> None:
    ending = run(tmp_path / "study.log", Failing(every_third), sampler)
    assert len(ending.graded) == 24
    assert len(ending.failed) >= 4
    assert {t.candidate.digest for t in ending.graded}.isdisjoint(
        t.candidate.digest for t in ending.failed
    )
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(tmp_path / "study.log"))
    )
    trials = optuna.load_study(study_name="test", storage=storage).trials
    failed = [t for t in trials if t.state is TrialState.FAIL]
    assert {t.number for t in ending.failed} <= {t.number for t in failed}
    for one in failed:
        assert one.user_attrs["failure"]["kind"] == "ran out of memory"
    assert not [t for t in trials if t.state is TrialState.RUNNING]


@pytest.mark.parametrize("sampler", ["tpe", "surrogate"])
@pytest.mark.parametrize("after", [1, 9, 20])
def test_a_killed_search_goes_on_the_same(tmp_path: Path, sampler: SamplerName, after: int) -> None:
    whole = run(tmp_path / "whole.log", Failing(every_third), sampler)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "study.log", Failing(every_third, breaks_after=after), sampler)
    grader = Failing(every_third)
    assert story(run(tmp_path / "study.log", grader, sampler)) == story(whole)
    assert grader.graded == len(whole.graded) + len(whole.failed) - after, "nothing twice"


def test_a_repeat_of_a_failed_one_is_answered_from_memory(tmp_path: Path) -> None:
    ending = run(tmp_path / "study.log", Failing(every_third), space="tiny")
    failed = {t.number for t in ending.failed}
    repeats = [t for t in ending.trials if t.original in failed]
    assert repeats
    assert {t.failure for t in repeats} == {FAILURE}
    again = run(tmp_path / "study.log", Failing(every_third), space="tiny")
    assert story(again) == story(ending)


def test_many_in_a_row_end_it_with_the_reason_and_it_goes_on_later(tmp_path: Path) -> None:
    grader = Failing(lambda *_: True)
    with pytest.raises(WorkerError, match=r"10 failures, the last .*ran out of memory .*resumes"):
        run(tmp_path / "study.log", grader)
    assert grader.graded == FAILURES
    ending = run(tmp_path / "study.log", Failing(lambda *_: False))
    assert (len(ending.failed), len(ending.graded)) == (FAILURES, 24)


def test_further_gradings_that_fail_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ending = run(tmp_path / "study.log", Failing(lambda *_: False))
    record = Record(f"journal:{tmp_path / 'further.log'}", "further")
    found = regrade_front(
        ending.graded, Regrade(share=0.5), 0, record, Failing(every_third), lambda *_: None
    )
    again = [p.trial.candidate for p in (*found.points, *found.runners_up)]
    assert again
    assert not any(every_third(one, 0) for one in again)
    assert len(again) < len(plain_front(ending.graded).points)
    assert "seed 1, ran out of memory (MemoryError)" in caplog.text
    front = regrade_front(
        ending.graded, Regrade(share=0.5), 0, record, Failing(lambda *_: True), lambda *_: None
    )
    assert {p.trial.number for p in front.points} >= {p.trial.number for p in found.points[:1]}
    plain = grid(candidates_of("large"), MacBoard())
    graded = grade_baselines(plain, 0, record, Failing(every_third), lambda *_: None)
    assert [one.score is None for one in graded] == [every_third(b.candidate, 0) for b in plain]


def test_the_report_says_how_many_and_leaves_the_reasons(tmp_path: Path) -> None:
    ending = run(tmp_path / "study.log", Failing(every_third))
    report = Findings(settings=some_settings(), ending=ending, front=plain_front(ending.graded))
    count = len(ending.failed)
    assert (
        f"{count} gradings failed and count for nothing: {count} ran out of memory"
        " (failures.txt)." in summary_lines(report)
    )
    write_report(report, tmp_path)
    text = (tmp_path / "failures.txt").read_text()
    assert text.count("Traceback ...") == count
    assert f"trial {ending.failed[0].number}, {ending.failed[0].candidate.digest}" in text
