"""A factor that residuals teach: recovered where there is one, left alone where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from nas.latency.verified.residuals import (
    COVERAGE,
    Interval90,
    correct_by_residuals,
    keeps_limit,
)


def _predicted(count: int, half: float = 0.05) -> list[Interval90]:
    times = np.geomspace(2, 40, count)
    wide = float(np.exp(half))
    return [Interval90(ms=ms, low_ms=ms / wide, high_ms=ms * wide) for ms in times.tolist()]


def _measured(predicted: list[Interval90], factor: float, noise: float, seed: int) -> list[float]:
    rng = np.random.default_rng(seed)
    return [one.ms * factor * float(np.exp(noise * rng.standard_normal())) for one in predicted]


@pytest.mark.parametrize("factor", [0.8, 1.07, 1.2])
def test_a_common_factor_is_found_and_helps(factor: float) -> None:
    predicted = _predicted(9)
    found = correct_by_residuals(predicted, _measured(predicted, factor, 0.01, seed=0))
    assert found.is_applied
    assert found.factor == pytest.approx(factor, rel=0.015)
    assert found.before == pytest.approx(abs(1 / factor - 1), abs=0.01)
    assert found.after is not None
    assert found.after < 0.015
    one = found.corrected(predicted[0])
    assert one.ms == pytest.approx(predicted[0].ms * found.factor)
    assert one.low_ms < one.ms < one.high_ms


def test_where_there_is_nothing_to_correct_nothing_is_corrected() -> None:
    """Noise alone: as a rule the factor would not help, and predictions stay as they were."""
    predicted = _predicted(8)
    used = [
        correct_by_residuals(predicted, _measured(predicted, 1.0, 0.03, seed)).is_applied
        for seed in range(40)
    ]
    assert sum(used) <= 8
    found = correct_by_residuals(predicted, [one.ms for one in predicted])
    assert not found.is_applied
    assert found.corrected(predicted[3]) == predicted[3]


def test_few_residuals_are_not_trusted() -> None:
    """Held towards 1, the fewer the more; and under three nothing tells whether it helps."""
    asked = [
        correct_by_residuals(_predicted(count), [1.1 * one.ms for one in _predicted(count)])
        for count in (1, 2, 3, 12)
    ]
    assert [one.is_applied for one in asked] == [False, False, True, True]
    assert [one.before is None for one in asked] == [True, True, False, False]
    factors = [one.found for one in asked]
    assert factors == sorted(factors)
    assert 1.05 < factors[0] < 1.1
    assert factors[-1] == pytest.approx(1.1, rel=0.002)


@pytest.mark.parametrize(("claimed", "true"), [(0.10, 0.01), (0.01, 0.05)])
def test_intervals_become_honest(claimed: float, true: float) -> None:
    """Too wide ones narrower, too narrow ones wider, so that they hold what they claim."""
    held, narrower = [], []
    for seed in range(60):
        known, new = _predicted(10, claimed), _predicted(10, claimed)
        found = correct_by_residuals(known, _measured(known, 1.2, true, seed))
        assert found.is_applied
        took = _measured(new, 1.2, true, seed + 1000)
        intervals = [found.corrected(one) for one in new]
        held += [i.low_ms <= ms <= i.high_ms for i, ms in zip(intervals, took, strict=True)]
        narrower.append(intervals[0].half < new[0].half)
    assert np.mean(held) >= COVERAGE - 0.03
    assert all(narrower) if claimed > true else not any(narrower)


def test_the_probability_of_keeping_a_limit() -> None:
    assert keeps_limit(10, 0.01, 10) == pytest.approx(0.5)
    assert keeps_limit(10, 0.01, 10.5) > 0.999
    assert keeps_limit(10, 0.01, 9.5) < 0.001
    assert 0.6 < keeps_limit(10, 0.05, 10.2) < keeps_limit(10, 0.05, 10.6) < 1
    assert keeps_limit(10, 0.02, 10.3, freedom=3) < keeps_limit(10, 0.02, 10.3)
