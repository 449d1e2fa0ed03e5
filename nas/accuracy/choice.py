"""From a proxy's settings to the proxy: the worker processes build it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from nas.accuracy.proxy import Proxy
from nas.accuracy.settings import (
    AnyProxy,
    FakeSettings,
    Finish,
    NaswotSettings,
    ShortTrainingSettings,
)
from nas.data.dataset import DataConfig
from nas.places import STARTER
from nas.terminal import cores

GPU_WORKERS: Final = 4
"""Processes that share a GPU: each takes half a gigabyte of it before it has done anything."""


def build_proxy(settings: AnyProxy, data: DataConfig) -> Proxy:
    """The proxy, for one data set. This is where torch is loaded, if the proxy needs it."""
    if isinstance(settings, ShortTrainingSettings):
        from nas.accuracy.short_training import ShortTraining

        return ShortTraining(settings, data)
    if isinstance(settings, NaswotSettings):
        from nas.accuracy.naswot import Naswot

        return Naswot(settings, data)
    if isinstance(settings, FakeSettings):
        from nas.accuracy.fake import FakeProxy

        return FakeProxy(settings)
    from nas.accuracy.macs import Macs

    return Macs()


def build_teacher(settings: Finish, pretrained: str, data: DataConfig, folder: Path) -> Proxy:
    """What teaches candidates to the end and keeps their weights in a folder. Loads torch."""
    from nas.accuracy.full_training import FullTraining

    return FullTraining(settings, pretrained, data, folder)


def start_of(settings: AnyProxy) -> str:
    """The weights that a search's candidates begin with: a name, none, or a file."""
    return settings.pretrained if isinstance(settings, ShortTrainingSettings) else STARTER


def worker_count(settings: AnyProxy) -> int:
    """How many processes grade side by side: as set, or one for each core this process may use.

    On a machine with a GPU at most GPU_WORKERS, which share it.
    """
    if settings.workers is not None:
        return settings.workers
    has_gpu = shutil.which("nvidia-smi") is not None
    return min(cores(), GPU_WORKERS) if has_gpu else cores()
