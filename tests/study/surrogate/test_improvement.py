"""The expected gain in hypervolume: against sampling, and its limits."""

from __future__ import annotations

import numpy as np
import pytest

from nas.study.pareto import hypervolume
from nas.study.surrogate.gaussian import Believed
from nas.study.surrogate.improvement import expected_improvement

FRONT_MS = np.array([10.0, 20.0, 15.0, 40.0])
FRONT_SCORES = np.array([0.2, 0.35, 0.1, 0.5])
SLOWEST_MS = 80.0


def _gain(latencies: list[float], means: list[float], deviations: list[float]) -> np.ndarray:
    return expected_improvement(
        FRONT_MS, FRONT_SCORES, np.array(latencies),
        Believed(mean=np.array(means), deviation=np.array(deviations)),
        slowest_ms=SLOWEST_MS, base_score=0.0,
    )  # fmt: skip


def _area(latencies: np.ndarray, scores: np.ndarray) -> float:
    return hypervolume(np.log(latencies), scores, limit_ms=float(np.log(SLOWEST_MS)))


def test_it_is_the_mean_of_what_samples_add() -> None:
    rng = np.random.default_rng(0)
    before = _area(FRONT_MS, FRONT_SCORES)
    for ms, mean, deviation in ((12.0, 0.3, 0.1), (5.0, 0.05, 0.05), (60.0, 0.52, 0.2)):
        scores = np.maximum(rng.normal(mean, deviation, size=4000), 0.0)
        added = [
            _area(np.append(FRONT_MS, ms), np.append(FRONT_SCORES, score)) - before
            for score in scores
        ]
        error = np.std(added) / np.sqrt(len(added))
        assert abs(_gain([ms], [mean], [deviation])[0] - np.mean(added)) < 4 * error + 1e-4


def test_what_is_sure_adds_exactly_its_area() -> None:
    added = _area(np.append(FRONT_MS, 12.0), np.append(FRONT_SCORES, 0.4)) - _area(
        FRONT_MS, FRONT_SCORES
    )
    np.testing.assert_allclose(_gain([12.0], [0.4], [1e-9]), added, rtol=1e-6)
    np.testing.assert_allclose(_gain([45.0, 100.0], [0.45, 0.9], [1e-9, 1e-9]), 0.0, atol=1e-9)


def test_faster_better_and_less_sure_is_worth_more() -> None:
    slow, fast, better, unsure = _gain(
        [30.0, 25.0, 30.0, 30.0], [0.36, 0.36, 0.4, 0.36], [0.05, 0.05, 0.05, 0.1]
    )
    assert fast > slow
    assert better > slow
    assert unsure > slow


def test_a_second_board_that_is_in_proportion_changes_no_order() -> None:
    """And on two boards that say nothing of each other the sampled sum is the exact one."""
    rng = np.random.default_rng(0)
    latencies = rng.uniform(8, 70, size=40)
    believed = Believed(mean=rng.uniform(0.1, 0.6, size=40), deviation=np.full(40, 0.05))
    alone = expected_improvement(
        FRONT_MS, FRONT_SCORES, latencies, believed, slowest_ms=SLOWEST_MS, base_score=0.0
    )
    # All take as long on the second board: its side of the box is all theirs.
    flat = expected_improvement(
        np.stack([FRONT_MS, np.ones(4)], axis=1), FRONT_SCORES,
        np.stack([latencies, np.ones(40)], axis=1), believed,
        slowest_ms=(SLOWEST_MS, float(np.e)), base_score=0.0,
    )  # fmt: skip
    assert flat == pytest.approx(alone, rel=0.05, abs=2e-3)


def test_on_two_boards_it_is_the_volume_that_is_added() -> None:
    """One block, known for sure, over a front of one: by hand."""
    believed = Believed(mean=np.array([0.5, 0.5]), deviation=np.array([1e-9, 1e-9]))
    found = expected_improvement(
        np.array([[20.0, 20.0]]), np.array([0.4]), np.array([[10.0, 40.0], [40.0, 40.0]]), believed,
        slowest_ms=(80.0, 80.0), base_score=0.0,
    )  # fmt: skip
    two = np.log(2)
    # 3 x 1 doublings where nothing stood (10 to 20 on the first: 1 x 1) or 0.4 did (2 x 1).
    assert found[0] == pytest.approx(two**2 * (0.5 + 2 * 0.1), rel=0.05)
    assert found[1] == pytest.approx(two**2 * 0.1, rel=0.05)
