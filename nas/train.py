"""Trains detectors on a data set, for as long as they deserve.

    python -m nas.train runs/a/models/NAME.yaml --data my.yaml
    python -m nas.train MODEL.yaml OTHER.yaml --data my.yaml --seeds 0 1 2 --epochs 50

Each model and seed gets a folder in runs/<run>/ with best.pt, last.pt and metrics.csv. After Ctrl-C
or a kill the same command goes on from the last epoch, and so does `--resume runs/<run>`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from nas import NasError
from nas.terminal import command_line

if TYPE_CHECKING:
    from nas.space.spec import ModelSpec
    from nas.training.checkpoint import Checkpoint
    from nas.training.dataset import DataConfig
    from nas.training.folder import RunSettings, TrainingFolder
    from nas.training.images import ImageSet
    from nas.training.metrics import Grades
    from nas.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Train detectors on a data set; the same command resumes."""

    models: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Model YAMLs in YOLOv5 form; classes, and anchors that fit poorly, are the data's."""
    data: str = "shapes"
    """A YOLO data.yaml, or `shapes`, the built-in drawn data set."""
    epochs: int | None = None
    """Passes over the training part; by default the recipe's, or 100."""
    image_size: int = 320
    """Pixels of the square image, a multiple of 32."""
    weights: Path | None = None
    """A best.pt to start from: all weights that fit by name and shape."""
    recipe: Path | None = None
    """A YAML of every other knob: see nas/training/settings.py and recipe.py."""
    seeds: tuple[int, ...] = (0,)
    """Seeds; each model is trained once with each."""
    run: str | None = None
    """The run's name, or its folder; by default from the other flags, so that they resume it."""
    resume: Path | None = None
    """The folder of an interrupted run, to go on with as it was begun; no other flag is given."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One model to be trained with one seed."""

    name: str
    spec: ModelSpec
    seed: int
    files: TrainingFolder


def run(arguments: Arguments) -> None:
    """Reads and checks everything, trains each model with each seed, and prints their grades."""
    from nas.training.dataset import load_part, read_data
    from nas.training.folder import open_run

    folder, settings, seeds, models = begin(arguments)
    data = read_data(settings.data)
    start, specs = read_start(settings), read_models(models, data, settings)
    train_set = load_part(data, "train", settings.image_size, threads=cores())
    val_set = load_part(data, "val", settings.image_size, threads=cores())
    open_run(folder, settings)
    jobs = [
        make_job(folder, name, fit_to(spec, name, train_set), seed, data, settings)
        for name, spec in specs.items()
        for seed in seeds
    ]
    for job in jobs:
        train_one(job, settings, start, train_set, val_set)
    show(jobs, data, settings.image_size)


def begin(arguments: Arguments) -> tuple[Path, RunSettings, tuple[int, ...], tuple[Path, ...]]:
    """The run's folder, its settings, seeds and models: as asked for, or as it was begun."""
    from nas.training.dataset import read_data
    from nas.training.folder import RunSettings, read_run, started
    from nas.training.recipe import read_recipe

    if arguments.resume is not None:
        if arguments != Arguments(resume=arguments.resume):
            raise NasError(
                "--resume", "a run is resumed as it was begun", "other flags beside it",
                "Give --resume alone, or the command that began the run",
            )  # fmt: skip
        settings = read_run(arguments.resume)
        seeds, models = started(arguments.resume)
        return arguments.resume, settings, seeds, models
    check(arguments)
    data = read_data(arguments.data)
    recipe = read_recipe(arguments.recipe, arguments.epochs)
    is_built_in = arguments.data == data.name
    weights = arguments.weights
    settings = RunSettings(
        data=arguments.data if is_built_in else str(Path(arguments.data).resolve()),
        data_digest=data.digest,
        image_size=arguments.image_size,
        weights=None if weights is None else str(weights.resolve()),
        recipe=asdict(recipe),
    )
    return folder_of(arguments, data, recipe), settings, arguments.seeds, arguments.models
