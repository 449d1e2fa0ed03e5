"""Limits beside the latency: what a detector may be at most, known from its graph before any work.

--limit "params <= 2e6" --limit "file_mb <= 4" --limit "memory_mb <= 64" --limit "macs <= 3e8"

A search for several boards may have one of the latency on each but the first: "rpi5_ms <= 20".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from nas import NasError
from nas.emit.footprint import file_bytes, memory_bytes
from nas.latency.answer import LatencyModel
from nas.latency.fastest import FastestModel
from nas.space.block import Block
from nas.space.blocks import blocks
from nas.space.image_size import ImageSize
from nas.space.ops import Graph, expand, macs, model_graph, params
from nas.space.search_space import Candidate
from nas.space.spec import ModelSpec

MEGABYTE: Final = 1e6
"""Bytes."""


@lru_cache(maxsize=65536)
def _counts(block: Block) -> tuple[int, int]:
    """Parameters and multiply-accumulates of a block."""
    graph = expand(block)
    return params(graph), macs(graph)


@lru_cache(maxsize=2)
def _graph(spec: ModelSpec, image_size: ImageSize) -> Graph:
    """The whole graph, made once for what is asked of one candidate."""
    return model_graph(spec, image_size)


def _params(spec: ModelSpec, image_size: ImageSize, precision: str) -> float:
    return sum(_counts(block)[0] for block in blocks(spec, image_size))


def _macs(spec: ModelSpec, image_size: ImageSize, precision: str) -> float:
    return sum(_counts(block)[1] for block in blocks(spec, image_size))


def _file_mb(spec: ModelSpec, image_size: ImageSize, precision: str) -> float:
    return file_bytes(_graph(spec, image_size), precision) / MEGABYTE


def _memory_mb(spec: ModelSpec, image_size: ImageSize, precision: str) -> float:
    return memory_bytes(_graph(spec, image_size), precision) / MEGABYTE


QUANTITIES: Final[dict[str, Callable[[ModelSpec, ImageSize, str], float]]] = {
    "params": _params,
    "macs": _macs,
    "file_mb": _file_mb,
    "memory_mb": _memory_mb,
}
"""What a limit may name -> how much of it a detector has in a precision; cheap ones first.

params     trained parameters, those of batch norms included, as the reports show them
macs       multiply-accumulates of one image
file_mb    its ncnn files, `.param` and `.bin` (nas.emit.footprint)
memory_mb  what ncnn allocates at its peak for one image on one thread (there, too)
"""

OF_FILES: Final = ("file_mb", "memory_mb")
"""Those that depend on the precision."""

BOARD: Final = "_ms"
"""Behind the name of a board: the latency there, in ms."""

NUMBER: Final = re.compile(r"\d+(\.\d*)?([eE][+-]?\d+)?")
"""What a limit's number looks like."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SizeLimit:
    """At most so much of a quantity."""

    name: str
    most: float

    def __post_init__(self) -> None:
        assert self.name in QUANTITIES or self.name.endswith(BOARD), self.name
        assert self.most > 0, self.most

    def __str__(self) -> str:
        return f"{self.name} <= {number_words(self.most)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class SizeLimits:
    """All such limits of a search; without any every candidate meets them.

    precision   of the run, which files and memory go by
    boards      the boards of a search but its first, by name, which may have limits here as well
    ways        where each detector takes the fastest of several ways to run, by whose precision its
                files and memory go then
    """

    limits: tuple[SizeLimit, ...] = ()
    precision: str = "fp32"
    boards: Mapping[str, LatencyModel] = field(default_factory=dict)
    ways: FastestModel | None = None

    def shares(self, candidate: Candidate) -> dict[str, float]:
        """How much of each limit the candidate takes, by name: above 1 it is over it."""
        return {one.name: self._amount(one, candidate) / one.most for one in self.limits}

    def is_met(self, candidate: Candidate) -> bool:
        """Whether the candidate is over none of them."""
        return all(self._amount(one, candidate) <= one.most for one in self.limits)

    def _amount(self, limit: SizeLimit, candidate: Candidate) -> float:
        spec, image_size = candidate.spec, candidate.image_size
        if limit.name in QUANTITIES:
            precision = self.precision
            if self.ways is not None and limit.name in OF_FILES:
                precision = self.ways.precision(spec, image_size)
            return QUANTITIES[limit.name](spec, image_size, precision)
        return self.boards[limit.name.removesuffix(BOARD)].predict(spec, image_size).ms


NO_SIZE_LIMITS: Final = SizeLimits()
"""Of a search that asks for none."""


def limits_of(
    named: Mapping[str, float],
    precision: str,
    boards: Mapping[str, LatencyModel] | None = None,
    model: LatencyModel | None = None,
) -> SizeLimits:
    """The limits as a run's settings keep them.

    model   what answers for the run's latency, and of several ways to run for the precision
    """
    found = tuple(SizeLimit(name=name, most=most) for name, most in named.items())
    ways = model if isinstance(model, FastestModel) else None
    return SizeLimits(limits=found, precision=precision, boards=boards or {}, ways=ways)


def read_limits(texts: Sequence[str], boards: Sequence[str] = ()) -> dict[str, float]:
    """What each --limit says, by name in the order of QUANTITIES; NasError for a bad one.

    boards   of the search but its first, which may have a limit each
    """
    names = [*QUANTITIES, *(board + BOARD for board in boards)]
    found: dict[str, float] = {}
    for text in texts:
        name, most = _read(text, names)
        if name in found:
            raise NasError(f'--limit "{text}"', "a quantity has one limit", "a second one of it")
        found[name] = most
    return {name: found[name] for name in names if name in found}


def _read(text: str, names: Sequence[str]) -> tuple[str, float]:
    """Name and number of `NAME <= NUMBER`, the name one of `names`."""
    where, known = f'--limit "{text}"', ", ".join(names)
    name, sign, number = (part.strip() for part in text.partition("<="))
    if not sign:
        raise NasError(
            where,
            "a limit is NAME <= NUMBER",
            "no <= in it",
            f'The names are {known}; an example: --limit "params <= 2e6"',
        )
    if name in ("latency", "latency_ms", "max_latency_ms"):
        raise NasError(where, f"the name is one of {known}", name, "Say it by --max-latency-ms")
    if name not in names:
        remedy = ""
        if name.endswith(BOARD):
            board = name.removesuffix(BOARD)
            remedy = f"A board that is not the first may have a limit: --device {board}"
        raise NasError(where, f"the name is one of {known}", repr(name), remedy)
    if not NUMBER.fullmatch(number) or not 0 < float(number) < float("inf"):
        raise NasError(
            where,
            f"{name} <= is followed by a number above 0, like 4, 2.5 or 3e8",
            repr(number),
            f"The names are {known}",
        )
    return name, float(number)


def number_words(value: float) -> str:
    """A number as a limit is written: 2e6, 4, 2.5."""
    exponent = 0
    while value >= 1e5 and value % 10 == 0:
        value, exponent = value / 10, exponent + 1
    if not exponent:
        return f"{value:.12g}"
    while value >= 10:
        value, exponent = value / 10, exponent + 1
    return f"{value:.12g}e{exponent}"
