"""Laws of the loop: it learns, it repeats itself, and being killed changes nothing."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nas.training.augment import AugmentSettings
from nas.training.batches import BatchPlan
from nas.training.loop import LapEnd, Progress, Trained, TrainingError, train
from nas.training.metrics import evaluate_detector
from nas.training.on_disk.checkpoint import (
    CheckpointError,
    load_checkpoint,
    make_checkpoint,
    save_checkpoint,
)
from nas.training.optimizer import MovingAverage, make_optimizer, set_schedule
from nas.training.settings import TrainSettings, short_settings
from nas.training.under_way import Training, head_grid
from tests.data.pictures import squares, tiny_detector

QUICK = replace(short_settings(12), steps=None, epochs=6, batch_size=4, evaluate_every=1)


def weights(trained: Trained) -> dict[str, torch.Tensor]:
    return trained.detector.state_dict()


def assert_same_weights(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.equal(value, two[name]), name


def test_four_images_are_learnt_by_heart() -> None:
    part = squares(4)
    settings = replace(
        short_settings(150), batch_size=4, augment=AugmentSettings(mosaic=0, scale=0, translate=0)
    )
    losses = []
    trained = train(
        tiny_detector(), part, part, settings, seed=0, on_step=lambda p: losses.append(p.loss)
    )
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])
    assert trained.grades is not None
    assert trained.grades.map50 > 0.9
    again = evaluate_detector(trained.detector, part)
    assert again.map50_95 == pytest.approx(trained.grades.map50_95)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_same_seed_trains_the_same_bit_for_bit(optimizer: str) -> None:
    part = squares(8)
    settings = replace(QUICK, optimizer=optimizer, augment=AugmentSettings(mosaic=0.5))
    before = torch.get_rng_state()
    one = train(tiny_detector(), part, None, settings, seed=1)
    two = train(tiny_detector(), part, None, settings, seed=1, workers=2)
    other = train(tiny_detector(), part, None, settings, seed=2)
    assert_same_weights(weights(one), weights(two))
    name = next(iter(weights(one)))
    assert not torch.equal(weights(one)[name], weights(other)[name])
    assert torch.equal(torch.get_rng_state(), before)


class KilledError(Exception):
    """What stands for a kill."""


@pytest.mark.parametrize("stopped_after", [1, 3])
def test_killed_and_resumed_equals_never_killed(tmp_path: Path, stopped_after: int) -> None:
    part, path = squares(8), tmp_path / "last.pt"
    settings = replace(QUICK, optimizer="sgd", lr=0.01)

    def keep(standing: LapEnd) -> None:
        checkpoint = make_checkpoint(standing.detector, part.names, 64, training=standing.state)
        save_checkpoint(path, checkpoint)

    def kill(progress: Progress) -> None:
        # In the middle of the lap after the last one that was kept.
        if progress.step == 2 * stopped_after + 1:
            raise KilledError

    whole = train(tiny_detector(), part, part, settings, seed=0)
    with pytest.raises(KilledError):
        train(tiny_detector(), part, part, settings, seed=0, on_lap=keep, on_step=kill)
    state = load_checkpoint(path).training
    assert state is not None
    assert state["step"] == 2 * stopped_after
    # Another fresh detector: all that matters must come from the checkpoint.
    resumed = train(tiny_detector(seed=5), part, part, settings, seed=0, state=state)
    assert_same_weights(weights(whole), weights(resumed))
    assert [replace(lap, seconds=0) for lap in whole.laps] == [
        replace(lap, seconds=0) for lap in resumed.laps
    ]


def test_a_checkpoint_of_another_training_is_refused() -> None:
    part, states = squares(4), []
    train(tiny_detector(), part, None, QUICK, seed=0, on_lap=lambda s: states.append(dict(s.state)))
    with pytest.raises(TrainingError, match=r"6 steps with seed 1; got 6 steps, seed 0"):
        train(tiny_detector(), part, None, QUICK, seed=1, state=states[0])


def test_a_checkpoint_round_trip(tmp_path: Path) -> None:
    detector = tiny_detector(seed=3)
    save_checkpoint(
        tmp_path / "a" / "best.pt", make_checkpoint(detector, ("x", "y"), 64, map50_95=0.5)
    )
    read = load_checkpoint(tmp_path / "a" / "best.pt")
    assert (read.names, read.image_size, read.map50_95, read.map50) == (("x", "y"), 64, 0.5, None)
    images = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(read.build()(images), detector.eval()(images), rtol=0, atol=0)
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["best.pt"]


def test_what_is_no_checkpoint_is_one_message(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return print, ("run!",)

    for name, content in (("text.pt", None), ("evil.pt", Evil()), ("other.pt", {"format": 99})):
        path = tmp_path / name
        if content is None:
            path.write_text("no checkpoint")
        else:
            torch.save(content, path)
        with pytest.raises(CheckpointError, match=rf"{name}: a checkpoint.*Give a best"):
            load_checkpoint(path)
    with pytest.raises(CheckpointError, match="No such file"):
        load_checkpoint(tmp_path / "none.pt")


def test_the_data_must_suit_the_detector() -> None:
    part = squares(4)
    with pytest.raises(TrainingError, match=r"as many classes as the data \(2\); got 3"):
        train(tiny_detector(num_classes=3), part, None, QUICK, seed=0)
    with pytest.raises(TrainingError, match=r"multiple of.*32; got 80.*Use 64"):
        train(tiny_detector(), squares(4, size=80), None, QUICK, seed=0)


def test_a_loss_that_is_not_finite_is_an_error() -> None:
    detector = tiny_detector()
    with torch.no_grad():
        next(detector.parameters()).fill_(math.nan)
    with pytest.raises(TrainingError, match="the loss stays finite"):
        train(detector, squares(4), None, QUICK, seed=0)


def test_every_pass_shows_every_image_once() -> None:
    part = squares(10)
    plan = BatchPlan(
        part=part, grid=head_grid(tiny_detector(), 64), batch_size=4,
        augment=AugmentSettings(), closing_step=100, seed=0,
    )  # fmt: skip
    stream = np.concatenate([plan.indices(step) for step in range(15)])
    for lap in range(6):
        assert sorted(stream[lap * 10 : lap * 10 + 10].tolist()) == list(range(10))
    assert stream[:10].tolist() != stream[10:20].tolist()


@pytest.mark.parametrize(("count", "batch"), [(3, 16), (17, 16), (16, 16), (33, 8), (1, 4)])
def test_passes_asked_for_are_passes_made(count: int, batch: int) -> None:
    """Each pass shows every image once, in batches that differ by one image at most."""
    settings = replace(QUICK, epochs=3, batch_size=batch)
    run = Training(tiny_detector(), squares(count), settings, 0, "cpu")
    steps = [run.plan.indices(step) for step in range(run.steps)]
    assert run.plan.seen(run.steps) == 3 * count
    stream = np.concatenate(steps)
    for lap in range(3):
        assert sorted(stream[lap * count : (lap + 1) * count].tolist()) == list(range(count))
    sizes = {len(step) for step in steps}
    assert max(sizes) <= batch
    assert max(sizes) - min(sizes) <= 1


def test_a_lap_says_the_passes_that_were_made() -> None:
    part = squares(3)
    trained = train(tiny_detector(), part, part, replace(QUICK, epochs=2, batch_size=16), seed=0)
    assert [lap.epoch for lap in trained.laps] == [1.0, 2.0]
    assert [lap.step for lap in trained.laps] == [1, 2]
    by_steps = replace(QUICK, epochs=None, steps=3, batch_size=2, evaluate_every=0)
    assert train(tiny_detector(), part, part, by_steps, seed=0).laps[-1].epoch == 2.0


def test_the_schedule_rises_and_falls_and_norms_do_not_decay() -> None:
    settings = TrainSettings(warmup=0.1, weight_decay=0.05)
    optimizer = make_optimizer(tiny_detector(), settings)
    rates = [set_schedule(optimizer, step, 100, settings) for step in range(100)]
    assert np.argmax(rates) == pytest.approx(10, abs=1)
    assert (np.diff(rates[:10]) > 0).all()
    assert (np.diff(rates[10:]) < 0).all()
    assert rates[-1] == pytest.approx(settings.lr * settings.final_lr_share)
    decays = {group["role"]: group["weight_decay"] for group in optimizer.param_groups}
    assert decays == {"weights": 0.05, "norms": 0.0, "biases": 0.0}
    set_schedule(optimizer, 0, 100, settings)
    first = {group["role"]: group["lr"] for group in optimizer.param_groups}
    assert first["biases"] > 10 * settings.lr * 0.8 > first["weights"]


def test_the_average_trails_and_ends_at_a_constant() -> None:
    detector = tiny_detector()
    average = MovingAverage(detector, share=0.1, largest_decay=0.9999)
    target = {name: value.clone() for name, value in tiny_detector(seed=1).state_dict().items()}
    detector.load_state_dict(target)
    name = "model.0.conv.weight" if "model.0.conv.weight" in target else next(iter(target))
    gaps = []
    for _ in range(200):
        average.update()
        gaps.append(float((average.detector.state_dict()[name] - target[name]).abs().max()))
    assert all(late <= early for early, late in itertools.pairwise(gaps))
    assert gaps[-1] < 1e-3 * gaps[0]


def test_recalibrated_norms_hold_the_statistics_of_the_data() -> None:
    part = squares(16)
    settings = replace(
        QUICK, recalibration_batches=4, augment=AugmentSettings(mosaic=0), evaluate_every=0
    )
    run = Training(tiny_detector(), part, settings, 0, "cpu")
    norms = [m for m in run.average.detector.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert float(norms[0].running_mean.abs().max()) == 0
    momentum = norms[0].momentum
    run.recalibrate()
    assert float(norms[0].running_mean.abs().max()) > 0
    assert norms[0].momentum == momentum
    assert not run.average.detector.training


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": None},
        {"steps": 10},
        {"epochs": 0},
        {"batch_size": 0},
        {"warmup": 2.0},
        {"momentum": 1.0},
        {"lr": 0.0},
        {"evaluate_every": -1},
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each has a message of its own
        TrainSettings(**wrong)
