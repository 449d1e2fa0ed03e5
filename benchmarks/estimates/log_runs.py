"""Which of the public runs of benchncnn are fitted, as arrays."""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
from board_fit import Runs

from nas.latency.estimated.op_work import OpWork
from nas.latency.estimated.tables import INT8, RECENT, in_int8

HALF: Final = re.compile(
    r"A55|A7[5678]|X[14]\b|A720|Kyro485|Kyro460|Kyro 1\.8GHz x 6|Gen 2|K[uU][nN][pP]|Carmel|Orin"
    r"|RK3588|RK356|RZG2L|FTC664|BCM2712"
)
"""Cores that compute in fp16, where benchncnn does so unasked."""

NARROW: Final = re.compile(r"A7\)|A7 |A9|A17|A5[, ]")
"""32-bit cores: other kernels, left out."""


def every(logs: list[dict[str, Any]]) -> set[str]:
    """Every network that a run names."""
    return {name for run in logs for name in run["results"]}


def chosen_runs(
    logs: list[dict[str, Any]], networks: dict[str, list[OpWork]], arithmetic: str
) -> tuple[Runs, list[str]]:
    """The usable runs of that arithmetic, and the networks that they time."""
    chosen = [run for run in logs if is_usable(run, networks, arithmetic)]
    chosen = [run for run in chosen if not is_disturbed(run, logs)]
    known = sorted(name for name in every(chosen) if name.removesuffix(INT8) in networks)
    names = list(dict.fromkeys([*networks, *known]))
    return gather(chosen, names, networks, is_fp16=arithmetic == "fp16"), names


def is_disturbed(run: dict[str, Any], logs: list[dict[str, Any]]) -> bool:
    """Whether several threads took longer than one on the same board: the cores were not free."""
    single = [one for one in logs if one["device"] == run["device"] and one["num_threads"] == 1]
    if run["num_threads"] == 1 or not single:
        return False

    def ratio(one: dict[str, Any]) -> float:
        shared = run["results"].keys() & one["results"].keys()
        times = [run["results"][n]["min"] / one["results"][n]["min"] for n in shared]
        return float(np.median(times))

    return min(map(ratio, single)) > 1


def is_usable(run: dict[str, Any], networks: dict[str, list[OpWork]], arithmetic: str) -> bool:
    """Whether a run is of a 64-bit ARM CPU of that arithmetic, whole enough and steady."""
    times = run["results"].values()
    spread = np.median([row["max"] / row["min"] for row in times])
    known = sum(name in networks for name in run["results"])
    is_half = bool(HALF.search(run["device"]))
    is_right = is_half == (arithmetic == "fp16") and not NARROW.search(run["device"])
    return bool(is_right and known >= 22 and spread < 1.25)


def gather(
    logs: list[dict[str, Any]],
    names: list[str],
    networks: dict[str, list[OpWork]],
    *,
    is_fp16: bool,
) -> Runs:
    """The runs as arrays; the fastest loop of each network counts."""
    place: dict[OpWork, int] = {}
    counts: list[dict[int, int]] = []
    for name in names:
        own: dict[int, int] = {}
        base = networks[name.removesuffix(INT8)]
        for op in in_int8(base) if name.endswith(INT8) else base:
            i = place.setdefault(op, len(place))
            own[i] = own.get(i, 0) + 1
        counts.append(own)
    matrix = np.zeros((len(names), len(place)))
    for row, own in enumerate(counts):
        matrix[row, list(own)] = list(own.values())
    ms = [[run["results"].get(name, {}).get("min", 0.0) for name in names] for run in logs]
    found = np.array(ms)
    return Runs(
        work=tuple(place),
        counts=matrix,
        ms=np.where(found > 0, found, 1.0),
        is_known=found > 0,
        boards=tuple(run["device"] for run in logs),
        threads=tuple(run["num_threads"] for run in logs),
        is_recent=tuple(RECENT in run["results"] for run in logs),
        is_fp16=is_fp16,
    )
