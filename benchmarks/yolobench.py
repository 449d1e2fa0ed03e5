"""YOLOBench's Raspberry Pi latencies against the board model: variants, families, another board.

    python benchmarks/yolobench.py --figures ../shared/yolobench/pi4.csv

Each variant (a depth and a width, all its image sizes) is held out in turn; then whole families;
then a Raspberry Pi 5 of which only ten networks are known. The networks are built by
yolobench_networks.py from what is published of their architecture.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import tyro
from board_fit import Array, Runs, Settings, fit
from yolobench_networks import family_of, network

from nas import stats
from nas.latency.work import Work

SETTINGS: Final = Settings(
    mean=0.5, compute=0.15, shape=2.0, directions=0, noise=0.02, huber=2.5, steps=200
)
"""One or two boards and hundreds of networks: the shapes are learned, boards hardly differ."""

PI4: Final = "pi4_ort_fp32_ms"
PI5: Final = "pi5_ort_fp32_ms"
THREADS: Final = 4
"""Not stated by the source; 11 to 12 GMAC/s on a Raspberry Pi 4 are those of all four cores."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Judge the board model on YOLOBench's latencies."""

    figures: Path
    """The CSV of latencies."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Rows of the CSV: the model's name, its image size, and ms by column."""

    names: list[str]
    sizes: list[int]
    ms: dict[str, list[float]]


def main(arguments: Arguments) -> None:
    """The lines of the README, one after the other."""
    figures = read_figures(arguments.figures)
    for column in (PI4, "pi4_tflite_fp32_ms", "pi4_tflite_int8_ms"):
        print(f"yolo5, each variant held out, {column}: {variants(figures, column)}", flush=True)
    for known, held in (
        (("yolo5", "yolo6m"), "yolo3"),
        (("yolo3", "yolo6m"), "yolo5"),
        (("yolo3", "yolo5"), "yolo6s"),
        (("yolo3", "yolo5"), "yolo6m"),
    ):
        print(f"{' and '.join(known)} -> {held}: {family(figures, known, held)}", flush=True)
    print(f"Pi 4 and 10 networks of the Pi 5 -> Pi 5: {another_board(figures)}", flush=True)


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


def gather(figures: Figures, rows: list[int], columns: list[str]) -> Runs:
    """The rows as runs, one for each column."""
    place: dict[Work, int] = {}
    groups = [
        [place.setdefault(op, len(place)) for op in network(figures.names[i], figures.sizes[i])]
        for i in rows
    ]
    counts = np.zeros((len(rows), len(place)))
    for row, group in enumerate(groups):
        np.add.at(counts[row], group, 1.0)
    ms = np.array([[figures.ms[column][i] for i in rows] for column in columns])
    return Runs(
        work=tuple(place),
        counts=counts,
        ms=np.where(np.isnan(ms), 1.0, ms),
        is_known=~np.isnan(ms),
        threads=(THREADS,) * len(columns),
        is_fp16=False,
    )


def variants(figures: Figures, column: str) -> str:
    """The errors of yolo5, each variant predicted from the others."""
    rows = [i for i, name in enumerate(figures.names) if family_of(name) == "yolo5"]
    runs = gather(figures, rows, [column])
    predicted = np.zeros(len(rows))
    for variant in sorted({figures.names[i] for i in rows}):
        held = [at for at, i in enumerate(rows) if figures.names[i] == variant]
        predicted[held] = fit(runs.without(held), SETTINGS)[1][0, held]
    return errors(predicted, runs.ms[0])


def family(figures: Figures, known: tuple[str, ...], held: str) -> str:
    """The errors of a whole family, from others."""
    rows = [i for i, n in enumerate(figures.names) if family_of(n) in (*known, held)]
    runs = gather(figures, rows, [PI4])
    out = [at for at, i in enumerate(rows) if family_of(figures.names[i]) == held]
    predicted = fit(runs.without(out), SETTINGS)[1][0, out]
    return errors(predicted, runs.ms[0, out])


def another_board(figures: Figures, known: int = 10, draws: int = 5) -> str:
    """The errors on the Pi 5, from all of the Pi 4 and so many networks of the Pi 5 (drawn)."""
    rows = [i for i, ms in enumerate(figures.ms[PI5]) if not np.isnan(ms)]
    runs = gather(figures, rows, [PI4, PI5])
    predicted, true = [], []
    for seed in range(draws):
        given = np.random.default_rng(seed).choice(len(rows), known, replace=False)
        mask = runs.is_known.copy()
        mask[1] = False
        mask[1, given] = True
        found = fit(replace(runs, is_known=mask), SETTINGS)[1][1]
        others = np.setdiff1d(np.arange(len(rows)), given)
        predicted.append(found[others])
        true.append(runs.ms[1, others])
    return errors(np.concatenate(predicted), np.concatenate(true))


def errors(predicted: Array, true: Array) -> str:
    """MAPE, share within 10 % and the worst, as text."""
    off = np.abs(stats.relative_errors(predicted, true))
    return f"MAPE {off.mean():.1%}, {np.mean(off <= 0.1):.0%} within 10 %, worst {off.max():.1%}"


if __name__ == "__main__":
    main(tyro.cli(Arguments))
