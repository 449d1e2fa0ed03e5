"""YOLOBench's figures, and its networks as amounts of a runtime's units."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from board_fit import Runs
from numpy.typing import NDArray
from yolobench_networks import family_of, network

from nas.latency.estimated.op_work import OpWork
from nas.latency.estimated.units import (
    UNIT_MODELS,
    UnitModel,
    UnitTimes,
    board_reach,
    fit_units,
    own_reach,
)

Array = NDArray[np.float64]

FAMILIES: Final = ("yolo3", "yolo5", "yolo6s", "yolo6m")
PI4: Final = "pi4_ort_fp32_ms"
PI5: Final = "pi5_ort_fp32_ms"
TFLITE: Final = "pi4_tflite_fp32_ms"
TFLITE_INT8: Final = "pi4_tflite_int8_ms"

THREADS: Final = 4
"""Not stated by the source. 13 GMAC/s on a Raspberry Pi 4 are more than two of its cores can do (4
products a cycle of 1.5 GHz: 12), and three fit worse."""

CACHE_MB: Final = {PI4: 1.0, TFLITE: 1.0, TFLITE_INT8: 1.0, PI5: 2.0}
"""The last cache of the board by its data sheet: BCM2711 has 1 MB of L2, BCM2712 2 MB of L3."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Rows of the CSV: the model's name, its image size, and ms by column."""

    names: list[str]
    sizes: list[int]
    ms: dict[str, list[float]]

    @property
    def families(self) -> list[str]:
        """The family of each row."""
        return [family_of(name) for name in self.names]


@dataclass(frozen=True, kw_only=True)
class Networks:
    """Networks with the time that each took: a row each.

    counts  shape (networks, ops): how often each op occurs; cache_mb is the board's
    """

    model: UnitModel
    cache_mb: float
    names: NDArray[np.str_]
    sizes: NDArray[np.int64]
    work: tuple[OpWork, ...]
    times: UnitTimes
    counts: Array
    ms: Array

    @property
    def families(self) -> NDArray[np.str_]:
        """The family of each row."""
        return np.array([family_of(name) for name in self.names])

    @property
    def keys(self) -> NDArray[np.str_]:
        """Name and image size of each row."""
        each = zip(self.names, self.sizes, strict=True)
        return np.array([f"{name} at {size} px" for name, size in each])

    def rows(self, kept: NDArray[np.bool_]) -> Networks:
        """Some of the networks."""
        own: dict[str, Any] = {
            name: getattr(self, name)[kept] for name in ("names", "sizes", "counts", "ms")
        }
        return Networks(
            model=self.model, cache_mb=self.cache_mb, work=self.work, times=self.times, **own
        )

    def fitted(self) -> Array:
        """The costs of the board, from these networks alone."""
        start, reach = self.model.start(self.cache_mb), own_reach(self.model)
        return fit_units(self.times, self.counts, self.ms, start, reach)

    def fitted_from(self, other: Array) -> Array:
        """The costs of the board, from these networks and another board's costs."""
        prior = np.append(other[:-1], np.log2(self.cache_mb))
        return fit_units(self.times, self.counts, self.ms, prior, board_reach(self.model))

    def predicted(self, parameters: Array) -> Array:
        """ms of each network on a board with these costs."""
        return np.asarray(self.counts @ self.times.op_ms(parameters), dtype=np.float64)


def read_figures(path: Path) -> Figures:
    """The CSV; nan where a latency isn't there."""
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = [name for name in rows[0] if name.endswith("_ms")]
    return Figures(
        names=[row["model"] for row in rows],
        sizes=[int(row["image_size"]) for row in rows],
        ms={c: [float(row[c]) if row[c] else np.nan for row in rows] for c in columns},
    )


def networks(figures: Figures, name: str, column: str, threads: int = THREADS) -> Networks:
    """The networks that have a time in the column, as units of the model of that name."""
    model = UNIT_MODELS[name]
    rows = [i for i, ms in enumerate(figures.ms[column]) if not np.isnan(ms)]
    work, counts = _ops(figures, rows, name.split("-")[0])
    return Networks(
        model=model,
        cache_mb=CACHE_MB[column],
        names=np.array([figures.names[i] for i in rows]),
        sizes=np.array([figures.sizes[i] for i in rows]),
        work=work,
        times=UnitTimes(model, work, threads),
        counts=counts,
        ms=np.array([figures.ms[column][i] for i in rows]),
    )


def runs(figures: Figures, rows: list[int], column: str) -> Runs:
    """The rows as one run on a board, for the model with learned shapes."""
    work, counts = _ops(figures, rows, "tflite")
    ms = np.array([[figures.ms[column][i] for i in rows]])
    return Runs(
        work=work,
        counts=counts,
        ms=ms,
        is_known=~np.isnan(ms),
        boards=(column,),
        threads=(THREADS,),
        is_recent=(True,),
        is_fp16=False,
    )


def _ops(figures: Figures, rows: list[int], runtime: str) -> tuple[tuple[OpWork, ...], Array]:
    """The distinct ops of the rows, and how often each occurs in each (rows, ops)."""
    place: dict[OpWork, int] = {}
    groups = [
        [
            place.setdefault(op, len(place))
            for op in network(figures.names[i], figures.sizes[i], runtime)
        ]
        for i in rows
    ]
    counts = np.zeros((len(rows), len(place)))
    for row, group in enumerate(groups):
        np.add.at(counts[row], group, 1.0)
    return tuple(place), counts
