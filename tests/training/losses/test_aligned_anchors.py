"""Laws of the task-aligned assignment of a head with anchors, against plain loops."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.training.augment import AugmentSettings, Batch
from nas.training.loop import train
from nas.training.losses.aligned import CELLS_PER_OBJECT
from nas.training.losses.aligned_anchors import anchored_parts, choose, reachable
from nas.training.losses.loss import LossSettings, head_loss
from nas.training.settings import short_settings
from tests.data.pictures import squares, tiny_detector
from tests.training.losses.test_loss import GRID, SIZE, random_batch


def numbered() -> list[tuple[int, int, int, int, int]]:
    """(level, image, anchor, row, column) of each prediction, in the order of their numbers."""
    return [
        (level, image, anchor, row, column)
        for level, (side, _) in enumerate(GRID.shapes)
        for image in range(2)
        for anchor in range(3)
        for row in range(side)
        for column in range(side)
    ]


def reaching(box: np.ndarray, owner: int) -> set[int]:
    """The numbers of the predictions that may decode to a box, one at a time."""
    assert GRID.anchors is not None
    found = set()
    (x, y), (width, height) = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    for number, (level, image, anchor, row, column) in enumerate(numbered()):
        w, h = GRID.anchors[level][anchor]
        places = (x / GRID.strides[level] - column, y / GRID.strides[level] - row)
        is_near = all(-0.5 < place < 1.5 for place in places)
        is_like = max(width / w, w / width, height / h, h / height) < 4
        if image == owner and is_near and is_like:
            found.add(number)
    return found


@given(seed=st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_an_object_is_offered_the_predictions_that_reach_it(seed: int) -> None:
    batch = random_batch(seed)
    found = reachable(batch, GRID)
    assert found.is_real.any(axis=0).all(), "no column is padding alone"
    for number, (owner, box) in enumerate(zip(batch.owners, batch.boxes, strict=True)):
        offered = found.predictions[number][found.is_real[number]].tolist()
        assert len(offered) == len(set(offered))
        assert set(offered) == reaching(box, int(owner))


def test_an_offered_prediction_can_decode_to_the_object() -> None:
    batch = random_batch(3)
    found = reachable(batch, GRID)
    place = found.places[found.is_real]
    sizes = np.repeat(found.sizes, found.is_real.sum(axis=1), axis=0)
    shares = np.concatenate(
        [(place[:, :2] / place[:, 4:] + 0.5) / 2, np.sqrt(sizes / place[:, 2:4]) / 2], axis=1
    )
    assert len(shares) > 20
    assert ((shares > 0) & (shares < 1)).all(), "there is a logit for it"


def expected(
    scores: np.ndarray, overlap: np.ndarray, predictions: np.ndarray, is_real: np.ndarray
) -> np.ndarray:
    """The scores to reach by the rule as it is stated."""
    wanted = np.zeros_like(is_real)
    alignment = np.sqrt(scores) * overlap**6
    for row in range(len(scores)):
        real = np.nonzero(is_real[row])[0]
        wanted[row, sorted(real, key=lambda k: -alignment[row, k])[:CELLS_PER_OBJECT]] = True
    for number in np.unique(predictions[wanted]):
        claims = np.argwhere(wanted & (predictions == number))
        best = max(claims, key=lambda place: overlap[tuple(place)])
        for place in claims:
            wanted[tuple(place)] = tuple(place) == tuple(best)
    reach = np.zeros_like(scores)
    for row in range(len(scores)):
        if wanted[row].any():
            peak, most = alignment[row, wanted[row]].max(), overlap[row, wanted[row]].max()
            reach[row, wanted[row]] = alignment[row, wanted[row]] / peak * most
    return reach


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_the_best_aligned_answer_as_the_rule_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (5, 16)
    scores, overlap = rng.uniform(0.05, 1, shape), rng.uniform(0.05, 1, shape)
    predictions = np.stack([rng.permutation(30)[:16] for _ in range(5)])
    is_real = rng.random(shape) < 0.8
    found = choose(*map(torch.from_numpy, (scores, overlap, predictions, is_real)), 30)
    np.testing.assert_allclose(found.numpy(), expected(scores, overlap, predictions, is_real))


def zeros(images: int = 2) -> list[torch.Tensor]:
    return [torch.zeros(images, 3, n, n, 8, requires_grad=True) for n, _ in GRID.shapes]


def test_without_objects_there_is_the_score_alone() -> None:
    batch = random_batch(0, count=0)
    raw = zeros()
    losses = head_loss(raw, reachable(batch, GRID), GRID, LossSettings())
    one = -math.log(1 - 0.25)  # a score of 1/2 x 1/2, for each of three classes
    assert losses.parts.tolist() == pytest.approx([0, 0, 2 * sum(GRID.cells) * 3 * one])
    losses.total.backward()
    assert all(level.grad is not None and level.grad.isfinite().all() for level in raw)


def test_outputs_that_mean_an_object_have_no_box_loss() -> None:
    """An anchor of P4 in the middle of a cell: logits 0 decode to it."""
    assert GRID.anchors is not None
    width, height = GRID.anchors[1][0]
    middle = np.array([2.5 * 16, 1.5 * 16])
    half = np.array([width, height]) / 2
    corners = np.concatenate([middle - half, middle + half])
    batch = Batch(
        images=np.zeros((1, SIZE, SIZE, 3), np.uint8),
        owners=np.zeros(1, np.int64),
        classes=np.ones(1, np.int64),
        boxes=corners[None],
    )
    raw = [torch.zeros(1, 3, n, n, 8) for n, _ in GRID.shapes]
    for level in raw:
        level[..., 4] = -30
        level[..., 2:4] = -30  # all but one decode to nothing
    raw[1][0, 0, 1, 2] = torch.tensor([0, 0, 0, 0, 30, -30, 30, -30.0])
    box, score = anchored_parts(raw, reachable(batch, GRID))
    assert [float(box), float(score)] == pytest.approx([0, 0], abs=1e-4)


def test_a_head_with_anchors_learns_task_aligned() -> None:
    part = squares(4)
    recipe = replace(
        short_settings(150),
        batch_size=4,
        assignment="aligned",
        augment=AugmentSettings(mosaic=0, scale=0, translate=0),
    )
    trained = train(tiny_detector(), part, part, recipe, seed=0)
    assert trained.grades is not None
    assert trained.grades.map50 > 0.9
