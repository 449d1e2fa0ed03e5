"""Tau, regret and their intervals: laws, and values that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau

from nas.accuracy.ranking import judge, make_band, regret, tau


def test_tau_is_kendalls_inside_one_band() -> None:
    rng = np.random.default_rng(0)
    reached, score = rng.random(12), rng.random(12)
    assert tau([make_band(reached, score)]) == pytest.approx(kendalltau(reached, score).statistic)


def test_pairs_across_bands_count_nothing() -> None:
    """A score that says nothing but the band would look good over all architectures."""
    low, high = make_band([0.1, 0.2], [1.0, 1.0]), make_band([0.5, 0.6], [2.0, 2.0])
    whole = make_band([0.1, 0.2, 0.5, 0.6], [1.0, 1.0, 2.0, 2.0])
    assert tau([low, high]) == 0.0
    assert tau([whole]) == pytest.approx(4 / 6)


def test_the_right_order_has_no_regret_and_the_wrong_one_all_of_it() -> None:
    reached = [0.1, 0.4, 0.3]
    assert tau([make_band(reached, reached)]) == 1.0
    assert regret([make_band(reached, reached)]) == 0.0
    backwards = make_band(reached, [-value for value in reached])
    assert tau([backwards]) == -1.0
    assert regret([backwards]) == pytest.approx(0.3)
    # Its first two picks have the second best.
    assert regret([backwards], 2) == pytest.approx(0.1)
    assert regret([backwards], 3) == 0.0


def test_equal_scores_are_picked_from_at_random() -> None:
    band = make_band([0.0, 0.4], [1.0, 1.0])
    assert regret([band]) == pytest.approx(0.2, abs=0.06)
    assert tau([band]) == 0.0


def test_the_same_draws_compare_two_scores() -> None:
    rng = np.random.default_rng(1)
    bands = []
    for _ in range(6):
        reached = rng.random(6)
        bands.append(
            {
                "good": make_band(reached, reached + 0.01 * rng.random(6)),
                "bad": make_band(reached, rng.random(6)),
            }
        )
    good, bad = judge(bands, picks=(1, 3))
    assert good.tau.low > bad.tau.value
    assert good.against["bad"].high < 0 < bad.against["good"].low
    assert good.regrets[3].value <= good.regrets[1].value
    assert judge(bands, picks=(1, 3)) == [good, bad], "the draws follow from the seed"


def test_too_few_to_tell_is_an_interval_around_nothing() -> None:
    rng = np.random.default_rng(2)
    reached = rng.random(5)
    first, _ = judge(
        [{"one": make_band(reached, rng.random(5)), "other": make_band(reached, rng.random(5))}]
    )
    assert first.against["other"].low < 0 < first.against["other"].high
