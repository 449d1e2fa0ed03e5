"""What ncnn's own benchmark, `benchncnn`, prints on a board: times of networks that are known here.

    loop_count = 8
    num_threads = 4
    powersave = 0
    gpu_device = -1
    cooling_down = 1
         yolov4-tiny  min =  298.94  max =  302.47  avg =  300.69

Nothing of ours has to run on the board, so this works for Android too. A file may hold several
runs, and whatever a terminal, adb, journald or `ts` puts before and behind a line is passed over.
A line that should be a time and isn't is named and left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from nas import NasError
from nas.documents import read_text

SETTINGS: Final = ("loop_count", "num_threads", "powersave", "gpu_device", "cooling_down")
"""What benchncnn says of itself before the times, and in which order its command line says it."""

LITTLE: Final = 1
"""`powersave` of a run on the little cores alone."""

ALIKE: Final = 1.1
"""Two runs of the same settings are of one board and build where their networks differ by less than
this factor, in the middle."""

_SETTING: Final = re.compile(rf"\b({'|'.join(SETTINGS)})\s*=\s*(-?\d+)\b")
_COMMAND: Final = re.compile(r"\bbenchncnn(?:\.exe)?((?:\s+-?\d+){1,5})(?=\s|$|[\"'\\])")
_TIME: Final = re.compile(
    r"(?<![\w.+-])([A-Za-z][\w.+-]*)\s+min\s*=\s*(\S+)\s+max\s*=\s*(\S+)\s+avg\s*=\s*(\S+)"
)
_LIKE_A_TIME: Final = re.compile(r"\b(min|max|avg)\b\s*=")
_ESCAPES: Final = re.compile(r"(?:\x1b|\\u001b|\\x1b|\\033|\\e)\[[0-9;?]*[A-Za-z]")
_NUMBER: Final = re.compile(r"-?\d+(?:[.,]\d+)*|-?(?:nan|inf)\b", re.IGNORECASE)
_COMMA: Final = re.compile(r"=\s*[\d.]*,\d+(?![\d.,])")

Damaged = tuple[int, str, str]
"""Line number, text and what is wrong of a line that was left out."""


class LogError(NasError):
    """A log that cannot be read, is not of a CPU, or has too few known networks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedTime:
    """One network's line: the fastest, slowest and mean of the loops, in ms."""

    network: str
    min_ms: float
    max_ms: float
    avg_ms: float
    line: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class PublicLog:
    """One run of a log as read.

    settings  of SETTINGS, those that the log says
    timings   in the order of the log, one for each network
    damaged   the lines that were left out, of the whole file
    notes     what else was left out, guessed or put together, in words
    """

    settings: dict[str, int]
    timings: tuple[LoggedTime, ...]
    damaged: tuple[Damaged, ...]
    notes: tuple[str, ...] = ()

    @property
    def threads(self) -> int | None:
        """How many threads ran; None where the log doesn't say."""
        return self.settings.get("num_threads")

    @property
    def doubts(self) -> tuple[str, ...]:
        """What a reader of the table that is made of it should know."""
        if self.settings.get("powersave") != LITTLE:
            return ()
        return (
            "the log is one of powersave = 1: benchncnn ran on the little cores alone, where the "
            "board has such, and nothing else does so unasked",
        )


@dataclass(kw_only=True)
class _Run:
    """A run while it is read; `line` is its first."""

    line: int
    command: dict[str, int] = field(default_factory=dict)
    header: dict[str, int] = field(default_factory=dict)
    timings: dict[str, LoggedTime] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, int]:
        return {**self.command, **self.header}

    @property
    def is_of_gpu(self) -> bool:
        return self.settings.get("gpu_device", -1) >= 0

    def __str__(self) -> str:
        said = ", ".join(f"{name} = {value}" for name, value in self.settings.items())
        return f"the run from line {self.line} ({said or 'which says no settings'})"


@dataclass(kw_only=True)
class _File:
    """A file while it is read."""

    runs: list[_Run] = field(default_factory=lambda: [_Run(line=1)])
    damaged: list[Damaged] = field(default_factory=list)
    commas: int = 0


def read_log(path: Path, threads: int | None = None, offered: Sequence[int] = ()) -> PublicLog:
    """The CPU run of a log's file on so many threads; LogError where there is not exactly one."""
    text = read_text(path, "the log", LogError, is_lenient=True)
    return parse_log(text, str(path), threads, offered)


def parse_log(
    text: str, where: str = "log", threads: int | None = None, offered: Sequence[int] = ()
) -> PublicLog:
    """The CPU run of a log on so many threads (None: on those that the log says).

    offered  the thread counts of the device, none where it has any

    LogError where the log has no times at all, only times of a GPU, none on these threads, or
    several runs that differ.
    """
    lines = text.splitlines()
    found = _File()
    for number, line in enumerate(lines, start=1):
        _read_line(_ESCAPES.sub("", line), number, found)
    runs = [run for run in found.runs if run.timings]
    if not runs:
        _refuse_empty(where, len(lines), found.damaged)
    of_cpu = [run for run in runs if not run.is_of_gpu]
    if not of_cpu:
        raise LogError(
            where,
            "the log is one of the CPU (gpu_device = -1)",
            f"gpu_device = {runs[0].settings['gpu_device']}",
            "Run benchncnn 8 4 0 -1 on the board",
        )
    notes = [f"{run} is left out: it is of a GPU" for run in runs if run.is_of_gpu]
    chosen = _choose(of_cpu, where, threads, offered, notes)
    if found.commas:
        notes.append(f"decimal commas are read as points (lines with such: {found.commas})")
    return PublicLog(
        settings=chosen.settings,
        timings=tuple(chosen.timings.values()),
        damaged=tuple(found.damaged),
        notes=tuple(notes),
    )


def _refuse_empty(where: str, lines: int, damaged: Sequence[Damaged]) -> None:
    got = f"none in {lines} lines"
    if damaged:
        number, text, reason = damaged[0]
        got += f"; {len(damaged)} are like it, the first of them line {number}, {reason}: {text!r}"
    raise LogError(
        where,
        "the log has lines like 'resnet18  min =  181.74  max =  183.07  avg =  182.37'",
        got,
        "Save what benchncnn 8 4 0 -1 prints as it is",
    )


def _read_line(line: str, number: int, found: _File) -> None:
    """Adds what a line says: of the run in hand, or of one that it begins."""
    run = found.runs[-1]
    if command := _COMMAND.search(line):
        values = [int(value) for value in command[1].split()]
        found.runs.append(_Run(line=number, command=dict(zip(SETTINGS, values, strict=False))))
    elif setting := _SETTING.search(line):
        if run.timings or setting[1] in run.header:
            run = _Run(line=number)
            found.runs.append(run)
        run.header[setting[1]] = int(setting[2])
    elif _LIKE_A_TIME.search(line):
        timing = _read_timing(line, number)
        if isinstance(timing, str):
            found.damaged.append((number, line.strip(), timing))
        elif timing.network in run.timings:
            found.damaged.append((number, line.strip(), f"a second line of {timing.network}"))
        else:
            run.timings[timing.network] = timing
            found.commas += bool(_COMMA.search(line))


def _read_timing(line: str, number: int) -> LoggedTime | str:
    """The line's timing, or what is wrong with it."""
    parts = _TIME.search(line)
    if parts is None:
        return "not 'NETWORK  min = MS  max = MS  avg = MS'"
    values = []
    for text in parts.groups()[1:]:
        value = _number(text)
        if isinstance(value, str):
            return value
        values.append(value)
    low, high, mean = values
    if not all(math.isfinite(value) and value > 0 for value in values):
        return "a time that is not above 0"
    # The means are rounded like the rest.
    if not low - 0.01 <= mean <= high + 0.01:
        return "the mean is not between the fastest and the slowest"
    return LoggedTime(network=parts[1], min_ms=low, max_ms=high, avg_ms=mean, line=number)


def _number(text: str) -> float | str:
    """A number with a point or a comma before its decimals, or what is wrong with it.

    The last sign of two different ones is the decimal one: 1.561,97 and 1,561.97. One comma before
    three digits is either.
    """
    match = _NUMBER.match(text)
    # Behind it may stand a unit or what a tool adds, no other digits.
    if match is None or any(letter.isdigit() for letter in text[match.end() : match.end() + 2]):
        return "a time that is no number"
    found = match[0]
    signs = [letter for letter in found if letter in ".,"]
    if len(set(signs)) == 1 and (len(signs) > 1 or re.fullmatch(r"-?\d{1,3},\d{3}", found)):
        return "a time that can be read in two ways"
    if len(set(signs)) == 2:
        if signs.count(signs[-1]) > 1:
            return "a time that is no number"
        found = found.replace(signs[0], "")
    return float(found.replace(",", "."))


def _choose(
    runs: Sequence[_Run],
    where: str,
    threads: int | None,
    offered: Sequence[int],
    notes: list[str],
) -> _Run:
    """The one run of the CPU that is meant; `notes` gets what is left out or put together."""
    counts = sorted({run.settings["num_threads"] for run in runs if "num_threads" in run.settings})
    known = [count for count in counts if not offered or count in offered]
    if threads is None and len(counts) > 1 and len(known) == 1:
        threads = known[0]
    remedy = f"Say --threads {' or --threads '.join(map(str, known))}"
    if not known:
        remedy = f"Run benchncnn 8 {max(offered, default=4)} 0 -1 on the board"
    told = " and ".join(map(str, counts))
    if threads is not None and counts:
        asked = [run for run in runs if run.settings.get("num_threads", threads) == threads]
        if not asked:
            rule = f"the log is one of {told} thread{'s' if counts != [1] else ''}"
            raise LogError(where, rule, f"--threads {threads}", remedy)
        notes += [f"{run} is left out" for run in runs if run not in asked]
        runs = asked
    elif len(counts) > 1:
        rule = "the log is one of one thread count, or --threads says which is meant"
        raise LogError(where, rule, f"runs of {told} threads", remedy)
    usual = [run for run in runs if run.settings.get("powersave") != LITTLE]
    if usual and len(usual) < len(runs):
        little = [run for run in runs if run not in usual]
        notes += [f"{run} is left out: it is of the little cores" for run in little]
        runs = usual
    return _together(runs, where, notes)


def _together(runs: Sequence[_Run], where: str, notes: list[str]) -> _Run:
    """Runs of one board and build as one, each network's fastest time; LogError for others."""
    first = runs[0]
    for other in runs[1:]:
        shared = first.timings.keys() & other.timings.keys()
        ratios = sorted(
            max(a.min_ms, b.min_ms) / min(a.min_ms, b.min_ms)
            for a, b in ((first.timings[name], other.timings[name]) for name in shared)
        )
        same = first.settings.get("powersave", 0) == other.settings.get("powersave", 0)
        if not same or not ratios or ratios[len(ratios) // 2] > ALIKE:
            raise LogError(
                where,
                "the log has one run on the CPU for each thread count",
                f"{first} and {other}, which differ",
                "Leave the one that is meant in the file",
            )
    if len(runs) == 1:
        return first
    notes.append(f"{len(runs)} runs alike are taken together, the fastest time of each network")
    timings: dict[str, LoggedTime] = {}
    for timing in (timing for run in runs for timing in run.timings.values()):
        known = timings.setdefault(timing.network, timing)
        if timing.min_ms < known.min_ms:
            timings[timing.network] = replace(timing, max_ms=max(timing.max_ms, known.max_ms))
    return _Run(line=first.line, header=first.settings, timings=timings)
