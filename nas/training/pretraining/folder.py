"""The folder in which a starter is taught: what it was begun with, and where it stands."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import TypeAdapter

from nas.documents import read_yaml
from nas.training.on_disk.checkpoint import (
    CheckpointError,
    load_checkpoint,
    make_checkpoint,
    save_checkpoint,
)
from nas.training.on_disk.written import LOCK, FolderError, held, unusable, write_text
from nas.training.progress import LapEnd

FORMAT: Final = 1
"""Of starter.yaml. 1: the first."""

SETTINGS: Final = "starter.yaml"
LAST: Final = "last.pt"

KEPT_EVERY_S: Final = 60.0
"""Seconds between two writings of last.pt, which is some 80 MB; the end is always kept."""


@dataclass(frozen=True, kw_only=True)
class PretrainSettings:
    """What a teaching was begun with; it goes on only with the same."""

    data: list[str]
    """Absolute paths, `shapes` or `drawings`, in the order that class numbers follow."""
    digests: list[str]
    space: str
    space_digest: str
    image_size: int
    seed: int
    recipe: dict[str, Any]
    minutes: float | None
    """For how long, where the number of steps was to follow from the machine's speed."""


@dataclass(kw_only=True)
class PretrainFolder:
    """A folder of one teaching. Only one process at a time may hold it (`held`)."""

    folder: Path
    settings: PretrainSettings
    steps: int | None = None
    """In all; of a teaching by minutes known once it was begun."""
    kept_at: float = field(default=-KEPT_EVERY_S, compare=False)

    @property
    def starter(self) -> Path:
        """The finished starter's file."""
        return self.folder / "starter.pt"

    @property
    def last(self) -> Path:
        """Where the teaching stands."""
        return self.folder / LAST

    def check(self) -> None:
        """Reads what the folder holds. FolderError where that is something else than this."""
        path = self.folder / SETTINGS
        if not path.exists():
            try:
                others = self.folder.is_dir() and {p.name for p in self.folder.iterdir()} - {LOCK}
            except OSError as error:
                raise unusable(self.folder, error) from error
            if others or (self.folder.exists() and not self.folder.is_dir()):
                raise FolderError(
                    str(self.folder), "a new starter is taught in an empty folder", "other files",
                    "Name another --run",
                )  # fmt: skip
            return
        old, self.steps = _read(path)
        for name, value in asdict(self.settings).items():
            if old[name] != value:
                raise FolderError(
                    f"{path}: {name}", f"it goes on with what it began with ({old[name]!r})",
                    repr(value), "Give it that, or name another --run",
                )  # fmt: skip

    def begin(self, steps: int) -> None:
        """Writes down what is to be done."""
        self.steps = steps
        document = {"format": FORMAT, "steps": steps} | asdict(self.settings)
        write_text(self.folder / SETTINGS, yaml.safe_dump(document, sort_keys=False))

    def held(self) -> AbstractContextManager[None]:
        """The folder for this process alone. FolderError where another one has it."""
        return held(self.folder, "nas.pretrain")

    def state(self) -> Mapping[str, Any] | None:
        """The loop's state to go on from; None where nothing was kept. FolderError."""
        if not self.last.exists():
            return None
        try:
            found = load_checkpoint(self.last).training
        except CheckpointError as error:
            raise FolderError(
                error.where, error.rule, error.got, "Delete it: the teaching then begins again"
            ) from error
        return found

    def keep(self, end: LapEnd, names: tuple[str, ...], image_size: int) -> None:
        """Writes down where the teaching stands, not too often."""
        now = time.monotonic()
        is_over = end.state["step"] == end.state["steps"]
        if not is_over and now - self.kept_at < KEPT_EVERY_S:
            return
        save_checkpoint(
            self.last, make_checkpoint(end.detector, names, image_size, training=end.state)
        )
        self.kept_at = now


def _read(path: Path) -> tuple[dict[str, Any], int]:
    """The settings in a file, and the steps beside them."""
    document = read_yaml(path, f"the {SETTINGS} of a starter", FolderError)
    try:
        values = dict(document)
        steps = values.pop("steps")
        if values.pop("format") != FORMAT or type(steps) is not int:
            raise ValueError
        known = {one.name for one in fields(PretrainSettings)}
        if set(values) != known:
            raise ValueError
        return asdict(TypeAdapter(PretrainSettings).validate_python(values)), steps
    except (ValueError, KeyError, TypeError) as error:  # pydantic's too
        raise FolderError(
            str(path), f"a starter's settings have format {FORMAT} and its keys", "something else",
            "Name the folder that this version of nas.pretrain wrote",
        ) from error  # fmt: skip
