"""Times the front of a finished search on its board, and says how far predictions were off.

    python -m nas.verify runs/NAME
    python -m nas.verify runs/NAME --host pi@raspberrypi.local

Every network of the front, and the runners-up, are timed in turns on the run's own device, with its
runtime, precision and threads. Measured stands beside predicted in pareto.json, pareto.csv and
pareto.html then; the residuals correct the run's predictions where that is known to help. What was
timed is kept in runs/NAME/verified/: the same command goes on after a kill.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from nas import NasError
from nas.terminal import command_line, say, show_table

if TYPE_CHECKING:
    from nas.latency.device import TableKey
    from nas.latency.reach.runner import Runner
    from nas.space.search_space import Candidate
    from nas.study.after.verification import Verification
    from nas.study.after.whole_path import PathTimes


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure a search's front on its board, and correct the predictor by what was found."""

    run: Annotated[Path, tyro.conf.Positional]
    """The folder of a run of nas.search."""
    device: str | None = None
    """The run's own device; another one is refused."""
    host: str = ""
    """Where to log in to the board, as ssh takes it (default: here, or where its file says)."""
    minutes: float = 10.0
    """How long the best model that keeps the limit then runs without a pause, picture after
    picture; 0 leaves it out."""
    json: Annotated[bool, tyro.conf.arg(name="json")] = False
    """Print one JSON document to stdout."""


def run(arguments: Arguments, root: Path | None = None, runner: Runner | None = None) -> None:
    """Reads the run, times its front, concludes, and writes what was found into the run.

    runner  what times, instead of the device's own
    """
    from nas.files import writing
    from nas.latency.device import read_device
    from nas.latency.reach.choice import runner_for
    from nas.report.verified import write_verification
    from nas.study.after.verification import (
        candidates_of_front,
        checked_keys,
        conclude_verification,
    )
    from nas.study.on_disk.pareto_file import read_pareto
    from nas.study.on_disk.run import held, read_settings

    if not 0 <= arguments.minutes <= 24 * 60:
        raise NasError("--minutes", "the minutes are 0 to 1440", f"{arguments.minutes:g}")
    settings = read_settings(arguments.run)
    with held(arguments.run):
        pareto = read_pareto(arguments.run)
        device = read_device(pareto.device, root)
        keys = checked_keys(pareto, device, arguments.device)
        candidates = candidates_of_front(arguments.run, pareto)
        timed_by = runner or runner_for(device, arguments.host or None, say)
        with writing(arguments.run):
            time_all(arguments.run, keys, candidates, settings.space.digest, timed_by)
            found = conclude_verification(arguments.run, pareto, settings.max_latency_ms, root)
            path = time_path_of(found, candidates, arguments, keys, timed_by)
            document = write_verification(found, arguments.run, path)
    if arguments.json:
        print(json.dumps(document, indent=2))
    else:
        show(found, path, arguments.run)


def time_all(
    folder: Path,
    keys: dict[str, TableKey],
    candidates: dict[str, Candidate],
    space: str,
    runner: Runner,
) -> None:
    """Times what is not timed yet, shown on stderr."""
    from rich.console import Console

    from nas.report.display import Display
    from nas.study.after.verification import time_front

    with Display(Console(stderr=True)) as display:
        shown = display.step("timings of whole networks")
        time_front(folder, keys, candidates, space, runner, shown)


def time_path_of(
    found: Verification,
    candidates: dict[str, Candidate],
    arguments: Arguments,
    keys: dict[str, TableKey],
    runner: Runner,
) -> PathTimes | None:
    """Times the whole path of the point that a user would take, shown on stderr."""
    from rich.console import Console

    from nas.report.display import Display
    from nas.study.after.whole_path import can_be_followed, choose_point, time_path

    point = choose_point(found.front)
    if point is None:
        return None
    key = keys[point.row.digest]
    if not can_be_followed(key):
        say(f"the whole path is timed in fp32 and fp16 alone, and not in {key.precision}")
        return None
    with Display(Console(stderr=True)) as display:
        shown = display.step(f"seconds of {point.row.name} without a pause")
        seconds = 60 * arguments.minutes
        return time_path(
            arguments.run, key, point, candidates[point.row.digest], runner, seconds, shown
        )


def show(found: Verification, path: PathTimes | None, folder: Path) -> None:
    """Prints measured beside predicted, and what to know beside it."""
    from nas.report.verified import verification_table
    from nas.study.after.verification import words_of_verification
    from nas.study.after.whole_path import words_of_path

    show_table(verification_table(found, f"front of {folder}, on its board"))
    for line in (*words_of_verification(found), *(words_of_path(path) if path else ())):
        print(line)
    print(f"{folder}: pareto.html, pareto.json, pareto.csv, verified/")


if __name__ == "__main__":
    command_line(Arguments, run)
