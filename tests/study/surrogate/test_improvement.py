"""The expected gain in hypervolume: against sampling, and its limits."""

from __future__ import annotations

import numpy as np

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
