"""How good, cheaply: proxies for a detector's accuracy behind one protocol.

`read_proxy` reads what a proxy is to do (its name, or a YAML), `build_proxy` makes it for a data
set. Only the implementations know torch, and only once they are built.
"""

from __future__ import annotations

from nas.accuracy.choice import build_proxy, build_teacher, start_of, worker_count
from nas.accuracy.proxy import Proxy, Score
from nas.accuracy.settings import (
    IN_FLIGHT,
    PROXIES,
    AnyProxy,
    FakeSettings,
    Finish,
    MacsSettings,
    NaswotSettings,
    ProxyError,
    ProxySettings,
    Regrade,
    ShortTrainingSettings,
    parse_proxy,
    read_proxy,
    weights_file,
)

__all__ = [
    "IN_FLIGHT",
    "PROXIES",
    "AnyProxy",
    "FakeSettings",
    "Finish",
    "MacsSettings",
    "NaswotSettings",
    "Proxy",
    "ProxyError",
    "ProxySettings",
    "Regrade",
    "Score",
    "ShortTrainingSettings",
    "build_proxy",
    "build_teacher",
    "parse_proxy",
    "read_proxy",
    "start_of",
    "weights_file",
    "worker_count",
]
