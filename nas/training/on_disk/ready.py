"""Whether trainings can begin: what would stop them is said before the first step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from nas import NasError
from nas.data.images import ImageSet
from nas.detector.builder import Detector
from nas.space.image_size import longest
from nas.space.spec import parse_written
from nas.training.on_disk.checkpoint import Checkpoint
from nas.training.on_disk.folder import TrainingFolder
from nas.training.on_disk.written import check_room
from nas.training.progress import TrainingError
from nas.training.recipe import Recipe
from nas.training.under_way import head_grid

COPIES = 4
"""A last.pt holds the weights, their average and at most two moments of the optimiser."""


def check_trainings(
    run: Path,
    trainings: Sequence[TrainingFolder],
    recipe: Recipe,
    start: Checkpoint | None,
    train_set: ImageSet,
) -> None:
    """Raises NasError where one of the trainings couldn't begin, go on, or be kept."""
    kept, largest = 0, 0
    for training in trainings:
        training.check()
        with torch.random.fork_rng(devices=[]):
            detector = recipe.build(parse_written(training.model, str(training.folder)))
        _check_batches(detector, training.name, recipe, train_set)
        if training.state() is None and start is not None:
            fitting_weights(start, detector, training.name)
        weight_bytes = sum(value.nbytes for value in detector.state_dict().values())
        there = sum(file.stat().st_size for file in (training.best, training.last) if file.exists())
        kept += max(0, (1 + COPIES) * weight_bytes - there)
        largest = max(largest, COPIES * weight_bytes)
    # Each file is written beside the old one before it takes its place.
    check_room(run, kept + largest)


def _check_batches(detector: Detector, name: str, recipe: Recipe, train_set: ImageSet) -> None:
    """Raises TrainingError where the image size or the batches don't suit the detector."""
    grid = head_grid(detector, train_set.image_size)
    count = len(train_set)
    smallest = recipe.batch_size
    if recipe.epochs is not None:
        smallest = math.floor(count / recipe.epoch_steps(count))
    stride = max(grid.strides)
    size = recipe.growth.size_at(0, recipe.total_steps(count), train_set.image_size, stride)
    if smallest == 1 and longest(size) == stride:
        raise TrainingError(
            name,
            "batch norm needs more than one value a channel",
            f"batches of one image, whose last map at {size} px is a single cell",
            f"Train at {2 * stride} px or more from the first step on, or with more images",
        )


def fitting_weights(start: Checkpoint, detector: Detector, name: str) -> Mapping[str, Tensor]:
    """The checkpoint's weights that fit by name and shape; NasError where none does."""
    own = detector.state_dict()
    fitting = {
        key: value
        for key, value in start.weights.items()
        if key in own and own[key].shape == value.shape and not key.endswith("anchors")
    }
    if not fitting:
        raise NasError(
            "--weights",
            "at least one of its weights fits the model by name and shape",
            "none",
            f"Give weights of the same architecture as {name}",
        )
    return fitting
