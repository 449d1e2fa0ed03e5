"""How a training begins: with a seed's weights, and batch norm statistics of its own pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch

from nas.data.images import ImageSet
from nas.detector.builder import Detector
from nas.detector.pretrained.load import cut
from nas.detector.pretrained.recalibrate import recalibrate
from nas.detector.pretrained.report import Report
from nas.detector.pretrained.seed import Seed
from nas.detector.pretrained.streams import Order
from nas.space.spec import ModelSpec
from nas.training.batches import BatchPlan
from nas.training.metrics import to_input
from nas.training.settings import TrainSettings
from nas.training.under_way import head_grid

BATCHES: Final = 8
"""Augmented batches that the statistics of a cut network are measured on."""


def begin_with(
    seed: Seed,
    detector: Detector,
    part: ImageSet,
    settings: TrainSettings,
    *,
    seed_number: int,
    order: Order = "importance",
    must_fit: bool = False,
) -> Report:
    """Cuts the seed to the detector in place, and measures its batch norms on the first batches.

    The batches are those that a training of these settings and this random seed begins with; where
    nothing of the seed fits, none are made and the detector stays as it is. Everything follows
    from the arguments. Raises SeedError where the seed must fit and doesn't.
    """
    report = cut(seed, detector, names=part.names, order=order, must_fit=must_fit)
    if report.taken:
        measure_norms(detector, part, settings, seed_number=seed_number)
    return report


def measure_norms(
    detector: Detector, part: ImageSet, settings: TrainSettings, *, seed_number: int
) -> None:
    """Measures the batch norms on the first batches of a training of these settings and seed."""
    plan = BatchPlan(
        part=part,
        grid=head_grid(detector, part.image_size),
        batch_size=settings.batch_size,
        augment=settings.augment,
        closing_step=settings.total_steps(len(part)),
        seed=seed_number,
    )
    device = next(detector.parameters()).device
    inputs = (to_input(plan.make(step)[0], torch.device(device)) for step in range(BATCHES))
    recalibrate(detector, inputs)


def started(
    build: Callable[[ModelSpec], Detector],
    spec: ModelSpec,
    part: ImageSet,
    settings: TrainSettings,
    start: Seed | None,
    *,
    seed_number: int,
) -> tuple[Detector, int]:
    """A model's detector before its first step, and how many first rows are wholly the start's.

    build   makes it, initialised by torch's global generator, which is left as it was
    start   weights that it is cut from, as in `begin_with`; None leaves it as it is made
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_number)
        detector = build(spec)
    if start is None:
        return detector, 0
    report = begin_with(start, detector, part, settings, seed_number=seed_number)
    return detector, len(report.freezable)
