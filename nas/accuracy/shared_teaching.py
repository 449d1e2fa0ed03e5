"""Shared weights are taught once, before the workers begin, and kept in the user's cache.

A file is named by a digest of all that its weights depend on, so that a run that asks for the same
ones reads them, and any other teaches its own. Beside it lies, while it is taught, the state to go
on from after a kill. The files may be deleted at any time: a run has a copy of its own. Weights
that are taught again on another kind of processor are others: the rounding of a sum is enough.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

import platformdirs
import torch
from filelock import FileLock, Timeout

from nas.accuracy.settings import SharedWeightsSettings
from nas.accuracy.shared_weights import teaching_recipe
from nas.accuracy.short_training import at_scale
from nas.data.dataset import DataConfig, load_part
from nas.data.images import ImageSet
from nas.detector.faces import Build
from nas.detector.pretrained.load import load_seed
from nas.detector.supernet import Supernet
from nas.files import writing
from nas.places import PROGRAM, weights_digest
from nas.space.choices import Choose
from nas.space.image_size import ImageSize
from nas.space.search_space import Candidate, SearchSpace
from nas.terminal import say
from nas.training.display import follow
from nas.training.on_disk.written import write_bytes
from nas.training.progress import Progress
from nas.training.sharing.begin import begin
from nas.training.sharing.kept import (
    FORMAT,
    check_shared,
    read_state,
    write_shared,
    write_state,
)
from nas.training.sharing.teaching import SharedTraining, teach

TAUGHT_BY: Final = ("image_scale", "steps", "batch_size", "lr", "frozen_stages")
"""The settings that the weights depend on, beside what is in the file of `pretrained`."""

RUN_FILE: Final = "shared_weights.pt"
"""The copy in a run's folder."""

OnStep = Callable[[int, int], None]
"""Told how many steps are done, of how many."""

KEEP_EVERY: Final = 100
"""Steps between two states on the disk."""


def taught(
    settings: SharedWeightsSettings,
    data: DataConfig,
    space: SearchSpace,
    build: Build,
    seed: int,
    run: Path | None,
    on_step: OnStep | None = None,
) -> Path:
    """The file of a space's shared weights; they are taught where the cache has none.

    build   makes candidates with the classes and the anchors of the data
    run     a run's folder, which keeps the weights that it began with
    on_step hears how many steps are done, of how many; what it raises ends the teaching

    Goes on where a teaching was killed; waits where another process teaches the same. Progress goes
    to stderr. SupernetError for a space that can't share and for a damaged file, TrainingError
    where the loss goes astray.
    """

    def scaled(choose: Choose) -> Candidate:
        return at_scale(build(choose), settings.image_scale)

    supernet = Supernet(space, scaled)
    own = None if run is None else run / RUN_FILE
    if own is not None and own.exists():
        check_shared(own, supernet)
        return own
    path = _in_cache(supernet, settings, data, seed, on_step)
    if own is None:
        return path
    write_bytes(own, path.read_bytes())
    return own


def _in_cache(
    supernet: Supernet,
    settings: SharedWeightsSettings,
    data: DataConfig,
    seed: int,
    on_step: OnStep | None,
) -> Path:
    """The file in the user's cache, taught if need be."""
    folder = platformdirs.user_cache_path(PROGRAM, appauthor=False) / "shared_weights"
    path = folder / f"{supernet.space.name}-{_digest(settings, data, supernet, seed)}.pt"
    remedy = "Get the right to write there, or set XDG_CACHE_HOME to a folder where you have it"
    with writing(folder, remedy):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_suffix(".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"another search teaches the weights that candidates share: waiting for {path}")
            lock.acquire()
    try:
        if path.exists():
            check_shared(path, supernet)
        else:
            with _one_thread():
                _teach(path, supernet, settings, data, seed, on_step)
    finally:
        lock.release()
    return path


def _teach(
    path: Path,
    supernet: Supernet,
    settings: SharedWeightsSettings,
    data: DataConfig,
    seed: int,
    on_step: OnStep | None,
) -> None:
    """Teaches, goes on from the state that lies beside the file, and takes the state away."""

    @cache
    def load(image_size: ImageSize) -> ImageSet:
        return load_part(data, "train", image_size)

    state_path = path.with_suffix(".state.pt")
    state = read_state(state_path)
    recipe = teaching_recipe(settings)
    weights = None if settings.pretrained == "none" else load_seed(settings.pretrained)
    beginning = begin(supernet, weights, load, recipe, seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    training = SharedTraining(supernet, beginning, load, recipe, seed, device)
    if state is not None:
        training.restore(state)
    verb = "teaching" if state is None else f"from step {training.step} on teaching"
    say(f"{verb} the weights that all candidates share, once; kept as {path}")
    with follow("shared weights", training.steps, training.step) as show:

        def hear(step: Progress) -> None:
            show(step)
            if on_step is not None:
                on_step(step.step, step.steps)

        values = teach(
            training,
            keep_every=KEEP_EVERY,
            keep=lambda one: write_state(state_path, one.state()),
            on_step=hear,
        )
    write_shared(path, supernet, values, training.core_s)
    state_path.unlink(missing_ok=True)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Computes each operator in one thread: on maps this small a second one mostly waits.

    Of a step, two threads took 0.92 of the time and 1.7 times the core-seconds (LOG.md,
    2026-11-27); and so the weights are the same on any number of cores.
    """
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(count)


def _digest(
    settings: SharedWeightsSettings, data: DataConfig, supernet: Supernet, seed: int
) -> str:
    """16 hex digits of what the weights depend on."""
    content = {
        "format": FORMAT,
        "space": supernet.space.digest,
        "data": data.digest,
        "classes": data.num_classes,
        "anchors": [face.candidate.spec.anchors for face in supernet.faces],
        "settings": settings.model_dump(mode="json", include=set(TAUGHT_BY)),
        "weights": weights_digest(settings.pretrained),
        "seed": seed,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
