"""Laws of the anchor-free head's assignment and loss, against an oracle written as plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.detector.anchor_free import AnchorFreeDetect, boxes_of, cell_centres, flatten
from nas.detector.builder import Detector, build_detector
from nas.space.blocks import BOX_BINS
from nas.space.references import REFERENCES
from nas.space.spec import parse_spec
from nas.training.augment import Batch
from nas.training.loop import train
from nas.training.losses.aligned import CELLS_PER_OBJECT, align, aligned_parts, objects_of
from nas.training.losses.assign import HeadGrid
from nas.training.losses.loss import LossSettings, head_loss
from nas.training.metrics import evaluate_detector
from nas.training.settings import short_settings
from nas.training.under_way import head_grid
from tests.data.pictures import squares
from tests.training.losses.test_loss import random_batch

SIZE = 64
GRID = HeadGrid(anchors=None, strides=(8, 16, 32), image_size=SIZE, num_classes=3)


def small_yolov8(num_classes: int = 3, seed: int = 0) -> Detector:
    """YOLOv8 at a sixteenth of its width."""
    text = (REFERENCES / "yolov8n.yaml").read_text()
    text = text.replace("n: [0.33, 0.25, 1024]", "n: [0.33, 0.0625, 1024]")
    spec = parse_spec(text.replace("nc: 80", f"nc: {num_classes}"), name="yolov8n")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_detector(spec)


def zero_raw(images: int = 2, num_classes: int = 3) -> list[torch.Tensor]:
    outputs = 4 * BOX_BINS + num_classes
    return [torch.zeros(images, outputs, side, side, requires_grad=True) for side, _ in GRID.shapes]


def iou_by_hand(one: list[float], two: list[float]) -> float:
    width = max(0.0, min(one[2], two[2]) - max(one[0], two[0]))
    height = max(0.0, min(one[3], two[3]) - max(one[1], two[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, two)]
    return width * height / (sum(areas) - width * height + 1e-7)


def expected_answers(
    scores: torch.Tensor,
    boxes: torch.Tensor,
    centres: torch.Tensor,
    objects: list[tuple[int, list]],
) -> dict[int, tuple[int, float]]:
    """Cell -> (object, score to reach) of one image, by the rule as it is stated."""
    claims: dict[int, dict[int, tuple[float, float]]] = {}
    for number, (kind, target) in enumerate(objects):
        middle = [(target[a] + target[a + 2]) / 2 for a in (0, 1)]
        half = [max((target[a + 2] - target[a]) / 2, 4.0) for a in (0, 1)]
        fits = {}
        for cell, centre in enumerate(centres.tolist()):
            if all(abs(centre[a] - middle[a]) <= half[a] for a in (0, 1)):
                overlap = iou_by_hand(boxes[cell].tolist(), target)
                score = float(scores[cell, kind])
                fits[cell] = (math.sqrt(score) * overlap**6, overlap)
        best = sorted(fits, key=lambda cell: -fits[cell][0])[:CELLS_PER_OBJECT]
        for cell in best:
            claims.setdefault(cell, {})[number] = fits[cell]
    winners = {
        cell: max(wanted, key=lambda number: wanted[number][1]) for cell, wanted in claims.items()
    }
    found = {}
    for number in set(winners.values()):
        own = [cell for cell, winner in winners.items() if winner == number]
        peak = max(claims[cell][number][0] for cell in own)
        overlap = max(claims[cell][number][1] for cell in own)
        for cell in own:
            found[cell] = (number, claims[cell][number][0] / peak * overlap)
    return found


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_the_assignment_is_what_the_rule_says(seed: int) -> None:
    batch = random_batch(seed)
    torch.manual_seed(seed)
    raw = [torch.randn(2, 4 * BOX_BINS + 3, side, side).double() for side, _ in GRID.shapes]
    flat, (centres, strides) = flatten(raw), cell_centres(raw, GRID.strides)
    boxes = boxes_of(flat[..., : 4 * BOX_BINS], centres, strides)
    scores = flat[..., 4 * BOX_BINS :].sigmoid()
    objects = objects_of(batch)
    truth = (objects.boxes, objects.classes, objects.is_real)
    found = align(scores, boxes, (centres, strides), tuple(map(torch.from_numpy, truth)))  # type: ignore[arg-type]
    for image in range(2):
        listed = [
            (int(kind), box.astype(np.float32).tolist())
            for owner, kind, box in zip(batch.owners, batch.classes, batch.boxes, strict=True)
            if owner == image
        ]
        expected = expected_answers(scores[image], boxes[image], centres, listed)
        chosen = found.is_chosen[image].nonzero()[:, 0].tolist()
        assert chosen == sorted(expected)
        for cell in chosen:
            assert int(found.objects[image, cell]) == expected[cell][0]
            assert float(found.scores[image, cell]) == pytest.approx(expected[cell][1], rel=1e-4)
        assert not found.scores[image][~found.is_chosen[image]].any()


def test_objects_keep_their_boxes_and_classes() -> None:
    batch = random_batch(4, images=3)
    objects = objects_of(batch)
    for image in range(3):
        real = objects.is_real[image]
        assert np.allclose(objects.boxes[image][real], batch.boxes[batch.owners == image])
        assert (objects.classes[image][real] == batch.classes[batch.owners == image]).all()


def test_even_an_object_smaller_than_a_cell_is_answered_for() -> None:
    batch = Batch(
        images=np.zeros((1, SIZE, SIZE, 3), np.uint8),
        owners=np.zeros(1, np.int64),
        classes=np.zeros(1, np.int64),
        boxes=np.array([[7.0, 7.0, 9.0, 9.0]]),  # between four centres of the finest level
    )
    box, _, _ = aligned_parts(zero_raw(images=1), objects_of(batch), GRID)
    assert float(box.detach()) > 0


def test_outputs_that_mean_an_object_have_no_box_loss() -> None:
    """An object whose sides lie whole cells of P4 from a centre there."""
    raw = [level.detach() for level in zero_raw(images=1)]
    raw[1][0, :64, 1, 2] = -30.0
    for side, cells in enumerate((1, 1, 2, 1)):
        raw[1][0, side * BOX_BINS + cells, 1, 2] = 30.0
    raw[1][0, 64 + 1, 1, 2] = 30.0
    centre = np.array([2.5 * 16, 1.5 * 16])
    target = [*(centre - 16), *(centre + np.array([32, 16]))]
    batch = Batch(
        images=np.zeros((1, SIZE, SIZE, 3), np.uint8),
        owners=np.zeros(1, np.int64),
        classes=np.ones(1, np.int64),
        boxes=np.array([target]),
    )
    flat, cells_at = flatten(raw), cell_centres(raw, GRID.strides)
    boxes = boxes_of(flat[..., :64], *cells_at)
    truth = objects_of(batch)
    found = align(
        flat[..., 64:].sigmoid(),
        boxes,
        cells_at,
        (torch.from_numpy(truth.boxes), torch.from_numpy(truth.classes), torch.ones(1, 1).bool()),
    )
    place = 64 + 1 * 4 + 2
    assert boxes[0, place].tolist() == pytest.approx(target, abs=1e-3)
    assert float(found.scores[0, place]) == pytest.approx(1, abs=1e-4)
    assert int(found.scores[0].argmax()) == place


def test_zero_outputs_cost_what_is_known_on_paper() -> None:
    """Without objects there is the class loss alone: each probability 1/2, two images."""
    raw = zero_raw()
    empty = objects_of(random_batch(0, count=0))
    box, distances, classes = (part.detach() for part in aligned_parts(raw, empty, GRID))
    assert float(box) == float(distances) == 0
    assert float(classes) == pytest.approx(2 * sum(GRID.cells) * 3 * math.log(2), rel=1e-5)
    losses = head_loss(raw, empty, GRID, LossSettings())
    assert float(losses.total.detach()) == pytest.approx(float(classes), rel=1e-5)
    losses.total.backward()
    assert all(torch.isfinite(level.grad).all() for level in raw if level.grad is not None)


def test_the_distribution_of_distances_costs_the_entropy_of_its_bins() -> None:
    batch = Batch(
        images=np.zeros((1, SIZE, SIZE, 3), np.uint8),
        owners=np.zeros(1, np.int64),
        classes=np.zeros(1, np.int64),
        boxes=np.array([[8.0, 8.0, 56.0, 56.0]]),
    )
    raw = zero_raw(images=1)
    box, distances, _ = (part.detach() for part in aligned_parts(raw, objects_of(batch), GRID))
    flat, cells_at = flatten(raw), cell_centres(raw, GRID.strides)
    truth = objects_of(batch)
    found = align(
        flat[..., 64:].sigmoid(),
        boxes_of(flat[..., :64], *cells_at),
        cells_at,
        (torch.from_numpy(truth.boxes), torch.from_numpy(truth.classes), torch.ones(1, 1).bool()),
    )
    total = max(1.0, float(found.scores.sum()))
    assert float(distances) == pytest.approx(
        math.log(BOX_BINS) * float(found.scores.sum()) / total, rel=1e-4
    )
    assert 0 < float(box) < 2


def test_decoding_by_hand() -> None:
    """Logits 0 give the mean bin, 7.5 cells, on each side of the cell's centre."""
    head = small_yolov8().head
    assert isinstance(head, AnchorFreeDetect)
    decoded = head.decode([torch.zeros(1, 67, n, n) for n in (4, 2, 1)])[0]
    assert decoded.shape == (21, 5 + 3)
    assert decoded[16 + 2].tolist() == pytest.approx([8, 24, 240, 240, 1, 0.5, 0.5, 0.5])


def test_training_and_grading_decode_alike() -> None:
    detector = small_yolov8()
    images = torch.rand(2, 3, SIZE, SIZE)
    detector.eval()
    with torch.no_grad():
        decoded, raw = detector(images), detector.maps(images)
    grid = head_grid(detector, SIZE)
    assert grid.cells == (64, 16, 4)
    boxes = boxes_of(flatten(raw)[..., :64], *cell_centres(raw, grid.strides))
    torch.testing.assert_close((boxes[..., :2] + boxes[..., 2:]) / 2, decoded[..., :2])
    torch.testing.assert_close(boxes[..., 2:] - boxes[..., :2], decoded[..., 2:4])
    assert (decoded[..., 4] == 1).all()


def test_a_fresh_head_starts_at_the_prior() -> None:
    with torch.no_grad():
        decoded = small_yolov8().eval()(torch.rand(1, 3, 96, 96))
    assert decoded[..., 5:].mean() < 0.05
    # Boxes reach two cells to each side, by which they differ from level to level.
    for cells, stride in ((slice(0, 144), 8), (slice(144, 180), 16), (slice(180, 189), 32)):
        assert float(decoded[0, cells, 2:4].mean()) == pytest.approx(4 * stride, rel=0.2)


def test_state_dict_names_are_yolov8s() -> None:
    names = set(small_yolov8().state_dict())
    assert {
        "model.2.cv1.conv.weight",
        "model.2.m.0.cv2.bn.running_mean",
        "model.22.cv2.0.0.conv.weight",
        "model.22.cv2.2.2.bias",
        "model.22.cv3.1.1.bn.weight",
    } <= names
    assert not [name for name in names if "anchors" in name]


def test_an_anchor_free_head_learns() -> None:
    part = squares(24)
    detector = small_yolov8(num_classes=2)
    losses: list[float] = []
    trained = train(
        detector,
        part,
        part,
        short_settings(60),
        seed=0,
        on_step=lambda progress: losses.append(progress.loss),
    )
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])
    assert trained.grades is not None
    assert trained.grades.map50 > 0.2
    assert evaluate_detector(trained.detector, part) == trained.grades
