"""NASWOT: how differently an untrained network answers to different pictures.

Neural architecture search without training (arXiv 2006.04647, section 3): every activation says of
every picture whether what it reads is above zero. Two pictures agree in so many of these signs; the
logarithm of the determinant of that matrix of agreements is high where the pictures are told apart.
Written for ReLU; of other activations the same sign is taken, at which they bend most.
"""

from __future__ import annotations

import time
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from nas.accuracy.proxy import Score
from nas.accuracy.settings import NaswotSettings
from nas.data.dataset import DataConfig, load_part
from nas.data.images import ImageSet
from nas.detector.builder import build_detector
from nas.space.image_size import ImageSize
from nas.space.modules import ACTIVATIONS
from nas.space.search_space import Candidate
from nas.training.metrics import to_input

JITTER = 1e-3
"""Added to the diagonal, as a share of it: equal pictures have no determinant."""


class Naswot:
    """Looks at training pictures with freshly initialised candidates, at their own image size."""

    def __init__(self, settings: NaswotSettings, data: DataConfig) -> None:
        self._settings = settings
        self._data = data
        self._load = lru_cache(maxsize=None)(self._load_part)

    @property
    def kind(self) -> str:
        """What was looked at."""
        return f"naswot, not a mAP: log-determinant over {self._settings.images} training images"

    def score(self, candidate: Candidate, seed: int) -> Score:
        """The log-determinant, with `seed` for weights and the choice of pictures."""
        begin = time.perf_counter()
        part = self._load(candidate.image_size)
        count = min(self._settings.images, len(part))
        chosen = np.random.default_rng(seed).choice(len(part), count, replace=False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            detector = build_detector(candidate.spec).train()
        agreed = agreements(detector, to_input(part.images[np.sort(chosen)], torch.device("cpu")))
        agreed += JITTER * agreed.diagonal().mean() * torch.eye(count, dtype=agreed.dtype)
        return Score(
            score=float(torch.linalg.slogdet(agreed).logabsdet),
            kind=self.kind,
            is_map=False,
            seconds=time.perf_counter() - begin,
        )

    def _load_part(self, image_size: ImageSize) -> ImageSet:
        return load_part(self._data, "train", image_size)


@torch.no_grad()
def agreements(network: nn.Module, images: Tensor) -> Tensor:
    """(B, B) float64: in how many activations' signs each two of the images (B, 3, H, W) agree."""
    total = torch.zeros(len(images), len(images), dtype=torch.float64)

    def look(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        signs = (inputs[0] > 0).flatten(1).float()
        both = signs @ signs.T + (1 - signs) @ (1 - signs).T
        total.add_(both.double())

    hooks = [
        module.register_forward_pre_hook(look)
        for module in network.modules()
        if type(module).__name__ in ACTIVATIONS
    ]
    try:
        network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return total
