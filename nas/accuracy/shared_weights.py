"""The mAP of a candidate whose weights are read from one network, taught for all of them.

The network lies over the search space; it is taught on the training part before the search begins
(nas.accuracy.shared_teaching). A candidate reads its weights there, has its batch norm statistics
measured on a few augmented training batches, as BigNAS does (arXiv 2003.11142, section 3.5), and is
graded on the validation part, at `image_scale` of its own image size. So a grading costs no
training: its error is that the weights were taught for all candidates and not for this one.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch

from nas.accuracy.proxy import Score
from nas.accuracy.settings import SharedWeightsSettings
from nas.accuracy.short_training import at_scale
from nas.data.dataset import DataConfig, Part, load_part
from nas.data.images import ImageSet
from nas.detector.pretrained.recalibrate import recalibrate
from nas.space.image_size import ImageSize
from nas.space.search_space import Candidate
from nas.training.growth import GrowthSettings
from nas.training.metrics import evaluate_with_error, to_input
from nas.training.recipe import read_recipe
from nas.training.settings import TrainSettings
from nas.training.sharing.kept import read_shared
from nas.training.under_way import plan_of


class SharedWeights:
    """Grades candidates on one data set; keeps its images decoded at each size.

    prepared   the file of the shared weights, which are read once and never change
    """

    def __init__(self, settings: SharedWeightsSettings, data: DataConfig, prepared: Path) -> None:
        self._settings = settings
        self._data = data
        self._recipe = teaching_recipe(settings)
        self._supernet, values = read_shared(prepared)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._values = values.to(self._device)
        self._load = lru_cache(maxsize=None)(self._load_part)

    @property
    def kind(self) -> str:
        """What was taught, for how long, and what was computed of it."""
        s = self._settings
        graded_on = "" if s.val_images is None else f", on at most {s.val_images} images"
        start = "" if s.pretrained == "none" else f" from {Path(s.pretrained).name}"
        return (
            f"shared_weights, mAP50-95 with weights of one network taught for {s.steps} steps of"
            f" {s.batch_size} images at {s.image_scale:.3g} x image size{start}{graded_on}"
        )

    def score(self, candidate: Candidate, seed: int) -> Score:
        """The validation mAP50-95; `seed` draws the batches that statistics are measured on."""
        begin = time.perf_counter()
        scaled = at_scale(candidate, self._settings.image_scale)
        detector, _ = self._supernet.read(scaled.spec, self._values)
        detector.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        plan = plan_of(detector, self._load("train", scaled.image_size), self._recipe, seed)
        # Behind the last step: as the teaching ends, without mosaic.
        steps = range(plan.steps, plan.steps + self._settings.calibration_batches)
        recalibrate(detector, (to_input(plan.make(step)[0], self._device) for step in steps))
        part = self._load("val", scaled.image_size)
        grades, spread = evaluate_with_error(detector, part, self._settings.batch_size)
        return Score(
            score=grades.map50_95,
            kind=self.kind,
            is_map=True,
            seconds=time.perf_counter() - begin,
            map50_95=grades.map50_95,
            map50=grades.map50,
            error=spread,
        )

    def _load_part(self, part: Part, image_size: ImageSize) -> ImageSet:
        found = load_part(self._data, part, image_size)
        count = self._settings.val_images
        return found if part == "train" or count is None else found.spread(count)


def teaching_recipe(settings: SharedWeightsSettings) -> TrainSettings:
    """How the network is taught: by nas.train's recipe for weights that know pictures.

    In single precision on every processor, at each candidate's one size; gradients have one length
    there, and so are not clipped.
    """
    recipe = read_recipe("small", knows_pictures=settings.pretrained != "none")
    return replace(
        recipe,
        epochs=None,
        steps=settings.steps,
        batch_size=settings.batch_size,
        lr=settings.lr,
        clip_norm=0.0,
        frozen_stages=settings.frozen_stages,
        evaluate_every=0,
        cpu_bf16=False,
        growth=GrowthSettings(),
    )
