"""Predicted against measured latency of a whole front, on this machine.

    python benchmarks/verify.py --folder FOLDER

Profiles this machine under a time limit, searches the space by a score that costs nothing, and
verifies the front as a person would, some times over, each from nothing. A row a network and
repetition is added to verify.csv; per repetition it prints MAPE, the worst, how many points are
over the limit by more than 3 %, and how far two rings of one network differ. In FOLDER, a working
folder of its own with tables and run, the same command goes on.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rows import append_row, read_rows

CSV = Path(__file__).with_suffix(".csv")


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Hold a front's predictions against this machine."""

    folder: Path
    """A working folder: the table and the run stay there."""
    time_limit: str = "4m"
    """Of the profile."""
    space: str = "fused_mbconv"
    """What is searched."""
    budget: int = 60
    """Architectures graded."""
    max_latency_ms: float = 20.0
    """The limit."""
    repeats: int = 2
    """Verifications, each from nothing."""
    note: str = ""
    """What else ran on the machine, for the CSV."""


@dataclass(frozen=True, kw_only=True)
class FrontRowTimed:
    """A network of the front in one repetition."""

    repeat: str
    note: str
    name: str
    is_on_front: bool
    limit_ms: float
    predicted_ms: float
    low_ms: float
    high_ms: float
    measured_ms: float
    measured_low_ms: float
    measured_high_ms: float
    median_ms: float
    left_out_mape_after: float
    drift: float
    pace: float | None
    lost: float
    load: float


def run(arguments: Arguments) -> None:
    """Profiles, searches, verifies and prints."""
    folder = arguments.folder.resolve()
    (folder / "latency_tables").mkdir(parents=True, exist_ok=True)
    if not list(folder.glob("latency_tables/host/*.fit.json")):
        flags = ("--device", "host", "--space", arguments.space)
        command(folder, "nas.profile", *flags, "--time-limit", arguments.time_limit)
    # No training is needed to have a front.
    (folder / "free.yaml").write_text("kind: macs\nfinish: null\n")
    command(
        folder, "nas.search", "--device", "host", "--space", arguments.space,
        "--proxy", "free.yaml", "--budget", str(arguments.budget), "--run", "front",
        "--max-latency-ms", str(arguments.max_latency_ms),
    )  # fmt: skip
    done = len({row.repeat for row in read_rows(CSV, FrontRowTimed)}) if CSV.exists() else 0
    for number in range(arguments.repeats):
        kept = folder / "runs" / "front" / "verified"
        if kept.exists():
            kept.rename(folder / f"verified-{done + number}")
        told = json.loads(command(folder, "nas.verify", "runs/front", "--minutes", "0", "--json"))
        pareto = json.loads((folder / "runs" / "front" / "pareto.json").read_text())
        rows = rows_of(told, pareto, str(done + number), arguments.note)
        for row in rows:
            append_row(CSV, row)
        print(summary(rows, told))


def command(folder: Path, module: str, *flags: str) -> str:
    """What a command prints, run in the folder; its progress is shown."""
    words = [sys.executable, "-m", module, *flags]
    done = subprocess.run(words, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def rows_of(
    told: dict[str, Any], pareto: dict[str, Any], repeat: str, note: str
) -> list[FrontRowTimed]:
    """A row for each network that was timed."""
    by_name = {row["name"]: row for row in (*pareto["front"], *pareto["runners_up"])}
    found = []
    for point in told["points"]:
        row = by_name[point["name"]]
        if point["measured_ms"] is None:
            continue
        found.append(
            FrontRowTimed(
                repeat=repeat,
                note=note,
                name=point["name"],
                is_on_front=point["is_on_predicted_front"],
                limit_ms=told["limit_ms"],
                predicted_ms=row["latency_ms"],
                low_ms=row["latency_low_ms"],
                high_ms=row["latency_high_ms"],
                measured_ms=row["measured_ms"],
                measured_low_ms=row["measured_low_ms"],
                measured_high_ms=row["measured_high_ms"],
                median_ms=point["measured_median_ms"],
                left_out_mape_after=told["correction"]["left_out_mape_after"],
                drift=told["drift"],
                pace=told["pace"],
                lost=point["samples_that_lost_the_core"],
                load=max(point["state"].get("load", [0.0])),
            )
        )
    return found


def summary(rows: list[FrontRowTimed], told: dict[str, Any]) -> str:
    """One repetition in a line."""
    front = [row for row in rows if row.is_on_front]
    off = np.array([row.predicted_ms / row.measured_ms - 1 for row in front])
    over = sum(row.measured_ms > 1.03 * row.limit_ms for row in front)
    inside = np.mean([row.low_ms <= row.measured_ms <= row.high_ms for row in front])
    correction = told["correction"]
    return (
        f"{len(front)} points of the front ({len(rows)} networks): MAPE {np.abs(off).mean():.1%},"
        f" mean {off.mean():+.1%}, worst {np.abs(off).max():.1%}, {over} over the limit by more"
        f" than 3 %; 90 % intervals hold {inside:.0%}; corrected by {correction['found']:.4f}"
        f" ({'used' if correction['is_applied'] else 'not used'}): left out"
        f" {correction['left_out_mape_before']:.1%} to {correction['left_out_mape_after']:.1%};"
        f" rings differ by {told['drift']:.1%}; lost samples"
        f" {np.mean([row.lost for row in rows]):.0%}, load {max(row.load for row in rows):.1f}"
    )


if __name__ == "__main__":
    run(tyro.cli(Arguments))
