"""What a worker needs before it can grade: equal programs, the same files, and how to begin.

Files are known by the SHA-256 of their content. A worker that has one under the coordinator's own
path (the same machine, a network drive) reads it there; otherwise it is sent once and kept in the
worker's cache, under its own name, whatever search asks for it next.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Final

import platformdirs

from nas.accuracy import AnyProxy, Proxy, ShortTrainingSettings, arithmetic, build_proxy
from nas.data.dataset import DataConfig, FileSource
from nas.files import write_whole
from nas.places import NAMED, PACKAGE, PROGRAM, weights_digest, weights_of
from nas.study.cluster.connection import ClusterError
from nas.study.on_disk.run import versions

EQUAL: Final = ("nas", "torch", "numpy", "opencv-python-headless", "faster-coco-eval")
"""Whose versions are the same on every worker: a score depends on them."""

PARTS: Final = ("train", "val")
"""The parts of the data that a proxy looks at."""

Here = Callable[[Path], Path]
"""From a file's path on the coordinator to its path on the worker."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SentFile:
    """A file of the coordinator's, known by its content."""

    path: Path
    digest: str


@dataclass(frozen=True, kw_only=True)
class Kit:
    """All that a worker's gradings need.

    make     the proxy, from where its files lie on the worker; picklable, called once a worker
    files    what `make` and the proxy read
    traits   what must be found equal on coordinator and worker, by name; picklable
    """

    make: Callable[[Here], Proxy]
    files: tuple[SentFile, ...] = ()
    traits: Callable[[], dict[str, str]]


def kit_for(settings: AnyProxy, data: DataConfig, prepared: Path | None) -> Kit:
    """The kit of a search's proxy.

    prepared   what nas.accuracy.prepare_proxy gave
    """
    return Kit(
        make=partial(_build, settings, data, prepared),
        files=tuple(
            SentFile(path=path, digest=digest)
            for path in _paths(settings, data, prepared)
            if (digest := digest_of(path)) is not None
        ),
        traits=partial(traits, settings),
    )


def traits(settings: AnyProxy) -> dict[str, str]:
    """What a score depends on beside data and settings: versions, weights that ship, arithmetic.

    NasError where this machine lacks the weights.
    """
    known = {name: value for name, value in versions().items() if name in EQUAL}
    if isinstance(settings, ShortTrainingSettings) and settings.pretrained in NAMED:
        known[f"weights {settings.pretrained}"] = str(weights_digest(settings.pretrained))
    return known | {"code of nas": _code_digest()} | arithmetic(settings)


def digest_of(path: Path) -> str | None:
    """The SHA-256 of a file's content; None where it can't be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def find_here(file: SentFile) -> Path | None:
    """Where the file lies on this machine, its content compared; None where it doesn't."""
    return next(
        (path for path in (file.path, cached(file)) if digest_of(path) == file.digest), None
    )


def keep(file: SentFile, content: bytes) -> None:
    """Puts what was sent into this machine's cache. ClusterError where it can't be."""
    try:
        write_whole(cached(file), content)
    except OSError as error:
        raise ClusterError(
            str(cached(file)),
            "what a search sends can be kept in a worker's cache",
            error.strerror or str(error),
            "Make room there, or start the worker with another XDG_CACHE_HOME",
        ) from error


def cached(file: SentFile) -> Path:
    """Where a sent file lies in this machine's cache. Its name is kept: messages show it."""
    folder = platformdirs.user_cache_path(PROGRAM, appauthor=False) / "cluster"
    return folder / file.digest[:2] / file.digest / file.path.name


def _paths(settings: AnyProxy, data: DataConfig, prepared: Path | None) -> list[Path]:
    sources = [data.parts[part] for part in PARTS]
    paths = [path for one in sources if isinstance(one, FileSource) for path in one.files]
    if prepared is not None:
        paths.append(prepared)
    if isinstance(settings, ShortTrainingSettings) and _is_file(settings.pretrained):
        paths.append(weights_of(settings.pretrained))
    return list(dict.fromkeys(paths))


def _build(settings: AnyProxy, data: DataConfig, prepared: Path | None, here: Here) -> Proxy:
    """The proxy on a worker."""
    parts = {
        part: replace(source, files=tuple(here(file) for file in source.files))
        if isinstance(source, FileSource)
        else source
        for part, source in data.parts.items()
    }
    if isinstance(settings, ShortTrainingSettings) and _is_file(settings.pretrained):
        pretrained = str(here(Path(settings.pretrained)))
        settings = settings.model_copy(update={"pretrained": pretrained})
    return build_proxy(
        settings, replace(data, parts=parts), None if prepared is None else here(prepared)
    )


def _is_file(pretrained: str) -> bool:
    return pretrained not in (*NAMED, "none")


@cache
def _code_digest() -> str:
    """8 digits over the package's code: two checkouts of one version may differ."""
    state = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        state.update(path.relative_to(PACKAGE).as_posix().encode() + path.read_bytes())
    return state.hexdigest()[:8]
