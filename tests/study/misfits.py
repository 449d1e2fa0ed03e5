"""Proxies that do something other than grading, and what they are made of on a cluster."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nas import NasError
from nas.accuracy import FakeSettings, Proxy, Score, build_proxy
from nas.data.dataset import read_data
from nas.space.search_space import Candidate
from nas.study.cluster.kit import Kit

fake = partial(build_proxy, FakeSettings(seconds=0.01), read_data("shapes"))


@dataclass
class Misfit:
    """A proxy that does something other than grading."""

    deed: str
    kind: str = "misfit"

    def score(self, candidate: Candidate, seed: int) -> Score:
        if self.deed == "mistake":
            raise NasError("data.yaml", "it is there", "nothing", "Put it there")
        if self.deed == "bug":
            raise ZeroDivisionError("of a sort")
        if self.deed == "death":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.deed == "warning":
            logging.getLogger("nas.test").warning("one image is unreadable")
        return Score(score=0.5, kind=self.kind, is_map=False, seconds=0.1)


def kit_of(make: Callable[[], Proxy]) -> Kit:
    """The kit of a proxy that needs no file."""
    return Kit(make=partial(_without_files, make), traits=dict)


def _without_files(make: Callable[[], Proxy], here: Callable[[Path], Path]) -> Proxy:
    return make()
