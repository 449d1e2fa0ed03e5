"""Times a search space on a board, and says how well whole detectors are predicted from it.

    python -m nas.profile --device host
    python -m nas.profile --device rpi4 --host pi@raspberrypi.local

Every distinct block of the space is timed, and whole random detectors of it: half of these
correct the predictor, the other half state its error. Each row is kept at once in
latency_tables/<device>/ of the current folder where that has a latency_tables/, else of the user's
data folder; the same command resumes, and does nothing when all is done.

    python -m nas.profile --device rpi4 --from-log benchncnn.txt
    python -m nas.profile --device myboard --from-csv measurements.csv

Nothing is timed then: the table is an estimate, made from what was timed otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nas import NasError
from nas.terminal import Milestones, command_line, say, seconds

if TYPE_CHECKING:
    from nas.latency.device import Device, TableKey
    from nas.latency.estimated.public_log import PublicLog
    from nas.latency.measured.fit_file import SpaceFit
    from nas.latency.measured.measurement import Measurement
    from nas.latency.measured.table import Table
    from nas.latency.measured.table_cache import Condensed


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Time a search space on a board; resumes where it was stopped."""

    device: str = "host"
    """A folder of latency_tables/ with a device.yaml."""
    host: str = ""
    """Where to log in to the board, as ssh takes it (default: here, or where its file says)."""
    space: str = "fused_mbconv"
    """A search space: a YAML file, or the name of one in search_spaces/."""
    runtime: str = "ncnn"
    """What runs the graphs: ncnn or onnxruntime."""
    precision: str = "fp32"
    """Number format, as the device's file offers it."""
    threads: int | None = None
    """How many threads the runtime uses (default: the device's own, 4 on a Pi and 1 here)."""
    time_limit: str = ""
    """For example 90s, 4m or 1h: times the blocks most worth it, the cost model does the rest."""
    validate: int = 40
    """Whole random detectors to time: half correct the predictor, half state its error."""
    from_log: Path | None = None
    """Times nothing: an estimated table from what ncnn's benchncnn printed on the board."""
    from_csv: Path | None = None
    """Times nothing: estimated tables from rows of model YAML, size, runtime, precision, threads
    and ms, one for each key in them (docs/boards.md); with --from-log both together."""
    max_temp_c: float | None = None
    """The board pauses above this temperature, until it is 5 degrees cooler."""


def run(arguments: Arguments, root: Path | None = None) -> None:
    """Plans, measures what is missing, measures again what drifted, fits, and prints the error."""
    import time

    from nas.latency.device import check_key, new_root, read_device
    from nas.latency.estimated.corrected import read_correction
    from nas.latency.estimated.predictor import correction_words
    from nas.latency.estimated.tables import read_estimate
    from nas.latency.measured.campaign import order_of_work, pending, plan, turns
    from nas.latency.measured.fit_file import read_fits, write_fit
    from nas.latency.measured.table import open_table
    from nas.latency.measured.table_cache import read_condensed
    from nas.latency.measured.validation import has_enough, validate
    from nas.latency.reach.choice import runner_for
    from nas.latency.reach.pack import Timing
    from nas.space.search_space import read_space

    started = time.monotonic()
    limit = seconds(arguments.time_limit) if arguments.time_limit else None
    device = read_device(arguments.device, root)
    if arguments.from_log is not None or arguments.from_csv is not None:
        estimate(arguments, device, root)
        return
    key = device.key(arguments.runtime, arguments.precision, arguments.threads)
    check_key(key, device)
    if arguments.validate < 8:
        raise NasError(
            "--validate", "at least 8 whole detectors are timed", str(arguments.validate)
        )
    timing = Timing(max_temp_c=max_temp_c(arguments), is_alone=True)
    runner = runner_for(device, arguments.host or None, say)
    space = read_space(arguments.space)

    def left() -> float | None:
        return None if limit is None else limit - (time.monotonic() - started)

    # Whatever lies farther answers until now; what is timed goes to one place.
    home = new_root(root)
    for path in key.files(".jsonl", root):
        if path != key.path(home):
            say(f"{key}: {path} is a table of an earlier profile; this one is {key.path(home)}")
    with open_table(key, home) as writer:
        table = writer.table
        report_damage(table)
        fits = [fit for fit in read_fits(key, home) if fit.space_digest == space.digest]
        wanted = plan(space, arguments.validate)
        work = pending(wanted, table, order_of_work(wanted, is_limited=limit is not None))
        if len(work) or not fits or fits[0].table_rows != table.row_count():
            for turn in turns(writer, runner, wanted, work, seconds_left=left, timing=timing):
                blocks, networks = len(turn.remaining.blocks), len(turn.remaining.networks)
                why = " once more (the machine was never calm)" if turn.is_again else ""
                say(f"{key}: {blocks} blocks, {networks} whole detectors to time{why}")
                show(turn.rows, len(turn.remaining), turn.seconds)
            if not has_enough(table, wanted) and (estimated := read_estimate(key, root)):
                correction = read_correction(estimated, key, home)
                if correction is not None:
                    print(f"{key}: too few whole detectors are timed for a fit of its own; until")
                    print(f"a longer profile has them, answers are {correction_words(correction)}")
                    return
            fits = [validate(table, wanted, time.strftime("%Y-%m-%d"))]
            write_fit(key, fits[0], home)
        # Kept for the commands that will ask.
        told = read_condensed(key, home, fits[0].smoothness())
    print(summary(table, told, fits[0]))


def estimate(arguments: Arguments, device: Device, root: Path | None) -> None:
    """Writes the estimated tables of a log, a CSV or both, and prints what they stand on."""
    import time

    from nas.latency.device import check_key
    from nas.latency.estimated.own_times import estimate_from_own, put_in_place, told_of_estimate
    from nas.latency.estimated.times_csv import TimesFile, read_times

    check_estimate(arguments)
    log = key = None
    if arguments.from_log is not None:
        log, key = read_own_log(arguments.from_log, arguments, device)
        check_key(key, device)
    times = TimesFile(rows=(), damaged=())
    if arguments.from_csv is not None:
        times = read_times(arguments.from_csv)
        for number, reason in times.damaged:
            say(f"{arguments.from_csv}, line {number}: {reason.rstrip('.')}; it is left out")
    where = " and ".join(path.name for path in (arguments.from_log, arguments.from_csv) if path)
    found = estimate_from_own(device, times, where, time.strftime("%Y-%m-%d"), log, key)
    for refused, error in found.refused:
        say(f"no table of {refused}: {error}")
    for table in found.tables:
        print(told_of_estimate(table))
        print("\n".join(put_in_place(table, root)))


def check_estimate(arguments: Arguments) -> None:
    """NasError for a flag that has no meaning where nothing is timed."""
    only = "--from-log" if arguments.from_csv is None else "--from-csv"
    timing = {
        "--host": arguments.host != Arguments.host,
        "--space": arguments.space != Arguments.space,
        "--time-limit": arguments.time_limit != Arguments.time_limit,
        "--validate": arguments.validate != Arguments.validate,
        "--max-temp-c": arguments.max_temp_c is not None,
    }
    rule = f"nothing is timed with {only}, nor for one space only"
    of_rows = {
        "--runtime": arguments.runtime != Arguments.runtime,
        "--precision": arguments.precision != Arguments.precision,
        "--threads": arguments.threads is not None,
    }
    if arguments.from_log is None:
        timing |= of_rows
        rule += "; each row of the CSV says its runtime, precision and threads"
    given = [flag for flag, is_given in timing.items() if is_given]
    if given:
        raise NasError(only, rule, ", ".join(given), f"Leave {' and '.join(given)} out")


def read_own_log(path: Path, arguments: Arguments, device: Device) -> tuple[PublicLog, TableKey]:
    """A log of benchncnn and the key that it tells of; its threads go before the device's."""
    from nas.latency.estimated.public_log import read_log
    from nas.latency.estimated.tables import as_known_here

    log = as_known_here(read_log(path, arguments.threads, device.threads))
    for number, line, reason in log.damaged:
        say(f"{path}, line {number}: {reason}: {line!r}; it is left out")
    for note in log.notes:
        say(f"{path}: {note}")
    threads = log.threads if log.threads is not None else arguments.threads
    return log, device.key(arguments.runtime, arguments.precision, threads)


def max_temp_c(arguments: Arguments) -> float | None:
    """The temperature of --max-temp-c in C; NasError where no board could keep to it."""
    if arguments.max_temp_c is not None and not 30 <= arguments.max_temp_c <= 100:
        got = f"{arguments.max_temp_c:g}"
        raise NasError("--max-temp-c", "the temperature is 30 to 100 degrees Celsius", got)
    return arguments.max_temp_c


def report_damage(table: Table) -> None:
    """Names the lines of the table that could not be read."""
    for number, reason in table.damaged:
        say(f"{table.path}, line {number}: cannot be read ({reason}); it is left out")


def show(rows: Iterable[Measurement], count: int, limit: float | None) -> None:
    """Draws the rows as they come, on stderr: done, time left, the one in hand."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    left = TimeRemainingColumn() if limit is None else TextColumn(f"time limit {limit:.0f} s")
    columns = [BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), left]
    console = Console(stderr=True)
    lines = None if console.is_terminal else Milestones("timed", count, limit_s=limit)
    with Progress(*columns, TextColumn("{task.description}"), console=console) as progress:
        task = progress.add_task("", total=count)
        for done, row in enumerate(rows, start=1):
            name = str(row.block) if row.block else "a whole detector"
            told = f"{name}: {row.samples.median_ms():.3f} ms"
            progress.update(task, advance=1, description=told)
            if lines is not None:
                lines.reach(done, told)


def summary(table: Table, condensed: Condensed, fit: SpaceFit) -> str:
    """What was measured and how far predictions are off, in lines for the terminal."""
    from nas.latency.measured.predictor import table_doubts

    environment, report = table.environments[-1], fit.report
    floor = "not measured" if report.noise_floor is None else f"{report.noise_floor:.1%}"
    bands = report.spearman_in_bands
    lines = [
        f"{table.key}: {environment.get('board', '')}, {table.key.runtime} "
        f"{environment.get('runtime_version', '')}, {environment.get('date', '')}",
        f"{fit.blocks_measured} of {fit.blocks_in_space} blocks of {fit.space} are measured; "
        f"the cost model is off by {fit.cost_model_error:.1%} on a block it has not seen",
        f"error on {report.count} whole detectors that were never fitted "
        f"({report.fastest_ms:.1f} to {report.slowest_ms:.1f} ms; correction: {fit.form}, "
        f"from {fit.networks_fitted} others):",
        f"  MAPE {report.mape:.1%}, worst {report.worst:.1%}, {report.within_5:.0%} within 5 %, "
        f"{report.within_10:.0%} within 10 %",
        "  Spearman inside bands of +-15 %: "
        + ("too few detectors" if bands is None else f"{bands:.2f}"),
        f"  the interval that claims 90 % holds {report.coverage:.0%}",
        f"  two timings of one detector differ by {floor}",
        f"  for comparison: plain sum {report.plain_mape:.1%}, sum times one number "
        f"{report.scalar_mape:.1%}, line through MACs {report.flops_mape:.1%}",
        *(f"doubt: {doubt}" for doubt in table_doubts(table.key, condensed, fit)),
        *(f"failed: {name}: {reason}" for name, reason in table.failures.items()),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    command_line(Arguments, run)
