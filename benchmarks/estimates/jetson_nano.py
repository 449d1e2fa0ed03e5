"""A Jetson Nano's CPU, from the one public log of it: how far off, and the table that ships.

    python benchmarks/estimates/jetson_nano.py                # prints the errors
    python benchmarks/estimates/jetson_nano.py --logs LOGS    # and those of other boards
    python benchmarks/estimates/jetson_nano.py --write        # makes the table

The benchmark page of ncnn has no Jetson Nano. A comment of ncnn's author has one thread of it,
fp32 (no int8, no other thread counts). With --logs it is seen what the nearest boards of that page
would have given in its place, scaled by their clocks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import tyro

from nas import stats
from nas.latency.device import read_device
from nas.latency.estimated.own_times import Evidence, errors_in_turn, heldout_of
from nas.latency.estimated.tables import EstimatedTable, fit_table, known_networks, write_estimate

DATE: Final = "2026-11-22"
SOURCE: Final = (
    "benchncnn on a Jetson Nano, 1 thread, github.com/Tencent/ncnn/issues/4175, comment of "
    "2023-04-20"
)

MIN_MS: Final = {
    "squeezenet": 77.27,
    "mobilenet": 131.62,
    "mobilenet_v2": 88.70,
    "mobilenet_v3": 72.77,
    "shufflenet": 45.02,
    "shufflenet_v2": 42.46,
    "mnasnet": 86.96,
    "proxylessnasnet": 108.78,
    "efficientnet_b0": 161.75,
    "efficientnetv2_b0": 180.45,
    "regnety_400m": 111.32,
    "blazeface": 12.82,
    "googlenet": 275.23,
    "resnet18": 202.50,
    "alexnet": 170.97,
    "vgg16": 1127.22,
    "resnet50": 591.21,
    "squeezenet_ssd": 177.33,
    "mobilenet_ssd": 267.78,
}
"""Network -> its fastest loop (ms), those of the comment that could be read here."""

CLOCK_GHZ: Final = 1.43
NEAREST: Final = (
    ("Qualcomm MSM8994 Snapdragon 810 (Cortex-A57", 2, 2.0),
    ("NVIDIA Jetson TX2 NX", 0, 2.0),
    ("Raspberry Pi 4 Model B", 0, 1.8),
)
"""How a board's line begins, `powersave`, and its clock (GHz)."""

DOUBT: Final = (
    "from one log of one thread, which says neither clock nor power mode of the board nor the "
    "version of ncnn"
)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Judge, and with --write make, the estimated table of a Jetson Nano."""

    logs: Path | None = None
    """The folder with runs.json, to compare with other boards."""
    write: bool = False
    """Write the table."""


def main(arguments: Arguments) -> None:
    """The errors, and what ships."""
    table, error = make_table()
    fitted = [one.fitted_ms for one in table.networks.values()]
    measured = [one.measured_ms for one in table.networks.values()]
    print(f"{len(measured)} networks fitted: MAPE {stats.mape(fitted, measured):.1%}")
    print(error)
    print(f"stated: MAPE {table.heldout.mape:.1%} ({table.heldout.count} on {table.heldout.runs})")
    if arguments.logs is not None:
        compare(json.loads((arguments.logs / "runs.json").read_text(encoding="utf-8")))
    if arguments.write:
        print(f"written: {write_estimate(table)}")


def make_table() -> tuple[EstimatedTable, str]:
    """The table, and in words its error on networks of the log left out in turn."""
    key = read_device("jetson-nano").key("ncnn", "fp32", threads=1)
    works = known_networks(list(MIN_MS))
    table = fit_table(key, "fp32", works, MIN_MS, [SOURCE], DATE, is_recent=True)
    names = tuple(works)
    evidence = Evidence(
        networks=works, ms=MIN_MS, group={name: name for name in names}, own=names, int8=0
    )
    off = errors_in_turn(table, evidence)
    assert off is not None
    own = heldout_of(off)
    said = (
        f"each of its {own.count} networks left out in turn was off by {own.mape:.1%} (the model "
        "that boards share knows them from others)"
    )
    is_wider = own.interval_quantile > table.heldout.interval_quantile
    heldout = own if is_wider else table.heldout
    return table.model_copy(update={"heldout": heldout, "doubts": [DOUBT, said]}), said


def compare(logs: list[dict[str, object]]) -> None:
    """Prints how far other boards' times, scaled by the clock, are from the Jetson Nano's."""
    for board, powersave, ghz in NEAREST:
        (results,) = [
            run["results"]
            for run in logs
            if str(run["device"]).startswith(board)
            and (run["num_threads"], run["powersave"]) == (1, powersave)
        ]
        assert isinstance(results, dict)
        names = [name for name in MIN_MS if name in results]
        found = np.array([results[name]["min"] for name in names]) * ghz / CLOCK_GHZ
        true = np.array([MIN_MS[name] for name in names])
        after = found * np.exp(np.median(np.log(true / found)))
        print(
            f"{board}, scaled by {ghz}/{CLOCK_GHZ}: MAPE {stats.mape(found, true):.1%}, "
            f"and {stats.mape(after, true):.1%} if its speed were known"
        )


if __name__ == "__main__":
    main(tyro.cli(Arguments))
