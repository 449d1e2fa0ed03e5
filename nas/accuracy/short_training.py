"""The mAP after a short training at a reduced image size: a real one, of a poor student.

The candidate is cut from weights that know pictures, trained on the training part for a fixed
number of steps and graded on the validation part, at `image_scale` of its own image size. Every
candidate sees the same images in the same order (the batches follow from the seed), so that
candidates differ by their architecture and not by their luck with the data. On a CPU a score
repeats to the last bit; on a GPU, whose sums run in no fixed order, only nearly.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Final

import torch

from nas.accuracy.proxy import Score
from nas.accuracy.settings import ShortTrainingSettings
from nas.data.dataset import DataConfig, Part, load_part
from nas.data.images import ImageSet
from nas.detector.builder import build_detector
from nas.detector.pretrained.load import load_seed
from nas.space.anchors import scale_anchors
from nas.space.image_size import ImageSize, longest, scaled
from nas.space.search_space import Candidate
from nas.space.spec import ModelSpec, with_anchors
from nas.training.beginning import started
from nas.training.loop import TrainingError, train
from nas.training.metrics import evaluate_with_error
from nas.training.settings import TrainSettings, short_settings

STRIDE: Final = 32
"""Image sizes are multiples of the largest stride."""

SMALLEST_SIZE: Final = 64
"""Pixels; below it the last feature map is a single cell."""


class ShortTraining:
    """Trains and grades candidates on one data set; keeps its images decoded at each size."""

    def __init__(self, settings: ShortTrainingSettings, data: DataConfig) -> None:
        self._settings = settings
        self._data = data
        self._recipe = train_settings(settings)
        self._seed = None if settings.pretrained == "none" else load_seed(settings.pretrained)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        # Both parts at every size a space has: uint8, a few MB for the sizes of a proxy.
        self._load = lru_cache(maxsize=None)(self._load_part)

    @property
    def kind(self) -> str:
        """What was trained, for how long, and what was computed of it."""
        s = self._settings
        graded_on = "" if s.val_images is None else f", on at most {s.val_images} images"
        start = "" if self._seed is None else f" from {Path(self._seed.name).name}"
        return (
            f"short_training, mAP50-95 after {s.steps} steps of {s.batch_size} images"
            f" at {s.image_scale:.3g} x image size{start}{graded_on}"
        )

    def score(self, candidate: Candidate, seed: int) -> Score:
        """The validation mAP50-95 after the short training, with `seed` for weights and batches."""
        begin = time.perf_counter()
        at = at_scale(candidate, self._settings.image_scale)
        spec, size = at.spec, at.image_size
        train_set, val_set = self._load("train", size), self._load("val", size)
        try:
            map50_95, map50, spread = self._train(spec, train_set, val_set, seed)
            is_diverged = False
        except TrainingError:
            # Classes and sizes fit by construction: only the loss can have gone astray.
            map50_95, map50, spread, is_diverged = 0.0, 0.0, None, True
        return Score(
            score=map50_95,
            kind=self.kind,
            is_map=True,
            seconds=time.perf_counter() - begin,
            map50_95=map50_95,
            map50=map50,
            is_diverged=is_diverged,
            error=spread,
        )

    def _train(
        self, spec: ModelSpec, train_set: ImageSet, val_set: ImageSet, seed: int
    ) -> tuple[float, float, float | None]:
        """mAP50-95, its mAP50 and standard error. Raises TrainingError where the loss diverges."""
        assert spec.num_classes == self._data.num_classes, "a candidate has the data's classes"
        detector, rows = started(
            build_detector, spec, train_set, self._recipe, self._seed, seed_number=seed
        )
        trained = train(
            detector, train_set, None, self._recipe,
            seed=seed, device=self._device, whole_rows=rows,
        )  # fmt: skip
        grades, spread = evaluate_with_error(trained.detector, val_set, self._recipe.batch_size)
        return grades.map50_95, grades.map50, spread

    def _load_part(self, part: Part, image_size: ImageSize) -> ImageSet:
        found = load_part(self._data, part, image_size)
        count = self._settings.val_images
        return found if part == "train" or count is None else found.spread(count)


def train_settings(settings: ShortTrainingSettings) -> TrainSettings:
    """How nas.training is to train for the proxy: its own recipe for few steps."""
    recipe = short_settings(settings.steps)
    return replace(
        recipe,
        batch_size=settings.batch_size,
        lr=settings.lr or recipe.lr,
        frozen_stages=settings.frozen_stages,
        cpu_bf16=settings.cpu_bf16,
    )


def at_scale(candidate: Candidate, image_scale: float) -> Candidate:
    """The same architecture, with its anchors, at the image size that a proxy has for it."""
    size = proxy_image_size(candidate.image_size, image_scale)
    anchors = scale_anchors(candidate.spec.anchors, longest(size) / longest(candidate.image_size))
    return replace(candidate, spec=with_anchors(candidate.spec, anchors), image_size=size)


def proxy_image_size(image_size: ImageSize, image_scale: float) -> ImageSize:
    """The size that a candidate of `image_size` is trained at by the proxy.

    Each side the nearest multiple of the largest stride, at least SMALLEST_SIZE, never longer than
    that of `image_size`.
    """
    return scaled(image_size, image_scale, STRIDE, SMALLEST_SIZE)
