"""YOLOBench's Raspberry Pi latencies: variants, families and another board held out.

    python benchmarks/estimates/yolobench.py --figures CSV            # the errors
    python benchmarks/estimates/yolobench.py --figures CSV --write    # and the tables

CSV: YOLOBench's latencies of a Raspberry Pi 4 and 5 (pi4.csv).

Each variant (a depth and a width, all its image sizes) is held out in turn; then whole families;
then a Raspberry Pi 5 of which only ten networks are known. The networks are built by
yolobench_networks.py from what is published of their architecture; a runtime's costs are fitted by
nas/latency/estimated/units.py. What ships is written by yolobench_tables.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import tyro
from board_fit import Settings, fit
from yolobench_figures import (
    FAMILIES,
    PI4,
    PI5,
    TFLITE,
    TFLITE_INT8,
    Array,
    Figures,
    Networks,
    networks,
    read_figures,
    runs,
)
from yolobench_tables import coverage, predicted_unseen, write_tables

from nas import stats

SHAPES: Final = Settings(misfit=0.0, noise=0.02, huber=2.5)
"""Of ncnn's board model, for comparison: one board and hundreds of networks."""

KNOWN: Final = 10
"""Networks known of the other board."""

DRAWS: Final = 20

STARTS: Final = 6

PAIRS: Final = (
    (("yolo5", "yolo6m"), "yolo3"),
    (("yolo3", "yolo6m"), "yolo5"),
    (("yolo3", "yolo5"), "yolo6s"),
    (("yolo3", "yolo5"), "yolo6m"),
)
"""Two families fitted, and the one predicted."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Judge, and with --write make, what is estimated from YOLOBench's latencies."""

    figures: Path
    """The CSV of latencies."""
    write: bool = False
    """Fit on everything and write the tables."""


def main(arguments: Arguments) -> None:
    """The lines of docs/results.md, one after the other."""
    figures = read_figures(arguments.figures)
    ort = networks(figures, "onnxruntime-fp32", PI4)
    tflite = networks(figures, "tflite-fp32", TFLITE)
    int8 = networks(figures, "tflite-int8", TFLITE_INT8)
    for title, known in (("ONNX Runtime", ort), ("TFLite fp32", tflite), ("TFLite int8", int8)):
        print(f"yolo5, each variant held out, {title}: {variants(known)}", flush=True)
    for column in (TFLITE, TFLITE_INT8):
        print(f"the same by ncnn's board model, {column}: {learned(figures, column)}", flush=True)
    for families, held in PAIRS:
        print(f"{' and '.join(families)} -> {held}: {family(ort, families, held)}", flush=True)
    for title, known in (("ONNX Runtime", ort), ("TFLite fp32", tflite), ("TFLite int8", int8)):
        for held in FAMILIES:
            others = tuple(one for one in FAMILIES if one != held)
            print(f"{title}, three others -> {held}: {family(known, others, held)}", flush=True)
        print(f"{title}, the 90 % interval holds {coverage(known, None):.1%}", flush=True)
    for threads in (1, 2, 3, 4):
        known = networks(figures, "onnxruntime-fp32", PI4, threads)
        print(f"fitted to all as {threads} threads: {errors(fitted(known), known.ms)}", flush=True)
    other = networks(figures, "onnxruntime-fp32", PI5)
    for line in another_board(ort, other):
        print(f"Pi 4 and {KNOWN} networks of the Pi 5 -> Pi 5, {line}", flush=True)
    unseen = errors(predicted_unseen(other, ort), other.ms)
    print(f"both boards, each family held out of both -> Pi 5: {unseen}", flush=True)
    print(f"ONNX Runtime on the Pi 5, the 90 % interval holds {coverage(other, ort):.1%}")
    for seed in range(STARTS):
        print(f"starts drawn anew, {seed}: {other_starts(ort, seed)}", flush=True)
    if arguments.write:
        write_tables(figures)


def variants(known: Networks) -> str:
    """The errors of yolo5, each variant predicted from the others."""
    own = known.rows(known.families == "yolo5")
    predicted = np.zeros(len(own.ms))
    for variant in sorted(set(own.names)):
        held = own.names == variant
        predicted[held] = own.rows(held).predicted(own.rows(~held).fitted())
    return errors(predicted, own.ms)


def learned(figures: Figures, column: str) -> str:
    """The same by the board model for ncnn (board_fit.py)."""
    rows = [i for i, one in enumerate(figures.families) if one == "yolo5"]
    every = runs(figures, rows, column)
    predicted = np.zeros(len(rows))
    for variant in sorted({figures.names[i] for i in rows}):
        held = [at for at, i in enumerate(rows) if figures.names[i] == variant]
        predicted[held] = fit(every.without(held), SHAPES)[1][0, held]
    return errors(predicted, every.ms[0])


def family(known: Networks, families: tuple[str, ...], held: str) -> str:
    """The errors of a whole family, from others."""
    found = known.rows(np.isin(known.families, families)).fitted()
    out = known.rows(known.families == held)
    return errors(out.predicted(found), out.ms)


def fitted(known: Networks) -> Array:
    """What a fit to all says of all."""
    return known.predicted(known.fitted())


def another_board(here: Networks, there: Networks) -> list[str]:
    """The errors on another board, from all of one and a few networks of the other (drawn).

    One scalar beside it: the networks' own times on the first board, times the mean ratio.
    """
    first = here.fitted()
    by_scalar, by_units, true = [], [], []
    base = here.ms[np.isin(here.keys, there.keys)]
    for seed in range(DRAWS):
        given = np.random.default_rng(seed).choice(len(there.ms), KNOWN, replace=False)
        is_given = np.isin(np.arange(len(there.ms)), given)
        ratio = np.exp(np.mean(np.log(there.ms[is_given] / base[is_given])))
        by_scalar.append(ratio * base[~is_given])
        by_units.append(there.rows(~is_given).predicted(there.rows(is_given).fitted_from(first)))
        true.append(there.ms[~is_given])
    return [
        f"{title}: {errors(np.concatenate(found), np.concatenate(true))}"
        for title, found in (("one scalar", by_scalar), ("units", by_units))
    ]


def other_starts(known: Networks, seed: int) -> str:
    """MAPE of the PAIRS where every cost's start is drawn a factor of 1.6 about its own."""
    random = np.random.default_rng(seed)
    start = {unit: ms * np.exp(random.normal(0, 0.5)) for unit, ms in known.model.start_ms.items()}
    drawn = replace(known, model=replace(known.model, start_ms=start))
    found = []
    for families, held in PAIRS:
        out = drawn.rows(drawn.families == held)
        own = out.predicted(drawn.rows(np.isin(drawn.families, families)).fitted())
        found.append(f"{held} {stats.mape(own, out.ms):.1%}")
    return ", ".join(found)


def errors(predicted: Array, true: Array) -> str:
    """MAPE, share within 10 %, bias and the worst, as text."""
    off = stats.relative_errors(predicted, true)
    size = np.abs(off)
    shares = f"{np.mean(size <= 0.1):.0%} within 10 %, worst {size.max():.1%}"
    return f"MAPE {size.mean():.1%}, {shares}, mean {off.mean():+.1%} ({len(off)})"


if __name__ == "__main__":
    main(tyro.cli(Arguments))
