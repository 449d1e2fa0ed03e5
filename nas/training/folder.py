"""The folder of a training run: what it was begun with, and each training's files.

    runs/NAME/settings.yaml              what all trainings in it share
              MODEL-s0/model.yaml        what is trained: classes and anchors are the data's
                       training.yaml     with which seed
                       best.pt           the best weights on the validation part
                       last.pt           the newest, and all that going on takes
                       metrics.csv       a row for each grading

The same command goes on where a run was stopped, or adds a model or a seed; with other data or
another recipe it is refused, since its figures would not compare.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import yaml

from nas import NasError
from nas.documents import read_yaml
from nas.training.checkpoint import Checkpoint, load_checkpoint, make_checkpoint, save_checkpoint
from nas.training.progress import Lap, Standing

FORMAT: Final = 1
"""Of settings.yaml. 1: the first."""

SETTINGS: Final = "settings.yaml"


class FolderError(NasError):
    """A run folder that holds something else than what is to be done in it."""


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What all trainings of a run share. They resume, and compare, only where it is equal."""

    data: str
    """`shapes`, or the absolute path of the data.yaml."""
    data_digest: str
    image_size: int
    weights: str | None
    """The absolute path of the checkpoint that all began with."""
    recipe: dict[str, Any]
    """nas.training.recipe.Recipe as a mapping."""


def open_run(folder: Path, settings: RunSettings) -> None:
    """Begins a run in a folder, or makes sure that the one there has the same settings."""
    path = folder / SETTINGS
    if path.exists():
        _compare(path, asdict(read_run(folder)), asdict(settings))
        return
    if folder.exists() and any(folder.iterdir()):
        raise FolderError(
            str(folder), "a new run begins in an empty folder", "other files", "Name another --run"
        )
    write_text(path, yaml.safe_dump({"format": FORMAT} | asdict(settings), sort_keys=False))


def read_run(folder: Path) -> RunSettings:
    """The settings that a run was begun with. Raises FolderError."""
    path = folder / SETTINGS
    document = read_yaml(path, f"the {SETTINGS} of a training run", FolderError)
    names = {field.name for field in fields(RunSettings)}
    if not isinstance(document, dict) or document.pop("format", None) != FORMAT:
        document = {}
    if set(document) != names:
        raise FolderError(
            str(path),
            f"a training run's settings have format {FORMAT}",
            "something else",
            "Name the folder that this version of nas.train wrote",
        )
    return RunSettings(**document)


def _compare(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raises FolderError with the first setting that differs."""
    for key, value in _flat(new).items():
        before = _flat(old).get(key)
        if before != value:
            raise FolderError(
                f"{path}: {key}",
                f"a run goes on with the settings that it began with ({before!r})",
                repr(value),
                "Give it those, or name another --run",
            )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping with its keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def read_trainings(run: Path) -> list[TrainingFolder]:
    """The trainings that a run's folder holds, done or not, in the order of their names."""
    trainings = []
    for path in sorted(run.glob("*/model.yaml")):
        settings = path.parent / "training.yaml"
        document = read_yaml(settings, "a training's own settings", FolderError)
        trainings.append(
            TrainingFolder(
                folder=path.parent,
                model=path.read_text(encoding="utf-8"),
                seed=document["seed"],
                names=tuple(document["names"]),
                image_size=document["image_size"],
            )
        )
    return trainings


@dataclass(frozen=True, kw_only=True)
class TrainingFolder:
    """The files of one model trained with one seed."""

    folder: Path
    model: str
    """The model YAML to be trained, classes and anchors included."""
    seed: int
    names: tuple[str, ...]
    """The class names."""
    image_size: int

    @property
    def name(self) -> str:
        """What reports call this training."""
        return self.folder.name

    @property
    def best(self) -> Path:
        return self.folder / "best.pt"

    @property
    def last(self) -> Path:
        return self.folder / "last.pt"

    def begin(self) -> None:
        """Writes down what is to be trained, unless the same stands there already."""
        path = self.folder / "model.yaml"
        if not path.exists():
            document = {"seed": self.seed, "names": list(self.names), "image_size": self.image_size}
            write_text(self.folder / "training.yaml", yaml.safe_dump(document, sort_keys=False))
            write_text(path, self.model)
        elif path.read_text(encoding="utf-8") != self.model:
            raise FolderError(
                str(path),
                "a training goes on with the model that it began with",
                "another architecture, or other classes or anchors",
                "Rename the model, or name another --run",
            )

    def state(self) -> Mapping[str, Any] | None:
        """What `train` takes to go on from here; None if nothing was done yet."""
        if not self.last.exists():
            return None
        return load_checkpoint(self.last).training

    def keep(self, standing: Standing) -> None:
        """Writes the files at the end of a lap; last.pt, which a resumption trusts, comes last."""
        if standing.is_best:
            save_checkpoint(self.best, self._checkpoint(standing))
        write_text(self.folder / "metrics.csv", _table(standing.laps))
        save_checkpoint(self.last, self._checkpoint(standing, standing.state))

    def _checkpoint(
        self, standing: Standing, training: Mapping[str, Any] | None = None
    ) -> Checkpoint:
        grades = standing.grades
        return make_checkpoint(
            standing.detector,
            self.names,
            self.image_size,
            map50_95=None if grades is None else grades.map50_95,
            map50=None if grades is None else grades.map50,
            training=training,
        )


def _table(laps: tuple[Lap, ...]) -> str:
    """The laps as CSV, one row each."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Lap)], lineterminator="\n")
    writer.writeheader()
    for lap in laps:
        row = asdict(lap)
        writer.writerow(
            {
                key: f"{value:.6g}" if isinstance(value, float) else value
                for key, value in row.items()
            }
        )
    return text.getvalue()


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
