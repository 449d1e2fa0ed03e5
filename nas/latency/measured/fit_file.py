"""What was fitted on a table, and how well it did: `<table>.fit.json`, one entry for each space."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, Literal

from nas.documents import Strict, read_json
from nas.latency.device import TableKey
from nas.latency.measured.correction import Correction
from nas.latency.measured.cost_model import Smoothness
from nas.latency.measured.table import TableError, measure_remedy, write_beside
from nas.space.image_size import KeptSize

FORMAT: Final = 1
"""Version of the fit file. 1: the first."""


class HeldOut(Strict):
    """One whole network that was never fitted: what it took, and what was predicted (ms)."""

    digest: str
    image_size: KeptSize
    measured_ms: float
    predicted_ms: float
    low_ms: float
    high_ms: float
    measured_share: float


class HeldOutReport(Strict):
    """How well held-out whole networks were predicted. Shares and errors are fractions.

    spearman_in_bands  mean rank correlation inside bands of +-15 % of a latency
    coverage           share of networks inside the interval that claims 90 %
    noise_floor        mean difference of two timings of the same network in one run
    plain_mape, scalar_mape, flops_mape   the same error of a plain sum of blocks, of the sum
                       times one number, and of a line through MACs
    """

    count: int
    mape: float
    worst: float
    within_4: float
    within_5: float
    within_10: float
    spearman_in_bands: float | None
    coverage: float
    noise_floor: float | None
    fastest_ms: float
    slowest_ms: float
    plain_mape: float
    scalar_mape: float
    flops_mape: float
    networks: list[HeldOut]


class SpaceFit(Strict):
    """The predictor of one space on one table.

    interval_quantile  half the interval's width in logarithms, over a network's `uncertainty`
    table_rows         rows of the table when it was fitted
    """

    space: str
    space_digest: str
    date: str
    table_rows: int
    blocks_measured: int
    blocks_in_space: int
    networks_fitted: int
    form: str
    strength: float
    coefficients: list[float]
    centre: list[float]
    spread: list[float]
    interval_quantile: float
    cost_model_length: float
    cost_model_noise: float
    cost_model_error: float
    report: HeldOutReport

    def correction_form(self) -> Correction:
        """The correction as it was fitted."""
        return Correction(
            form=self.form,
            strength=self.strength,
            coefficients=tuple(self.coefficients),
            centre=tuple(self.centre),
            spread=tuple(self.spread),
        )

    def smoothness(self) -> Smoothness:
        """The cost model's smoothness as it was chosen."""
        return Smoothness(
            length=self.cost_model_length,
            noise=self.cost_model_noise,
            error=self.cost_model_error,
        )


class FitFile(Strict):
    """The file: fits in the order they were made."""

    format: Literal[1]
    fits: list[SpaceFit]


def fit_path(key: TableKey, root: Path | None = None) -> Path:
    """Where the fits of a table lie."""
    return key.path(root).with_suffix(".fit.json")


def read_fits(key: TableKey, root: Path | None = None) -> list[SpaceFit]:
    """The fits of a table, the last made last; TableError where the file breaks its format."""
    path = fit_path(key, root)
    if not path.exists():
        return []
    return read_json(
        path,
        FitFile,
        f"a fit of format {FORMAT}",
        TableError,
        lambda: measure_remedy(key, root, lead="Delete it and run"),
    ).fits


def write_fit(key: TableKey, fit: SpaceFit, root: Path | None = None) -> Path:
    """Keeps a fit in place of an earlier one of the same space; returns the file."""
    path = fit_path(key, root)
    others = [old for old in read_fits(key, root) if old.space_digest != fit.space_digest]
    content = FitFile(format=FORMAT, fits=[*others, fit]).model_dump(mode="json")
    return write_beside(path, json.dumps(content, indent=1) + "\n")
