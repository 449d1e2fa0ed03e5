"""A runtime on a board as what each of a dozen units of work costs there.

    ms = sum over units of cost * amount

The amounts come from what the runtime does (mlas.py, tflite.py), so that a few costs are all there
is to fit, and a network of another family is no further away than its amounts. Amounts that only
count where the caches are too small are weighted by how far their footprint exceeds the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nas import stats
from nas.latency.estimated import mlas, tflite
from nas.latency.estimated.amounts import Amount
from nas.latency.estimated.op_work import OpWork

Array = NDArray[np.float64]

NOISE: Final = 0.02
"""What a network is off by, in logarithms, however well the costs are known."""

OWN: Final = 0.5
"""How far a cost may lie from where the fit starts (a logarithm: a factor of 1.6)."""

TOGETHER: Final = 1.0
"""The same of the costs that another board changes together."""

BEND: Final = 2.5
"""Where Huber's loss turns from squares to lines, in units of the noise."""


@dataclass(frozen=True, kw_only=True)
class UnitModel:
    """A runtime: its units, and the amounts of them that an op needs on so many threads.

    start_ms  ms of a million of each unit, or of a call: where a fit starts
    speeds    units that another board changes together
    """

    name: str
    start_ms: dict[str, float]
    speeds: tuple[tuple[str, ...], ...]
    amounts: Callable[[OpWork, int], list[Amount]]

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of a board's parameters: logarithms of ms by unit, and `cache`: log2 of its MB."""
        return (*self.start_ms, "cache")

    def start(self, cache_mb: float) -> Array:
        """The parameters where a fit starts, shape (U + 1,)."""
        return np.array([*np.log(list(self.start_ms.values())), np.log2(cache_mb)])

    def groups(self) -> Array:
        """Which units each speed moves, shape (speeds, U)."""
        return np.array([[float(unit in own) for unit in self.start_ms] for own in self.speeds])


UNIT_MODELS: Final[dict[str, UnitModel]] = {
    "onnxruntime-fp32": UnitModel(
        name="onnxruntime-fp32",
        start_ms=mlas.START_MS,
        speeds=mlas.SPEEDS,
        amounts=mlas.amounts,
    ),
    "tflite-fp32": UnitModel(
        name="tflite-fp32",
        start_ms=tflite.START_MS,
        speeds=tflite.SPEEDS,
        amounts=tflite.fp32_amounts,
    ),
    "tflite-int8": UnitModel(
        name="tflite-int8",
        start_ms=tflite.INT8_START_MS,
        speeds=tflite.SPEEDS,
        amounts=tflite.int8_amounts,
    ),
}
"""By the name that a table gives."""


class UnitTimes:
    """The amounts of some ops: what does not depend on the board."""

    def __init__(self, model: UnitModel, work: Sequence[OpWork], threads: int) -> None:
        place = {unit: i for i, unit in enumerate(model.start_ms)}
        shape = (len(work), len(place))
        self.always, self.missed, self.footprint = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        for row, op in enumerate(work):
            for amount in model.amounts(op, threads):
                at = row, place[amount.unit]
                if amount.footprint_bytes:
                    self.missed[at] += amount.count / 1e6
                    self.footprint[at] = np.log2(amount.footprint_bytes) - 20
                else:
                    self.always[at] += amount.count / 1e6

    def amounts(self, cache: float) -> Array:
        """Millions of each unit (calls: a count) with a cache of 2^cache MB, shape (n, U)."""
        share = 1 / (1 + np.exp(-(self.footprint - cache) / 0.7))
        return np.asarray(self.always + self.missed * share, dtype=np.float64)

    def op_ms(self, parameters: Array) -> Array:
        """ms of each op on a board with these parameters (U + 1,), shape (n,)."""
        return np.asarray(self.amounts(float(parameters[-1])) @ np.exp(parameters[:-1]))


def fit_units(
    times: UnitTimes, counts: Array, ms: Array, prior: Array, reach: Array, noise: float = NOISE
) -> Array:
    """The most likely parameters (U + 1,), given sums of ops (counts: sums by ops) and their ms.

    reach  how far the logarithms of the costs may go from the prior, one standard deviation a row
           (rows, U); Huber's loss on logarithms. The cache stays as it is.
    """
    # Imported here: half a second that reading a table does without.
    from scipy.optimize import least_squares

    amounts = counts @ times.amounts(float(prior[-1]))
    costs = prior[:-1]

    def parts(place: Array) -> tuple[Array, Array]:
        own = amounts * np.exp(costs + place @ reach)
        total = own.sum(axis=1)
        return np.log(total / ms) / noise, own / total[:, None] / noise

    def errors(place: Array) -> Array:
        off, _ = parts(place)
        return np.concatenate([stats.huber_residuals(off, BEND), place])

    def slopes(place: Array) -> Array:
        off, own = parts(place)
        size = np.maximum(np.abs(off), 1e-12)
        bent = BEND / np.sqrt(np.maximum(2 * BEND * size - BEND**2, 1e-12))
        slope = np.where(size < BEND, 1.0, bent)
        return np.concatenate([slope[:, None] * (own @ reach.T), np.eye(len(place))])

    found = least_squares(errors, np.zeros(len(reach)), jac=slopes, max_nfev=200)
    return np.append(costs + found.x @ reach, prior[-1])


def own_reach(model: UnitModel, freedom: float = 1.0) -> Array:
    """Every cost for itself, and the board as a whole free."""
    count = len(model.start_ms)
    return np.concatenate([np.full((1, count), 3.0), freedom * OWN * np.eye(count)])


def board_reach(model: UnitModel) -> Array:
    """From one board to another: speeds first, then every cost for itself."""
    return np.concatenate([TOGETHER * model.groups(), own_reach(model)])
