"""Laws of augmentation: boxes follow pixels, and the generator alone decides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.training.augment import (
    AugmentSettings,
    jitter_colour,
    make_batch,
    move_boxes,
    random_matrix,
    warp,
)
from tests.data.pictures import image_set, squares

STILL = AugmentSettings(
    mosaic=0, scale=0, translate=0, flip_horizontal=0, hue=0, saturation=0, value=0
)
SIZE = 64


def mirrored(**shares: float) -> np.ndarray:
    settings = AugmentSettings(**{**STILL.__dict__, **shares})
    return random_matrix(SIZE, SIZE, settings, np.random.default_rng(0))


def warped(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    target = np.empty_like(image)
    warp(image, matrix, target)
    return target


def test_no_strength_changes_nothing() -> None:
    part = squares(3)
    batch = make_batch(part, np.arange(3), STILL, np.random.default_rng(0))
    assert np.array_equal(batch.images, part.images)
    assert np.array_equal(batch.boxes, part.boxes)
    assert np.array_equal(batch.classes, part.classes)
    assert batch.owners.tolist() == [0, 0, 1, 1, 2, 2]


def test_the_same_generator_gives_the_same_batch_and_another_another() -> None:
    part = squares(6)
    one, two, other = (
        make_batch(part, np.arange(6), AugmentSettings(), np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    assert np.array_equal(one.images, two.images)
    assert np.array_equal(one.boxes, two.boxes)
    assert not np.array_equal(one.images, other.images)


@pytest.mark.parametrize("axis", ["flip_horizontal", "flip_vertical"])
def test_a_flip_mirrors_pixels_and_boxes_and_twice_is_nothing(axis: str) -> None:
    part = squares(1)
    matrix = mirrored(**{axis: 1.0})
    np.testing.assert_allclose(matrix @ matrix, np.eye(3), atol=1e-12)
    once = warped(part.images[0], matrix)
    assert np.array_equal(once, np.flip(part.images[0], 1 if axis == "flip_horizontal" else 0))
    assert np.array_equal(warped(once, matrix), part.images[0])
    moved, _ = move_boxes(part.boxes, matrix, SIZE)
    back, keep = move_boxes(moved, matrix, SIZE)
    assert keep.all()
    np.testing.assert_allclose(back, part.boxes, atol=1e-9)


@given(
    seed=st.integers(0, 10**6),
    scale=st.floats(0, 0.4),
    translate=st.floats(0, 0.2),
)
@settings(max_examples=50, deadline=None)
def test_boxes_follow_the_pixels_of_their_object(seed: int, scale: float, translate: float) -> None:
    """A filled box is warped; where its pixels come to lie is where the moved box says."""
    rng = np.random.default_rng(seed)
    left, top = rng.integers(16, 30, 2)
    width, height = rng.integers(8, 18, 2)
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    image[top : top + height, left : left + width] = 255
    box = np.array([[left, top, left + width, top + height]], np.float64)
    strengths = AugmentSettings(scale=scale, translate=translate, flip_vertical=0.5)
    matrix = random_matrix(SIZE, SIZE, strengths, rng)
    moved, keep = move_boxes(box, matrix, SIZE)
    if not keep[0]:
        return
    target = np.empty_like(image)
    warp(image, matrix, target)
    inside = (target >= 128).all(axis=2)
    rows, columns = np.nonzero(inside.any(axis=1))[0], np.nonzero(inside.any(axis=0))[0]
    seen = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    np.testing.assert_allclose(seen, moved[0], atol=0.75)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_boxes_after_an_affine_are_the_box_of_their_moved_corners(seed: int) -> None:
    rng = np.random.default_rng(seed)
    low = rng.uniform(20, 40, (5, 2))
    boxes = np.concatenate([low, low + rng.uniform(5, 20, (5, 2))], axis=1)
    matrix = np.eye(3)
    matrix[:2] += rng.uniform(-0.2, 0.2, (2, 3))
    moved, keep = move_boxes(boxes, matrix, 1000)
    corners = [
        [matrix @ (box[i], box[j], 1) for i, j in ((0, 1), (2, 1), (0, 3), (2, 3))] for box in boxes
    ]
    low, high = np.min(corners, axis=1)[:, :2], np.max(corners, axis=1)[:, :2]
    expected = np.clip(np.concatenate([low, high], axis=1), 0, 1000)
    np.testing.assert_allclose(moved, expected[keep], atol=1e-9)


@pytest.mark.parametrize(
    ("box", "stays"),
    [
        ((10, 10, 30, 30), True),
        ((-18, 10, 2, 30), True),  # a tenth is left
        ((-19, 10, 1, 30), False),  # a twentieth, and thin
        ((-380, 10, 20, 30), False),  # wide enough, but a twentieth is left
        ((70, 70, 90, 90), False),  # outside
        ((0, 10, 64, 12), False),  # too long for its height
        ((10, 10, 11, 11), False),  # too small
    ],
)
def test_degenerate_boxes_are_dropped(box: tuple[float, ...], stays: bool) -> None:
    moved, keep = move_boxes(np.array([box], np.float64), np.eye(3), SIZE)
    assert keep.tolist() == [stays]
    assert len(moved) == stays
    if stays:
        assert moved.min() >= 0
        assert moved.max() <= SIZE


def test_mosaic_keeps_each_object_on_its_pixels() -> None:
    """The squares are red or green on near black: the middle of each box must show its colour."""
    part = squares(8)
    settings = AugmentSettings(mosaic=1.0, hue=0, saturation=0, value=0)
    batch = make_batch(part, np.arange(8), settings, np.random.default_rng(0))
    assert len(batch.boxes) > 8
    for owner, kind, box in zip(batch.owners, batch.classes, batch.boxes, strict=True):
        x, y = int((box[0] + box[2]) / 2), int((box[1] + box[3]) / 2)
        pixel = batch.images[owner, y, x].astype(int)
        assert pixel[kind] > 150 > 90 > pixel[1 - kind]


def test_mosaic_takes_the_picture_and_not_its_padding() -> None:
    part = squares(4)
    wide = part.__class__(
        **{
            **{name: getattr(part, name) for name in part.__dataclass_fields__},
            "frames": np.tile([0, 16, 64, 32], (4, 1)),
            "images": np.where(
                ((np.arange(64) >= 16) & (np.arange(64) < 48))[None, :, None, None],
                part.images,
                255,
            ).astype(np.uint8),
        }
    )
    settings = AugmentSettings(mosaic=1.0, hue=0, saturation=0, value=0)
    batch = make_batch(wide, np.arange(4), settings, np.random.default_rng(0))
    assert not (batch.images == 255).all(axis=3).any()


@given(seed=st.integers(0, 10**6), zoom=st.floats(0, 0.9))
@settings(max_examples=60, deadline=None)
def test_no_box_of_a_mosaic_reaches_into_the_grey(seed: int, zoom: float) -> None:
    """Pictures without grey, boxes as large as the pictures: a box shows picture and no padding."""
    full = [[(0, 0.0, 0.0, SIZE, SIZE), (1, 0.0, 20.0, SIZE, 40.0)]]
    part = image_set(4 * full, ("a", "b"), SIZE)
    strengths = AugmentSettings(mosaic=1.0, scale=zoom, hue=0, saturation=0, value=0)
    batch = make_batch(part, np.arange(4), strengths, np.random.default_rng(seed))
    assert len(batch.boxes)
    for owner, box in zip(batch.owners, batch.boxes, strict=True):
        left, top = np.ceil(box[:2] + 1).astype(int)
        right, bottom = np.floor(box[2:] - 1).astype(int)
        assert (batch.images[owner, top:bottom, left:right] == 90).all()


def test_what_a_mosaic_cuts_off_counts_as_lost() -> None:
    """An object of which the picture shows a twentieth is dropped, however large that is."""
    whole = np.array([[-380.0, 0.0, 20.0, 40.0]])
    there = np.array([[0.0, 0.0, 20.0, 40.0]])
    _, keep = move_boxes(whole, np.eye(3), SIZE, there)
    assert keep.tolist() == [False]


def test_colour_jitter_moves_hue_and_brightness_and_keeps_grey_grey() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[:2] = (200, 30, 30)
    image[2:] = 80
    changed = image.copy()
    strong = AugmentSettings(hue=0.3, saturation=0.0, value=0.5)
    jitter_colour(changed, strong, np.random.default_rng(1))
    assert not np.array_equal(changed, image)
    assert len(np.unique(changed[2:])) == 1
    untouched = image.copy()
    jitter_colour(untouched, STILL, np.random.default_rng(1))
    assert np.array_equal(untouched, image)


@pytest.mark.parametrize("wrong", [{"mosaic": 1.2}, {"scale": 1.0}, {"hue": -0.1}])
def test_strengths_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AugmentSettings(**wrong)
