"""The wall clock as a budget: nothing begins that would end after it, and its end is kept free."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from nas import NasError
from nas.accuracy import (
    AnyProxy,
    FakeSettings,
    Finish,
    Regrade,
    Score,
    SharedWeightsSettings,
    ShortTrainingSettings,
)
from nas.search import ENOUGH_STEPS, Allowance, watch_preparation
from nas.space.search_space import Candidate
from nas.study.after.finalists import plain_front
from nas.study.after.picks import FOLDER, affordable_picks, choose_picks
from nas.study.on_disk.record import TAUGHT, Record
from nas.study.time_budget import HALF, TimeBudget, ending_words
from tests.study.boards import Notebook, notebook, search

PLAIN = FakeSettings(regrade=None, baselines=0)


@dataclass
class Clock:
    """A clock that stands still until it is told otherwise."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Ticking(Notebook):
    """A proxy whose gradings take time on that clock."""

    clock: Clock = field(default_factory=Clock)
    seconds: float = 10.0

    def score(self, candidate: Candidate, seed: int) -> Score:
        found = super().score(candidate, seed)
        self.clock.now_s += self.seconds
        return Score(score=found.score, kind=found.kind, is_map=False, seconds=self.seconds)


def budget_of(
    limit_s: float | None, proxy: AnyProxy = PLAIN, clock: Clock | None = None, **more: Any
) -> TimeBudget:
    clock = clock or Clock()
    values: dict[str, Any] = {"has_baselines": True, "workers": 1, "begin_s": clock.now_s} | more
    return TimeBudget(limit_s, proxy=proxy, clock=clock, **values)


@pytest.mark.parametrize("in_flight", [1, 4])
def test_no_grading_begins_that_would_end_after_the_limit(tmp_path: Path, in_flight: int) -> None:
    clock = Clock()
    proxy = Ticking(notebook().proxy, clock=clock)
    ending = search(
        tmp_path, proxy, budget=50, sampler="random", in_flight=in_flight,
        time_budget=budget_of(95.0, clock=clock),
    )  # fmt: skip
    assert len(ending.graded) == 9
    assert clock.now_s - 1000 <= 95


def test_a_larger_limit_goes_on_as_if_it_had_been_there_at_first(tmp_path: Path) -> None:
    def run(folder: str, limit_s: float | None) -> list[object]:
        (tmp_path / folder).mkdir(exist_ok=True)
        clock = Clock()
        found = search(
            tmp_path / folder, Ticking(notebook().proxy, clock=clock), budget=14, sampler="tpe",
            time_budget=budget_of(limit_s, clock=clock),
        )  # fmt: skip
        return [(t.number, t.candidate.digest, t.score and t.score.score) for t in found.trials]

    short = run("pieces", 65.0)
    assert len(short) < 14
    whole = run("whole", None)
    assert run("pieces", None) == whole
    assert short == whole[: len(short)]


def test_what_was_spent_before_counts(tmp_path: Path) -> None:
    clock, kept = Clock(), list[float]()
    budget = budget_of(100.0, clock=clock, before_s=60.0, keep=kept.append)
    clock.now_s += 15
    assert budget.spent_s() == 75
    budget.note()
    budget.note()
    assert kept == [75], "a second of it is not worth a writing"
    budget.note(is_last=True)
    assert kept == [75, 75]
    assert budget.grading_fits([20.0, 20.0], 0)
    assert not budget.grading_fits([20.0, 20.0], 1)
    assert not budget.grading_fits([26.0], 0)
    # What the sampler takes to ask for it comes before it.
    assert budget.grading_fits([20.0, 20.0], 0, asking_s=4.0)
    assert not budget.grading_fits([20.0, 20.0], 0, asking_s=6.0)
    record = Record(f"journal:{tmp_path / 'a.log'}", "a")
    assert record.spent_s() == 0
    record.keep_spent(75.0)
    assert Record(f"journal:{tmp_path / 'a.log'}", "a").spent_s() == 75


def test_the_end_is_kept_free() -> None:
    proxy = FakeSettings(regrade=Regrade(share=0.1, least=6), baselines=4)
    # 6 finalists, 4 points of the grid and 4 hand-designed ones; then a tenth of the graded.
    assert budget_of(1e6, proxy, workers=2).end_s(20, 3.0) == pytest.approx(14 * 3 / 2)
    assert budget_of(1e6, proxy, workers=2).end_s(200, 3.0) == pytest.approx(28 * 3 / 2)
    alone = budget_of(1e6, proxy, has_baselines=False)
    assert alone.end_s(20, 3.0) == pytest.approx(6 * 3)
    # The first reads the pictures.
    assert budget_of(200.0, proxy).grading_fits([90.0, *[10.0] * 4], 0)
    assert budget_of(200.0, proxy).grading_fits([10.0] * 5, 0)
    assert not budget_of(150.0, proxy).grading_fits([10.0] * 5, 0)


def test_a_picks_time_follows_what_was_timed() -> None:
    finish = Finish(picks=3, steps=500)
    shared = SharedWeightsSettings(steps=1500, image_scale=0.5, finish=finish)
    assert budget_of(1e6, shared, prepared_core_s=600.0).pick_s(1.0) == pytest.approx(
        600 / 1500 * 4 * 500
    )
    short = ShortTrainingSettings(steps=30, image_scale=1.0, finish=finish)
    assert budget_of(1e6, short).pick_s(6.0) == pytest.approx(6 / 30 * 500)
    assert budget_of(1e6, short, taught_s=[100.0, 200.0]).pick_s(6.0) == 150


def test_picks_get_at_most_half_and_are_fewer_where_it_is_short() -> None:
    proxy = FakeSettings(finish=Finish(picks=3), regrade=None, baselines=0)

    def kept(limit_s: float, workers: int = 1) -> int:
        return budget_of(limit_s, proxy, taught_s=[100.0], workers=workers).kept_picks(1.0)

    assert HALF == 0.5
    assert [kept(limit) for limit in (199, 200, 400, 599, 600, 10000)] == [0, 1, 2, 2, 3, 3]
    assert [kept(limit, workers=2) for limit in (199, 200, 399, 400)] == [0, 2, 2, 3]
    assert "3 picks, taught to the end" in budget_of(600, proxy, taught_s=[100]).plan_words()
    assert "for 1 of 3 picks" in budget_of(300, proxy, taught_s=[100]).plan_words()
    assert "too little to keep any" in budget_of(150, proxy, taught_s=[100]).plan_words()
    assert "nothing more is graded" in budget_of(300, proxy, before_s=300).plan_words()


def test_only_picks_that_end_in_time_are_taught_and_taught_ones_are_free(tmp_path: Path) -> None:
    ending = search(tmp_path, notebook(), budget=20, sampler="random")
    front, finish = plain_front(ending.graded), Finish(picks=3)
    record = Record(f"journal:{tmp_path / 'further.log'}", "further")

    def picks(most: int) -> list[str]:
        found = affordable_picks(
            front, finish, lambda count: count <= most, start="none", seed=0, run=tmp_path,
            record=record,
        )  # fmt: skip
        return [point.trial.candidate.digest for point in found]

    expected = {n: [p.trial.candidate.digest for p in choose_picks(front, n)] for n in (1, 2, 3)}
    assert picks(5) == expected[3]
    assert picks(2) == expected[2]
    assert picks(0) == []
    (tmp_path / FOLDER).mkdir()
    for digest in expected[2]:
        score = Score(
            score=0.0, kind=finish.kind("none"), is_map=False, seconds=9, is_diverged=True
        )
        record.keep_score(TAUGHT, digest, 0, score)
    assert picks(0) == expected[2]


def test_what_was_cut_short_is_said() -> None:
    def told(limit_s: float | None, graded: int, picks: int) -> str:
        return " ".join(
            ending_words(budget_of(limit_s), graded=graded, wanted=20, picks=picks, all_picks=3)
        )

    assert told(None, 7, 0) == ""
    assert told(90, 20, 3) == "The run has taken 0 s of 1 min 30 s."
    assert "1 min 30 s with 7 of at most 20 graded" in told(90, 7, 3)
    assert "2 of 3 picks were taught to the end" in told(90, 20, 2)
    assert "None of the picks was taught to the end" in told(90, 20, 0)
    assert "left no room for any." in told(90, 20, 0)


def test_shared_weights_that_leave_no_time_are_given_up_at_once() -> None:
    now_s = time.monotonic()
    assert watch_preparation(Allowance(begin_s=now_s, limit_s=None), 0.0) is None
    for begun_s, limit_s, is_enough in ((100.0, 99.0, False), (100.0, 200.0, True)):
        watch = watch_preparation(Allowance(begin_s=now_s - begun_s, limit_s=limit_s), 0.0)
        assert watch is not None
        for step in range(1, ENOUGH_STEPS + 1):
            watch(step, 1500)  # it can't be told yet
        if is_enough:
            watch(ENOUGH_STEPS + 1, 1500)
            continue
        with pytest.raises(NasError, match="--time-limit: the weights that all candidates share"):
            watch(ENOUGH_STEPS + 1, 1500)
