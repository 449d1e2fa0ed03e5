"""Public benchncnn logs: how far networks that were held out whole are off, and what ships.

    python benchmarks/estimates/public_logs.py --logs LOGS            # prints the errors
    python benchmarks/estimates/public_logs.py --logs LOGS --write    # and makes the tables

LOGS: a folder with ncnn's public benchncnn logs (runs.json, networks.json).

Each network in turn is held out on every board at once, its int8 form with it. What ships is then
fitted on all: latency_tables/models/, and an estimated table for each board in BOARDS.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import tyro
from board_fit import Point, Runs, Settings, fit
from board_priors import DIRECTIONS, OWN, SHARING
from log_baselines import baselines
from log_runs import HALF, chosen_runs
from ncnn_networks import read_works

from nas import stats
from nas.latency.device import ROOT, TableKey, read_device
from nas.latency.estimated.board_model import (
    FORMAT,
    PARAMETERS,
    BoardModel,
    Sums,
    Unseen,
    efficiency_of,
    fit_board,
    model_path,
)
from nas.latency.estimated.op_work import OpWork
from nas.latency.estimated.public_log import LoggedTime, PublicLog
from nas.latency.estimated.tables import (
    COVERAGE,
    FEWEST_NETWORKS,
    INT8,
    NETWORKS_FORMAT,
    estimate_from_log,
    write_estimate,
)

DATE: Final = "2026-11-22"
SOURCE: Final = "benchmark page of Tencent/ncnn (BSD-3-Clause), runs of benchncnn"

LEFT_OUT: Final = ("alexnet", "vgg16", "shufflenet", "blazeface")
"""Fitted, but not judged: unlike any detector that is searched for here."""

BOARDS: Final = {
    ("rpi4", 1): ("Raspberry Pi 4 Model B", 0),
    ("rpi4", 4): ("Raspberry Pi 4 Model B", 0),
    ("rpi5", 1): ("Raspberry Pi 5 Broadcom BCM2712, Cortex-A76", 0),
    ("rpi5", 4): ("Raspberry Pi 5 Broadcom BCM2712, Cortex-A76", 0),
    ("rpi-zero-2w", 1): ("Raspberry Pi Zero 2 W", 0),
    ("rpi-zero-2w", 4): ("Raspberry Pi Zero 2 W", 0),
    ("orange-pi-5", 1): ("Rockchip RK3588 (Cortex-A76", 2),
    ("orange-pi-5", 4): ("Rockchip RK3588 (Cortex-A76", 2),
    ("rk3566", 1): ("Station-M2/ROC-RK3566-PC", 0),
    ("rk3566", 4): ("Radxa Zero 3W", 0),
}
"""Device and threads -> how the board's line begins, and `powersave` (2: its big cores alone)."""

NEVER_SEEN: Final = [
    "SE and SiLU in int8",
    "SiLU in networks other than efficientnet_b0 and efficientnetv2_b0",
    "C3, SPPF and a PAN neck with concat as in YOLOv5",
    "maps of more than 416x416 pixels at the input",
]


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Judge, and with --write make, what is estimated from public logs."""

    logs: Path
    """The folder with runs.json and networks.json."""
    write: bool = False
    """Fit on everything and write the models and tables."""
    arithmetic: tuple[Literal["fp32", "fp16"], ...] = ("fp32", "fp16")
    """The boards that compute in this."""


def main(arguments: Arguments) -> None:
    """Both arithmetics: errors, then what ships."""
    networks = read_works(arguments.logs / "networks.json")
    logs = json.loads((arguments.logs / "runs.json").read_text(encoding="utf-8"))
    if arguments.write:
        write_networks(networks)
    for arithmetic in arguments.arithmetic:
        runs, names = chosen_runs(logs, networks, arithmetic)
        print(f"{arithmetic}: {len(runs.boards)} runs, {len(names)} networks", flush=True)
        unseen = hold_out(runs, names)
        report(unseen)
        for line in baselines(runs, names, lambda name: name not in LEFT_OUT):
            print(f"  {line}", flush=True)
        print(f"  intervals: {coverage(unseen)}", flush=True)
        if arguments.write:
            write_model(runs, names, unseen, arithmetic)
            write_tables(logs, arithmetic)
        print(f"  boards never seen, 8 networks known: {boards_in_turn(runs, names)}", flush=True)


def hold_out(runs: Runs, names: list[str]) -> list[Unseen]:
    """Every network in turn, and its int8 form, predicted on all boards from the others."""
    found: list[Unseen] = []
    for name in (n for n in names if not n.endswith(INT8)):
        held = [i for i, other in enumerate(names) if other.removesuffix(INT8) == name]
        predicted = fit(runs.without(held), Settings())[1]
        for i in held:
            found += [
                Unseen(
                    network=names[i],
                    board=board,
                    threads=runs.threads[row],
                    measured_ms=float(runs.ms[row, i]),
                    predicted_ms=round(float(predicted[row, i]), 3),
                )
                for row, board in enumerate(runs.boards)
                if runs.is_known[row, i]
            ]
    return found


def is_judged(one: Unseen) -> bool:
    """Whether the network counts in the reported errors."""
    return one.network not in LEFT_OUT


def report(unseen: list[Unseen]) -> None:
    """Prints the errors: the Raspberry Pi 4 and 5, and all boards."""
    for board in ("Raspberry Pi 4", "Raspberry Pi 5 Broadcom BCM2712, Cortex", "Zero 2 W", ""):
        for threads in (1, 4):
            for kind in ("fp", "int8"):
                rows = [
                    one
                    for one in unseen
                    if board in one.board
                    and one.threads == threads
                    and is_judged(one)
                    and one.network.endswith(INT8) == (kind == "int8")
                ]
                if rows:
                    print(f"  {board or 'all boards'}, {threads} threads, {kind}: {errors(rows)}")
    for one in unseen:
        if one.board.startswith("Raspberry Pi 4") and is_judged(one):
            off = one.predicted_ms / one.measured_ms - 1
            print(f"    {one.network:22} {one.threads} threads {100 * off:+6.1f} %")


def errors(rows: list[Unseen]) -> str:
    """MAPE, median and share within 10 %, as text."""
    predicted, measured = [o.predicted_ms for o in rows], [o.measured_ms for o in rows]
    off = np.abs(stats.relative_errors(predicted, measured))
    within = stats.share_within(predicted, measured, 0.1)
    middle = f"median {np.median(off):.1%}, {within:.0%} within 10 %"
    return f"MAPE {off.mean():.1%}, {middle} ({len(rows)})"


def coverage(unseen: list[Unseen]) -> str:
    """How often the 90 % interval holds a board's networks, made from the other boards' errors."""
    inside = []
    for place in {(one.board, one.threads) for one in unseen}:
        alike = [o for o in unseen if is_judged(o) and (o.threads > 1) == (place[1] > 1)]
        own = [o for o in alike if (o.board, o.threads) == place]
        others = [o for o in alike if o.board != place[0]]
        width = stats.conformal_quantile([_off(one) for one in others], COVERAGE)
        inside += [abs(_off(one)) <= width for one in own]
    return f"hold {np.mean(inside):.1%} of {len(inside)}"


def _off(one: Unseen) -> float:
    return float(np.log(one.predicted_ms / one.measured_ms))


def boards_in_turn(runs: Runs, names: list[str]) -> str:
    """The errors on each board from 8 of its networks (drawn), the shared model without it."""
    random = np.random.default_rng(0)
    judged = [i for i, name in enumerate(names) if not name.endswith(INT8)]
    off: list[float] = []
    for board in sorted(set(runs.boards)):
        kept = [row for row, other in enumerate(runs.boards) if other != board]
        model = make_model(runs.rows(kept), names, [], "one board out")
        for row in (row for row, other in enumerate(runs.boards) if other == board):
            there = [i for i in judged if runs.is_known[row, i]]
            given = random.choice(there, FEWEST_NETWORKS, replace=False)
            efficiency = efficiency_of(model, runs.rows([row]).features()[0])
            prior = model.prior(runs.threads[row], is_recent=runs.is_recent[row])
            sums = Sums(counts=runs.counts[given], ms=runs.ms[row, given])
            place = fit_board(model, efficiency, sums, prior, runs.threads[row])
            found = runs.counts @ efficiency.op_ms(place)
            others = [i for i in there if i not in given and names[i] not in LEFT_OUT]
            off += np.abs(stats.relative_errors(found[others], runs.ms[row, others])).tolist()
    within = np.mean(np.array(off) <= 0.1)
    return f"MAPE {np.mean(off):.1%}, median {np.median(off):.1%}, {within:.0%} within 10 %"


def write_networks(networks: dict[str, list[OpWork]]) -> None:
    """The networks' work as rows and counts: all that a log needs to be understood."""
    place: dict[OpWork, int] = {}
    counts: dict[str, dict[int, int]] = {}
    for name, work in networks.items():
        own = counts.setdefault(name, {})
        for op in work:
            i = place.setdefault(op, len(place))
            own[i] = own.get(i, 0) + 1
    names = [field.name for field in fields(OpWork) if field.name != "is_int8"]
    rows = [[getattr(op, name) for name in names] for op in place]
    text = json.dumps(
        {
            "format": NETWORKS_FORMAT,
            "source": "kinds and amounts of work of the networks of ncnn's benchmark "
            "(Tencent/ncnn, BSD-3-Clause); order, wiring and weights are not in here",
            "fields": names,
            "networks": {name: list(own.items()) for name, own in counts.items()},
            "rows": rows,
        },
        separators=(",", ":"),
    )
    path = ROOT / "models" / "benchncnn-networks.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text.replace("],[", "],\n[") + "\n", encoding="utf-8")


def write_model(runs: Runs, names: list[str], unseen: list[Unseen], arithmetic: str) -> None:
    """Fits on every network and writes the shared model."""
    model = make_model(runs, names, [o for o in unseen if is_judged(o)], f"ncnn-{arithmetic}")
    text = json.dumps(model.model_dump(), indent=None, separators=(",", ":"))
    path = model_path(model.name)
    path.write_text(text.replace("},{", "},\n{").replace("],", "],\n") + "\n", encoding="utf-8")


def make_model(runs: Runs, names: list[str], unseen: list[Unseen], name: str) -> BoardModel:
    """The shared model fitted on the runs."""
    settings = Settings()
    fitted, _ = fit(runs, settings)
    return BoardModel(
        format=FORMAT,
        name=name,
        date=DATE,
        sources=[SOURCE],
        networks=names,
        runs=len(runs.threads),
        never_seen=NEVER_SEEN,
        parameters=list(PARAMETERS),
        noise=settings.noise,
        unseen=unseen,
        **_numbers(fitted),
    )


def _numbers(fitted: Point) -> dict[str, Any]:
    values = {
        "mean": fitted.mean,
        "threads": fitted.threads,
        "recent": fitted.recent,
        "directions": DIRECTIONS,
        "spread": OWN,
        "sharing": SHARING,
        "linear": fitted.linear,
        "imbalance": fitted.imbalance,
    }
    return {name: np.round(value, 5).tolist() for name, value in values.items()}


def write_tables(logs: list[dict[str, Any]], arithmetic: str) -> None:
    """An estimated table for each of BOARDS that compute so, in that and in int8."""
    for (device, threads), (board, powersave) in BOARDS.items():
        found = read_device(device)
        (run,) = [
            run
            for run in logs
            if run["device"].startswith(board)
            and run["num_threads"] == threads
            and run["powersave"] == powersave
        ]
        if bool(HALF.search(run["device"])) != (arithmetic == "fp16"):
            continue
        log = PublicLog(
            settings={},
            timings=tuple(
                LoggedTime(network=n, min_ms=r["min"], max_ms=r["max"], avg_ms=r["avg"])
                for n, r in run["results"].items()
            ),
            damaged=(),
        )
        for precision in (arithmetic, "int8"):
            key = TableKey(device=device, precision=precision, threads=threads)
            table = estimate_from_log(key, found, log, f"{SOURCE}: {run['device']}", DATE)
            print(f"  {write_estimate(table).name} of {device}: {asdict(key)}")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
