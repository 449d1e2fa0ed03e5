"""In which arithmetic a score is computed: one thread everywhere, and what may differ by machine.

Sums that run in another order, or in other numbers, end in other last digits. So whatever grades
side by side (local processes, workers of a cluster) computes on one thread, and machines that would
compute in other numbers are told apart before they grade for one search.
"""

from __future__ import annotations

import os
import sys
from typing import Final

from nas.accuracy.settings import AnyProxy, LearningSettings, ShortTrainingSettings

ONE_THREAD: Final = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
}
"""Read by torch, numpy and OpenCV when they are loaded: one thread, so that two workers on two
cores do not wait for each other, and scores do not depend on how many cores there are."""


def use_one_thread() -> None:
    """This process computes on one thread from now on, and what it will yet load does."""
    os.environ.update(ONE_THREAD)
    loaded = sys.modules.get("torch")  # not loaded for it: some proxies need none
    if loaded is not None:
        loaded.set_num_threads(1)


def arithmetic(settings: AnyProxy) -> dict[str, str]:
    """What this machine computes a proxy's scores in, by name; nothing where none is computed.

    Loads torch if the proxy does.
    """
    if not isinstance(settings, LearningSettings):
        return {}
    from nas.training.precision import describe_device, training_device

    half = isinstance(settings, ShortTrainingSettings) and settings.cpu_bf16
    return {"device": describe_device(training_device(), amp=half, cpu_bf16=half)}
