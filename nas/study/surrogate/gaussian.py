"""A Gaussian process: what a score is expected to be, and how unsure that is.

A constant, a line through the inputs and a Matern 5/2 kernel with a length for each input are
summed. The line is a ridge regression, which is nearly all that a dozen observations can support;
the kernel takes over as they become more. Lengths, shares and noise maximise the posterior: the
marginal likelihood (Rasmussen and Williams 2006, eq. 5.9, 2.30) times priors, those of the lengths
longer the more inputs there are (Hvarfner, Hellsten and Nardi 2024, arXiv 2402.02229), without
which forty lengths are fitted to as many observations. Their spread is narrower than there: a few
short ones make noise of sixty inputs look like something to be learnt.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize
from threadpoolctl import ThreadpoolController

Array = NDArray[np.float64]

LENGTH_SPREAD: Final = 0.4
"""Standard deviation of the prior of a log length: with 1.2 and a prior for a noise of a twentieth,
noise as large as the signal was fitted as a twentieth (LOG.md, 2026-11-27)."""

PRIORS: Final = ((-1.0, 1.0), (0.0, 1.0), (-2.0, 1.5))
"""Mean and standard deviation of log variances, in those of the observations: of the kernel, of the
line, of the noise."""

JITTER: Final = 1e-6
"""Variance that is added so that equal inputs are no error."""

ROUNDS: Final = 40
"""Steps of the optimiser, at most."""


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Around what a process computes: the number of threads would be in its last bits, and several
    gain nothing on so little and wait for one another on a busy machine."""
    with ThreadpoolController().limit(limits=1, user_api="blas"):
        yield


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """What is fitted, as logarithms: a length for each input (d,), variances in PRIORS's order."""

    lengths: Array
    variances: Array

    @property
    def vector(self) -> Array:
        """All of them in one (d + 3,)."""
        return np.concatenate([self.lengths, self.variances])


@dataclass(frozen=True, kw_only=True)
class Believed:
    """What is believed of n inputs: the mean of the score (n,), its standard deviation (n,)."""

    mean: Array
    deviation: Array


class GaussianProcess:
    """Fitted to observations once, asked as often as one likes.

    inputs   (n, d), of any scale
    scores   (n,)
    settings  taken over from an earlier fit; None fits them
    start    where the fit begins
    """

    def __init__(
        self,
        inputs: Array,
        scores: Array,
        *,
        settings: Hyperparameters | None = None,
        start: Hyperparameters | None = None,
    ) -> None:
        assert len(inputs) == len(scores) > 0, "a score for each of some inputs"
        self._middle, self._spread = inputs.mean(axis=0), inputs.std(axis=0)
        self._spread[self._spread < 1e-9] = 1.0
        self._inputs = (inputs - self._middle) / self._spread
        self._level, deviation = float(scores.mean()), float(scores.std())
        self._unit = deviation if deviation > 1e-12 else 1.0
        self._scores = (scores - self._level) / self._unit
        self.settings = settings or self._fit(start)
        covariance = self._across(self._inputs, self.settings)
        noise = math.exp(self.settings.variances[2])
        covariance[np.diag_indices_from(covariance)] += JITTER + noise
        self._factor = cho_factor(covariance, lower=True)
        self._answer = cho_solve(self._factor, self._scores)

    def believe(self, inputs: Array) -> Believed:
        """What is believed of the scores of inputs (m, d), without the noise of observing them."""
        scaled = (inputs - self._middle) / self._spread
        across = self._across(scaled, self.settings)
        inside = solve_triangular(self._factor[0], across.T, lower=True)
        kernel, line, _ = np.exp(self.settings.variances)
        own = kernel + line * (scaled**2).mean(axis=1) + 1.0
        variance = np.maximum(own - (inside**2).sum(axis=0), 1e-12)
        return Believed(
            mean=across @ self._answer * self._unit + self._level,
            deviation=np.sqrt(variance) * self._unit,
        )

    def together(self, inputs: Array) -> tuple[Array, Array]:
        """What is believed of inputs (m, d) with one another: means (m,), covariances (m, m)."""
        scaled = (inputs - self._middle) / self._spread
        across = self._across(scaled, self.settings)
        inside = solve_triangular(self._factor[0], across.T, lower=True)
        own = _covariances(scaled, scaled, self.settings)
        mean = across @ self._answer * self._unit + self._level
        return mean, (own - inside.T @ inside) * self._unit**2

    def expect(self, inputs: Array) -> Array:
        """The mean alone of what is believed of inputs (m, d), at a fraction of the cost."""
        scaled = (inputs - self._middle) / self._spread
        found: Array = self._across(scaled, self.settings) @ self._answer * self._unit + self._level
        return found

    def explained(self) -> float:
        """The share of the scores' variance that each of the others tells of it: 1 at most.

        Leaving one out needs no further fit (Rasmussen and Williams 2006, eq. 5.12).
        """
        inverse = cho_solve(self._factor, np.eye(len(self._scores)))
        off = self._answer / np.diag(inverse)
        whole = float(((self._scores - self._scores.mean()) ** 2).sum())
        return 1.0 - float((off**2).sum()) / whole if whole > 1e-12 else 0.0

    def _across(self, scaled: Array, settings: Hyperparameters) -> Array:
        """Covariances (m, n) of scaled inputs with those observed."""
        return _covariances(scaled, self._inputs, settings)

    def _fit(self, start: Hyperparameters | None) -> Hyperparameters:
        """The settings of the greatest posterior that a descent from `start` finds."""
        count = self._inputs.shape[1]
        # The prior's median: two inputs a standard deviation apart in each are a length apart.
        usual = 0.5 * math.log(2 * count)
        means = np.concatenate([np.full(count, usual), [mean for mean, _ in PRIORS]])
        spreads = np.concatenate([np.full(count, LENGTH_SPREAD), [s for _, s in PRIORS]])
        first = means if start is None else start.vector
        bounds = [(usual - 4, usual + 4)] * count + [(-9.0, 4.0)] * len(PRIORS)
        found: Any = minimize(
            self._cost, np.clip(first, *np.array(bounds).T), (means, spreads),
            jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": ROUNDS},
        )  # fmt: skip
        return Hyperparameters(lengths=found.x[:count], variances=found.x[count:])

    def _cost(self, vector: Array, means: Array, spreads: Array) -> tuple[float, Array]:
        """Minus the log posterior of settings, up to a constant, and its gradient."""
        count = self._inputs.shape[1]
        settings = Hyperparameters(lengths=vector[:count], variances=vector[count:])
        kernel, line, noise = np.exp(settings.variances)
        rates = np.exp(-2 * settings.lengths)
        distance = _distances(self._inputs, self._inputs, np.exp(-settings.lengths))
        matern = _matern(distance)
        linear = self._inputs @ self._inputs.T / count
        covariance = kernel * matern + line * linear + 1.0
        covariance[np.diag_indices_from(covariance)] += JITTER + noise
        off = (vector - means) / spreads
        try:
            factor = cho_factor(covariance, lower=True)
        except np.linalg.LinAlgError:
            return 1e10, np.zeros_like(vector)
        answer = cho_solve(factor, self._scores)
        cost = 0.5 * self._scores @ answer + np.log(np.diag(factor[0])).sum() + 0.5 * off @ off
        # d cost / d covariance, symmetric.
        slope = 0.5 * (cho_solve(factor, np.eye(len(self._scores))) - np.outer(answer, answer))
        # d matern / d (squared distance) = -5/6 (1 + sqrt 5 r) exp(-sqrt 5 r)
        root = math.sqrt(5) * distance
        weights = slope * kernel * (5 / 6) * (1 + root) * np.exp(-root)
        # d (squared distance) / d log length = -2 rate (x - y)^2, summed over all pairs.
        squares = self._inputs**2
        pairs = 2 * (
            weights.sum(axis=1) @ squares
            - np.einsum("id,ij,jd->d", self._inputs, weights, self._inputs, optimize=True)
        )
        gradient = np.concatenate(
            [
                2 * rates * pairs,
                [
                    kernel * float((slope * matern).sum()),
                    line * float((slope * linear).sum()),
                    noise * float(np.trace(slope)),
                ],
            ]
        )
        return float(cost), gradient + off / spreads


def _covariances(first: Array, second: Array, settings: Hyperparameters) -> Array:
    """Covariances (m, n) of scaled inputs; 1 is that of the constant."""
    kernel, line, _ = np.exp(settings.variances)
    distance = _distances(first, second, np.exp(-settings.lengths))
    linear = first @ second.T / second.shape[1]
    found: Array = kernel * _matern(distance) + line * linear + 1.0
    return found


def _distances(first: Array, second: Array, rates: Array) -> Array:
    """Distances (m, n) of inputs whose differences are multiplied by `rates`."""
    a, b = first * rates, second * rates
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * a @ b.T
    found: Array = np.sqrt(np.maximum(squared, 0.0))
    return found


def _matern(distance: Array) -> Array:
    """Matern's correlation of smoothness 5/2."""
    root = math.sqrt(5) * distance
    found: Array = (1 + root + root**2 / 3) * np.exp(-root)
    return found
