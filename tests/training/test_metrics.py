"""Grades against oracles: suppression one pair at a time, precision worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.data.images import ImageSet
from nas.training.metrics import (
    Detections,
    evaluate,
    evaluate_detector,
    evaluate_with_error,
    grade,
    suppress,
    torch_predictor,
)
from tests.data.pictures import image_set, squares, tiny_detector

NAMES = ("cat", "dog")


def detections(*rows: tuple[float, ...]) -> Detections:
    """From (class, score, left, top, right, bottom)."""
    table = np.array(rows, np.float64).reshape(-1, 6)
    return Detections(boxes=table[:, 2:], scores=table[:, 1], classes=table[:, 0].astype(np.int64))


def iou(one: np.ndarray, two: np.ndarray) -> float:
    sides = np.minimum(one[2:], two[2:]) - np.maximum(one[:2], two[:2])
    common = np.maximum(sides, 0).prod()
    return float(common / ((one[2:] - one[:2]).prod() + (two[2:] - two[:2]).prod() - common))


def suppress_slowly(predictions: np.ndarray, threshold: float) -> list[tuple[int, float]]:
    """(class, score) of what survives greedy suppression, best first, one pair at a time."""
    pairs = []
    for row in predictions.astype(np.float64):
        corners = np.concatenate([row[:2] - row[2:4] / 2, row[:2] + row[2:4] / 2])
        for kind, probability in enumerate(row[5:]):
            score = float(np.float32(row[4]) * np.float32(probability))
            if score > 0.001:
                pairs.append((score, kind, corners))
    kept: list[tuple[float, int, np.ndarray]] = []
    for score, kind, corners in sorted(pairs, key=lambda pair: -pair[0]):
        if all(other[1] != kind or iou(corners, other[2]) <= threshold for other in kept):
            kept.append((score, kind, corners))
    return [(kind, score) for score, kind, _ in kept]


@given(seed=st.integers(0, 10**6), count=st.integers(0, 40), threshold=st.floats(0.2, 0.8))
@settings(max_examples=50, deadline=None)
def test_suppression_is_the_greedy_one(seed: int, count: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    predictions = np.concatenate(
        [rng.uniform(0, 50, (count, 2)), rng.uniform(5, 40, (count, 2)), rng.random((count, 4))],
        axis=1,
    ).astype(np.float32)
    found = suppress(predictions, iou_threshold=threshold, detections=1000)
    expected = suppress_slowly(predictions, threshold)
    assert found.classes.tolist() == [kind for kind, _ in expected]
    np.testing.assert_allclose(found.scores, [score for _, score in expected])
    assert (np.diff(found.scores) <= 0).all()


def test_suppression_limits_and_drops_what_is_not_finite() -> None:
    predictions = np.zeros((30, 6), np.float32)
    predictions[:, 0] = np.arange(30) * 10
    predictions[:, 2:4] = 5
    predictions[:, 4:] = np.linspace(0.5, 0.9, 30, dtype=np.float32)[:, None]
    assert len(suppress(predictions, detections=7).scores) == 7
    assert len(suppress(predictions, candidates=9).scores) == 9
    predictions[3, 0] = np.nan
    predictions[4, 4] = np.inf
    assert len(suppress(predictions).scores) == 28
    assert len(suppress(np.zeros((0, 6), np.float32)).scores) == 0


def test_average_precision_worked_by_hand() -> None:
    """Two objects; hits at IoU 1 and 0.62 with a miss between: precisions 1, 1/2, 2/3.

    At IoU 0.5 to 0.6 both are found: recall 1/2 at precision 1, recall 1 at 2/3; the 101 recall
    levels give 51 x 1 + 50 x 2/3. Above, one is found: 51 x 1.
    """
    part = image_set([[(0, 10, 10, 30, 30), (0, 50, 50, 70, 70)]], NAMES)
    found = detections(
        (0, 0.9, 10, 10, 30, 30), (0, 0.8, 80, 0, 90, 10), (0, 0.7, 50, 50, 70, 62.4)
    )
    grades = grade([found], part)
    both, one = (51 + 50 * 2 / 3) / 101, 51 / 101
    assert grades.map50 == pytest.approx(both)
    assert grades.map50_95 == pytest.approx((3 * both + 7 * one) / 10)
    assert grades.per_class[0].objects == 2
    assert grades.per_class[0].map50 == grades.map50
    # No dog is shown: it has no precision, and doesn't enter the mean.
    assert grades.per_class[1].map50 is None
    assert (grades.images, grades.objects) == (1, 2)


def test_the_mean_is_over_the_classes_that_are_shown() -> None:
    part = image_set([[(0, 10, 10, 30, 30)], [(1, 10, 10, 30, 30)], []], NAMES)
    found = [detections((0, 0.9, 10, 10, 30, 30)), detections(), detections((0, 0.1, 0, 0, 9, 9))]
    grades = grade(found, part)
    assert [one.map50 for one in grades.per_class] == pytest.approx([1.0, 0.0])
    assert grades.map50_95 == pytest.approx(0.5)


def test_a_box_is_found_once_and_small_boxes_count() -> None:
    part = image_set([[(0, 10, 10, 14, 14)]], NAMES)
    twice = detections((0, 0.9, 10, 10, 14, 14), (0, 0.8, 10, 10, 14, 14))
    assert grade([twice], part).map50 == pytest.approx(1.0)
    wrong_first = detections((0, 0.9, 60, 10, 64, 14), (0, 0.8, 10, 10, 14, 14))
    assert grade([wrong_first], part).map50 == pytest.approx(0.5)


def test_nothing_found_and_nothing_to_find() -> None:
    part = image_set([[(0, 10, 10, 30, 30)]], NAMES)
    assert grade([detections()], part).map50_95 == 0
    empty = image_set([[], []], NAMES)
    grades = grade([detections(), detections((0, 0.9, 1, 1, 9, 9))], empty)
    assert grades.map50_95 == 0
    assert [one.map50_95 for one in grades.per_class] == [None, None]


def oracle(part: ImageSet) -> list[np.ndarray]:
    """Predictions (1, N, 7) of someone who knows the answers, image by image."""
    answers = []
    for index in range(len(part)):
        rows = part.of(index)
        boxes, kinds = part.boxes[rows], part.classes[rows]
        answer = np.zeros((1, 4, 5 + len(part.names)), np.float32)
        answer[0, : len(boxes), :2] = (boxes[:, :2] + boxes[:, 2:]) / 2
        answer[0, : len(boxes), 2:4] = boxes[:, 2:] - boxes[:, :2]
        answer[0, : len(boxes), 4] = 1
        answer[0, np.arange(len(boxes)), 5 + kinds] = 0.9
        answers.append(answer)
    return answers


def test_who_knows_the_answers_gets_full_marks() -> None:
    part = squares(6)
    answers = iter(oracle(part))
    grades = evaluate(lambda images: next(answers), part, batch_size=1)
    assert grades.map50_95 == pytest.approx(1.0)


def test_a_fresh_detector_is_graded_in_any_batch_size_and_mode() -> None:
    part, detector = squares(5), tiny_detector()
    detector.train()
    one = evaluate_detector(detector, part, batch_size=2)
    assert detector.training
    two = evaluate_detector(detector.eval(), part, batch_size=5)
    assert not detector.training
    assert one.map50_95 == pytest.approx(two.map50_95, abs=1e-3)
    assert torch_predictor(detector)(part.images).shape == (5, 3 * (64 + 16 + 4), 7)


def test_the_error_is_that_of_four_quarters() -> None:
    torch.manual_seed(0)
    detector, part = tiny_detector(2), squares(22)
    grades, error = evaluate_with_error(detector, part)
    assert grades == evaluate_detector(detector, part)
    quarters = [
        evaluate_detector(detector, part.subset(np.arange(first, 22, 4))).map50_95
        for first in range(4)
    ]
    assert error == pytest.approx(np.std(quarters, ddof=1) / 2)
    # A quarter without an object tells nothing.
    few = part.subset(np.array([0, 1, 2]))
    assert evaluate_with_error(detector, few) == (evaluate_detector(detector, few), None)


def test_a_subset_has_its_own_images_and_boxes() -> None:
    part = squares(9)
    own = part.subset(np.array([7, 2]))
    assert len(own) == 2
    assert own.files == ("square-7", "square-2")
    for place, number in enumerate((7, 2)):
        assert np.array_equal(own.images[place], part.images[number])
        assert np.array_equal(own.boxes[own.of(place)], part.boxes[part.of(number)])
        assert np.array_equal(own.classes[own.of(place)], part.classes[part.of(number)])
    assert part.spread(9) is part
    assert part.spread(3).files == ("square-0", "square-4", "square-8")
