"""Laws of batches of several sets: shares, classes apart, nothing taught where nothing is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nas.data.dataset import read_data
from nas.data.drawings.source import NAME as DRAWINGS
from nas.data.drawings.source import DrawingsSource
from nas.data.drawn import DrawnSource
from nas.detector.builder import Detector, build_detector
from nas.space.search_space import read_space
from nas.space.spec import with_classes
from nas.training.losses.aligned import Objects, aligned_parts
from nas.training.losses.assign import HeadGrid
from nas.training.pretraining.layout import without_anchors
from nas.training.pretraining.mixture import MixedPlan, mixed_plan, outline
from nas.training.pretraining.sets import (
    DRAWN_SHARE,
    EndlessDrawings,
    PictureSet,
    TaughtSet,
    set_shares,
    taught_sets,
)
from nas.training.settings import TrainSettings

SIZE = 64


def sets() -> tuple[TaughtSet, ...]:
    """Two sets of pictures and the endless drawings."""
    shapes = DrawnSource(part="train", count=12).load(SIZE, 1)
    others = DrawingsSource(part="val", count=6).load(SIZE, 1)
    return (
        PictureSet(name="shapes", part=shapes),
        PictureSet(name="others", part=others),
        EndlessDrawings(first=7),
    )


def detector(classes: int) -> Detector:
    torch.manual_seed(0)
    candidate = read_space("tiny").build(lambda _, options: options[0])
    return build_detector(without_anchors(with_classes(candidate.spec, classes)))


def plan(
    batch_size: int = 16, seed: int = 0, taught: tuple[TaughtSet, ...] | None = None
) -> MixedPlan:
    taught = taught or sets()
    part = outline(taught, SIZE)
    settings = TrainSettings(epochs=None, steps=20, batch_size=batch_size)
    return mixed_plan(detector(len(part.names)), taught, part, settings, seed)


def objects(made: MixedPlan, step: int) -> tuple[np.ndarray, Objects]:
    images, found = made.make(step)
    assert isinstance(found, Objects)
    return images, found


def test_a_batch_follows_from_seed_and_step() -> None:
    one, two = plan(), plan()
    images, found = objects(one, 3)
    again, same = objects(two, 3)
    assert np.array_equal(images, again)
    assert np.array_equal(found.boxes, same.boxes)
    assert not np.array_equal(images, objects(one, 4)[0])
    assert not np.array_equal(images, objects(plan(seed=1), 3)[0])


@pytest.mark.parametrize("workers", [1, 2])
def test_processes_make_the_batches_that_none_make(workers: int) -> None:
    made = plan(batch_size=4)
    alone = list(made.run(2, 6, 0))
    ahead = list(made.run(2, 6, workers))
    assert len(alone) == len(ahead) == 4
    for (images, found), (others, theirs) in zip(alone, ahead, strict=True):
        assert np.array_equal(images, others)
        assert isinstance(found, Objects)
        assert isinstance(theirs, Objects)
        assert np.array_equal(found.classes, theirs.classes)


def test_each_picture_is_told_of_its_own_sets_classes_and_has_no_others() -> None:
    made = plan()
    starts = made.offsets
    assert starts.tolist() == [0, 6, 6 + 83, 6 + 2 * 83]
    seen = set()
    for step in range(6):
        chosen = made.sets_at(step)
        _, found = objects(made, step)
        assert found.is_told is not None
        for place, number in enumerate(chosen.tolist()):
            first, last = starts[number], starts[number + 1]
            own = found.classes[place][found.is_real[place]]
            assert ((own >= first) & (own < last)).all()
            assert np.flatnonzero(found.is_told[place]).tolist() == list(range(first, last))
            seen |= {number} if len(own) else set()
    assert seen == {0, 1, 2}


def test_shares_are_kept_in_every_batch() -> None:
    made = plan(batch_size=16)
    assert made.shares.sum() == pytest.approx(1)
    assert made.shares[2] == DRAWN_SHARE
    assert made.shares[0] / made.shares[1] == pytest.approx(np.sqrt(12 / 6))
    for step in range(10):
        counts = np.bincount(made.sets_at(step), minlength=3)
        assert (np.abs(counts - 16 * made.shares) < 1).all()
    assert set_shares((EndlessDrawings(),)).tolist() == [1.0]


def test_drawings_never_come_twice() -> None:
    made = plan(batch_size=4, taught=(EndlessDrawings(),))
    images = np.concatenate([objects(made, step)[0] for step in range(4)])
    assert len({image.tobytes() for image in images}) == 16


def test_what_a_picture_is_not_told_of_teaches_nothing() -> None:
    grid = HeadGrid(anchors=None, strides=(8, 16, 32), image_size=SIZE, num_classes=4)
    raw = [torch.randn(2, 64 + 4, SIZE // s, SIZE // s).requires_grad_() for s in (8, 16, 32)]
    is_told = np.array([[True, True, False, False], [False, False, True, True]])
    found = Objects(
        boxes=np.array([[[8, 8, 40, 40]], [[10, 20, 50, 60]]], np.float32),
        classes=np.array([[1], [2]]),
        is_real=np.ones((2, 1), np.bool_),
        is_told=is_told,
    )
    sum(aligned_parts(raw, found, grid)).backward()  # type: ignore[union-attr]
    for level in raw:
        assert level.grad is not None
        reached = level.grad[:, 64:].abs().sum(dim=(2, 3)) > 0
        assert reached.numpy().tolist() == is_told.tolist()


def test_told_of_all_is_told_of_none_in_particular() -> None:
    grid = HeadGrid(anchors=None, strides=(8, 16, 32), image_size=SIZE, num_classes=3)
    torch.manual_seed(1)
    raw = [torch.randn(1, 64 + 3, SIZE // s, SIZE // s) for s in (8, 16, 32)]
    whole = {
        "boxes": np.array([[[8, 8, 40, 40]]], np.float32),
        "classes": np.array([[1]]),
        "is_real": np.ones((1, 1), np.bool_),
    }
    plain = aligned_parts(raw, Objects(**whole), grid)
    told = aligned_parts(raw, Objects(**whole, is_told=np.ones((1, 3), np.bool_)), grid)
    for one, two in zip(plain, told, strict=True):
        assert torch.allclose(one, two)


def test_sets_are_read_from_their_data() -> None:
    found = taught_sets([read_data("shapes"), read_data(DRAWINGS)], SIZE, 1, seed=2)
    assert [one.name for one in found] == ["shapes", "drawings"]
    assert [len(one.classes) for one in found] == [6, 83]
    assert found[1] == EndlessDrawings(first=2_000_000_000)
