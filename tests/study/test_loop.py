"""The laws of the loop: repeatable, resumable, never pays twice, never trains over the limit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nas.study.after.baselines import grade_baselines, grid
from nas.study.feasible import find_within
from nas.study.on_disk.record import Record
from nas.study.sampling import STARTUP, SamplerName
from nas.study.trial import Ending, Outcome, SearchStanding
from nas.study.workers import Inline
from tests.study.boards import MacBoard, candidates_of, notebook, search

SAMPLERS: tuple[SamplerName, ...] = ("surrogate", "tpe", "nsgaii", "random")
LEARNING: tuple[SamplerName, ...] = ("tpe", "random")


def _story(ending: Ending) -> list[tuple[object, ...]]:
    """What must be equal between two equal searches: everything but what it cost."""
    return [
        (t.number, t.candidate, t.latency, t.outcome, t.original, t.score and t.score.score)
        for t in ending.trials
    ]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_killed_and_resumed_equals_never_killed(tmp_path: Path, sampler: SamplerName) -> None:
    limit_ms = 7.0  # refuses enough that TPE has its random trials behind it by half of the budget
    (tmp_path / "whole").mkdir()
    whole = search(tmp_path / "whole", notebook(), budget=26, sampler=sampler, limit_ms=limit_ms)
    assert len(whole.trials) > STARTUP + 5 or sampler == "surrogate"
    (tmp_path / "pieces").mkdir()
    graded = 0
    for stop in (1, 2, 9, 11):
        broken = notebook(breaks_after=stop)
        with pytest.raises(KeyboardInterrupt):
            search(tmp_path / "pieces", broken, budget=26, sampler=sampler, limit_ms=limit_ms)
        graded += len(broken.asked)
    last = notebook()
    resumed = search(tmp_path / "pieces", last, budget=26, sampler=sampler, limit_ms=limit_ms)
    assert _story(resumed) == _story(whole)
    # Nothing that was finished is graded again.
    assert graded + len(last.asked) == 26


def test_a_budget_that_grows_equals_the_large_one(tmp_path: Path) -> None:
    (tmp_path / "once").mkdir()
    once = search(tmp_path / "once", notebook(), budget=30)
    (tmp_path / "twice").mkdir()
    search(tmp_path / "twice", notebook(), budget=17)
    assert _story(search(tmp_path / "twice", notebook(), budget=30)) == _story(once)


def test_the_opening_is_asked_for_first_and_once(tmp_path: Path) -> None:
    plain = tuple(one.candidate for one in grid(candidates_of("large"), MacBoard()))
    (tmp_path / "whole").mkdir()
    whole = search(tmp_path / "whole", notebook(), budget=20, opening=plain)
    assert [t.candidate for t in whole.trials[: len(plain)]] == list(plain)
    assert len(whole.graded) == 20
    (tmp_path / "pieces").mkdir()
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "pieces", notebook(breaks_after=3), budget=20, opening=plain)
    assert _story(search(tmp_path / "pieces", notebook(), budget=20, opening=plain)) == _story(
        whole
    )
    # Graded in the search, they are not graded again as baselines.
    record = Record(f"journal:{tmp_path / 'further.log'}", "further")
    idle = notebook()
    found = grid(candidates_of("large"), MacBoard())
    again = grade_baselines(found, 0, record, Inline(idle), lambda *_: None, whole.graded)
    assert idle.asked == []
    assert [b.score for b in again] == [t.score for t in whole.trials[: len(plain)]]


def test_a_finished_search_only_reads(tmp_path: Path) -> None:
    first = search(tmp_path, notebook(), budget=8)
    idle = notebook()
    for budget in (8, 3):
        assert _story(search(tmp_path, idle, budget=budget)) == _story(first)
    assert idle.asked == []


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_budget_counts_distinct_architectures(tmp_path: Path, sampler: SamplerName) -> None:
    proxy = notebook()
    ending = search(tmp_path, proxy, budget=25, space="tiny", sampler=sampler)
    digests = [trial.candidate.digest for trial in ending.graded]
    assert len(digests) == len(set(digests)) == len(proxy.asked) == 25
    for trial in ending.trials:
        if trial.outcome is Outcome.REPEATED:
            assert trial.original is not None
            first = ending.trials[trial.original]
            assert first.candidate.digest == trial.candidate.digest
            assert first.score == trial.score


@pytest.mark.parametrize("sampler", ["surrogate", *LEARNING])
def test_an_exhausted_space_ends_the_search(tmp_path: Path, sampler: SamplerName) -> None:
    proxy = notebook()
    ending = search(tmp_path, proxy, budget=1000, space="tiny", sampler=sampler)
    assert ending.is_exhausted
    everything = candidates_of("tiny").shuffled(np.random.default_rng(0))
    distinct = {candidate.digest for candidate in everything}
    assert {digest for digest, _ in proxy.asked} == distinct
    assert len(proxy.asked) == len(distinct)


def test_a_space_of_multiples_is_searched_to_its_end(tmp_path: Path) -> None:
    space = candidates_of("grid").space
    ending = search(tmp_path, notebook(), budget=1000, space="grid")
    assert ending.is_exhausted
    assert len(ending.graded) == space.size() == 42
    plain = {baseline.candidate.digest for baseline in grid(candidates_of("grid"), MacBoard())}
    assert plain <= {trial.candidate.digest for trial in ending.graded}


def test_over_the_limit_nothing_is_ever_trained(tmp_path: Path) -> None:
    proxy = notebook()
    limit_ms = 6.0
    ending = search(tmp_path, proxy, budget=30, limit_ms=limit_ms)
    refused = [t for t in ending.trials if t.outcome is Outcome.REFUSED]
    assert refused
    assert all(t.latency.ms > limit_ms and t.score is None for t in refused)
    assert all(t.latency.ms <= limit_ms for t in ending.graded)
    assert len(ending.graded) == len(proxy.asked) == 30
    assert not {t.candidate.digest for t in refused} & {digest for digest, _ in proxy.asked}


def test_the_sampler_learns_from_what_is_refused(tmp_path: Path) -> None:
    shares = {}
    for sampler in LEARNING:
        (tmp_path / sampler).mkdir()
        ending = search(tmp_path / sampler, notebook(), budget=30, sampler=sampler, limit_ms=6.0)
        drawn = ending.trials[STARTUP:]
        shares[sampler] = sum(t.outcome is Outcome.REFUSED for t in drawn) / len(drawn)
    assert shares["tpe"] < 0.6 * shares["random"]


def test_the_surrogate_asks_for_nothing_over_the_limit_and_nothing_twice(tmp_path: Path) -> None:
    ending = search(tmp_path, notebook(), budget=30, sampler="surrogate", limit_ms=6.0)
    assert [trial.outcome for trial in ending.trials] == [Outcome.GRADED] * 30


def test_the_surrogate_meets_a_limit_that_hardly_any_meets(tmp_path: Path) -> None:
    within = find_within(candidates_of("large").space, 6, MacBoard(), 1.1, 0)
    ending = search(
        tmp_path, notebook(), budget=12, sampler="surrogate", limit_ms=1.1, within=within
    )
    assert len(ending.graded) == 12


def test_a_limit_that_is_hardly_met_does_not_spin(tmp_path: Path) -> None:
    # The fastest of the space takes 0.9 ms on this board, and a random one never less than 1.2.
    ending = search(tmp_path, notebook(), budget=12, sampler="random", limit_ms=1.1)
    assert len(ending.graded) <= 12
    assert len(ending.trials) < 12 * 25


@pytest.mark.parametrize("in_flight", [1, 3])
def test_the_observer_hears_of_every_trial(tmp_path: Path, in_flight: int) -> None:
    heard: list[SearchStanding] = []
    ending = search(
        tmp_path, notebook(), budget=20, space="tiny", in_flight=in_flight, observe=heard.append
    )
    assert heard[0].trial is None
    numbers = sorted(s.trial.number for s in heard[1:] if s.trial)
    assert numbers == [t.number for t in ending.trials]
    assert heard[-1].graded == 20
    assert heard[-1].repeated == ending.count(Outcome.REPEATED)
    assert heard[-1].best is not None
    assert heard[-1].best.score is not None
    assert heard[-1].best.score.score == max(t.score.score for t in ending.graded if t.score)
    heard.clear()
    search(tmp_path, notebook(), budget=20, space="tiny", in_flight=in_flight, observe=heard.append)
    assert [(s.graded, s.trial) for s in heard] == [(20, None)]
