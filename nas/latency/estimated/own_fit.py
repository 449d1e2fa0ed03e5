"""The estimated table that some whole networks' times make, in whichever runtime they ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal

import numpy as np

from nas.latency.device import TableKey
from nas.latency.estimated.op_work import OpWork
from nas.latency.estimated.tables import (
    EstimatedTable,
    FittedNetwork,
    fit_table,
    named_parameters,
    read_estimate,
    shapes_seen,
    sums_of,
)
from nas.latency.estimated.units import UNIT_MODELS, UnitTimes, board_reach, fit_units

ORT_MODELS: Final = ("onnxruntime-fp32",)
"""Of units.UNIT_MODELS those whose times a person may have: a runtime that a device offers."""

BASE: Final = TableKey(device="rpi4", threads=4)
"""Whose costs another board's start from in ONNX Runtime."""


def fit_any(
    networks: Mapping[str, Sequence[OpWork]],
    ms: Mapping[str, float],
    key: TableKey,
    *,
    arithmetic: Literal["fp32", "fp16"],
    is_recent: bool,
    source: str,
    date: str,
) -> EstimatedTable:
    """The table of a board on which these networks took so many ms.

    In ncnn by what public logs of many boards share (`is_recent`: with the kernels of 2023); in
    ONNX Runtime by what the Pi 4's costs are (units.py), moved towards these networks as far as
    another board's may be.
    """
    name = f"{key.runtime}-{arithmetic}"
    if name not in ORT_MODELS:
        return fit_table(key, arithmetic, networks, ms, [source], date, is_recent=is_recent)
    model = UNIT_MODELS[name]
    base = read_estimate(replace(key, device=BASE.device, threads=BASE.threads))
    assert base is not None, "the Pi 4's table comes with the program"
    work, counts = sums_of(networks)
    times = UnitTimes(model, work, key.threads)
    taken = np.array([ms[name] for name in networks])
    parameters = fit_units(times, counts, taken, base.vector(), board_reach(model))
    fitted = counts @ times.op_ms(parameters)
    return base.model_copy(
        update={
            "device": key.device,
            "threads": key.threads,
            "date": date,
            "sources": [source, *base.sources],
            "networks": {
                name: FittedNetwork(measured_ms=ms[name], fitted_ms=round(float(value), 3))
                for name, value in zip(networks, fitted, strict=True)
            },
            "parameters": named_parameters(model.parameters, parameters),
            "seen": _together(base.seen, shapes_seen(work)),
            "doubts": [f"costs that start from those of {BASE.device} in {key.runtime}"],
        }
    )


def _together(*seen: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """Kind of work -> lowest and highest sizes in any of them."""
    found: dict[str, list[int]] = {}
    for kind, sizes in ((kind, sizes) for one in seen for kind, sizes in one.items()):
        both = list(zip(found.get(kind, sizes), sizes, strict=True))
        found[kind] = [min(pair) if i % 2 == 0 else max(pair) for i, pair in enumerate(both)]
    return found
