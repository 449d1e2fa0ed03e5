"""Teaching to the end: what a pick of the front, or an architecture of an audit, really reaches.

Under the recipe of nas.train, from the same weights, at the architecture's own image size. The
weights are kept, as a best.pt that nas.train, nas.evaluate and nas.export read.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch

from nas.accuracy.proxy import Score
from nas.accuracy.settings import SHARED, Finish, weights_file
from nas.data.dataset import DataConfig, Part, load_part
from nas.data.images import ImageSet
from nas.detector.pretrained.load import load_seed
from nas.space.image_size import ImageSize
from nas.space.search_space import Candidate
from nas.training.beginning import measure_norms, started
from nas.training.loop import TrainingError, train
from nas.training.on_disk.checkpoint import make_checkpoint, save_checkpoint
from nas.training.recipe import read_recipe
from nas.training.sharing.kept import read_shared


class FullTraining:
    """Teaches candidates on one data set; a `nas.accuracy.proxy.Proxy` of another length.

    pretrained  starter, lite2, none, or a file of weights
    folder      where the weights of each are kept; None keeps none
    shared      the file of weights that a search's candidates share: a candidate begins with its
                own of them, already taught on this data, instead of what `pretrained` has for it
    """

    def __init__(
        self,
        settings: Finish,
        pretrained: str,
        data: DataConfig,
        folder: Path | None,
        shared: Path | None = None,
    ) -> None:
        self._kind = settings.kind(pretrained if shared is None else SHARED)
        self._shared = None if shared is None else read_shared(shared)
        self._data = data
        self._folder = folder
        self._seed = None if pretrained == "none" else load_seed(pretrained)
        recipe = read_recipe(None, knows_pictures=self._seed is not None)
        self._recipe = replace(recipe, epochs=None, steps=settings.steps, evaluate_every=0)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._load = lru_cache(maxsize=2)(self._load_part)

    @property
    def kind(self) -> str:
        """How long it teaches, and from what."""
        return self._kind

    def score(self, candidate: Candidate, seed: int) -> Score:
        """The validation mAP50-95 at the end; the weights lie in `weights_file` then."""
        begin = time.perf_counter()
        train_set = self._load("train", candidate.image_size)
        val_set = self._load("val", candidate.image_size)
        detector, rows = started(
            self._recipe.build, candidate.spec, train_set, self._recipe, self._seed,
            seed_number=seed,
        )  # fmt: skip
        if self._shared is not None:
            # Its first rows may be frozen all the same: those of the shared weights were.
            supernet, values = self._shared
            read, _ = supernet.read(candidate.spec, values)
            detector.load_state_dict(read.state_dict())
            measure_norms(detector, train_set, self._recipe, seed_number=seed)
        map50_95, map50, is_diverged = 0.0, 0.0, False
        try:
            trained = train(
                detector, train_set, val_set, self._recipe,
                seed=seed, device=self._device, whole_rows=rows,
            )  # fmt: skip
        except TrainingError:
            is_diverged = True
        else:
            assert trained.grades is not None, "a training with a validation part is graded"
            map50_95, map50 = trained.grades.map50_95, trained.grades.map50
            if self._folder is not None:
                checkpoint = make_checkpoint(
                    trained.detector, self._data.names, candidate.image_size,
                    map50_95=map50_95, map50=map50,
                )  # fmt: skip
                save_checkpoint(weights_file(self._folder, candidate.digest, seed), checkpoint)
        return Score(
            score=map50_95,
            kind=self.kind,
            is_map=True,
            seconds=time.perf_counter() - begin,
            map50_95=map50_95,
            map50=map50,
            is_diverged=is_diverged,
        )

    def _load_part(self, part: Part, image_size: ImageSize) -> ImageSet:
        return load_part(self._data, part, image_size)
