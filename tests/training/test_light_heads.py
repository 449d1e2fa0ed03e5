"""Laws of teaching heads of other forms: plain distances and fewer bins."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from nas.detector.anchor_free import boxes_of, cell_centres, flatten
from nas.detector.builder import build_detector
from nas.space.spec import with_classes
from nas.training.augment import Batch
from nas.training.loop import train
from nas.training.losses.aligned import _distances_loss, aligned_parts, objects_of
from nas.training.losses.loss import LossSettings, head_loss
from nas.training.metrics import evaluate_detector
from nas.training.settings import short_settings
from nas.training.under_way import head_grid
from tests.data.pictures import squares
from tests.light_heads import LIGHT_FORMS, model_of
from tests.training.losses.test_aligned import GRID, SIZE
from tests.training.losses.test_loss import random_batch


def raw_of(bins: int, images: int = 1) -> list[torch.Tensor]:
    return [torch.zeros(images, 4 * bins + 3, n, n, requires_grad=True) for n, _ in GRID.shapes]


@pytest.mark.parametrize("bins", [1, 4, 8, 16])
def test_boxes_that_are_right_cost_least_and_pull_nowhere(bins: int) -> None:
    """An object whose sides lie whole cells of P4 from a centre there, and its box at that cell."""
    batch = Batch(
        images=np.zeros((1, SIZE, SIZE, 3), np.uint8),
        owners=np.zeros(1, np.int64),
        classes=np.ones(1, np.int64),
        boxes=np.array([[24.0, 8.0, 72.0, 40.0]]),  # around (40, 24): 1, 1, 2, 1 cells
    )
    losses = []
    for first in (1, 2):  # the left side where it is, and a cell further out
        raw = [level.detach() for level in raw_of(bins)]
        for side, cells in enumerate((first, 1, 2, 1)):
            if bins == 1:
                raw[1][0, side, 1, 2] = math.log(math.expm1(cells))
            else:
                raw[1][0, side * bins : (side + 1) * bins, 1, 2] = -30.0
                raw[1][0, side * bins + cells, 1, 2] = 30.0
        raw[1][0, 4 * bins + 1, 1, 2] = 30.0
        flat, cells_at = flatten(raw), cell_centres(raw, GRID.strides)
        box = boxes_of(flat[..., : 4 * bins], *cells_at)[0, 64 + 4 + 2]
        assert box.tolist() == pytest.approx([40 - 16 * first, 8, 72, 40], abs=1e-3)
        losses.append([float(part) for part in aligned_parts(raw, objects_of(batch), GRID)])
    assert losses[0][0] < losses[1][0]
    assert losses[0][1] < losses[1][1]


def test_plain_distances_cost_their_share_of_the_object() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0]])
    ln2 = math.log(2)
    for cells in (1.0, 4.0):
        found = _distances_loss(logits, torch.full((1, 4), cells))
        assert float(found) == pytest.approx((cells - ln2) / cells)
    right = torch.tensor([[math.log(math.expm1(3.0))] * 4])
    assert float(_distances_loss(right, torch.full((1, 4), 3.0))) == pytest.approx(0, abs=1e-6)


def test_a_distance_beyond_the_last_of_few_bins_is_drawn_to_it() -> None:
    far = _distances_loss(torch.zeros(1, 16), torch.full((1, 4), 9.0))
    assert float(far) == pytest.approx(math.log(4))


@pytest.mark.parametrize("form", LIGHT_FORMS)
def test_every_weight_of_every_form_is_taught(form: str) -> None:
    torch.manual_seed(0)
    detector = build_detector(model_of(form)).train()
    grid = head_grid(detector, SIZE)
    raw = detector(torch.rand(2, 3, SIZE, SIZE))
    assert isinstance(raw, list)
    losses = head_loss(raw, objects_of(random_batch(0)), grid, LossSettings())
    losses.total.backward()
    assert losses.parts[0] > 0
    assert losses.parts[2] > 0
    for name, parameter in detector.head.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize(
    "form", ["LightDetect, [nc, None, 1, 8]", "LightDetect, [nc, None, 1, 1, 3, separable]"]
)
def test_a_light_head_learns(form: str) -> None:
    part = squares(24)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        detector = build_detector(with_classes(model_of(form), 2))
    losses: list[float] = []
    trained = train(
        detector, part, part, short_settings(80), seed=0,
        on_step=lambda progress: losses.append(progress.loss),
    )  # fmt: skip
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    assert trained.grades is not None
    assert trained.grades.map50 > 0.2
    assert evaluate_detector(trained.detector, part) == trained.grades
