"""Earlier runs as a prior: what agrees is believed, what does not changes nothing at all."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from nas.study.pareto import hypervolume
from nas.study.surrogate.gaussian import GaussianProcess
from nas.study.surrogate.pool import CandidatePool
from nas.study.surrogate.prior import EarlierScores, Expectation, Prior, agreed_slopes
from nas.study.trial import Ending
from tests.study.boards import MacBoard, candidates_of, notebook, search

SLOWEST_MS = 110.0
"""What the slowest of the large space takes on the board of MACs."""


@cache
def _earlier(count: int = 60, *, is_shuffled: bool = False) -> EarlierScores:
    """Random architectures of the large space, graded by the proxy of the search."""
    pool = CandidatePool(candidates_of("large"), MacBoard(), None, 99)
    members = list(pool)[:count]
    proxy = notebook()
    scores = np.array(
        [proxy.score(candidates_of("large").rebuild(dict(one.choices)), 7).score for one in members]
    )
    if is_shuffled:
        scores = np.random.default_rng(1).permutation(scores)
    return EarlierScores(rows=np.stack([one.row for one in members]), scores=scores)


def _story(ending: Ending) -> list[tuple[object, ...]]:
    return [(t.number, t.candidate, t.outcome, t.score and t.score.score) for t in ending.trials]


def _area(ending: Ending) -> float:
    return hypervolume(
        [np.log(t.latency.ms) for t in ending.graded],
        [t.score.score for t in ending.graded if t.score],
        limit_ms=float(np.log(SLOWEST_MS)),
    )


def test_a_slope_is_that_of_least_squares_but_for_what_is_not_sure() -> None:
    rng = np.random.default_rng(0)
    expected = rng.normal(size=(40, 1))
    told = 0.3 + 0.05 * expected[:, 0] + 0.01 * rng.normal(size=40)
    (slope,) = agreed_slopes(expected, told)
    (plain, _) = np.polyfit(expected[:, 0], told, 1)
    left = told - told.mean() - plain * (expected[:, 0] - expected.mean())
    error = np.sqrt(left @ left / 38 / ((expected - expected.mean()) ** 2).sum())
    assert slope == pytest.approx(plain * (1 - (3 * error / plain) ** 2))
    # Another level and another scale of the scores: the same in their unit.
    assert agreed_slopes(expected, 7 - 100 + 50 * told)[0] == pytest.approx(50 * slope)
    # The fewer, the less is believed; of three nothing.
    shares = [agreed_slopes(expected[:n], told[:n])[0] / slope for n in (3, 6, 40)]
    assert shares[0] == 0 < shares[1] < 1.1
    assert shares[2] == 1


def test_what_says_the_contrary_or_nothing_is_dropped() -> None:
    rng = np.random.default_rng(0)
    expected = rng.normal(size=(20, 1))
    told = 0.05 * expected[:, 0] + 0.01 * rng.normal(size=20)
    assert agreed_slopes(-expected, told)[0] == 0
    assert agreed_slopes(np.full((20, 1), 0.4), told)[0] == 0
    assert agreed_slopes(expected, np.full(20, 0.2))[0] == 0
    taken = [agreed_slopes(rng.normal(size=(20, 1)), told)[0] > 0 for _ in range(1000)]
    assert np.mean(taken) < 0.01


def test_two_runs_that_say_the_same_count_once_and_two_that_differ_count_both() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 60))
    told = 0.05 * first + 0.03 * second + 0.002 * rng.normal(size=60)
    alone = agreed_slopes(first[:, None], told)[0]
    assert agreed_slopes(np.stack([first, first], axis=1), told).sum() == pytest.approx(alone)
    both = agreed_slopes(np.stack([second, first], axis=1), told)
    np.testing.assert_allclose(both, [0.03, 0.05], atol=0.01)


def test_an_earlier_run_whose_scores_do_not_follow_from_one_another_is_not_sound() -> None:
    earlier, shuffled = _earlier(), _earlier(is_shuffled=True)
    expectation = Expectation(earlier)
    assert expectation.is_sound
    assert not Expectation(shuffled).is_sound
    assert not Expectation(_earlier(3)).is_sound
    process = GaussianProcess(earlier.rows, earlier.scores)
    believed = (process.believe(earlier.rows).mean - earlier.scores.mean()) / earlier.scores.std()
    found = [expectation.of(row) for row in earlier.rows]
    np.testing.assert_allclose(found, believed, rtol=1e-9, atol=1e-12)


def test_a_run_of_another_space_tells_of_the_description_alone() -> None:
    members = list(CandidatePool(candidates_of("large"), MacBoard(), None, 3))[:30]
    whole = _earlier()
    other = EarlierScores(rows=whole.rows[:, :26], scores=whole.scores)
    prior = Prior([other])
    assert not prior.offsets(members).any()
    scores = np.array(
        [
            notebook().score(candidates_of("large").rebuild(dict(one.choices)), 0).score
            for one in members
        ]
    )
    prior.hold(members, scores)
    assert prior.slopes[0] > 0
    assert np.corrcoef(prior.offsets(members), scores)[0, 1] > 0.5


def test_an_equal_earlier_run_moves_the_proposals_towards_its_front(tmp_path: Path) -> None:
    areas: dict[str, list[float]] = {"cold": [], "warm": []}
    for seed in range(2):
        for name, earlier in (("cold", ()), ("warm", (_earlier(),))):
            (tmp_path / f"{name}{seed}").mkdir()
            ending = search(
                tmp_path / f"{name}{seed}", notebook(), budget=18, sampler="surrogate", seed=seed,
                earlier=earlier,
            )  # fmt: skip
            assert len(ending.graded) == 18, "what was learnt before is no trial"
            areas[name].append(_area(ending))
    assert min(np.array(areas["warm"]) - np.array(areas["cold"])) > 0


def test_a_shuffled_earlier_run_changes_nothing(tmp_path: Path) -> None:
    stories = []
    for name, earlier in (("cold", ()), ("warm", (_earlier(is_shuffled=True),))):
        (tmp_path / name).mkdir()
        ending = search(
            tmp_path / name, notebook(), budget=24, sampler="surrogate", earlier=earlier
        )
        stories.append(_story(ending))
    assert stories[0] == stories[1]


def test_killed_and_resumed_equals_never_killed_with_an_earlier_run(tmp_path: Path) -> None:
    def conduct(folder: str, breaks_after: int | None = None) -> Ending:
        (tmp_path / folder).mkdir(exist_ok=True)
        proxy = notebook(breaks_after=breaks_after)
        return search(
            tmp_path / folder, proxy, budget=22, sampler="surrogate", earlier=(_earlier(),)
        )

    whole = conduct("whole")
    for stop in (3, 11):
        with pytest.raises(KeyboardInterrupt):
            conduct("pieces", stop)
    assert _story(conduct("pieces")) == _story(whole)
