"""How fast a machine teaches, so that a time can be given instead of a number of steps."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import torch

from nas.data.images import ImageSet
from nas.detector.builder import Detector
from nas.training.pretraining.mixture import mixed_plan
from nas.training.pretraining.sets import TaughtSet
from nas.training.settings import TrainSettings
from nas.training.under_way import Training

WARMING: Final = 0.4
"""Share of the trial that isn't counted: kernels are chosen, and batches made ahead run out."""

MOST_STEPS: Final = 1_000_000


def steps_per_second(
    detector: Detector,
    sets: Sequence[TaughtSet],
    part: ImageSet,
    recipe: TrainSettings,
    seconds: float,
    *,
    device: str,
    workers: int,
) -> float:
    """Steps a second of wall clock, measured for about so many seconds on a copy of the detector.

    At least two steps are made, however long they take.
    """
    settings = replace(recipe, epochs=None, steps=MOST_STEPS, evaluate_every=0)
    trial = copy.deepcopy(detector)
    plan = mixed_plan(trial, sets, part, settings, seed=0)
    with torch.random.fork_rng(devices=[]):
        run = Training(trial, part, settings, 0, device, plan=plan)
        begin = time.perf_counter()
        warm, counted = begin, 0
        for images, targets in plan.run(0, MOST_STEPS, workers):
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
