"""The predictor fitted on half of the whole networks of a profile, and judged on the other half."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nas import stats
from nas.latency.measured.calm import Steadiness
from nas.latency.measured.campaign import Campaign
from nas.latency.measured.correction import Correction, Fitted, fit_correction, fit_form
from nas.latency.measured.fit_file import HeldOut, HeldOutReport, SpaceFit
from nas.latency.measured.measurement import Measurement, Network
from nas.latency.measured.predictor import BlockTimes, uncertainty
from nas.latency.measured.table import Table, TableError, profile_command
from nas.space.blocks import Block, blocks
from nas.space.image_size import ImageSize
from nas.space.ops import expand, macs
from nas.space.spec import parse_written

Array = NDArray[np.float64]

COVERAGE: Final = 0.9
"""What the interval claims."""

FEWEST: Final = 4
"""Networks needed to fit, and to judge."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timed:
    """A whole network that was timed.

    ms     in calm, from all its timings
    turns  of each timing
    """

    digest: str
    image_size: ImageSize
    walk: tuple[Block, ...]
    ms: float
    turns: tuple[float, ...]


def timed_networks(table: Table, space_digest: str) -> tuple[list[Timed], list[Timed]]:
    """The whole networks of a space in a table: those to fit, and those held out.

    In the order of their MACs every second one is held out, so that both halves are spread alike.
    """
    steady = table.steadiness()
    timed = [
        _timed(rows[0].network, rows, steady)
        for rows in table.networks.values()
        if rows[0].network is not None and rows[0].network.space == space_digest
    ]
    timed.sort(key=lambda one: (_macs(one), one.digest))
    return timed[0::2], timed[1::2]


def _timed(network: Network, rows: Sequence[Measurement], steady: Steadiness) -> Timed:
    return Timed(
        digest=network.digest,
        image_size=network.image_size,
        walk=blocks(parse_written(network.model), network.image_size),
        ms=steady.ms(rows),
        turns=tuple(steady.ms([row]) for row in rows),
    )


def _macs(one: Timed) -> int:
    return sum(macs(expand(block)) for block in one.walk)


def has_enough(table: Table, plan: Campaign) -> bool:
    """Whether a dozen blocks and FEWEST networks of either half were timed: enough for a fit."""
    halves = timed_networks(table, plan.space.digest)
    return min(map(len, halves)) >= FEWEST and len(table.blocks) >= 12


def validate(table: Table, plan: Campaign, date: str) -> SpaceFit:
    """The fit for the plan's space, with its error on the networks held out.

    TableError where fewer than FEWEST networks of either half, or a dozen blocks, were timed.
    """
    fitting, held_out = timed_networks(table, plan.space.digest)
    if not has_enough(table, plan):
        raise TableError(
            f"latency table of {table.key}",
            f"a dozen blocks and {FEWEST} whole networks of each half are timed",
            f"{len(table.blocks)} blocks, {len(fitting)} and {len(held_out)} networks",
            f"Run {profile_command(table.key, plan.space.flag)}",
        )
    times = BlockTimes(table.block_ms(), None)
    smoothness = times.cost_model.smoothness
    correction, quantile, report = judge(times, fitting, held_out)
    return SpaceFit(
        space=plan.space.name,
        space_digest=plan.space.digest,
        date=date,
        table_rows=table.row_count(),
        blocks_measured=sum(block in table.blocks for block in plan.blocks),
        blocks_in_space=len(plan.blocks),
        networks_fitted=len(fitting),
        form=correction.form,
        strength=correction.strength,
        coefficients=list(correction.coefficients),
        centre=list(correction.centre),
        spread=list(correction.spread),
        interval_quantile=quantile,
        cost_model_length=smoothness.length,
        cost_model_noise=smoothness.noise,
        cost_model_error=smoothness.error,
        report=report,
    )


def judge(
    times: BlockTimes, fitting: Sequence[Timed], held_out: Sequence[Timed]
) -> tuple[Correction, float, HeldOutReport]:
    """The correction and the interval's quantile from some networks, their error on the others."""
    networks, shares = times.networks([one.walk for one in fitting])
    fitted = fit_correction(networks, [one.ms for one in fitting])
    unsure = uncertainty(shares, times.cost_model.smoothness.error)
    quantile = stats.conformal_quantile(fitted.errors / unsure, COVERAGE)
    report = _report(times, fitting, held_out, fitted, quantile)
    return fitted.correction, quantile, report


def _report(
    times: BlockTimes,
    fitting: Sequence[Timed],
    held_out: Sequence[Timed],
    fitted: Fitted,
    quantile: float,
) -> HeldOutReport:
    networks, shares = times.networks([one.walk for one in held_out])
    true = np.array([one.ms for one in held_out])
    predicted = networks[:, 0] * fitted.correction.factor(networks)
    width = np.exp(quantile * uncertainty(shares, times.cost_model.smoothness.error))
    low, high = predicted / width, predicted * width
    errors = np.abs(stats.relative_errors(predicted, true))
    bands = stats.spearman_in_bands(predicted, true)
    repeated = [one.turns for one in (*fitting, *held_out) if len(one.turns) > 1]
    return HeldOutReport(
        count=len(held_out),
        mape=stats.mape(predicted, true),
        worst=float(errors.max()),
        within_4=stats.share_within(predicted, true, 0.04),
        within_5=stats.share_within(predicted, true, 0.05),
        within_10=stats.share_within(predicted, true, 0.10),
        spearman_in_bands=bands if np.isfinite(bands) else None,
        coverage=float(np.mean((low <= true) & (true <= high))),
        noise_floor=_noise_floor(repeated),
        fastest_ms=float(true.min()),
        slowest_ms=float(true.max()),
        plain_mape=stats.mape(networks[:, 0], true),
        scalar_mape=_scalar_mape(times, fitting, networks, true),
        flops_mape=_flops_mape(fitting, held_out),
        networks=[
            HeldOut(
                digest=one.digest,
                image_size=one.image_size,
                measured_ms=one.ms,
                predicted_ms=float(predicted[i]),
                low_ms=float(low[i]),
                high_ms=float(high[i]),
                measured_share=float(shares[i]),
            )
            for i, one in enumerate(held_out)
        ],
    )


def _noise_floor(repeated: Sequence[tuple[float, ...]]) -> float | None:
    """The mean difference of two timings of one network, as a share of their mean."""
    found = [
        abs(first - second) / ((first + second) / 2)
        for turns in repeated
        for first, second in itertools.combinations(turns, 2)
    ]
    return float(np.mean(found)) if found else None


def _scalar_mape(
    times: BlockTimes, fitting: Sequence[Timed], networks: Array, true: Array
) -> float:
    known, _ = times.networks([one.walk for one in fitting])
    scalar = fit_form(known, [one.ms for one in fitting], "scalar").correction
    return stats.mape(networks[:, 0] * scalar.factor(networks), true)


def _flops_mape(fitting: Sequence[Timed], held_out: Sequence[Timed]) -> float:
    """The error of the best line through MACs, fitted on the same half in relative errors."""

    def design(networks: Sequence[Timed]) -> Array:
        counts = [_macs(one) / 1e6 for one in networks]
        return np.stack([np.ones(len(counts)), np.array(counts)], axis=1)

    known = np.array([one.ms for one in fitting])
    line, *_ = np.linalg.lstsq(design(fitting) / known[:, None], np.ones(len(known)), rcond=None)
    return stats.mape(design(held_out) @ line, [one.ms for one in held_out])
