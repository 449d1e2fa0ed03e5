"""Laws of the drawings: the same for ever, boxed by what is seen, every class told by its form."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import pytest

from nas.data.dataset import load_part, read_data
from nas.data.drawings.classes import NAMES, any_kind
from nas.data.drawings.objects import draw_object
from nas.data.drawings.picture import MINIMAL_SIDE, SCENES, VISIBLE_SHARE, draw, visible
from nas.data.drawings.source import COUNTS, SEEDS, DrawingsSource, drawing
from nas.data.images import ImageSet


def part(name: str, count: int, size: int = 64, threads: int = 1) -> ImageSet:
    return DrawingsSource(part=name, count=count).load(size, threads)


def test_the_same_index_draws_the_same_and_parts_differ() -> None:
    few, many = part("train", 4), part("train", 24, threads=4)
    assert np.array_equal(few.images, many.images[:4])
    assert np.array_equal(few.boxes, many.boxes[: len(few.boxes)])
    assert not np.array_equal(few.images, part("val", 4).images)
    assert len(set(SEEDS.values())) == len(SEEDS)


def test_boxes_lie_in_the_picture_are_not_thin_and_of_all_sizes() -> None:
    pictures = [drawing("train", index, 192) for index in range(120)]
    boxes = np.concatenate([labels.boxes for _, labels in pictures]) * 192
    classes = np.concatenate([labels.classes for _, labels in pictures])
    sides = boxes[:, 2:] - boxes[:, :2]
    assert boxes.min() >= 0
    assert boxes.max() <= 192
    assert sides.min() >= MINIMAL_SIDE
    areas = np.sqrt(sides.prod(axis=1))
    assert np.percentile(areas, 10) < 14
    assert np.percentile(areas, 95) > 60
    assert len(set(classes.tolist())) > 0.8 * len(NAMES)
    counts = [len(labels.classes) for _, labels in pictures]
    assert min(counts) == 0
    assert max(counts) > 12
    assert all(image.shape == (192, 192, 3) for image, _ in pictures)


def test_a_scene_has_a_share_of_the_pictures() -> None:
    assert sum(share for share, _, _ in SCENES) == pytest.approx(1)
    assert len(set(NAMES)) == len(NAMES) >= 48


@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES.__getitem__)
def test_an_objects_box_holds_all_that_it_changed(number: int) -> None:
    """Shadows apart, which this seed has none of: what is drawn and what is owned are the same."""
    rng = np.random.default_rng(8)
    image = np.full((96, 96, 3), 127, np.uint8)
    owner = np.zeros((96, 96), np.uint8)
    kind = any_kind(number, rng)
    for seed in range(20):
        own = np.random.default_rng(seed)
        image[:], owner[:] = 127, 0
        place = draw_object(image, owner, 1, kind, 40.0, np.array([48.0, 48.0]), own)
        assert place is not None
        owned = cv2.boundingRect(owner)
        changed = (np.abs(image.astype(int) - 127) > 60).any(axis=2)
        if changed.sum() < 30:
            continue
        near = cv2.dilate(owner, np.ones((3, 3), np.uint8)) > 0
        if not (changed & ~near).any():
            labels = visible(owner, np.array([number]), [place])
            left, top, width, height = owned
            expected = np.array([[left, top, left + width, top + height]]) / 96
            np.testing.assert_allclose(labels.boxes, expected)
            assert labels.classes.tolist() == [number]
            assert place.area == np.count_nonzero(owner)
            return
    raise AssertionError("the object never stood alone")


def test_what_is_hidden_is_not_labelled() -> None:
    rng = np.random.default_rng(3)
    image, owner = np.full((96, 96, 3), 90, np.uint8), np.zeros((96, 96), np.uint8)
    disc, middle = any_kind(NAMES.index("disc"), rng), np.array([48.0, 48.0])
    places = [draw_object(image, owner, 1, disc, 30.0, middle, rng)]
    assert visible(owner, np.array([0]), places).classes.tolist() == [0]
    places.append(draw_object(image, owner, 2, disc, 60.0, middle, rng))
    assert visible(owner, np.array([0, 0]), places).boxes.shape == (1, 4)
    first = places[0]
    assert first is not None
    owner[:] = 0
    rows = int((first.bottom - first.top) * VISIBLE_SHARE / 4)
    owner[first.top : first.top + rows, first.left : first.right] = 1
    assert len(visible(owner, np.array([0]), [first]).classes) == 0


def test_two_generators_of_one_seed_draw_one_picture_at_any_size() -> None:
    for size in (64, 160, 320):
        one, two = (draw(np.random.default_rng(5), size) for _ in range(2))
        assert np.array_equal(one[0], two[0])
        assert np.array_equal(one[1].boxes, two[1].boxes)


def test_the_first_pictures_are_those_of_version_1() -> None:
    """Boxes, which no library's rounding changes, where no letter is, which OpenCV 5 made anew."""
    pictures = [drawing("train", index)[1] for index in range(40)]
    plain = [one for one in pictures if one.classes.max(initial=0) < NAMES.index("letter A")]
    assert len(plain) >= 8
    boxes = np.concatenate([np.rint(one.boxes * 256) for one in plain]).astype(np.int64)
    assert hashlib.sha256(boxes.tobytes()).hexdigest()[:8] == "ed7c222d"


def test_it_is_a_data_set_like_any_other() -> None:
    data = read_data("drawings")
    assert data.name == "drawings"
    assert data.names == NAMES
    assert set(data.parts) == {"train", "val", "test"}
    assert len(load_part(data, "val", 32)) == COUNTS["val"]
    assert data.digest != read_data("shapes").digest
