"""Fits what all boards share (nas/latency/estimated/board_model.py) on many runs at once.

Logarithms of times are taken as a Gaussian process: the shared numbers, each board's own and the
misfit of each network have Gaussian priors (board_priors.py), and the model is linearised until it
stands still (Gauss-Newton; Rasmussen & Williams, chapters 2 and 3). A network's misfit is alike on
all boards, in all of the same age of ncnn, and in all with several threads: two dozen networks are
known, and not two dozen times thirty. A time far off all the others (Huber's weights) counts less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from board_priors import (
    DIRECTIONS,
    MEAN,
    OWN,
    RECENT_SPREAD,
    SHARING,
    START,
    START_FP16,
    THREADS,
    THREADS_SPREAD,
)
from board_slopes import slopes
from numpy.typing import NDArray

from nas.latency.estimated.board_model import PARAMETERS, SPEED, Efficiency, Parts
from nas.latency.estimated.features import SHAPES, Features, features
from nas.latency.estimated.op_work import OpWork

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

COUNT: Final = len(PARAMETERS)
UNEVEN: Final = 0.5
"""How strongly uneven tiles are expected to count."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Spreads in logarithms, and when to stop.

    shape     of each coefficient of the shape
    uneven    of how strongly uneven tiles count
    misfit    of a network on all boards, on those of an age, on those with several threads (each)
    noise     of one time, however well board and network are known
    run_share what part of a board's own variance is that of one run
    """

    shape: float = 0.3
    uneven: float = 0.3
    misfit: float = 0.015
    noise: float = 0.045
    run_share: float = 0.3
    speed: float = 3.0
    huber: float = 1.2
    steps: int = 25


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Times of networks on boards: ms and whether there is one, shape (runs, networks)."""

    work: tuple[OpWork, ...]
    counts: Array
    ms: Array
    is_known: NDArray[np.bool_]
    boards: tuple[str, ...]
    threads: tuple[int, ...]
    is_recent: tuple[bool, ...]
    is_fp16: bool

    def without(self, networks: Sequence[int]) -> Runs:
        """The same with no time of these networks on any board."""
        known = self.is_known.copy()
        known[:, list(networks)] = False
        return replace(self, is_known=known)

    def rows(self, kept: Sequence[int]) -> Runs:
        """Some of the runs."""
        return replace(
            self,
            ms=self.ms[list(kept)],
            is_known=self.is_known[list(kept)],
            boards=tuple(self.boards[row] for row in kept),
            threads=tuple(self.threads[row] for row in kept),
            is_recent=tuple(self.is_recent[row] for row in kept),
        )

    def features(self) -> list[Features]:
        """The features of the ops on each run."""
        keys = list(zip(self.threads, self.is_recent, strict=True))
        each = {
            key: features(self.work, key[0], is_fp16=self.is_fp16, is_recent=key[1])
            for key in set(keys)
        }
        return [each[key] for key in keys]


@dataclass(frozen=True, kw_only=True)
class Point:
    """Where a fit stands, as differences from what was expected.

    start   logarithms of the units expected, shape (P,)
    shared  mean, threads and recent (P each), shape (SHAPES, 2 of them), uneven tiles (3)
    own     (runs, P); speed: (runs,)
    sharing (runs,): how far threads share memory otherwise than on a usual board, in its spreads;
            the same on all runs of a board
    """

    start: Array
    shared: Array
    own: Array
    speed: Array
    sharing: Array

    def towards(self, other: Point, step: float) -> Point:
        """The point so far of the way to another."""
        return replace(
            self,
            shared=self.shared + step * (other.shared - self.shared),
            own=self.own + step * (other.own - self.own),
            speed=self.speed + step * (other.speed - self.speed),
            sharing=self.sharing + step * (other.sharing - self.sharing),
        )

    @property
    def mean(self) -> Array:
        """The mean of all boards, shape (P,)."""
        return np.asarray(self.start + self.shared[:COUNT], dtype=np.float64)

    @property
    def threads(self) -> Array:
        """What threads change on it."""
        return np.asarray(THREADS + self.shared[COUNT : 2 * COUNT], dtype=np.float64)

    @property
    def recent(self) -> Array:
        """What recent kernels change on it."""
        return np.asarray(self.shared[2 * COUNT : 3 * COUNT], dtype=np.float64)

    @property
    def linear(self) -> Array:
        """The coefficients of the shape, (SHAPES, 2)."""
        both = self.shared[3 * COUNT : 3 * COUNT + 2 * SHAPES].reshape(2, SHAPES)
        return np.asarray(both.T, dtype=np.float64)

    @property
    def imbalance(self) -> Array:
        """How strongly uneven tiles count, (3,)."""
        return np.asarray(UNEVEN + self.shared[3 * COUNT + 2 * SHAPES :], dtype=np.float64)


class BoardFit:
    """The Gaussian process over the logarithms of the runs' times."""

    def __init__(self, runs: Runs, settings: Settings) -> None:
        self.runs, self.settings = runs, settings
        self.features = runs.features()
        self.halves = np.log2(np.array(runs.threads)) / 2
        self.ages = np.where(np.array(runs.is_recent), 0.5, -0.5)
        self.logs = np.log(runs.ms)
        rows, networks = np.nonzero(runs.is_known)
        self.places = rows, networks
        shapes = np.full(2 * SHAPES, settings.shape)
        uneven = np.full(3, settings.uneven)
        self.spread = np.concatenate([MEAN, THREADS_SPREAD, RECENT_SPREAD, shapes, uneven])
        self.own = np.diag(OWN**2) + DIRECTIONS.T @ DIRECTIONS
        same = np.array([[a == b for b in runs.boards] for a in runs.boards], dtype=np.float64)
        self.same = same
        self.alike = (1 - settings.run_share) * same + settings.run_share * np.eye(len(same))
        self.own_inverse, self.alike_inverse = np.linalg.inv(self.own), np.linalg.inv(self.alike)

    def parameters(self, at: Point) -> Array:
        """Each run's parameters, shape (runs, P)."""
        mean = at.mean + self.halves[:, None] * at.threads + self.ages[:, None] * at.recent
        return np.asarray(mean + self.differences(at), dtype=np.float64)

    def differences(self, at: Point) -> Array:
        """How each run differs from what boards with its threads and its ncnn are, (runs, P)."""
        sharing = (self.halves * at.sharing)[:, None] * SHARING
        return np.asarray(at.own + at.speed[:, None] * SPEED + sharing, dtype=np.float64)

    def parts(self, at: Point) -> list[Parts]:
        """What each op takes on each run."""
        return [
            Efficiency(at.linear, at.imbalance, known).parts(place)
            for known, place in zip(self.features, self.parameters(at), strict=True)
        ]

    def ms(self, at: Point) -> Array:
        """ms of every network on every run, shape (runs, networks)."""
        return np.stack([self.runs.counts @ one.ms for one in self.parts(at)])

    def start(self) -> Point:
        """What is expected, at the speed of each board."""
        count = len(self.runs.boards)
        units = START_FP16 if self.runs.is_fp16 else START
        at = Point(
            start=np.log([units[name] for name in PARAMETERS]),
            shared=np.zeros(len(self.spread)),
            own=np.zeros((count, COUNT)),
            speed=np.zeros(count),
            sharing=np.zeros(count),
        )
        off = np.where(self.runs.is_known, self.logs - np.log(self.ms(at)), np.nan)
        return replace(at, speed=np.nanmedian(off, axis=1))

    def noise(self, weights: Array) -> tuple[Array, Array]:
        """Covariance of what the model cannot say, and its inverse, shape (times, times)."""
        rows, networks = self.places
        covariance = np.diag(self.settings.noise**2 / weights)
        inverse = np.zeros_like(covariance)
        for network in set(networks.tolist()):
            own = np.flatnonzero(networks == network)
            ages, several = self.ages[rows[own]], self.halves[rows[own]] > 0
            often = 1.0 + (ages[:, None] == ages[None]) + (several[:, None] == several[None])
            covariance[np.ix_(own, own)] += self.settings.misfit**2 * often
            inverse[np.ix_(own, own)] = np.linalg.inv(covariance[np.ix_(own, own)])
        return covariance, inverse

    def cost(self, at: Point, inverse: Array) -> float:
        """Minus the logarithm of the posterior density, up to a constant."""
        off = (self.logs - np.log(self.ms(at)))[self.places]
        own = np.sum((self.alike_inverse @ at.own @ self.own_inverse) * at.own)
        shared = np.sum((at.shared / self.spread) ** 2)
        speed = np.sum((at.speed / self.settings.speed) ** 2)
        sharing = np.sum(at.sharing**2 / self.same.sum(axis=1))
        return float(off @ inverse @ off + own + shared + speed + sharing) / 2

    def linearised(self, at: Point) -> tuple[Array, Array, Array]:
        """Logarithms of the known times, and their slopes to a run's parameters (times, P) and to
        what is shared (times, shared)."""
        rows, networks = self.places
        logs, own, rest = [], [], []
        for known, one in zip(self.features, self.parts(at), strict=True):
            total = self.runs.counts @ one.ms
            one_run = slopes(known, one, self.runs.counts) / total[:, None]
            logs.append(np.log(total))
            own.append(one_run[:, :COUNT])
            rest.append(one_run[:, COUNT:])
        each = np.stack(own)[rows, networks]
        halves, ages = self.halves[rows, None], self.ages[rows, None]
        shared = [each, halves * each, ages * each, np.stack(rest)[rows, networks]]
        return np.stack(logs)[rows, networks], each, np.concatenate(shared, axis=1)

    def covariance(self, own: Array, shared: Array) -> Array:
        """Covariance of the known times by the priors, shape (times, times)."""
        rows, _ = self.places
        scaled = shared * self.spread
        boards = self.alike[rows][:, rows] * (own @ self.own @ own.T)
        speed = own @ SPEED * self.settings.speed
        runs = (rows[:, None] == rows[None]) * np.outer(speed, speed)
        sharing = own @ SHARING * self.halves[rows]
        memory = self.same[rows][:, rows] * np.outer(sharing, sharing)
        return np.asarray(scaled @ scaled.T + boards + runs + memory, dtype=np.float64)

    def solution(self, at: Point, noise: Array) -> Point:
        """The most likely point of the model linearised at this one."""
        rows, _ = self.places
        logs, own, shared = self.linearised(at)
        there = shared @ at.shared + np.sum(own * self.differences(at)[rows], 1)
        wanted = self.logs[self.places] - logs + there
        dual = np.linalg.solve(self.covariance(own, shared) + noise, wanted)
        pull = np.zeros_like(at.own)
        np.add.at(pull, rows, own * dual[:, None])
        return replace(
            at,
            shared=self.spread**2 * (shared.T @ dual),
            own=self.alike @ pull @ self.own,
            speed=self.settings.speed**2 * (pull @ SPEED),
            sharing=self.same @ (self.halves * (pull @ SHARING)),
        )

    def better(self, at: Point, goal: Point, inverse: Array) -> tuple[Point, float]:
        """The most likely of some points on the way to the goal, and its cost."""
        best, lowest = at, self.cost(at, inverse)
        for share in (1.0, 0.5, 0.25, 0.1, 0.03):
            one = at.towards(goal, share)
            cost = self.cost(one, inverse)
            if cost < lowest:
                best, lowest = one, cost
            elif best is not at:
                break
        return best, lowest

    def fitted(self) -> Point:
        """The most likely point of all."""
        at, weights, last = self.start(), np.ones(len(self.places[0])), np.inf
        for step in range(self.settings.steps):
            noise, inverse = self.noise(weights)
            at, cost = self.better(at, self.solution(at, noise), inverse)
            if step >= 6 and abs(last - cost) < 0.3:
                break
            last = cost
            if step >= 3:
                off = (self.logs - np.log(self.ms(at)))[self.places]
                alone = self.settings.noise**2 / weights * np.abs(inverse @ off)
                bend = self.settings.huber * self.settings.noise
                weights = np.minimum(1, bend / np.maximum(alone, 1e-9))
        return at


def fit(runs: Runs, settings: Settings) -> tuple[Point, Array]:
    """The most likely point, and its ms of every network on every run, shape (runs, networks)."""
    whole = BoardFit(runs, settings)
    at = whole.fitted()
    return at, whole.ms(at)
