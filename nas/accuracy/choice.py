"""From a proxy's settings to the proxy: checked and prepared once, then built in every worker.

A proxy that teaches for all candidates does so in `prepare_proxy`, in the search's own process, and
not where it is built: of several workers each would teach the same, and nobody would see how far
they are. What was prepared is a file, whose path goes to the workers; a proxy that needs one can't
be built without it, so no grading ever begins with a hidden teaching.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from nas import NasError
from nas.accuracy.proxy import Proxy
from nas.accuracy.settings import (
    SHARED,
    AnyProxy,
    FakeSettings,
    Finish,
    LearningSettings,
    NaswotSettings,
    SharedWeightsSettings,
    ShortTrainingSettings,
)
from nas.data.dataset import DataConfig
from nas.places import STARTER
from nas.space.choices import Choose
from nas.space.search_space import Candidate, SearchSpace
from nas.terminal import cores

GPU_WORKERS: Final = 4
"""Processes that share a GPU: each takes half a gigabyte of it before it has done anything."""


def check_proxy(settings: AnyProxy, space: SearchSpace) -> None:
    """NasError where the proxy can't grade candidates of the space. Loads torch if it must."""
    if isinstance(settings, SharedWeightsSettings):
        from nas.detector.supernet import Supernet

        Supernet(space, space.build)


def default_proxy(space: SearchSpace) -> AnyProxy:
    """What grades where nothing else is asked for: one network over the space, if it can be one.

    Shared weights rank best for their cost (docs/scores.md); a space whose candidates can't share
    them (scaled models; more weights than fit) is graded by short trainings. Loads torch.
    """
    try:
        check_proxy(SharedWeightsSettings(), space)
    except NasError:
        return ShortTrainingSettings()
    return SharedWeightsSettings()


def prepare_proxy(
    settings: AnyProxy,
    data: DataConfig,
    space: SearchSpace,
    build: Callable[[Choose], Candidate],
    seed: int,
    run: Path | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Path | None:
    """The file that `build_proxy` wants, made if it isn't there; None of most proxies.

    build   makes the space's candidates, with the classes and the anchors of the data
    run     a run's folder, which keeps a copy: it goes on with what it began with
    on_step hears of each step of a teaching: how many are done, of how many

    May take minutes, and says so on stderr. Raises NasError.
    """
    if not isinstance(settings, SharedWeightsSettings):
        return None
    from nas.accuracy.shared_teaching import taught

    return taught(settings, data, space, build, seed, run, on_step)


def prepared_seconds(settings: AnyProxy, prepared: Path | None) -> float | None:
    """What `prepare_proxy` once took, in seconds of one core, whichever run paid it.

    None where nothing was prepared, or where it was before this was kept. Loads torch if it must.
    """
    if not isinstance(settings, SharedWeightsSettings) or prepared is None:
        return None
    from nas.training.sharing.kept import core_seconds

    return core_seconds(prepared)


def build_proxy(settings: AnyProxy, data: DataConfig, prepared: Path | None = None) -> Proxy:
    """The proxy, for one data set. This is where torch is loaded, if the proxy needs it.

    prepared   what `prepare_proxy` gave
    """
    if isinstance(settings, ShortTrainingSettings):
        from nas.accuracy.short_training import ShortTraining

        return ShortTraining(settings, data)
    if isinstance(settings, SharedWeightsSettings):
        from nas.accuracy.shared_weights import SharedWeights

        assert prepared is not None, "shared weights are prepared before they are read"
        return SharedWeights(settings, data, prepared)
    if isinstance(settings, NaswotSettings):
        from nas.accuracy.naswot import Naswot

        return Naswot(settings, data)
    if isinstance(settings, FakeSettings):
        from nas.accuracy.fake import FakeProxy

        return FakeProxy(settings)
    from nas.accuracy.macs import Macs

    return Macs()


def build_teacher(
    proxy: AnyProxy, data: DataConfig, folder: Path, prepared: Path | None = None
) -> Proxy:
    """What teaches a search's candidates to the end, and keeps their weights in a folder.

    prepared   what `prepare_proxy` gave: candidates begin with what the search has taught

    Loads torch.
    """
    from nas.accuracy.full_training import FullTraining

    pretrained = proxy.pretrained if isinstance(proxy, LearningSettings) else STARTER
    return FullTraining(proxy.finish or Finish(), pretrained, data, folder, prepared)


def start_of(settings: AnyProxy) -> str:
    """What a search's candidates are taught to the end from: a name, none, a file, or SHARED."""
    if isinstance(settings, SharedWeightsSettings):
        return SHARED
    return settings.pretrained if isinstance(settings, LearningSettings) else STARTER


def worker_count(settings: AnyProxy) -> int:
    """How many processes grade side by side: as set, or one for each core this process may use.

    On a machine with a GPU at most GPU_WORKERS, which share it.
    """
    if settings.workers is not None:
        return settings.workers
    has_gpu = shutil.which("nvidia-smi") is not None
    return min(cores(), GPU_WORKERS) if has_gpu else cores()
