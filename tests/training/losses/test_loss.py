"""Laws of assignment and loss, against oracles written as plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.training.augment import Batch
from nas.training.losses.assign import HeadGrid, assign
from nas.training.losses.loss import LossSettings, _decode, detection_loss
from nas.training.losses.overlap import ciou
from nas.training.under_way import head_grid
from tests.data.pictures import ANCHORS, tiny_detector

SIZE = 64
GRID = HeadGrid(
    anchors=np.array(ANCHORS).reshape(3, 3, 2), strides=(8, 16, 32), image_size=SIZE, num_classes=3
)


def random_batch(seed: int, count: int = 12, images: int = 2) -> Batch:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, SIZE - 4, (count, 2))
    high = np.minimum(low + rng.uniform(2, 60, (count, 2)), SIZE)
    return Batch(
        images=np.zeros((images, SIZE, SIZE, 3), np.uint8),
        owners=np.sort(rng.integers(0, images, count)),
        classes=rng.integers(0, 3, count),
        boxes=np.concatenate([low, high], axis=1),
    )


def expected_pairs(batch: Batch) -> set[tuple[int, ...]]:
    """(level, image, anchor, row, column, object) by the rule as it is stated, one at a time."""
    found = set()
    for number, (owner, box) in enumerate(zip(batch.owners, batch.boxes, strict=True)):
        width, height = box[2] - box[0], box[3] - box[1]
        for level, stride in enumerate(GRID.strides):
            side = SIZE // stride
            x, y = (box[0] + box[2]) / 2 / stride, (box[1] + box[3]) / 2 / stride
            column, row = min(int(x), side - 1), min(int(y), side - 1)
            cells = {(row, column)}
            if x - column < 0.5 and column > 0:
                cells.add((row, column - 1))
            if x - column > 0.5 and column < side - 1:
                cells.add((row, column + 1))
            if y - row < 0.5 and row > 0:
                cells.add((row - 1, column))
            if y - row > 0.5 and row < side - 1:
                cells.add((row + 1, column))
            for index, (w, h) in enumerate(GRID.anchors[level]):
                if max(width / w, w / width, height / h, h / height) < 4:
                    found |= {(level, int(owner), index, *cell, number) for cell in cells}
    return found


@given(seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_assignment_is_what_the_rule_says(seed: int) -> None:
    batch = random_batch(seed)
    targets = assign(batch, GRID)
    # Number every prediction as the raw outputs are flattened.
    numbers = {}
    first = 0
    for level, (side, _) in enumerate(GRID.shapes):
        for place in np.ndindex(len(batch.images), 3, side, side):
            numbers[(level, *place)] = first
            first += 1
    expected = sorted(
        (numbers[pair[:-1]], int(batch.classes[pair[-1]])) for pair in expected_pairs(batch)
    )
    assert sorted(zip(targets.cells.tolist(), targets.classes.tolist(), strict=True)) == expected


def test_every_target_can_be_reached_by_the_head() -> None:
    """Raw outputs that mean the object exactly have a box loss of nearly nothing."""
    targets = assign(random_batch(3), GRID)
    corner_to_unit = (targets.boxes[:, :2] / targets.strides[:, None] + 0.5) / 2
    size_to_unit = np.sqrt(targets.boxes[:, 2:] / targets.anchors) / 2
    units = np.concatenate([corner_to_unit, size_to_unit], axis=1)
    assert units.min() >= 0
    assert units.max() <= 1
    raw = torch.logit(torch.from_numpy(units).double(), eps=1e-9)
    boxes = _decode(raw, targets)
    wanted = torch.from_numpy(targets.boxes)
    assert float((1 - ciou(boxes, wanted)).max()) < 1e-3


def test_training_and_grading_decode_alike() -> None:
    """What the loss takes a raw output to mean is what the head gives in eval mode."""
    detector = tiny_detector()
    grid = head_grid(detector, SIZE)
    torch.manual_seed(0)
    images = torch.rand(2, 3, SIZE, SIZE)
    detector.train()
    features = detector.features(images)
    raw = detector.head(features)
    decoded = detector.head.eval()(features)
    targets = assign(random_batch(5), grid)
    flat = torch.cat([level.reshape(-1, 7) for level in raw])
    ours = _decode(flat[torch.from_numpy(targets.cells)], targets)
    # Level by level in `raw`, image by image in `decoded`.
    counts = [0, *np.cumsum([2 * count for count in grid.cells])]
    per_image = [0, *np.cumsum(grid.cells)]
    for mine, cell, box in zip(ours, targets.cells, targets.boxes, strict=True):
        level = int(np.searchsorted(counts, cell, side="right")) - 1
        image, place = divmod(int(cell) - counts[level], grid.cells[level])
        theirs = decoded[image, per_image[level] + place, :4]
        side, stride = grid.shapes[level][0], grid.strides[level]
        corner = torch.tensor([place % side, place % (side * side) // side]) * stride
        torch.testing.assert_close(mine[:2] + corner, theirs[:2])
        torch.testing.assert_close(mine[2:], theirs[2:])
        assert box[2] > 0


def ciou_by_hand(one: list[float], two: list[float]) -> float:
    """Arithmetic of arXiv 1911.08287 on two boxes as centre, width, height."""
    left = max(one[0] - one[2] / 2, two[0] - two[2] / 2)
    right = min(one[0] + one[2] / 2, two[0] + two[2] / 2)
    top = max(one[1] - one[3] / 2, two[1] - two[3] / 2)
    bottom = min(one[1] + one[3] / 2, two[1] + two[3] / 2)
    common = max(0.0, right - left) * max(0.0, bottom - top)
    iou = common / (one[2] * one[3] + two[2] * two[3] - common)
    wide = max(one[0] + one[2] / 2, two[0] + two[2] / 2) - min(
        one[0] - one[2] / 2, two[0] - two[2] / 2
    )
    high = max(one[1] + one[3] / 2, two[1] + two[3] / 2) - min(
        one[1] - one[3] / 2, two[1] - two[3] / 2
    )
    distance = ((one[0] - two[0]) ** 2 + (one[1] - two[1]) ** 2) / (wide**2 + high**2)
    v = 4 / math.pi**2 * (math.atan(two[2] / two[3]) - math.atan(one[2] / one[3])) ** 2
    alpha = v / (1 - iou + v) if v else 0.0
    return iou - distance - alpha * v


@given(
    st.lists(st.floats(1, 50), min_size=4, max_size=4),
    st.lists(st.floats(1, 50), min_size=4, max_size=4),
)
@settings(max_examples=100, deadline=None)
def test_ciou_is_the_papers(one: list[float], two: list[float]) -> None:
    got = ciou(torch.tensor([one]).double(), torch.tensor([two]).double())
    assert float(got) == pytest.approx(ciou_by_hand(one, two), abs=1e-5)


def zero_raw(images: int = 2, num_classes: int = 3) -> list[torch.Tensor]:
    return [
        torch.zeros(images, 3, side, side, 5 + num_classes, requires_grad=True)
        for side, _ in GRID.shapes
    ]


def test_the_parts_are_what_the_description_says() -> None:
    """All raw outputs 0: each probability 1/2, so the cross entropies are known on paper."""
    batch = random_batch(1)
    targets = assign(batch, GRID)
    losses = detection_loss(zero_raw(), targets, GRID, LossSettings())
    boxes = [[s / 2, s / 2, *a] for s, a in zip(targets.strides, targets.anchors, strict=True)]
    overlaps = [
        ciou_by_hand(list(map(float, one)), list(map(float, two)))
        for one, two in zip(boxes, targets.boxes, strict=True)
    ]
    box, objectness, classes = losses.parts.tolist()
    assert box == pytest.approx(0.05 * (1 - np.mean(overlaps)), rel=1e-4)
    # -log(1/2) whatever the target, each level weighted 4, 1, 0.4.
    assert objectness == pytest.approx((64 / 640) ** 2 * 5.4 * math.log(2), rel=1e-4)
    assert classes == pytest.approx(0.5 * 3 / 80 * math.log(2), rel=1e-4)
    assert float(losses.total.detach()) == pytest.approx(2 * sum(losses.parts.tolist()), rel=1e-5)


def test_background_has_objectness_loss_alone() -> None:
    losses = detection_loss(
        zero_raw(), assign(random_batch(0, count=0), GRID), GRID, LossSettings()
    )
    box, objectness, classes = losses.parts.tolist()
    assert box == classes == 0
    assert objectness > 0
    losses.total.backward()


def test_of_two_objects_on_one_prediction_the_better_overlap_counts() -> None:
    boxes = np.array([[24, 24, 40, 40], [22, 22, 42, 42]], np.float64)
    losses = []
    for order in ([0, 1], [1, 0]):
        batch = Batch(
            images=np.zeros((1, SIZE, SIZE, 3), np.uint8),
            owners=np.zeros(2, np.int64),
            classes=np.zeros(2, np.int64),
            boxes=boxes[order],
        )
        raw = zero_raw(images=1)
        losses.append(detection_loss(raw, assign(batch, GRID), GRID, LossSettings()).parts)
    torch.testing.assert_close(losses[0], losses[1])


def test_label_smoothing_moves_the_class_target() -> None:
    targets = assign(random_batch(1), GRID)
    raw = zero_raw()
    for level in raw:
        level.data[..., 5:] = -30.0
        level.data[..., 5] = 30.0
    targets.classes[:] = 0
    sure = detection_loss(raw, targets, GRID, LossSettings()).parts[2]
    smoothed = detection_loss(raw, targets, GRID, LossSettings(label_smoothing=0.1)).parts[2]
    assert float(sure) == pytest.approx(0, abs=1e-6)
    assert float(smoothed) == pytest.approx(0.5 * 3 / 80 * 0.05 * 30, rel=1e-3)
