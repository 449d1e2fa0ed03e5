"""How long an op takes on a board whose parameters are known: the model that all boards share.

    ms = computing + moving + weights + starting

computing   multiply-accumulates by kind of kernel (3x3 of stride 1 in Winograd form) and numbers
            of which a function is computed, times how unevenly ncnn's tiles fall on the threads
moving      numbers read and written, by kind of op; what is packed or transformed; and the traffic
            of maps that the caches do not hold. It adds to computing: ncnn pads, packs, transforms
            and activates in passes of their own (LOG.md, 2026-11-22, has the other forms tried)
weights     numbers of weights read; starting: each call of a kernel

What a unit costs is the board's own, drawn towards the mean of all boards and what threads and
the age of ncnn change on it; how well a kernel fits a shape is shared by all (a linear form, in
logarithms). The shared part is fitted on public logs by benchmarks/estimates/public_logs.py and
read from a file, which says from which networks and how far it was off on those that it had not
seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from nas import NasError, stats
from nas.documents import Strict, read_json
from nas.latency.device import ROOT
from nas.latency.estimated.features import COMPUTING, MOVING, STARTING, Features

Array = NDArray[np.float64]

FORMAT: Final = 3
"""Version of the model's file. 1: the first; 2: no network of the shape, ncnn's age; 3: computing
and moving add up, and threads share the memory of each board in its own way."""

PARAMETERS: Final = (
    *(f"compute {kind}" for kind in COMPUTING),
    *(f"move {kind}" for kind in MOVING),
    "transform",
    "weights",
    "memory",
    *(f"start {kind}" for kind in STARTING),
    "cache",
)
"""Names of a board's parameters: logarithms of ms for a million MACs or numbers, or for one call;
`memory`: for a million numbers of traffic that the caches miss; `cache`: the binary logarithm of
the MB of maps that the caches hold."""

_COMPUTE: Final = slice(0, len(COMPUTING))
_MOVE: Final = slice(len(COMPUTING), len(COMPUTING) + len(MOVING))
_REST: Final = len(COMPUTING) + len(MOVING)
_START: Final = slice(_REST + 3, _REST + 3 + len(STARTING))
SPEED: Final = np.array([0.0 if name == "cache" else 1.0 for name in PARAMETERS])
"""The direction in which a board is slower as a whole."""


class ModelError(NasError):
    """A model file that is missing or breaks its format."""


class Unseen(Strict):
    """One network on one board, predicted by a model that had not seen it on any board (ms)."""

    network: str
    board: str
    threads: int
    measured_ms: float
    predicted_ms: float


class BoardModel(Strict):
    """What all boards share, as fitted.

    parameters    PARAMETERS as they were then
    mean, threads, recent   shape (P,): a board's parameters are drawn around mean + threads *
                  log2(T) / 2 + recent / 2 (minus where its ncnn is older than the recent kernels)
    directions    shape (r, P): how boards differ together; spread (P,): how each parameter differs
    sharing       shape (P,): how four threads differ from board to board in what they do to memory
    linear        efficiency of a shape, on computing and on moving, shape (SHAPES, 2)
    imbalance     how strongly uneven tiles count, by class of op
    noise         what a network is off by, in logarithms, however well a board is known
    unseen        errors on held-out networks
    """

    format: Literal[3]
    name: str
    date: str
    sources: list[str]
    networks: list[str]
    runs: int
    never_seen: list[str]
    parameters: list[str]
    mean: list[float]
    threads: list[float]
    recent: list[float]
    directions: list[list[float]]
    spread: list[float]
    sharing: list[float]
    linear: list[list[float]]
    imbalance: list[float]
    noise: float
    unseen: list[Unseen]

    def prior(self, threads: int, *, is_recent: bool) -> Array:
        """The mean of boards at so many threads with kernels of that age, shape (P,)."""
        shift = np.array(self.threads) * np.log2(threads) / 2
        age = np.array(self.recent) * (0.5 if is_recent else -0.5)
        return np.asarray(np.array(self.mean) + shift + age, dtype=np.float64)


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What the ms of n ops are made of, each of shape (n,); `missed` is a share."""

    computing: Array
    moving: Array
    transforming: Array
    traffic: Array
    weights: Array
    starting: Array
    missed: Array

    @property
    def ms(self) -> Array:
        """The ms of each op."""
        moving = self.moving + self.transforming + self.traffic
        together = self.computing + moving + self.weights + self.starting
        return np.asarray(together, dtype=np.float64)


class Efficiency:
    """The shared part of a model for some features: what does not depend on the board.

    linear     shape (SHAPES, 2); imbalance: shape (3,), as in `BoardModel`
    """

    def __init__(self, linear: Array, imbalance: Array, features: Features) -> None:
        fit = np.clip(features.shape @ linear, -3, 3)
        self.features = features
        self.computing = np.exp(fit[:, 0] + features.imbalance * imbalance[features.family])
        self.moving = np.exp(fit[:, 1])

    def parts(self, parameters: Array) -> Parts:
        """What the ms of each op are made of on a board with these parameters (P,)."""
        known, units = self.features, np.exp(np.clip(parameters, -14, 8))
        missed = 1 / (1 + np.exp(-(known.footprint - parameters[-1]) / CACHE_EDGE))
        compute = np.append(units[_COMPUTE], 0.0)[known.computing]
        return Parts(
            computing=compute * self.computing * known.macs,
            moving=units[_MOVE][known.moving] * self.moving * known.numbers,
            transforming=units[_REST] * known.transformed,
            traffic=units[_REST + 2] * missed * known.traffic,
            weights=units[_REST + 1] * known.weights,
            starting=units[_START][known.start] * known.calls,
            missed=missed,
        )

    def op_ms(self, parameters: Array) -> Array:
        """ms of each op on a board with these parameters (P,), shape (n,)."""
        return self.parts(parameters).ms


CACHE_EDGE: Final = 0.7
"""How many doublings of a map's size it takes to fall out of the caches."""


def efficiency_of(model: BoardModel, features: Features) -> Efficiency:
    """The shared part of a model for some features."""
    return Efficiency(np.array(model.linear), np.array(model.imbalance), features)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sums:
    """Groups of ops whose times are known: a network each, or a block.

    counts  shape (groups, ops): how often each op occurs
    ms      shape (groups,)
    """

    counts: Array
    ms: Array


def fit_board(
    model: BoardModel,
    efficiency: Efficiency,
    sums: Sums,
    prior: Array,
    threads: int,
    freedom: float = 1.0,
) -> Array:
    """The parameters (P,) of the board on which the sums took their times with so many threads.

    The most likely ones: Huber's loss on logarithms, and parameters drawn around `prior` as boards
    are, or by `freedom` of that. How fast the board is as a whole is free.
    """
    # Imported here: half a second that reading a table does without.
    from scipy.optimize import least_squares

    directions = np.array(model.directions).reshape(-1, len(PARAMETERS))
    sharing = np.array(model.sharing)[None] * np.log2(threads) / 2
    free = freedom * np.concatenate([directions, sharing, np.diag(np.array(model.spread))])
    reach = np.concatenate([3.0 * SPEED[None, :], free])
    reach = reach[np.abs(reach).sum(axis=1) > 0]

    def errors(place: Array) -> Array:
        predicted = sums.counts @ efficiency.op_ms(prior + place @ reach)
        off = np.log(predicted / sums.ms) / model.noise
        return np.concatenate([stats.huber_residuals(off, 2), place])

    start = np.zeros(len(reach))
    start[0] = np.median(np.log(sums.ms / (sums.counts @ efficiency.op_ms(prior)))) / 3
    found = least_squares(errors, start, method="lm", max_nfev=4000)
    return np.asarray(prior + found.x @ reach, dtype=np.float64)


MODELS: Final = ROOT / "models"
"""Where shared models lie; they come with the program, and not with a board."""


def model_path(name: str) -> Path:
    """Where a shared model lies."""
    return MODELS / f"{name}.json"


@lru_cache(maxsize=8)
def read_board_model(name: str) -> BoardModel:
    """The shared model of that name; ModelError where it is missing or of another form."""
    path = model_path(name)
    if not path.exists():
        raise ModelError(str(path), "the model of boards is there", "no such file")
    found = read_json(path, BoardModel, f"a board model of format {FORMAT}", ModelError)
    if tuple(found.parameters) != PARAMETERS:
        raise ModelError(
            str(path), "its parameters are those of this version", "others", "Make it again"
        )
    return found


def group_counts(groups: Sequence[Sequence[int]], ops: int) -> Array:
    """How often each of `ops` ops occurs in each group of indices, shape (groups, ops)."""
    counts = np.zeros((len(groups), ops))
    for row, group in enumerate(groups):
        np.add.at(counts[row], list(group), 1.0)
    return counts
