"""What shared weights begin as: the faces of the supernet cut from weights that know pictures.

Their channels are ranked, the most important one first, so that a narrow candidate has the best of
them (once for all, arXiv 1908.09791, section 3.3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from nas.data.images import ImageSet
from nas.detector.pretrained.load import cut
from nas.detector.pretrained.seed import Seed
from nas.detector.supernet import Supernet
from nas.space.image_size import ImageSize
from nas.training.freezing import stage_rows
from nas.training.losses.priors import set_priors
from nas.training.settings import TrainSettings
from nas.training.under_way import plan_of

Load = Callable[[ImageSize], ImageSet]
"""The training part at an image size (pixels), decoded once."""


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """Shared weights (size,) before the first step, and the slots that stay as they are."""

    values: Tensor
    frozen: frozenset[str]


def begin(
    supernet: Supernet, weights: Seed | None, load: Load, settings: TrainSettings, seed: int
) -> Beginning:
    """Cuts every face from the weights, if any, and sets its head's biases to the data's rates.

    Frozen is what lies in the first `frozen_stages` stages, and came whole from the weights, in
    every face that has it. The faces hold all this afterwards.
    """
    held: set[str] = set()
    learning: set[str] = set()
    for face in supernet.faces:
        rows = 0
        if weights is not None:
            report = cut(weights, face.detector, order="ranked")
            rows = min(stage_rows(face.detector, settings.frozen_stages), len(report.freezable))
        part = load(face.candidate.image_size)
        set_priors(face.detector, plan_of(face.detector, part, settings, seed))
        for name, slot in face.slots.items():
            (held if int(name.split(".")[1]) < rows else learning).add(slot)
    values = supernet.gathered()
    supernet.scatter(values)
    return Beginning(values=values, frozen=frozenset(held - learning))
