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
    place: str = ""
    """Of a file that says that it has happened."""

    def score(self, candidate: Candidate, seed: int) -> Score:
        if self.deed == "mistake":
            raise NasError("data.yaml", "it is there", "nothing", "Put it there")
        if self.deed == "bug":
            raise ZeroDivisionError("of a sort")
        if self.deed == "no memory":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: 1 TB\nmore of it")
        if self.deed == "death":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.deed == "one death" and not _is_there(Path(self.place)):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.deed == "some" and int(candidate.digest, 16) % 3 == 0:
            raise ZeroDivisionError("of a sort")
        if self.deed == "warning":
            logging.getLogger("nas.test").warning("one image is unreadable")
        return Score(score=0.5, kind=self.kind, is_map=False, seconds=0.1)


def _is_there(file: Path) -> bool:
    """Whether the file was there; it is now."""
    before = file.exists()
    file.touch()
    return before


def kit_of(make: Callable[[], Proxy]) -> Kit:
    """The kit of a proxy that needs no file."""
    return Kit(make=partial(_without_files, make), traits=dict)


def _without_files(make: Callable[[], Proxy], here: Callable[[Path], Path]) -> Proxy:
    return make()
