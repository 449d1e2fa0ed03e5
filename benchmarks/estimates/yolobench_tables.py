"""What ships of YOLOBench's latencies: estimated tables of ONNX Runtime and TFLite."""

from __future__ import annotations

from typing import Final

import numpy as np
from yolobench_figures import (
    FAMILIES,
    PI4,
    PI5,
    TFLITE,
    TFLITE_INT8,
    THREADS,
    Array,
    Figures,
    Networks,
    networks,
)

from nas import stats
from nas.latency.device import TableKey
from nas.latency.estimated.tables import (
    COVERAGE,
    FORMAT,
    EstimatedTable,
    FittedNetwork,
    HeldOutErrors,
    named_parameters,
    shapes_seen,
    write_estimate,
)

DATE: Final = "2026-11-22"
SOURCE: Final = "YOLOBench (Deeplite/deeplite-torch-zoo, Apache-2.0, commit e4c8ea6)"
FITTED: Final = "{count} latencies of {variants} YOLO variants; those at {size} px are listed"
LISTED_SIZE: Final = 320

TABLES: Final = (
    ("rpi4", "onnxruntime", "fp32", PI4),
    ("rpi5", "onnxruntime", "fp32", PI5),
    ("rpi4", "tflite", "fp32", TFLITE),
    ("rpi4", "tflite", "int8", TFLITE_INT8),
)
"""Device, runtime, precision and column."""

NEVER_SEEN: Final = {
    "onnxruntime": [
        "depthwise and grouped convolutions (taken as ONNX Runtime of 2024 runs them, one group "
        "after the other; later versions deal them to the threads and are faster)",
        "squeeze-and-excite",
        "activations other than SiLU, ReLU and Sigmoid",
    ],
    "tflite": [
        "depthwise and grouped convolutions",
        "squeeze-and-excite",
        "activations other than SiLU, ReLU and Sigmoid",
    ],
}
"""By runtime."""

UNSTATED: Final = {
    "onnxruntime": "its source states neither threads (4 by what it reaches), clock, nor version "
    "of ONNX Runtime: January 2024 or before; builds of 2025 and later may have other kernels",
    "tflite": "its source states neither threads (4 as for ONNX Runtime), clock, nor version of "
    "TFLite",
}
"""By runtime."""


def write_tables(figures: Figures) -> None:
    """Fits each of TABLES on all of its networks and writes it."""
    first = networks(figures, "onnxruntime-fp32", PI4)
    for device, runtime, precision, column in TABLES:
        key = TableKey(device=device, runtime=runtime, precision=precision, threads=THREADS)
        known = networks(figures, f"{runtime}-{precision}", column)
        base = first if column == PI5 else None
        table = make_table(key, known, base)
        print(f"{write_estimate(table)}: {table.heldout.mape:.1%} on families held out")


def make_table(key: TableKey, known: Networks, base: Networks | None) -> EstimatedTable:
    """The table of a board from its networks; `base`: those of the board that it is likened to."""
    found = fitted(known, base)
    own_ms = known.predicted(found)
    listed = np.flatnonzero(known.sizes == LISTED_SIZE).tolist()
    latencies = FITTED.format(
        count=len(known.ms), variants=len(set(known.names.tolist())), size=LISTED_SIZE
    )
    return EstimatedTable(
        format=FORMAT,
        model=known.model.name,
        device=key.device,
        runtime=key.runtime,
        precision=key.precision,
        threads=key.threads,
        arithmetic="fp32",
        date=DATE,
        sources=[SOURCE, latencies],
        networks={
            str(known.keys[i]): FittedNetwork(
                measured_ms=round(float(known.ms[i]), 3), fitted_ms=round(float(own_ms[i]), 3)
            )
            for i in listed
        },
        parameters=named_parameters(known.model.parameters, found),
        heldout=heldout_errors(known, base),
        never_seen=NEVER_SEEN[key.runtime],
        seen=shapes_seen(known.work),
        doubts=[UNSTATED[key.runtime]],
    )


def fitted(known: Networks, base: Networks | None) -> Array:
    """The costs of a board, likened to another one's where there is one."""
    return known.fitted() if base is None else known.fitted_from(base.fitted())


def heldout_errors(known: Networks, base: Networks | None) -> HeldOutErrors:
    """The errors of each family, predicted from the others (on the base board too)."""
    predicted = predicted_unseen(known, base)
    off = np.log(predicted / known.ms)
    return HeldOutErrors(
        count=len(known.ms),
        runs=1,
        mape=round(stats.mape(predicted, known.ms), 4),
        interval_quantile=round(stats.conformal_quantile(off, COVERAGE), 4),
    )


def predicted_unseen(known: Networks, base: Networks | None) -> Array:
    """ms of each network, its family held out of the fit."""
    predicted = np.zeros(len(known.ms))
    for held in FAMILIES:
        out = known.families == held
        rest = base.rows(base.families != held) if base is not None else None
        predicted[out] = known.rows(out).predicted(fitted(known.rows(~out), rest))
    return predicted


def coverage(known: Networks, base: Networks | None) -> float:
    """The share of a family's networks that the 90 % interval of the others' errors holds."""
    off = np.log(predicted_unseen(known, base) / known.ms)
    inside = np.zeros(len(off), dtype=np.bool_)
    for held in FAMILIES:
        out = known.families == held
        inside[out] = np.abs(off[out]) <= stats.conformal_quantile(off[~out], COVERAGE)
    return float(inside.mean())
