"""How fast a machine teaches, so that a time can be given instead of a number of steps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from nas.data.images import ImageSet
from nas.detector.supernet import Supernet
from nas.training.growth import GrowthSettings
from nas.training.pretraining.sets import TaughtSet
from nas.training.pretraining.shared import SharedTraining
from nas.training.settings import TrainSettings

WARMING: Final = 0.4
"""Share of the trial that isn't counted: kernels are chosen, and batches made ahead run out."""

MOST_STEPS: Final = 1_000_000


def steps_per_second(
    supernet: Supernet,
    values: Tensor,
    sets: Sequence[TaughtSet],
    part: ImageSet,
    recipe: TrainSettings,
    seconds: float,
    *,
    device: str,
    workers: int,
) -> float:
    """Steps a second of wall clock, measured for about so many seconds on a copy of the weights.

    At least two steps are made, however long they take; all are of the
    whole image size.
    """
    settings = replace(recipe, epochs=None, steps=MOST_STEPS, growth=GrowthSettings())
    with torch.random.fork_rng(devices=[]):
        run = SharedTraining(supernet, values, sets, part, settings, 0, device)
        begin = time.perf_counter()
        warm, counted = begin, 0
        for images, targets in run.plan.run(0, MOST_STEPS, workers):
            run.one_step(images, targets)
            if device == "cuda":
                torch.cuda.synchronize()
            now = time.perf_counter()
            if now - begin < WARMING * seconds or warm == begin:
                warm, counted = now, 0
                continue
            counted += 1
            if now - begin >= seconds:
                break
    return counted / (now - warm)
