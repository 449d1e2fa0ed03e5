"""How long an op takes on a board whose parameters are known: the model that all boards share.

    ms = sqrt(computing^2 + moving^2) + weights + starting

computing   multiply-accumulates by kind of kernel (3x3 of stride 1 in Winograd form, the fastest
            tile), times how unevenly ncnn's tiles fall on the threads
moving      numbers read and written, by kind of op, and the share of them that the caches miss
weights     numbers of weights read; starting: each call of a kernel

What a unit costs is the board's own, drawn towards the mean of all boards and what threads change
on it; how well a kernel fits a shape is shared (a linear form and a small network). The shared
part is fitted on public logs by benchmarks/public_logs.py and read from a file, which says from
which networks and how far it was off on those that it had not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from nas import NasError
from nas.latency.device import ROOT
from nas.latency.shape import COMPUTING, MOVING, STARTING, Features

Array = NDArray[np.float64]

FORMAT: Final = 1
"""Version of the model's file. 1: the first."""

PARAMETERS: Final = (
    *(f"compute {kind}" for kind in COMPUTING),
    *(f"move {kind}" for kind in MOVING),
    "transform",
    "weights of convolutions",
    "weights of vectors",
    "memory",
    *(f"start {kind}" for kind in STARTING),
    "cache",
)
"""Names of a board's parameters: logarithms of ms for a million MACs or numbers, or for one call;
`cache`: the binary logarithm of the MB of maps that the caches hold."""

_COMPUTE: Final = slice(0, len(COMPUTING))
_MOVE: Final = slice(len(COMPUTING), len(COMPUTING) + len(MOVING))
_REST: Final = len(COMPUTING) + len(MOVING)
_START: Final = slice(_REST + 4, _REST + 4 + len(STARTING))
SPEED: Final = np.array([0.0 if name == "cache" else 1.0 for name in PARAMETERS])
"""The direction in which a board is slower as a whole."""


class ModelError(NasError):
    """A model file that is missing or breaks its format."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Unseen(_Frozen):
    """One network on one board, predicted by a model that had not seen it on any board (ms)."""

    network: str
    board: str
    threads: int
    measured_ms: float
    predicted_ms: float


class BoardModel(_Frozen):
    """What all boards share, as fitted.

    parameters    PARAMETERS as they were then
    mean, threads shape (P,): a board's parameters are drawn around mean + threads * log2(T) / 2
    directions    shape (r, P): how boards differ together; spread (P,): how each parameter differs
    linear, inner, inner_bias, outer   efficiency of a shape, on computing and on moving
    imbalance     how strongly uneven tiles count, by class of op
    noise         what a network is off by, in logarithms, however well a board is known
    unseen        errors on held-out networks
    """

    format: Literal[1]
    name: str
    date: str
    sources: list[str]
    networks: list[str]
    runs: int
    never_seen: list[str]
    parameters: list[str]
    mean: list[float]
    threads: list[float]
    directions: list[list[float]]
    spread: list[float]
    linear: list[list[float]]
    inner: list[list[float]]
    inner_bias: list[float]
    outer: list[list[float]]
    imbalance: list[float]
    noise: float
    unseen: list[Unseen]

    def prior(self, threads: int) -> Array:
        """The mean of boards at so many threads, shape (P,)."""
        shift = np.array(self.threads) * np.log2(threads) / 2
        return np.asarray(np.array(self.mean) + shift, dtype=np.float64)


class Efficiency:
    """The shared part of a model for some features: what does not depend on the board."""

    def __init__(self, model: BoardModel, features: Features) -> None:
        linear, inner = np.array(model.linear), np.array(model.inner)
        hidden = np.tanh(features.shape @ inner + np.array(model.inner_bias))
        fit = np.clip(hidden @ np.array(model.outer) + features.shape @ linear, -3, 3)
        uneven = np.exp(features.imbalance * np.array(model.imbalance)[features.family])
        self.features = features
        self.computing = np.exp(fit[:, 0]) * uneven
        self.moving = np.exp(fit[:, 1])

    def op_ms(self, parameters: Array) -> Array:
        """ms of each op on a board with these parameters (P,), shape (n,)."""
        known, units = self.features, np.exp(np.clip(parameters, -14, 8))
        compute = np.append(units[_COMPUTE], 0.0)[known.computing] * self.computing
        weight = units[_REST + 1 : _REST + 3][known.is_vector.astype(np.int64)]
        missed = 1 / (1 + np.exp(-(known.footprint - parameters[-1]) / 0.7))
        move = units[_MOVE][known.moving] * self.moving + units[_REST + 3] * missed
        moving = move * known.numbers + units[_REST] * known.transformed
        tiles = known.winograd
        each = (
            compute[tiles, None] * known.tiles[:, :, 0]
            + units[_REST] * known.tiles[:, :, 1]
            + weight[tiles, None] * known.tiles[:, :, 2]
        )
        moving[tiles] += np.exp(-np.log(np.sum((each + 1e-9) ** -8, axis=1)) / 8)
        ms = np.sqrt((compute * known.macs) ** 2 + moving**2 + 1e-12)
        return np.asarray(ms + weight * known.weights + units[_START][known.start] * known.calls)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sums:
    """Groups of ops whose times are known: a network each, or a block.

    counts  shape (groups, ops): how often each op occurs
    ms      shape (groups,)
    """

    counts: Array
    ms: Array


def fit_board(
    model: BoardModel, efficiency: Efficiency, sums: Sums, prior: Array, freedom: float = 1.0
) -> Array:
    """The parameters (P,) of the board on which the sums took their times.

    The most likely ones: Huber's loss on logarithms, and parameters drawn around `prior` as boards
    are, or by `freedom` of that. How fast the board is as a whole is free.
    """
    # Imported here: half a second that reading a table does without.
    from scipy.optimize import least_squares

    directions = np.array(model.directions).reshape(-1, len(PARAMETERS))
    free = freedom * np.concatenate([directions, np.diag(np.array(model.spread))])
    reach = np.concatenate([3.0 * SPEED[None, :], free])
    reach = reach[np.abs(reach).sum(axis=1) > 0]

    def errors(place: Array) -> Array:
        predicted = sums.counts @ efficiency.op_ms(prior + place @ reach)
        off = np.log(predicted / sums.ms) / model.noise
        size = np.abs(off)
        huber = np.where(size < 2, size, np.sqrt(np.maximum(4 * size - 4, 0.0)))
        return np.concatenate([np.sign(off) * huber, place])

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
    try:
        found = BoardModel.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ModelError(str(path), "the model of boards is there", "no such file") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ModelError(
            str(path), f"the file is a board model of format {FORMAT}", f"{where}: {first['msg']}"
        ) from None
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
