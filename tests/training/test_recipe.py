"""Laws of a recipe's parts: growth, balance, frozen stages, rates by depth, precision, ends."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nas.detector.builder import Detector
from nas.training.augment import AugmentSettings
from nas.training.freezing import rate_shares, stage_rows
from nas.training.growth import GrowthSettings, weakened
from nas.training.loop import LapEnd, TrainingError, train
from nas.training.losses.balance import classes_without_boxes, image_weights, order_of_pass
from nas.training.precision import (
    SingleConv2d,
    autocast,
    autocast_type,
    describe_device,
    has_cpu_bf16,
    keep_single,
)
from nas.training.settings import TrainSettings, short_settings
from nas.training.under_way import Training
from tests.data.pictures import image_set, squares, tiny_detector

CPU = torch.device("cpu")
QUICK = replace(short_settings(12), batch_size=4, augment=AugmentSettings(mosaic=0.5))
GROWING = GrowthSettings(stages=3, first_size=0.5, first_strength=0.2)


def test_images_grow_from_stage_to_stage_to_the_whole_size() -> None:
    growth = GrowthSettings(stages=4, first_size=0.5, first_strength=0.1)
    sizes = [growth.size_at(step, 100, 192, 32) for step in range(100)]
    assert sizes[0] == 96
    assert sizes[-1] == 192
    assert all(one <= two and two % 32 == 0 for one, two in pairwise(sizes))
    strengths = [growth.strength_at(step, 100) for step in range(100)]
    assert strengths[0] == pytest.approx(0.1)
    assert strengths[-1] == 1
    assert len(set(strengths)) == 4
    assert {GrowthSettings().size_at(step, 9, 192, 32) for step in range(9)} == {192}
    assert GrowthSettings(stages=1, first_size=0.5).size_at(0, 9, 192, 32) == 192


def test_strength_scales_all_but_mirror_images() -> None:
    full = AugmentSettings(flip_vertical=0.5)
    half = weakened(full, 0.5)
    assert (half.mosaic, half.scale, half.hue) == (0.5, 0.25, 0.0075)
    assert (half.flip_horizontal, half.flip_vertical) == (0.5, 0.5)
    assert weakened(full, 1.0) == full


def test_a_batch_has_the_size_of_its_stage_and_boxes_inside_it() -> None:
    settings = replace(QUICK, growth=GROWING)
    run = Training(tiny_detector(), squares(8), settings, 0, "cpu")
    for step, size in ((0, 32), (11, 64)):
        images, targets = run.plan.make(step)
        assert images.shape[1:3] == (size, size)
        assert run.plan.grid_at(step).image_size == size
        assert len(targets.classes) > 0
    losses = [float(run.one_step(*run.plan.make(step)).sum()) for step in range(12)]
    assert all(map(math.isfinite, losses))


def test_a_balanced_pass_shows_rare_classes_more_often() -> None:
    common, rare = (0, 10.0, 10, 50, 50), (1, 10.0, 10, 50, 50)
    part = image_set([[common]] * 15 + [[rare]], ("common", "rare"))
    assert (image_weights(part, 0.0) == 1).all()
    weights = image_weights(part, 1.0)
    assert weights.sum() == pytest.approx(16)
    assert weights[15] / weights[0] == pytest.approx(15)
    orders = [order_of_pass(weights, np.random.default_rng(seed)) for seed in range(50)]
    assert {len(order) for order in orders} == {16}
    shown = np.mean([(order == 15).sum() for order in orders])
    assert shown == pytest.approx(8, abs=0.5)
    plain = order_of_pass(np.ones(16), np.random.default_rng(3))
    assert plain.tolist() == np.random.default_rng(3).permutation(16).tolist()


def test_classes_that_no_box_shows_are_named() -> None:
    part = image_set([[(1, 10, 10, 50, 50)]], ("a", "b", "c"))
    assert classes_without_boxes(part) == ("a", "c")
    assert classes_without_boxes(image_set([[]], ("a",))) == ("a",)


def test_frozen_stages_keep_every_number_and_the_rest_learns() -> None:
    detector = tiny_detector()
    rows = stage_rows(detector, 2)
    assert 0 < rows < len(detector.spec.backbone)
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    settings = replace(QUICK, frozen_stages=2, recalibration_batches=2)
    trained = train(detector, squares(8), None, settings, seed=0).detector
    after = trained.state_dict()
    for name, value in before.items():
        row = int(name.split(".")[1])
        if row < rows:
            assert torch.equal(value, after[name]), name
        elif name.endswith("conv.weight"):
            assert not torch.equal(value, after[name]), name


def test_what_was_made_up_is_never_frozen() -> None:
    detector = tiny_detector()
    settings = replace(QUICK, frozen_stages=2)
    assert stage_rows(detector, 2) > 1
    run = Training(detector, squares(8), settings, 0, "cpu", whole_rows=1)
    learns = [any(p.requires_grad for p in row.parameters()) for row in detector.model]
    assert learns[:2] == [False, True]
    assert [row.training for row in list(detector.model)[:2]] == [False, True]
    assert run.standing(None, has_val=False).state["whole_rows"] == 1


def test_more_stages_than_the_backbone_has_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"at least one stage of the backbone learns; got 9"):
        stage_rows(tiny_detector(), 9)


def test_rates_rise_from_the_first_row_to_the_neck() -> None:
    detector = tiny_detector()
    by_row = {int(n.split(".")[1]): s for n, s in rate_shares(detector, 0.1).items()}
    ordered = [by_row[row] for row in sorted(by_row)]
    assert ordered[0] == pytest.approx(0.1)
    assert all(one <= two for one, two in pairwise(ordered))
    assert {share for row, share in by_row.items() if row >= len(detector.spec.backbone)} == {1.0}
    assert set(rate_shares(detector, 1.0).values()) == {1.0}


EVERYTHING = replace(
    QUICK,
    steps=None,
    epochs=4,
    evaluate_every=1,
    growth=GROWING,
    class_balance=0.5,
    first_row_lr=0.3,
    frozen_stages=1,
    cpu_bf16=True,
    assignment="aligned",
)


class KilledError(Exception):
    """What stands for a kill."""


def test_with_all_of_it_killed_and_resumed_equals_never_killed() -> None:
    part, states = squares(8), []

    def keep_and_die(standing: LapEnd) -> None:
        copied = {name: value.clone() for name, value in standing.state["weights"].items()}
        average = {name: value.clone() for name, value in standing.state["average"].items()}
        states.append({**standing.state, "weights": copied, "average": average})
        raise KilledError

    whole = train(tiny_detector(), part, part, EVERYTHING, seed=0, workers=2)
    with pytest.raises(KilledError):
        train(tiny_detector(), part, part, EVERYTHING, seed=0, on_lap=keep_and_die)
    resumed = train(tiny_detector(seed=5), part, part, EVERYTHING, seed=0, state=states[0])
    one, two = whole.detector.state_dict(), resumed.detector.state_dict()
    assert states[0]["step"] == 2
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_lap_is_kept_at_every_pass_and_graded_where_it_is_due() -> None:
    part, kept = squares(4), []
    settings = replace(QUICK, steps=None, epochs=5, evaluate_every=2)
    best: list[float] = []

    def keep(standing: LapEnd) -> None:
        kept.append((standing.laps[-1].map50_95 is not None, standing.is_best))
        best.append(standing.state["best"])

    trained = train(tiny_detector(), part, part, settings, seed=0, on_lap=keep)
    assert [graded for graded, _ in kept] == [False, True, False, True, True]
    assert [is_best for graded, is_best in kept if not graded] == [False, False]
    assert kept[1] == (True, True)
    assert trained.laps[-1].map50_95 == trained.grades.map50_95
    assert best[-1] == max(lap.map50_95 for lap in trained.laps if lap.map50_95 is not None)


def still_detector() -> Detector:
    """One whose batch norms stay as they are."""
    detector = tiny_detector()
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0
    return detector


def test_a_training_without_progress_ends_early() -> None:
    part = squares(4)
    settings = replace(QUICK, steps=None, epochs=9, evaluate_every=1, patience=2, lr=1e-12)
    settings = replace(settings, recalibration_batches=0)
    trained = train(still_detector(), part, part, settings, seed=0)
    maps = [lap.map50_95 for lap in trained.laps]
    assert len(maps) == 3
    assert max(maps[1:]) <= maps[0]
    patient = train(still_detector(), part, part, replace(settings, patience=0), seed=0)
    assert len(patient.laps) == 9


def test_a_loss_that_is_no_number_names_step_rate_and_what_is_kept() -> None:
    part, detector = squares(4), tiny_detector()
    settings = replace(QUICK, steps=None, epochs=6, evaluate_every=1)

    def spoil(standing: LapEnd) -> None:
        if len(standing.laps) == 2:
            with torch.no_grad():
                next(detector.parameters()).fill_(math.nan)

    with pytest.raises(TrainingError) as caught:
        train(detector, part, part, settings, seed=0, on_lap=spoil)
    message = str(caught.value)
    assert "training, step 3 of 6: the loss stays finite" in message
    assert "Lower lr (0.01)" in message
    assert "Weights kept: those of step 2" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16\nflags\t\t: fpu avx512_bf16\n", True),
        ("flags\t\t: fpu amx_bf16\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("flags\t\t: fpu avx512_bf16\nflags\t\t: fpu\n", False),
        ("flags\t\t: fpu avx2\n", False),
        ("model name\t: avx512_bf16\n", False),
        ("", False),
    ],
)
def test_bf16_is_used_where_every_core_has_it(tmp_path: Path, text: str, has: bool) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(text)
    assert has_cpu_bf16(info) is has
    assert not has_cpu_bf16(tmp_path / "none")


def test_precision_follows_settings_and_device() -> None:
    assert autocast_type(CPU, amp=True, cpu_bf16=False) == torch.float32
    kind = torch.bfloat16 if has_cpu_bf16() else torch.float32
    assert autocast_type(CPU, amp=False, cpu_bf16=True) == kind
    assert (
        describe_device("cpu", amp=True, cpu_bf16=True)
        == f"CPU, {'bfloat16' if has_cpu_bf16() else 'float32'}"
    )
    layer, x = nn.Linear(2, 2), torch.ones(1, 2)
    with autocast(CPU, torch.float32):
        assert layer(x).dtype == torch.float32
    with autocast(CPU, torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16


def test_slow_convolutions_stay_single_and_names_stay() -> None:
    network = nn.Sequential(
        nn.Conv2d(8, 8, 3, 2, 1, groups=8),
        nn.Conv2d(8, 8, 5, 1, 2, groups=8),
        nn.Conv2d(8, 8, 3, 1, 1, groups=8),
        nn.Conv2d(8, 8, 1),
    )
    names, x = list(network.state_dict()), torch.randn(2, 8, 8, 8)
    plain = network[0](x.bfloat16().float())
    keep_single(network)
    assert [type(m) is SingleConv2d for m in network] == [True, True, False, False]
    assert list(network.state_dict()) == names
    with autocast(CPU, torch.bfloat16):
        out = network[0](x.bfloat16())
    assert torch.equal(out, plain.bfloat16())


@pytest.mark.parametrize(
    "wrong",
    [
        {"frozen_stages": -1},
        {"patience": -1},
        {"first_row_lr": 0.0},
        {"class_balance": 2.0},
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TrainSettings(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [{"stages": 0}, {"first_size": 0.0}, {"first_size": 2.0}, {"first_strength": -1.0}]
)
def test_growth_that_means_nothing_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"stage|first_size"):
        GrowthSettings(**wrong)  # type: ignore[arg-type]
