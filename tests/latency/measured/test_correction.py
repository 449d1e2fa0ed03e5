"""The correction finds what the sum misses, no more than there is, and its errors are honest."""

from __future__ import annotations

import numpy as np
import pytest

from nas import stats
from nas.latency.measured.correction import QUANTITIES, fit_correction, fit_form

Array = np.ndarray


def networks(rng: np.random.Generator, count: int) -> Array:
    """Made-up networks: sums over 10x, other quantities of like size."""
    found = rng.uniform(0.5, 2.0, (count, len(QUANTITIES)))
    found[:, 0] = np.exp(rng.uniform(np.log(3), np.log(30), count))
    found[:, 1] = rng.integers(20, 45, count)
    found[:, 6:] *= found[:, :1] / 8
    return found


def test_nothing_to_correct_is_left_alone() -> None:
    sums = networks(np.random.default_rng(0), 20)
    fitted = fit_correction(sums, sums[:, 0])
    assert fitted.correction.form == "none"
    assert np.allclose(fitted.errors, 0)


@pytest.mark.parametrize("seed", range(3))
def test_what_costs_a_constant_time_each_is_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    known, new = networks(rng, 20), networks(rng, 200)

    def measured(found: Array) -> Array:
        return 1.1 * found[:, 0] + 0.02 * found[:, 1]

    noisy = measured(known) * (1 + 0.003 * rng.standard_normal(20))
    correction = fit_correction(known, noisy).correction
    errors = stats.mape(new[:, 0] * correction.factor(new), measured(new))
    scalar = fit_form(known, noisy, "scalar").correction
    assert errors < 0.4 * stats.mape(new[:, 0] * scalar.factor(new), measured(new))
    assert errors < 0.02


def test_noise_is_not_taken_for_structure() -> None:
    ratios = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        known, new = networks(rng, 20), networks(rng, 200)
        noisy = 1.1 * known[:, 0] * (1 + 0.02 * rng.standard_normal(20))
        correction = fit_correction(known, noisy).correction
        ratios.append(stats.mape(new[:, 0] * correction.factor(new), 1.1 * new[:, 0]))
    # A scalar from 20 networks with 2 % noise is itself off by 0.02 / sqrt(20) = 0.45 %.
    assert np.mean(ratios) < 0.009


def test_the_interval_holds_what_it_claims() -> None:
    held = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        known, new = networks(rng, 20), networks(rng, 40)

        def measured(found: Array, rng: np.random.Generator = rng) -> Array:
            noise = 1 + 0.02 * rng.standard_normal(len(found))
            return (1.05 * found[:, 0] + 0.3 + 0.05 * found[:, 3]) * noise

        fitted = fit_correction(known, measured(known))
        width = np.exp(stats.conformal_quantile(fitted.errors, 0.9))
        predicted, true = new[:, 0] * fitted.correction.factor(new), measured(new)
        held.append(np.mean((predicted / width <= true) & (true <= predicted * width)))
    assert 0.87 < np.mean(held) < 0.96
