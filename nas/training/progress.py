"""What a training says of itself while it runs, and what it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from nas import NasError
from nas.detector.builder import Detector
from nas.training.metrics import Grades

STATE_KEYS: Final = frozenset(
    {
        "average", "best", "laps", "optimizer", "scaler", "seed", "step", "steps", "updates",
        "weights",
    }
)  # fmt: skip
"""What a `LapEnd.state` holds."""


class TrainingError(NasError):
    """A training that can't go on: its loss is no longer finite, or its data don't suit it."""


@dataclass(frozen=True, kw_only=True)
class Lap:
    """What is known after a lap: the steps of a pass."""

    step: int
    """Steps done."""
    epoch: float
    """Passes over the training part done."""
    lr: float
    box: float
    """Mean over the lap of each part of the loss."""
    objectness: float
    classes: float
    map50_95: float | None
    """On the validation part, of the averaged weights; None where this lap wasn't graded."""
    map50: float | None
    seconds: float
    """Since the training's start or resumption, gradings included."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a training stands after a step."""

    step: int
    steps: int
    loss: float
    """Of this step, per image; on a GPU of the last tenth step, NaN before the first. Of shared
    weights the recent one, over all kinds of head."""
    lap: Lap | None
    """Set when a lap has just ended."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The end of a training."""

    detector: Detector
    """The averaged weights, in eval mode."""
    grades: Grades | None
    """On the validation part; None without one."""
    laps: tuple[Lap, ...]


@dataclass(frozen=True, kw_only=True)
class LapEnd:
    """What a callback may keep at the end of a lap."""

    detector: Detector
    """The averaged weights; they change on the next step."""
    grades: Grades | None
    laps: tuple[Lap, ...]
    is_best: bool
    """The best mAP50-95 so far, or no validation part to tell by."""
    state: Mapping[str, Any]
    """Tensors, numbers and text that `train` takes as `state` to go on from here."""
