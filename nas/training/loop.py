"""The training loop: the same on a laptop's core and on a GPU, bit for bit repeatable on the CPU.

Everything random in a step (batch, augmentation, stochastic depth) follows from the seed and the
step's number, so that a training which was killed and goes on from its checkpoint ends where one
that was never killed ends.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import torch

from nas.data.images import ImageSet
from nas.detector.builder import Detector
from nas.training.batches import BatchPlan
from nas.training.metrics import Grades, evaluate_detector
from nas.training.progress import Lap, LapEnd, Progress, Trained, TrainingError
from nas.training.settings import TrainSettings
from nas.training.under_way import Training

LOSS_EVERY: Final = 10
"""On a GPU, steps between two looks at the loss: each look waits until the GPU has caught up."""

__all__ = ["Lap", "LapEnd", "Progress", "Trained", "TrainingError", "train"]


def train(
    detector: Detector,
    train_set: ImageSet,
    val_set: ImageSet | None,
    settings: TrainSettings,
    *,
    seed: int,
    device: str = "cpu",
    workers: int = 0,
    on_step: Callable[[Progress], None] | None = None,
    on_lap: Callable[[LapEnd], None] | None = None,
    state: Mapping[str, Any] | None = None,
    whole_rows: int | None = None,
    plan: BatchPlan | None = None,
) -> Trained:
    """The detector after training; the one given is trained in place and moved to `device`.

    workers   threads that make batches ahead; the result doesn't depend on them
    state     a `LapEnd.state` of the same training, to go on from
    whole_rows  so many of the first rows came whole from trained weights; None: all that are to
              be frozen did. What was made up is never frozen
    plan      makes the batches; by default one of these settings on the training part

    Raises TrainingError if the loss stops being finite.
    """
    whole_rows = whole_rows if state is None else state.get("whole_rows")
    run = Training(detector, train_set, settings, seed, device, whole_rows, plan)
    if state is not None:
        run.restore(state)
    started = time.perf_counter()
    grades: Grades | None = None
    loss = math.nan
    last = run.step if run.has_stalled() else run.steps
    with _own_randomness(device):
        for images, targets in run.plan.run(run.step, last, workers):
            losses = run.one_step(images, targets)
            lap: Lap | None = None
            if run.is_lap_end():
                run.check_finite()
                if run.step == run.steps:
                    run.recalibrate()
                grades = _grade(run, val_set) if run.is_due() else None
                lap = run.end_lap(grades, time.perf_counter() - started)
                if on_lap is not None:
                    on_lap(run.standing(grades, val_set is not None))
            if on_step is not None:
                if run.device.type == "cpu" or run.step % LOSS_EVERY == 0:
                    loss = float(losses.sum())
                on_step(Progress(step=run.step, steps=run.steps, loss=loss, lap=lap))
            if lap is not None and run.has_stalled():
                break
    if grades is None:
        grades = _grade(run, val_set)
    return Trained(detector=run.average.detector, grades=grades, laps=tuple(run.laps))


def _grade(run: Training, val_set: ImageSet | None) -> Grades | None:
    """The averaged weights' grades."""
    if val_set is None:
        return None
    return evaluate_detector(run.average.detector, val_set, run.settings.batch_size)


@contextmanager
def _own_randomness(device: str) -> Iterator[None]:
    """Leaves torch's generators as they were, whatever is drawn inside."""
    devices = [torch.cuda.current_device()] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
