"""How every command meets the terminal: flags in, one message out, the right exit code.

Results go to stdout, log and progress to stderr. Exit 0 done, 1 our bug (a traceback),
2 the user's mistake (one message), 130 interrupted (the same command resumes).

A terminal that can't show a letter gets its code (`\\u6570`). A reader who goes away (`| head`)
gets no more, and what the command does goes on to its end.
"""

from __future__ import annotations

import io
import math
import os
import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from nas import NasError

if TYPE_CHECKING:
    from rich.table import Table

WIDTH_OF_FILES: Final = 140
"""Columns of what is printed to no terminal."""

RUNS: Final = Path("runs")
"""Where a run's folder lies when it is given by name."""

Arguments = TypeVar("Arguments")


class OutputError(NasError):
    """Results that can't be written where stdout leads."""


class Stream(io.TextIOWrapper):
    """stdout or stderr, which outlives its reader and knows a code for every letter."""

    def __init__(self, before: Any, *, is_result: bool) -> None:
        """`is_result`: what can't be written is a mistake to be told, unless nobody reads it."""
        super().__init__(
            before.buffer,
            encoding=before.encoding,
            errors="backslashreplace",
            line_buffering=before.line_buffering,
            write_through=before.write_through,
        )
        self._is_result = is_result
        self._before = before  # which would close the buffer if it were let go

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """What is still in the buffer, and all that comes, goes nowhere."""
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)
        if self._is_result and not isinstance(error, BrokenPipeError):
            raise OutputError(
                "stdout",
                "the results can be written where they are sent",
                error.strerror or str(error),
                "Send them elsewhere; what the command has made is kept",
            ) from error


def command_line(
    arguments_type: type[Arguments], run: Callable[[Arguments], None], program: str | None = None
) -> None:
    """Parses sys.argv into `arguments_type` (a dataclass), runs, and exits with the right code.

    program  what the usage calls it; None: as python -m was told
    """
    open_streams()
    guarded(lambda: run(_parse(arguments_type, program)))


def open_streams() -> None:
    """Makes stdout and stderr those of a command. Where one is closed, nothing is shown there."""
    for number in (0, 1, 2):
        # A closed one's number would go to the next file that is opened, the study's database
        # say, and be written into by whatever prints.
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        # Open as long as the process.
        stream = getattr(sys, name) or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
        if hasattr(stream, "buffer"):
            setattr(sys, name, Stream(stream, is_result=name == "stdout"))


def show_table(table: Table) -> None:
    """Prints a table to stdout. No word of it is cut: where the terminal is too narrow, it wraps.

    A pipe or a log file has no width, and gets WIDTH_OF_FILES.
    """
    from rich.console import Console

    width = Console().width if sys.stdout.isatty() else WIDTH_OF_FILES
    wide = Console(width=1000)
    Console(width=max(width, wide.measure(table).minimum)).print(table)


def say(text: str) -> None:
    """Tells the person at the terminal; stdout is for results."""
    print(text, file=sys.stderr)


FEWEST: Final = 10
"""Steps of work that is long enough to be followed."""


class Milestones:
    """How far long work is, as lines in a log: one at each tenth of the way, with the time left.

    For streams that are no terminal, where a live line is not drawn. Work of fewer than FEWEST
    steps says nothing.

    name     what the work is called
    total    its steps, of which `done` were done before
    limit_s  seconds after which it ends, done or not
    """

    def __init__(
        self,
        name: str,
        total: int,
        done: int = 0,
        limit_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._total, self._first, self._clock = name, total, done, clock
        self._limit_s = math.inf if limit_s is None else limit_s
        self._begin, self._tenth = clock(), _tenth(done, total)

    def reach(self, done: int, note: str = "") -> None:
        """Says a line where another tenth is done."""
        tenth = _tenth(done, self._total)
        if tenth <= self._tenth or self._total < FEWEST:
            return
        self._tenth = tenth
        spent_s = self._clock() - self._begin
        left_s = spent_s / (done - self._first) * (self._total - done)
        left_s = max(0.0, min(left_s, self._limit_s - spent_s))
        end = f", {note}" if note else ""
        say(f"{self._name}: {done}/{self._total}, about {duration_words(left_s)} left{end}")


def _tenth(done: int, total: int) -> int:
    return 10 * done // max(total, 1)


def duration_words(seconds: float) -> str:
    """Minutes and seconds: 9 min 05 s; tenths of a few seconds."""
    if 0.05 <= seconds < 0.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def seconds(text: str) -> float:
    """Seconds in a time limit like 90s, 4m or 1h; NasError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", text.strip())
    if not match or float(match[1]) == 0:
        rule = "a time limit is a number above 0 with s, m or h"
        raise NasError("--time-limit", rule, repr(text))
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def cores() -> int:
    """The processor cores that this process may use."""
    # Absent on macOS and Windows, where a process is never bound to some of the cores.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_folder(name_or_path: str) -> Path:
    """What --run means: `runs/NAME` for a name, the path itself for anything with a folder in it.

    NasError for nothing, and for the folder above.
    """
    path = Path(name_or_path)
    if not name_or_path.strip() or path.name in ("", ".."):
        raise NasError("--run", "a run has a name, or is a folder", repr(name_or_path), "Name it")
    is_name = os.sep not in name_or_path and (os.altsep or os.sep) not in name_or_path
    return RUNS / path if is_name else path


def guarded(action: Callable[[], None]) -> None:
    """Does it; the user's mistakes and interruptions become one message and the right exit code."""
    try:
        action()
        sys.stdout.flush()
    except NasError as error:
        _end(2, f"error: {error}")
    except KeyboardInterrupt:
        _end(130, "interrupted: what was done is kept, the same command resumes.")
    except BrokenPipeError:
        # The reader of our stdout (head, less) went away: nobody's mistake. What is left in
        # the buffer must go nowhere, or the interpreter complains at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end(code: int, message: str) -> None:
    # What was printed before is shown before; if that can't be, the message still is.
    with suppress(NasError, OSError):
        sys.stdout.flush()
    print(message, file=sys.stderr)
    sys.exit(code)


def _parse(arguments_type: type[Arguments], program: str | None) -> Arguments:
    import tyro

    spec = sys.modules["__main__"].__spec__
    return tyro.cli(
        arguments_type,
        prog=program or (f"python -m {spec.name}" if spec else None),
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
    )
