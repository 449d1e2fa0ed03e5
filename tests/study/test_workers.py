"""Processes that grade: what is theirs alone. tests/study/test_graders.py has the rest."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from nas.accuracy import IN_FLIGHT, FakeSettings, Proxy, Score, build_proxy
from nas.data.dataset import read_data
from nas.space.search_space import Candidate
from nas.study.loop import Search, SearchPlan
from nas.study.on_disk.record import Record
from nas.study.sampling import STARTUP
from nas.study.workers import GradingError, Workers
from tests.study.boards import MacBoard, candidates_of
from tests.study.misfits import fake


def _candidate() -> Candidate:
    return candidates_of("tiny").random(np.random.default_rng(0))


def _broken() -> Proxy:
    raise ZeroDivisionError("of a sort")


def test_a_proxy_that_is_never_built_ends_the_search_with_its_traceback() -> None:
    with Workers(_broken, 1) as workers:
        workers.submit(0, _candidate(), 0)
        with pytest.raises(GradingError, match="raise ZeroDivisionError"):
            workers.collect(is_waiting=True)


def test_one_that_died_with_nothing_in_hand_is_replaced() -> None:
    with Workers(fake, 1) as workers:
        for number in range(2):
            workers.submit(number, _candidate(), 0)
            (done,) = workers.collect(is_waiting=True)
            assert done.score is not None
            for process in multiprocessing.active_children():
                process.kill()
                process.join()


def test_without_work_no_process_starts() -> None:
    with Workers(fake, 8) as workers:
        assert workers.collect(is_waiting=False) == []
        begun = [p.name for p in multiprocessing.active_children() if "Dask" not in p.name]
        assert begun == []


def test_the_environment_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    handler = signal.getsignal(signal.SIGINT)
    with Workers(fake, 1) as workers:
        workers.submit(0, _candidate(), 0)
        assert os.environ["OMP_NUM_THREADS"] == "7"
        assert "MKL_NUM_THREADS" not in os.environ
        assert signal.getsignal(signal.SIGINT) is handler


@dataclass
class Uneven:
    """The fake proxy with a delay that differs from process to process and time to time."""

    proxy: Proxy
    kind: str = "uneven"

    def score(self, candidate: Candidate, seed: int) -> Score:
        time.sleep(float(np.random.default_rng().uniform(0, 0.03)))
        return self.proxy.score(candidate, seed)


def _uneven() -> Uneven:
    return Uneven(build_proxy(FakeSettings(), read_data("shapes")))


def test_the_same_seed_gives_the_same_trials_with_any_workers_and_delays(tmp_path: Path) -> None:
    """Killed in the middle too; what is in flight is the run's, not the machine's."""
    stories = []
    for count in (1, 2, 3):
        record = Record(f"journal:{tmp_path / f'{count}.log'}", "test")
        # The first part with another number of workers: a run may change its machine.
        for workers, budget in ((4 - count, 20), (count, 48)):
            with Workers(_uneven, workers) as grader:
                ending = Search(
                    candidates=candidates_of("large"),
                    model=MacBoard(),
                    grader=grader,
                    record=record,
                    plan=SearchPlan(sampler="tpe", seed=3, limit_ms=7.0, in_flight=IN_FLIGHT),
                ).run(budget)
        assert any(trial.number > STARTUP for trial in ending.graded)
        stories.append([(t.outcome, dict(t.candidate.choices)) for t in ending.trials])
    assert stories[0] == stories[1] == stories[2]
