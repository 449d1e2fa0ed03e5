"""What is on disk: whole trials, readable by Optuna's own tools.

One suite over every kind of storage: the contract of `Record`.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from nas.study.loop import Search, SearchPlan
from nas.study.on_disk.record import BASELINE, REGRADE, Record
from nas.study.on_disk.storage import StorageError, without_password
from nas.study.trial import Outcome, SearchStanding
from nas.study.workers import Inline
from tests.study.boards import MacBoard, Notebook, candidates_of, notebook

# A process ends with its connections; the tests open many in one process.
pytestmark = pytest.mark.filterwarnings("ignore:.*psycopg.Connection object.*:ResourceWarning")


def fill(
    record: Record,
    proxy: Notebook,
    budget: int,
    limit_ms: float | None = None,
    observe: Callable[[SearchStanding], None] = lambda standing: None,
) -> Search:
    """A small search that writes to the record."""
    search = Search(
        candidates=candidates_of("tiny"),
        model=MacBoard(),
        grader=Inline(proxy),
        record=record,
        plan=SearchPlan(sampler="tpe", seed=0, limit_ms=limit_ms, in_flight=3),
        observe=observe,
    )
    search.run(budget)
    return search


@pytest.fixture(
    params=[
        "sqlite:///{}/study.db",
        "journal:{}/study.log",
        pytest.param("postgresql", marks=pytest.mark.cluster),
    ]
)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "postgresql":
        yield request.getfixturevalue("new_database")()
        gc.collect()  # here, and not in a test that knows nothing of psycopg's connections
    else:
        yield request.param.format(tmp_path)


def storage_of(url: str) -> optuna.storages.BaseStorage:
    """The same storage as Optuna opens it."""
    if url.startswith("journal:"):
        backend = optuna.storages.journal.JournalFileBackend(url.removeprefix("journal:"))
        return optuna.storages.JournalStorage(backend)
    return optuna.storages.RDBStorage(url)


def test_what_is_kept_is_found_again(url: str) -> None:
    limit_ms = 0.065
    search = fill(Record(url, "kept"), notebook(), 7, limit_ms)
    found = Record(url, "kept").asked()
    assert [(a.number, a.outcome, a.original, a.latency, a.score) for a in found] == [
        (t.number, t.outcome, t.original, t.latency, t.score) for t in search.trials
    ]
    assert [a.choices for a in found] == [dict(t.candidate.choices) for t in search.trials]
    assert {a.outcome for a in found} == set(Outcome)


def test_optunas_own_tools_can_read_it(url: str) -> None:
    search = fill(Record(url, "run"), notebook(), 5, 0.065)
    study = optuna.load_study(study_name="run", storage=storage_of(url))
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    states = {
        Outcome.GRADED: optuna.trial.TrialState.COMPLETE,
        Outcome.REPEATED: optuna.trial.TrialState.COMPLETE,
        Outcome.REFUSED: optuna.trial.TrialState.PRUNED,
    }
    for ours, theirs in zip(search.trials, study.trials, strict=True):
        assert theirs.number == ours.number
        assert theirs.state == states[ours.outcome]
        if ours.score:
            assert theirs.values == [ours.score.score, ours.latency.ms]
        assert theirs.constraints["over_limit_ms"] == pytest.approx(ours.latency.ms - 0.065)
    assert {t.number for t in study.best_trials} <= {
        t.number for t in search.trials if t.outcome is not Outcome.REFUSED
    }


def test_a_killed_trial_is_in_hand_again(url: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        fill(Record(url, "run"), notebook(breaks_after=4), 10)
    in_hand = [a for a in Record(url, "run").asked() if a.score is None]
    assert 1 <= len(in_hand) <= 3
    assert all(a.outcome is Outcome.GRADED for a in in_hand)


def test_further_scores_are_kept_by_architecture_and_seed(url: str) -> None:
    record = Record(url, "run")
    score = notebook().score(candidates_of("tiny").build(lambda name, options: options[0]), 0)
    record.keep_score(REGRADE, "ab" * 8, 7, score)
    assert Record(url, "run").scores(REGRADE) == {("ab" * 8, 7): score}
    assert Record(url, "run").scores(BASELINE) == {}


def test_a_study_of_somebody_elses_is_refused(url: str) -> None:
    record = Record(url, "run")
    study = optuna.load_study(study_name="run", storage=storage_of(url))
    study.ask()
    with pytest.raises(StorageError, match="trial 0, which was not"):
        record.asked()


def test_a_study_of_another_run_is_refused(url: str) -> None:
    """Two runs of one name, in two folders, may be given the same storage."""
    Record(url, "run", "first")
    Record(url, "run", "first")
    Record(url, "other", "second")
    with pytest.raises(StorageError, match="a study of first for a run of second"):
        Record(url, "run", "second")


@pytest.mark.parametrize(
    "url", ["nonsense", "sqlite:////nowhere/at/all/study.db", "mysql://me:secret@nowhere/nas"]
)
def test_a_storage_that_cannot_be_opened_is_one_message(url: str) -> None:
    with pytest.raises(StorageError) as error:
        Record(url, "run")
    assert str(error.value).startswith("--storage ")
    assert "secret" not in str(error.value)
    assert "a new run may leave it out" in str(error.value)


def test_passwords_are_not_shown() -> None:
    assert without_password("mysql://me:secret@host/nas") == "mysql://me:***@host/nas"
    assert without_password("sqlite:///runs/a/study.db") == "sqlite:///runs/a/study.db"


def test_another_number_or_architecture_is_no_trial_of_this_search(url: str) -> None:
    search = fill(Record(url, "run"), notebook(), 3)
    record, (first, second, *_) = Record(url, "run"), search.trials
    assert second.score is not None
    stranger = replace(first, candidate=second.candidate)
    with pytest.raises(StorageError, match="of another architecture"):
        record.finish(stranger, second.score)
    with pytest.raises(StorageError, match=f"trial {len(search.trials)} where trial 0"):
        record.add(first, {}, {}, {}, {})
    assert [a.latency for a in record.asked()[:3]] == [t.latency for t in search.trials[:3]]
