"""What the residuals of some networks teach about the others: a factor, and how sure it is.

The logarithms of measured over predicted have a mean and a spread. The mean is held towards what
was believed before, a factor of 1 that may be off by USUAL_OFFSET: a few residuals move little,
many decide. The factor is used only where it is known to
help: where networks that were left out of it in turn are predicted better with it than without, by
more than the standard error of the difference, and by LEAST_GAIN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

Array = NDArray[np.float64]

COVERAGE: Final = 0.9
"""What intervals claim."""

NORMAL_90: Final = 1.645
"""Standard deviations from the middle of a normal distribution to the end of such an interval."""

USUAL_OFFSET: Final = 0.1
"""Standard deviation of the factor's logarithm between boards, sessions and tables, before any
residual is seen."""

USUAL_SPREAD: Final = 0.03
"""That of one network's residual, before any is seen; it counts as two residuals would."""

LEAST_GAIN: Final = 0.002
"""A factor that brings predictions nearer by less (a share) is not used: two sessions differ by
more."""

LEAST: Final = 3
"""Networks by which it can be told whether the factor helps."""

NARROWEST: Final = 0.005
"""No interval's half-width (logarithm) is taken for less: a graph loaded anew differs as far."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval90:
    """A latency with its 90 % interval, in ms."""

    ms: float
    low_ms: float
    high_ms: float

    @property
    def half(self) -> float:
        """Half the interval's width (logarithm)."""
        return max(float(np.log(self.high_ms / self.low_ms)) / 2, NARROWEST)


@dataclass(frozen=True, kw_only=True, slots=True)
class ResidualCorrection:
    """What predictions are multiplied with, and their intervals widened by.

    factor      1 where it is not used
    found       the factor that the residuals ask for, used or not
    width       what half-widths of intervals are multiplied with (logarithm)
    count       residuals behind it
    is_applied  whether it is used
    before, after  mean absolute error (a share) of networks that it has not seen, each left out in
                turn: as predicted, and corrected by the others; None for fewer than LEAST
    """

    factor: float
    found: float
    width: float
    count: int
    is_applied: bool
    before: float | None
    after: float | None

    def corrected(self, predicted: Interval90) -> Interval90:
        """The prediction, corrected; as it was where the correction is not used."""
        if not self.is_applied:
            return predicted
        ms = predicted.ms * self.factor
        wide = float(np.exp(predicted.half * self.width))
        return Interval90(ms=ms, low_ms=ms / wide, high_ms=ms * wide)


def correct_by_residuals(
    predicted: Sequence[Interval90], measured_ms: Sequence[float]
) -> ResidualCorrection:
    """The correction that these networks, predicted and measured, teach."""
    logs = np.log(np.array(measured_ms) / np.array([one.ms for one in predicted]))
    halves = np.array([one.half for one in predicted])
    count = len(logs)
    offset = _offset(logs)
    before = after = None
    helps = False
    if count >= LEAST:
        left_out = np.array([_offset(np.delete(logs, i)) for i in range(count)])
        # As shares of what was measured, as errors are told everywhere.
        plain, better = np.abs(np.exp(-logs) - 1), np.abs(np.exp(left_out - logs) - 1)
        before, after = float(plain.mean()), float(better.mean())
        gain = plain - better
        helps = bool(gain.mean() > max(gain.std(ddof=1) / np.sqrt(count), LEAST_GAIN))
    return ResidualCorrection(
        factor=float(np.exp(offset)) if helps else 1.0,
        found=float(np.exp(offset)),
        width=_width(logs - offset, halves) if count >= LEAST else 1.0,
        count=count,
        is_applied=helps,
        before=before,
        after=after,
    )


def _offset(logs: Array) -> float:
    """The mean residual, held towards 0: the posterior mean under normal beliefs."""
    count = len(logs)
    if not count:
        return 0.0
    around = float(((logs - logs.mean()) ** 2).sum())
    spread = (around + 2 * USUAL_SPREAD**2) / (count + 1)
    return float(logs.mean()) * count / (count + spread / USUAL_OFFSET**2)


def _width(rest: Array, halves: Array) -> float:
    """By how much intervals have to be widened to hold COVERAGE of further networks.

    From residuals in units of the intervals; for a further network, whose factor is not quite
    known either (Student's t).
    """
    freedom = len(rest) - 1
    spread = float(np.sqrt(((rest / halves) ** 2).sum() / freedom))
    reach = float(student.ppf((1 + COVERAGE) / 2, freedom))
    return reach * spread * math.sqrt(1 + 1 / len(rest))


def keeps_limit(ms: float, error: float, limit_ms: float, freedom: float = 30.0) -> float:
    """The probability that something of `ms` takes at most `limit_ms`.

    error  standard deviation of the logarithm of `ms`; freedom: degrees of freedom behind it
    """
    return float(student.cdf(np.log(limit_ms / ms) / max(error, 1e-9), freedom))
