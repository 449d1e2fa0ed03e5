"""How good, cheaply: proxies for a detector's accuracy behind one protocol.

`read_proxy` reads what a proxy is to do (its name, or a YAML), `check_proxy` holds it against a
space, `prepare_proxy` does once what all workers need, `build_proxy` makes it for a data set in
each of them. Only the implementations know torch, and only once they are prepared or built.
"""

from __future__ import annotations

from nas.accuracy.arithmetic import ONE_THREAD, arithmetic, use_one_thread
from nas.accuracy.choice import (
    build_proxy,
    build_teacher,
    check_proxy,
    default_proxy,
    prepare_proxy,
    prepared_seconds,
    start_of,
    worker_count,
)
from nas.accuracy.proxy import Proxy, Score
from nas.accuracy.settings import (
    IN_FLIGHT,
    PROXIES,
    AnyProxy,
    FakeSettings,
    Finish,
    LearningSettings,
    MacsSettings,
    NaswotSettings,
    ProxyError,
    ProxySettings,
    Regrade,
    SharedWeightsSettings,
    ShortTrainingSettings,
    parse_proxy,
    read_proxy,
    weights_file,
)

__all__ = [
    "IN_FLIGHT",
    "ONE_THREAD",
    "PROXIES",
    "AnyProxy",
    "FakeSettings",
    "Finish",
    "LearningSettings",
    "MacsSettings",
    "NaswotSettings",
    "Proxy",
    "ProxyError",
    "ProxySettings",
    "Regrade",
    "Score",
    "SharedWeightsSettings",
    "ShortTrainingSettings",
    "arithmetic",
    "build_proxy",
    "build_teacher",
    "check_proxy",
    "default_proxy",
    "parse_proxy",
    "prepare_proxy",
    "prepared_seconds",
    "read_proxy",
    "start_of",
    "use_one_thread",
    "weights_file",
    "worker_count",
]
