"""Ranges of maps: what is counted, and what each way of cutting leaves."""

from __future__ import annotations

import numpy as np
import pytest

from nas.deploy.int8.ranges import METHODS, Histogram, Range, RangeMethod


def histogram(*pictures: np.ndarray) -> Histogram:
    found = Histogram()
    for picture in pictures:
        found.add(picture.astype(np.float32))
    return found


def test_the_least_and_the_largest_number_are_exact_whatever_came_first() -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.standard_normal((4, 9, 9)) * scale for scale in (0.01, 5, 0.3, 70)]
    found = histogram(*pictures)
    everything = np.concatenate([one.reshape(-1) for one in pictures]).astype(np.float32)
    assert found.range("min-max", is_symmetric=True) == Range(
        low=float(everything.min()), high=float(everything.max())
    )
    assert found.counts.sum() == sum(-(-one.size // 3) for one in pictures)


def test_percentile_leaves_out_one_number_in_ten_thousand() -> None:
    values = np.random.default_rng(1).standard_normal(900_000)
    found = histogram(values[:300_000], values[300_000:] * 1.0)
    got = found.range("percentile", is_symmetric=False)
    low, high = np.quantile(values, [0.5e-4, 1 - 0.5e-4])
    assert got.low == pytest.approx(low, rel=0.06)
    assert got.high == pytest.approx(high, rel=0.06)
    assert got.high < values.max()


@pytest.mark.parametrize("is_symmetric", [True, False])
def test_mse_cuts_a_lonely_outlier_and_keeps_even_numbers(is_symmetric: bool) -> None:
    rng = np.random.default_rng(2)
    many = rng.standard_normal(600_000)
    alone = histogram(np.append(many, [30.0] * 3))
    assert alone.range("mse", is_symmetric=is_symmetric).high < 25
    even = histogram(rng.uniform(-1, 1, 300_000))
    assert even.range("mse", is_symmetric=is_symmetric).high > 0.95


@pytest.mark.parametrize("method", METHODS)
def test_maps_of_one_sign_and_of_nothing_have_a_range_with_0(method: RangeMethod) -> None:
    positive = histogram(np.random.default_rng(3).uniform(2, 3, 9000))
    found = positive.range(method, is_symmetric=False)
    assert found.low == 0
    assert 1.9 < found.high <= 3
    nothing = histogram(np.zeros(100))
    assert nothing.range(method, is_symmetric=False) == Range(low=0.0, high=0.0)
