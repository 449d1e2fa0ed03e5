"""A run's folder: what it was begun with, who may write in it, whether a search may go on in it.

    runs/NAME/settings.yaml   everything the search ran with
              study.db        every trial (nas.study.on_disk.record)
              warm_start.json what was taken over of earlier runs (nas.study.on_disk.warm_start)
              trials.csv, pareto.json, pareto.csv, pareto.html, models/   (nas.report.files)
              failures.txt    why gradings failed, where some did   (nas.report.files)

A search goes on in a folder if, and only if, it would ask for the same trials and give them the
same numbers: same space, data, latency model, limits, proxy, sampler and seed. The budget may grow,
versions may change (and are warned of), everything else is an error that names the difference.
"""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
import yaml
from filelock import FileLock, Timeout
from pydantic import Field, ValidationError

import nas
from nas.accuracy import ProxySettings
from nas.documents import Strict, read_yaml
from nas.files import write_whole, writing
from nas.latency.answer import LatencyKind, LatencyModel
from nas.latency.device import TableKey
from nas.space.search_space import SearchSpace
from nas.study.on_disk.folder import RunError, check_folder
from nas.study.sampling import SamplerName

logger = logging.getLogger(__name__)

FORMAT: Final = 2
"""Version of settings.yaml. 1: the first; `latency.kind`, `baselines` and `study`, which may lack,
came later. 2: with what the proxy's candidates are cut from, which was nothing before."""

PROBES: Final = 16
"""Candidates that a latency model is told apart by."""

LIBRARIES: Final = ("torch", "optuna", "numpy", "opencv-python-headless", "faster-coco-eval")
"""Whose versions settings.yaml keeps."""

MAY_CHANGE: Final = (
    "budget",
    "versions",
    "begun",
    "study",
    "latency.kind",
    "baselines",
    "proxy.workers",
    "proxy.regrade",
    "proxy.baselines",
    "proxy.in_flight",
    "proxy.finish",
    "space.where",
    "data.where",
)
"""What a search may be resumed with another value of: no trial depends on it. (The proxy's
`in_flight` is what was wished; the `in_flight` that holds is compared.)"""


ADDED: Final = ("boards", "ways", "weighed")
"""What does not count in a study's identity where it is empty: runs were begun without it."""


class SpaceSettings(Strict):
    """Which space; the digest is of its content.

    where  its name or file, as --space takes it; None in a run begun before that was kept
    """

    name: str
    digest: str
    where: str | None = None


class DataSettings(Strict):
    """Which data, and what its training part gave the candidates.

    anchors   in pixels at nas.study.candidates.REFERENCE_SIZE
    where     `shapes`, or the whole path of its data.yaml; None in a run begun before that was kept
    """

    name: str
    digest: str
    names: tuple[str, ...]
    anchors: tuple[tuple[float, ...], ...]
    where: str | None = None


class LatencySettings(Strict):
    """Which latency model; the fingerprint is of what it predicts for this space.

    kind  what its answers are; None in a run begun before that was kept
    """

    device: str
    runtime: str
    precision: str
    threads: int
    fingerprint: str
    kind: LatencyKind | None = None

    @property
    def key(self) -> TableKey:
        """Whose table it is."""
        return TableKey(
            device=self.device, runtime=self.runtime, precision=self.precision,
            threads=self.threads,
        )  # fmt: skip


class Settings(Strict):
    """settings.yaml: everything that a search ran with.

    limits  what else a candidate may have at most, by the names of nas.study.limits
    warm_start  folder of each earlier run that it builds on, by the digest of what was taken over
    ways    other latency models of the same board: of all each detector takes the fastest
    boards  the latency models of the search's other boards, whose limits stand in `limits`
    weighed  those of them, by name, whose latency is an objective beside the first board's
    study  the study's name in its storage, by which the run is known wherever its folder goes;
           None in a run begun before that was kept
    seed_weights  16 digits of the SHA-256 of the file that the proxy's candidates are cut from, so
                  that no run goes on with other weights of the same name; None where there is none
    """

    format: Literal[2]
    space: SpaceSettings
    data: DataSettings
    latency: LatencySettings
    max_latency_ms: float | None
    limits: dict[str, float] = Field(default_factory=dict)
    ways: tuple[LatencySettings, ...] = ()
    boards: tuple[LatencySettings, ...] = ()
    weighed: tuple[str, ...] = ()
    proxy: ProxySettings
    sampler: SamplerName
    seed: int
    in_flight: Annotated[int, Field(ge=1)]
    warm_start: dict[str, str] = Field(default_factory=dict)
    storage: str
    study: str | None = None
    seed_weights: str | None = None
    baselines: bool = True
    budget: int
    versions: dict[str, str]
    begun: str


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run's folder, held by this process, and what is done in it; `open_run` makes one."""

    folder: Path
    settings: Settings
    is_new: bool


def versions() -> dict[str, str]:
    """Versions of what a trial's result may depend on."""
    found = {"nas": nas.__version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def read_settings(folder: Path) -> Settings:
    """The settings of an existing run. Raises RunError."""
    path = folder / "settings.yaml"
    if not path.exists():
        raise RunError(str(folder), "the folder is a run's: it has a settings.yaml", "none")
    document = read_yaml(path, "the run's settings", RunError)
    if isinstance(document, dict) and document.get("format") == 1:
        document = _of_format_1(document)
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RunError(
            f"{path}, {place}",
            first["msg"][0].lower() + first["msg"][1:],
            "nothing" if first["type"] == "missing" else repr(first["input"]),
            "The file was edited, or is of another version: name another --run",
        ) from None


def _of_format_1(document: dict[str, Any]) -> dict[str, Any]:
    """The same settings in today's format: a short training began with nothing then."""
    proxy = document.get("proxy")
    if isinstance(proxy, dict) and proxy.get("kind") == "short_training":
        proxy = {"pretrained": "none", "frozen_stages": 0} | proxy
    return {**document, "format": FORMAT, "proxy": proxy}


def fingerprint(model: LatencyModel, space: SearchSpace) -> str:
    """16 hex digits of what a latency model predicts for a space.

    Taken from a few seeded candidates, to six digits: a table that was measured further, or fitted
    anew, gives another one, and the times of two trials could not be compared any more.
    """
    rng = np.random.default_rng(0)
    state = hashlib.sha256()
    for _ in range(PROBES):
        candidate = space.random(rng)
        state.update(f"{model.predict(candidate.spec, candidate.image_size).ms:.6g} ".encode())
    return state.hexdigest()[:16]


@contextmanager
def open_run(folder: Path, settings: Settings) -> Iterator[Run]:
    """The run in `folder`, new or resumed, and nobody else's while the context lasts.

    NasError where it can't be written in, where another search holds it, where it belongs to other
    settings, or where it is no run's and not empty. Nothing is written in those cases.
    """
    check_folder(folder)
    is_known = (folder / "settings.yaml").exists()
    if not is_known and folder.exists() and any(p.name != ".lock" for p in folder.iterdir()):
        raise RunError(
            str(folder),
            "a new run's folder is empty",
            "a folder with files but no settings.yaml",
            "Name another --run",
        )
    with writing(folder, "Name another --run"):
        folder.mkdir(parents=True, exist_ok=True)
    with held(folder):
        before = read_settings(folder) if (folder / "settings.yaml").exists() else None
        if before is not None:
            _check_same(before, settings, folder)
            _warn_of_versions(before.versions, settings.versions)
            settings = before.model_copy(
                update={
                    "budget": max(before.budget, settings.budget),
                    "proxy": settings.proxy,
                    "baselines": settings.baselines,
                }
            )
        if settings != before:
            _write_settings(settings, folder)
        yield Run(folder=folder, settings=settings, is_new=before is None)


def remember_study(run: Run, name: str) -> Run:
    """The run, whose settings.yaml says its study's name from now on."""
    settings = run.settings.model_copy(update={"study": name})
    _write_settings(settings, run.folder)
    return replace(run, settings=settings)


def forget(run: Run) -> None:
    """Takes away what a new run has written, before anything was searched in it."""
    assert run.is_new, "what was searched before is kept"
    for path in (*run.folder.glob("study.db*"), run.folder / "settings.yaml"):
        path.unlink(missing_ok=True)
    if all(path.name == ".lock" for path in run.folder.iterdir()):
        shutil.rmtree(run.folder)


def _write_settings(settings: Settings, folder: Path) -> None:
    document = settings.model_dump(mode="json")
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    with writing(folder):
        write_whole(folder / "settings.yaml", text)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Holds the folder's lock, which the system takes back however the process ends.

    RunError where another process holds it.
    """
    lock = FileLock(folder / ".lock", thread_local=False)
    try:
        with writing(folder, "Name another --run"):
            _acquire(lock, folder)
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, folder: Path) -> None:
    try:
        lock.acquire(timeout=0)
    except Timeout:  # which is an OSError too
        raise RunError(
            str(folder),
            "one search at a time writes in a run's folder",
            "a folder that another one holds",
            "Wait for it, or name another --run",
        ) from None


def identity(settings: Settings) -> str:
    """16 hex digits of what the trials of a run depend on: a study is of one such identity."""
    lasting = _lasting(settings)
    # A run of an earlier version lacks what was added since, and goes on.
    kept = {k: v for k, v in lasting.items() if k != "storage" and (k not in ADDED or v)}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def _check_same(before: Settings, now: Settings, folder: Path) -> None:
    """RunError where the two would not ask for the same trials; it names every difference."""
    old, new = _lasting(before), _lasting(now)
    differing = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    if differing == ["latency.fingerprint"]:
        raise _other_table(before, now, folder)
    if differing:
        told = [
            f"{key}: {_short(old.get(key, 'nothing'))} there, {_short(new.get(key, 'nothing'))} now"
            for key in differing
        ]
        # What can be read at a glance first; anchors after it.
        listed = "; ".join(sorted(told, key=lambda text: "..." in text))
        raise RunError(
            str(folder),
            "a run goes on with the settings that it was begun with",
            listed,
            "Repeat those settings to resume it, or begin another run with --run NAME",
        )


def _other_table(before: Settings, now: Settings, folder: Path) -> RunError:
    """Where nothing but the latency table has changed: measured since, measured further, remade."""
    kinds = [
        "of a table" if s.latency.kind is None else f"{s.latency.kind.value} ones"
        for s in (before, now)
    ]
    changed = " another table of the same key" if kinds[0] == kinds[1] else f" {kinds[1]} now"
    return RunError(
        str(folder),
        "all latencies of a run come from one table",
        f"{kinds[0]} there, and{changed} (latency.fingerprint: {before.latency.fingerprint} there, "
        f"{now.latency.fingerprint} now)",
        "Begin another run on the new table with --run NAME",
    )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _lasting(settings: Settings) -> dict[str, Any]:
    """The settings that trials depend on, by dotted keys."""
    return {
        key: value
        for key, value in _flat(settings.model_dump(mode="json")).items()
        if not any(key == name or key.startswith(f"{name}.") for name in MAY_CHANGE)
    }


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The document's leaves by dotted keys."""
    leaves: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, dict):
            leaves.update(_flat(value, f"{prefix}{key}."))
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def _warn_of_versions(before: Mapping[str, str], now: Mapping[str, str]) -> None:
    changed = [
        f"{name} {before.get(name, 'none')} -> {now.get(name, 'none')}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
    if changed:
        logger.warning(
            "the run was begun with other versions (%s): its new trials may not be those that it"
            " would have had",
            ", ".join(changed),
        )
