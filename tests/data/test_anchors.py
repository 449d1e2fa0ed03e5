"""Laws of fitted anchors."""

from __future__ import annotations

import numpy as np
import pytest

from nas.data.anchors import assess_anchors, fit_anchors
from nas.space.anchors import scale_anchors

COCO = ((10.0, 13, 16, 30, 33, 23), (30.0, 61, 62, 45, 59, 119), (116.0, 90, 156, 198, 373, 326))


def sizes(count: int = 400, seed: int = 0) -> np.ndarray:
    return np.exp(np.random.default_rng(seed).uniform(np.log(8), np.log(120), (count, 2)))


def test_the_same_seed_fits_the_same() -> None:
    assert fit_anchors(sizes(), seed=1) == fit_anchors(sizes(), seed=1)


def test_fitted_anchors_suit_the_data_better_and_are_sorted_by_area() -> None:
    fit = fit_anchors(sizes(), seed=0)
    assert fit.fitness > assess_anchors(COCO, sizes()).fitness
    assert fit.recall > 0.99
    areas = np.array(fit.anchors).reshape(-1, 2).prod(axis=1)
    assert (np.diff(areas) >= 0).all()
    assert np.array(fit.anchors).shape == (3, 6)


def test_recall_is_the_share_of_boxes_within_a_factor_of_four() -> None:
    anchors = ((10.0, 10.0),)
    boxes = np.array([[10, 10], [39, 10], [41, 10], [2.6, 2.6], [2.4, 10]], np.float64)
    fit = assess_anchors(anchors, boxes)
    assert fit.recall == pytest.approx(3 / 5)
    assert fit.fitness == pytest.approx((1 + 10 / 39 + 2.6 / 10) / 5)


@pytest.mark.parametrize("count", [1, 2, 9, 10])
def test_few_boxes_still_give_nine_anchors(count: int) -> None:
    fit = fit_anchors(sizes(count), seed=0)
    assert len(np.array(fit.anchors).ravel()) == 18
    assert np.array(fit.anchors).min() > 0
    assert fit.recall == 1.0


def test_equal_boxes_and_tiny_boxes_do_not_break_it() -> None:
    assert fit_anchors(np.full((50, 2), 20.0), seed=0).recall == 1.0
    assert fit_anchors(np.full((50, 2), 0.5), seed=0).recall == 1.0
    with pytest.raises(ValueError, match="at least one box"):
        fit_anchors(np.zeros((0, 2)), seed=0)


def test_scaling_anchors_and_boxes_together_changes_nothing() -> None:
    half = scale_anchors(COCO, 0.5)
    assert assess_anchors(half, sizes() / 2).recall == assess_anchors(COCO, sizes()).recall
