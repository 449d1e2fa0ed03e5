"""Fits what all boards share (nas/latency/board_model.py) on many runs at once, by gradients.

Every board's parameters are drawn around a common mean, moved by its number of threads and by a
few directions in which boards differ together. The misfit of one network is alike on all boards,
so that what is shared sees few data: its priors weigh as much as a fifth of the runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.latency.board_model import PARAMETERS, SPEED
from nas.latency.shape import COMPUTING, INT8, MOVING, STARTING, Features, features
from nas.latency.work import Work

Array = NDArray[np.float64]

START: Final[dict[str, float]] = {
    **{f"compute {kind}": 0.15 for kind in COMPUTING},
    **{f"move {kind}": 0.5 for kind in MOVING},
    "move exponential": 1.5,
    "move reduction": 4.0,
    "move detections": 100.0,
    "transform": 0.3,
    "weights of convolutions": 0.5,
    "weights of vectors": 0.5,
    "memory": 0.5,
    **{f"start {kind}": 0.01 for kind in STARTING},
    "cache": 1.0,
}
"""Where the mean of all boards is looked for: ms for a million MACs or numbers, or a call.
Rough figures by what a kernel does; those far from the rest came from a look at a fit on all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How closely things are held.

    mean, shift      spreads of the priors of the means (mean_int8: of int8's own), and of what
                     threads do
    compute, memory  how far one board's parameters stray (cache: 1)
    shape            strength of the prior of the shared network
    """

    mean: float = 0.4
    mean_int8: float = 0.7
    shift: float = 0.7
    compute: float = 0.15
    memory: float = 0.4
    shape: float = 1.0
    directions: int = 4
    hidden: int = 8
    noise: float = 0.05
    huber: float = 1.6
    steps: int = 250
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Times of networks on boards: ms and whether there is one, shape (runs, networks)."""

    work: tuple[Work, ...]
    counts: Array
    ms: Array
    is_known: NDArray[np.bool_]
    threads: tuple[int, ...]
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
            threads=tuple(self.threads[row] for row in kept),
        )


class BoardFit(torch.nn.Module):
    """The model of board_model.Efficiency over all runs at once."""

    def __init__(self, runs: Runs, settings: Settings) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(settings.seed)
        count, width = len(runs.threads), len(PARAMETERS)
        self.start = torch.tensor([START[name] for name in PARAMETERS]).log()

        def parameter(*shape: int, scale: float = 0.0) -> torch.nn.Parameter:
            return torch.nn.Parameter(scale * torch.randn(*shape, generator=random))

        self.mean = torch.nn.Parameter(self.start.clone())
        self.threads = parameter(width)
        self.speed = parameter(count)
        self.own = parameter(count, width)
        self.places = parameter(count, settings.directions, scale=0.1)
        self.directions = parameter(settings.directions, width, scale=0.1)
        self.linear = parameter(18, 2)
        self.inner = parameter(18, settings.hidden, scale=0.3)
        self.inner_bias = parameter(settings.hidden)
        self.outer = parameter(settings.hidden, 2)
        self.imbalance = parameter(3)
        spread = [settings.memory if _is_memory(n) else settings.compute for n in PARAMETERS]
        self.spread = torch.tensor([*spread[:-1], 1.0])
        self.is_int8 = torch.tensor([name.endswith(INT8) for name in PARAMETERS])
        self.log_threads = torch.tensor([math.log2(t) / 2 for t in runs.threads])

    def parameters_of(self) -> Tensor:
        """Each run's parameters, shape (runs, P)."""
        shared = self.mean + self.log_threads[:, None] * self.threads
        own = self.places @ self.directions + self.own
        return shared + own + self.speed[:, None] * torch.tensor(SPEED, dtype=torch.float32)

    def forward(self, known: _Tensors) -> Tensor:
        """ms of each op on each run, shape (runs, ops)."""
        place = self.parameters_of()
        units = place[:, :-1].clamp(-14, 8).exp()
        hidden = torch.tanh(known.shape @ self.inner + self.inner_bias)
        fit = (hidden @ self.outer + known.shape @ self.linear).clamp(-3, 3).exp()
        uneven = (known.imbalance * torch.sigmoid(self.imbalance)[known.family]).exp()
        first, rest = len(COMPUTING), len(COMPUTING) + len(MOVING)
        none = torch.zeros(len(units), 1)
        compute = torch.cat([units[:, :first], none], 1)[:, known.computing] * fit[:, 0] * uneven
        weight = units[:, rest + 1 : rest + 3][:, known.is_vector]
        missed = torch.sigmoid((known.footprint - place[:, -1:]) / 0.7)
        move = units[:, first:rest][:, known.moving] * fit[:, 1] + units[:, rest + 3, None] * missed
        moving = move * known.numbers + units[:, rest, None] * known.transformed
        tiles = known.winograd
        each = (
            compute[:, tiles, None] * known.tiles[None, :, :, 0]
            + units[:, rest, None, None] * known.tiles[None, :, :, 1]
            + weight[:, tiles, None] * known.tiles[None, :, :, 2]
        )
        fastest = torch.exp(-torch.logsumexp(-8 * torch.log(each + 1e-9), -1) / 8)
        moving = moving.index_add(1, tiles, fastest)
        ms = torch.sqrt((compute * known.macs) ** 2 + moving**2 + 1e-12)
        return ms + weight * known.weights + units[:, rest + 4 :][:, known.start] * known.calls

    def prior(self, settings: Settings) -> Tensor:
        """Minus the logarithm of the prior density, up to a constant."""
        weight = len(self.log_threads) / 5
        spread = torch.where(self.is_int8, settings.mean_int8, settings.mean)
        shared = (
            (((self.mean - self.start) / spread) ** 2).sum()
            + ((self.threads / settings.shift) ** 2).sum()
            + ((self.directions / 0.3) ** 2).sum()
            + (self.imbalance**2).sum()
            + settings.shape * ((self.outer / 0.3) ** 2).sum()
            + settings.shape * (self.inner**2).sum()
            + settings.shape * ((self.linear / 0.3) ** 2).sum()
        )
        own = ((self.own / self.spread) ** 2).sum() + (self.places**2).sum()
        return 0.5 * (weight * shared + own)


def _is_memory(name: str) -> bool:
    return name in ("transform", "memory") or name.startswith("weights")


class _Tensors:
    """Features as tensors; what depends on the threads has a row for each run."""

    def __init__(self, runs: Runs) -> None:
        each = {t: features(runs.work, t, is_fp16=runs.is_fp16) for t in set(runs.threads)}
        one: Features = next(iter(each.values()))

        def real(values: Array) -> Tensor:
            return torch.tensor(values, dtype=torch.float32)

        self.computing, self.moving = torch.tensor(one.computing), torch.tensor(one.moving)
        self.start, self.family = torch.tensor(one.start), torch.tensor(one.family)
        self.winograd, self.is_vector = torch.tensor(one.winograd), torch.tensor(one.is_vector) * 1
        self.macs, self.numbers, self.weights = real(one.macs), real(one.numbers), real(one.weights)
        self.transformed, self.calls = real(one.transformed), real(one.calls)
        self.tiles, self.footprint, self.shape = (
            real(one.tiles),
            real(one.footprint),
            real(one.shape),
        )
        self.imbalance = real(np.stack([each[t].imbalance for t in runs.threads]))


def fit(runs: Runs, settings: Settings) -> tuple[BoardFit, Array]:
    """The fitted model, and its ms of every network on every run, shape (runs, networks)."""
    known, counts = _Tensors(runs), torch.tensor(runs.counts, dtype=torch.float32)
    ms, mask = torch.tensor(runs.ms, dtype=torch.float32), torch.tensor(runs.is_known)
    fitted = BoardFit(runs, settings)
    with torch.no_grad():
        ratio = (ms / (fitted(known) @ counts.T)).log() * mask
        fitted.speed.add_(ratio.sum(1) / mask.sum(1))

    def loss() -> Tensor:
        off = ((fitted(known) @ counts.T) / ms).log() / settings.noise
        size, bend = off.abs(), settings.huber
        huber = torch.where(size < bend, off**2 / 2, bend * (size - bend / 2))
        return (huber * mask).sum() + fitted.prior(settings)

    def step(optimizer: torch.optim.Optimizer) -> Tensor:
        optimizer.zero_grad()
        found = loss()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    adam = torch.optim.Adam(fitted.parameters(), lr=0.03)
    for _ in range(60):
        step(adam)
        adam.step()
    newton = torch.optim.LBFGS(
        fitted.parameters(),
        max_iter=settings.steps,
        history_size=30,
        line_search_fn="strong_wolfe",
        tolerance_change=1e-7,
    )
    newton.step(lambda: float(step(newton).detach()))  # type: ignore[no-untyped-call]
    with torch.no_grad():
        return fitted, (fitted(known) @ counts.T).numpy().astype(np.float64)
