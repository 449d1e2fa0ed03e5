"""Laws of the drawn data set."""

from __future__ import annotations

import numpy as np

from nas.data import drawn as shapes
from nas.data.dataset import load_part, read_data
from nas.data.drawn import DrawnSource
from nas.data.images import ImageSet


def drawn(part: str, count: int, size: int = 64) -> ImageSet:
    return DrawnSource(part=part, count=count).load(size, 1)


def test_the_same_seed_draws_the_same_and_parts_differ() -> None:
    one, two, other = drawn("val", 6), drawn("val", 6), drawn("test", 6)
    assert np.array_equal(one.images, two.images)
    assert np.array_equal(one.boxes, two.boxes)
    assert not np.array_equal(one.images, other.images)


def test_threads_and_the_number_of_images_change_nothing() -> None:
    few, many = drawn("train", 4), DrawnSource(part="train", count=40).load(64, 4)
    assert np.array_equal(few.images, many.images[:4])


def test_boxes_lie_in_the_image_and_are_not_thin() -> None:
    part = drawn("train", 40, shapes.SIZE)
    sides = part.boxes[:, 2:] - part.boxes[:, :2]
    assert part.boxes.min() >= 0
    assert part.boxes.max() <= shapes.SIZE
    assert sides.min() >= shapes.MINIMAL_SIDE
    assert sides.max() > 100 > 30 > np.median(sides.min(axis=1)) / 2
    assert set(part.classes.tolist()) == set(range(len(shapes.NAMES)))


def test_a_hidden_object_is_not_labelled_and_a_box_holds_what_is_seen() -> None:
    owner = np.zeros((shapes.SIZE, shapes.SIZE), np.uint8)
    owner[100:140, 50:90] = 1
    owner[100:140, 60:90] = 2  # hides three quarters of the first
    labels = shapes._visible(owner, np.array([3, 4]), [1600.0, 1200.0])
    assert labels.classes.tolist() == [4]
    np.testing.assert_allclose(labels.boxes * shapes.SIZE, [[60, 100, 90, 140]])
    labels = shapes._visible(owner, np.array([3, 4]), [800.0, 1200.0])
    np.testing.assert_allclose(labels.boxes[0] * shapes.SIZE, [50, 100, 60, 140])


def test_it_is_a_data_set_like_any_other() -> None:
    data = read_data("shapes")
    assert data.name == "shapes"
    assert data.num_classes == len(shapes.NAMES) == 6
    assert set(data.parts) == {"train", "val", "test"}
    assert len(load_part(data, "val", 32)) == shapes.COUNTS["val"]
