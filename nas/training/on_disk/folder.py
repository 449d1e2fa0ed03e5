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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import TypeAdapter

from nas.documents import read_yaml
from nas.space.image_size import KeptSize, written
from nas.training.on_disk.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    make_checkpoint,
    save_checkpoint,
)
from nas.training.on_disk.written import LOCK, FolderError, held, write_text
from nas.training.progress import STATE_KEYS, Lap, LapEnd

FORMAT: Final = 2
"""Of settings.yaml. 1: the first. 2: with `pretrained`, which was none before."""

SETTINGS: Final = "settings.yaml"

BEGIN_AGAIN: Final = "Delete it: this training then begins again, and the others go on"


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What all trainings of a run share. They resume, and compare, only where it is equal."""

    data: str
    """`shapes`, or the absolute path of the data.yaml."""
    data_digest: str
    image_size: int | str
    """As it is written: 320, or 320x192."""
    weights: str | None
    """The absolute path of the checkpoint that all began with."""
    pretrained: str
    """starter, lite2, none, or the absolute path of the file that all were cut from."""
    recipe: dict[str, Any]
    """nas.training.recipe.Recipe as a mapping."""


@contextmanager
def open_run(folder: Path, settings: RunSettings) -> Iterator[None]:
    """Begins a run in a folder, or goes on with the one there, which has the same settings.

    One process at a time: a second one is refused (FolderError) before it changes anything. The
    lock goes with the process that holds it, however that ends.
    """
    _check_files(folder, settings)
    with held(folder, "nas.train"):
        path = folder / SETTINGS
        _check_files(folder, settings)
        if not path.exists():
            write_text(path, yaml.safe_dump({"format": FORMAT} | asdict(settings), sort_keys=False))
        yield


def check_run(folder: Path, settings: RunSettings) -> None:
    """FolderError where the run can neither begin in this folder nor go on there, now."""
    _check_files(folder, settings)
    if (folder / LOCK).exists():
        with held(folder, "nas.train"):
            pass


def _check_files(folder: Path, settings: RunSettings) -> None:
    """FolderError where the folder holds something else, or a run of other settings."""
    try:
        names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise FolderError(
            str(folder),
            "a run has a folder of its own",
            error.strerror or str(error),
            "Name another --run",
        ) from error
    if SETTINGS in names:
        _compare(folder / SETTINGS, asdict(read_run(folder)), asdict(settings))
    elif names - {LOCK}:
        raise FolderError(
            str(folder), "a new run begins in an empty folder", "other files", "Name another --run"
        )


def read_run(folder: Path) -> RunSettings:
    """The settings that a run was begun with. Raises FolderError."""
    path = folder / SETTINGS
    names = {field.name for field in fields(RunSettings)}
    document = _read_mapping(path, f"the {SETTINGS} of a training run")
    try:
        version = document.pop("format", None)
        if version == 1:
            document["pretrained"] = "none"
        if version not in (1, FORMAT) or set(document) != names:
            raise ValueError("another format")
        return TypeAdapter(RunSettings).validate_python(document)
    except ValueError as error:  # pydantic's too
        raise FolderError(
            str(path),
            f"a training run's settings have format {FORMAT} and its keys",
            "something else",
            "Name the folder that this version of nas.train wrote",
        ) from error


def _read_mapping(path: Path, what: str) -> dict[str, Any]:
    """The mapping in a YAML file of a run's folder; FolderError where none can be read."""
    document = read_yaml(path, what, FolderError)
    return document if isinstance(document, dict) else {}


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
    """The trainings that a run's folder holds, done or not, in the order of their names.

    Raises FolderError where one of them can't be read, or there is none.
    """
    trainings = []
    for path in sorted(run.glob("*/model.yaml")):
        document = _read_mapping(path.with_name("training.yaml"), "a training's own training.yaml")
        try:
            model = path.read_text(encoding="utf-8")
            document |= {"folder": path.parent, "model": model}
            trainings.append(TypeAdapter(TrainingFolder).validate_python(document))
        except (OSError, ValueError) as error:
            raise FolderError(
                str(path.parent),
                "a training's folder holds model.yaml and training.yaml as nas.train wrote them",
                "something else",
                "Delete this folder, and repeat the command that began the run",
            ) from error
    if not trainings:
        raise FolderError(
            str(run),
            "a run that goes on has at least one training",
            "none",
            "Repeat the command that began the run",
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
    image_size: KeptSize

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

    def check(self) -> None:
        """FolderError where another model is trained here already."""
        path = self.folder / "model.yaml"
        try:
            is_other = self._is_begun() and path.read_text(encoding="utf-8") != self.model
        except (OSError, UnicodeDecodeError):
            is_other = True
        if is_other:
            raise FolderError(
                str(path),
                "a training goes on with the model that it began with",
                "another architecture, or other classes or anchors",
                "Rename the model, or name another --run",
            )

    def begin(self) -> None:
        """Writes down what is to be trained, unless the same stands there already."""
        self.check()
        if not self._is_begun():
            document = {
                "seed": self.seed,
                "names": list(self.names),
                "image_size": written(self.image_size),
            }
            write_text(self.folder / "training.yaml", yaml.safe_dump(document, sort_keys=False))
            write_text(self.folder / "model.yaml", self.model)

    def _is_begun(self) -> bool:
        return all((self.folder / name).exists() for name in ("model.yaml", "training.yaml"))

    def state(self) -> Mapping[str, Any] | None:
        """What `train` takes to go on from here; None if nothing was done yet."""
        if not self.last.exists():
            return None
        try:
            state = load_checkpoint(self.last).training
        except CheckpointError as error:
            raise FolderError(error.where, error.rule, error.got, BEGIN_AGAIN) from error
        missing = sorted(STATE_KEYS - set(state or ()))
        if state is None or missing:
            raise FolderError(
                str(self.last),
                "a last.pt holds what going on takes",
                f"none of its {', '.join(missing)}",
                BEGIN_AGAIN,
            )
        return state

    def keep(self, standing: LapEnd) -> None:
        """Writes the files at the end of a lap; last.pt, which a resumption trusts, comes last."""
        if standing.is_best:
            save_checkpoint(self.best, self._checkpoint(standing))
        write_text(self.folder / "metrics.csv", _table(standing.laps))
        save_checkpoint(self.last, self._checkpoint(standing, standing.state))

    def _checkpoint(
        self, standing: LapEnd, training: Mapping[str, Any] | None = None
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
