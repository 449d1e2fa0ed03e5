"""Runners: they hand a pack to a board and bring its lines back as they are said."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, Protocol

import numpy as np

from nas import NasError
from nas.latency.on_board import board, path
from nas.latency.reach.pack import Job, Pack, pack_lines
from nas.latency.reach.whole_path import PROGRAM, PathLine, PathPack, path_lines, path_payload
from nas.space.ops import Graph, Op, OpKind

Line = dict[str, Any]
"""One line of board.py: `line` says which kind it is."""


class BoardError(NasError):
    """A board that cannot be reached, cannot run the pack, or went away."""


HERE: Final = "this machine"
RESUMES: Final = "What was measured is kept; the same command resumes"
SEE_RUNTIMES: Final = "See what ails its runtimes: python -m nas.doctor (with the same --host)"
IMPORT_ERROR: Final = re.compile(r"ImportError|ModuleNotFoundError|SIGILL")


class Runner(Protocol):
    """What times a pack somewhere.

    `run` yields the board's lines as they come: `hello` first, `bye` last, and in between one
    `timing` or `failure` for each job that time allowed, and the `anchor`s. Whoever reads them
    keeps each at once. The iterator may be closed early: the board then stops. BoardError where
    the board cannot be reached, refuses the pack, or goes away before its `bye`.
    """

    def run(self, pack: Pack) -> Iterator[Line]:
        """Times the pack's jobs."""
        ...

    def follow(self, pack: PathPack) -> Iterator[PathLine]:
        """Times all that a picture goes through: path.py's lines, as they come."""
        ...


class LocalRunner:
    """Runs board.py here, in a process of its own (an interpreter without our imports)."""

    def __init__(self, python: str = sys.executable) -> None:
        self.python = python

    def run(self, pack: Pack) -> Iterator[Line]:
        """Times the pack's jobs on this machine."""
        payload = (f"{line}\n".encode() for line in pack_lines(pack))
        with self._running(Path(board.__file__), payload, pack.key.threads) as (lines, failure):
            yield from checked_lines(lines, failure, pack, HERE)

    def follow(self, pack: PathPack) -> Iterator[PathLine]:
        """Times all that a picture goes through on this machine."""
        with self._running(PROGRAM, path_payload(pack), pack.key.threads) as (lines, failure):
            yield from path_lines(lines, lambda reason: path_refused(HERE, reason), failure)

    @contextmanager
    def _running(
        self, program: Path, payload: Iterable[bytes], threads: int
    ) -> Iterator[tuple[Iterable[str], Callable[[], BoardError]]]:
        """The lines of a program of ours at work here, and what says why it ended."""
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile("w+") as log:
            source.writelines(payload)
            source.seek(0)
            process = subprocess.Popen(
                [self.python, str(program)],
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            )
            with process:
                assert process.stdout is not None
                try:
                    yield process.stdout, lambda: _ended(process, log)
                finally:
                    process.kill()


def path_refused(where: str, reason: str) -> BoardError:
    """For a board that can't run the whole path."""
    is_full = "No space left" in reason or "Errno 28" in reason
    remedy = "Make room there, in its folder for temporary files" if is_full else ""
    return BoardError(where, "the board runs detect.py and the model", reason, remedy)


def _ended(process: subprocess.Popen[str], log: IO[str]) -> BoardError:
    code = process.wait()
    log.seek(0)
    return ended(HERE, code, log.read())


def ended(where: str, code: int, said: str) -> BoardError:
    """For a board whose program ended before it was done, with what it said on stderr last."""
    number = -code if code < 0 else code - 128
    names = {one.value: one.name for one in signal.Signals}
    got = f"exit code {code}" + (f" ({names[number]})" if number in names else "")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if lines:
        got += f": {lines[-1][:300]}"
    remedy = RESUMES
    if IMPORT_ERROR.search(got):
        remedy = SEE_RUNTIMES
    elif names.get(number) == "SIGKILL":
        remedy = f"Was it short of memory? {RESUMES}"
    return BoardError(where, "the board answers until it is done", got, remedy)


def checked_lines(
    lines: Iterable[str], failure: Callable[[], BoardError], pack: Pack, where: str
) -> Iterator[Line]:
    """What board.py's printed lines say, up to its `bye`; BoardError where it refuses or fails.

    failure  says why the board has ended, where it ends before its `bye`
    """
    for text in lines:
        try:
            line: Line = json.loads(text)
        except ValueError:
            if text.endswith("\n"):
                raise BoardError(where, "the board speaks in JSON lines", repr(text[:80])) from None
            # The board, or the connection to it, died in the middle of a line.
            break
        _check_line(line, pack, where)
        yield line
        if line["line"] == "bye":
            return
    raise failure()


def _check_line(line: Line, pack: Pack, where: str) -> None:
    if line["line"] == "refusal":
        remedy = SEE_RUNTIMES if IMPORT_ERROR.search(line["reason"]) else ""
        raise BoardError(where, "the board runs the pack", line["reason"], remedy)
    if line["line"] != "hello":
        return
    if line["protocol"] != board.PROTOCOL:
        got = f"protocol {line['protocol']}"
        raise BoardError(where, f"the board speaks protocol {board.PROTOCOL}", got)
    if pack.timing.max_temp_c is not None and "temp_c" not in line.get("state", {}):
        raise BoardError(
            "--max-temp-c",
            f"{where} says how warm it is",
            "no temperature",
            "Profile it without that flag",
        )


NANOSECONDS_PER_MAC: Final[dict[str, float]] = {"dense": 0.05, "1x1": 0.07, "depthwise": 0.4}
NANOSECONDS_PER_BYTE: Final = 0.12
NANOSECONDS_PER_OP: Final = 2000.0


SHARE_OF_FP32: Final[dict[str, tuple[float, float]]] = {"fp32": (1, 1), "int8": (0.5, 0.25)}
"""Precision -> how long a MAC takes, and a number moved, as a share of fp32."""


def formula_ms(graph: Graph, threads: int = 1, precision: str = "fp32") -> float:
    """What the fake board takes for a graph: a sum over its ops, so parts add up to the whole."""
    return sum(_op_ns(op, threads, precision) for op in graph.ops) / 1e6


def _op_ns(op: Op, threads: int, precision: str) -> float:
    kind = "depthwise" if op.groups > 1 else "1x1" if op.kernel == 1 else "dense"
    of_macs, of_numbers = SHARE_OF_FP32[precision]
    work = op.macs * NANOSECONDS_PER_MAC[kind] * of_macs
    moved = (op.bytes_in + op.bytes_out + op.bytes_weight) * NANOSECONDS_PER_BYTE * of_numbers
    if op.kind is OpKind.MAX_POOL:
        work = op.kernel**2 * op.shape_out.elements * 0.1
    return float((work + moved) / threads**0.8 + NANOSECONDS_PER_OP)


SECONDS_EACH: Final = 30.0
"""Of a time limit, for a timing of the fake board: so much that what really passes is nothing."""

FAKE_STEPS_MS: Final = {
    "letterbox": 0.4,
    "to_input": 0.3,
    "candidates": 0.2,
    "suppress": 0.1,
}
"""What the fake board takes around a network."""

FAKE_RING: Final = 16
"""Jobs in a window of the fake board."""


class FakeRunner:
    """A board that does not exist: `formula_ms` with seeded noise, told without delay or clock.

    It says what the real one says: windows of at most FAKE_RING jobs, the gauges in each, and what
    they took beside whole networks. The samples of a job depend on the job, the pack's seed and
    nothing else: the same seed gives the same rows, however often the profile was cut.

    stop_after  cuts it (BoardError) after so many timings, as a lost connection would
    slowness    everything takes so many times as long, as beside other work that never ends
    broken      names of jobs that the runtime objects to
    """

    def __init__(
        self,
        noise: float = 0.01,
        stop_after: int | None = None,
        slowness: float = 1.0,
        broken: Collection[str] = (),
    ) -> None:
        self.noise = noise
        self.stop_after = stop_after
        self.slowness = slowness
        self.broken = broken

    def run(self, pack: Pack) -> Iterator[Line]:
        """Answers for the pack's jobs in the order of their names, or under a limit in its own.

        Under a limit a timing counts as SECONDS_EACH.
        """
        if pack.timing.max_temp_c is not None:
            raise BoardError("--max-temp-c", "the board has a temperature", "the fake device")
        yield {"line": "hello", "protocol": board.PROTOCOL, "environment": _fake_environment(pack)}
        jobs = {job.name: job for job in pack.jobs}
        for name in jobs:
            if name in self.broken:
                yield {"line": "failure", "job": name, "reason": "RuntimeError: it is broken"}
        gauges = [jobs[name] for name in pack.gauges if name not in self.broken]
        done, left = 0, sum(job.visits for job in pack.jobs)
        most = left if pack.seconds is None else int(pack.seconds / SECONDS_EACH)
        for window, (ring, visit) in enumerate(self._rings(pack)):
            if done < most and not ring[0].is_whole:
                for one in gauges:
                    found = self._samples(pack, one, 0)
                    yield {"line": "anchor", "job": one.name, "window": window, **found}
            for job in ring:
                if done == self.stop_after:
                    raise BoardError("fake board", "the board answers until it is done", "cut off")
                if done < most:
                    done += 1
                    yield self._timing(pack, job, visit, window, gauges)
        yield {"line": "bye", "done": done, "left": left - done, "seconds": 0.0}

    def follow(self, pack: PathPack) -> Iterator[PathLine]:
        """Seeded frames around the network's time, told without delay; it warms by 10 degrees."""
        rng = np.random.default_rng(pack.seed)

        def took(ms: float, count: int) -> list[float]:
            noise = 1 + self.noise * rng.standard_normal(count)
            return [float(f"{value:.5g}") for value in self.slowness * ms * noise]

        yield {"line": "hello", "protocol": path.PROTOCOL, "state": {"temp_c": 40.0}}
        steps = {**FAKE_STEPS_MS, "network": pack.network_ms}
        apart = {name: took(ms, pack.runs) for name, ms in steps.items()}
        together = took(sum(steps.values()), pack.runs)
        yield {
            "line": "apart", "ms": {**apart, "together": together}, "candidates": 0,
            "resized_by": "numpy",
        }  # fmt: skip
        slices = math.ceil(pack.seconds / pack.slice_s)
        for number in range(slices):
            warm = 40.0 + 10.0 * (number + 1) / slices
            yield {
                "line": "slice", "at_s": (number + 1) * pack.slice_s, "seconds": pack.slice_s,
                "network_ms": took(pack.network_ms, 21), "total_ms": took(sum(steps.values()), 21),
                "state": {"temp_c": round(warm, 1), "mhz": 1500.0},
            }  # fmt: skip
        yield {"line": "bye"}

    def _rings(self, pack: Pack) -> Iterator[tuple[list[Job], int]]:
        """Jobs of one kind that are timed together, and for the how manieth time from the last.

        Counted from the last, so that a visit's answer is the same when it was cut before it.
        """
        jobs = sorted(pack.jobs, key=lambda job: job.name) if pack.seconds is None else pack.jobs
        sound = [job for job in jobs if job.name not in self.broken]
        for is_whole in (False, True):
            alike = [job for job in sound if job.is_whole == is_whole]
            for start in range(0, len(alike), FAKE_RING):
                stint = alike[start : start + FAKE_RING]
                for visit in reversed(range(max(job.visits for job in stint))):
                    ring = [job for job in stint if job.visits > visit]
                    yield ring, visit

    def _timing(self, pack: Pack, job: Job, visit: int, window: int, gauges: list[Job]) -> Line:
        found = self._samples(pack, job, visit)
        beside: list[float] = []
        if job.is_whole and gauges:
            logs = np.log([self._samples(pack, one, 0)["samples_ms"] for one in gauges])
            beside = [float(f"{value:.5g}") for value in np.exp(logs.mean(axis=0))]
        more = {"overhead_ms": 0.0, "beside_ms": beside, "before": {}, "after": {}}
        return {"line": "timing", "job": job.name, "window": window, **found, **more}

    def _samples(self, pack: Pack, job: Job, visit: int) -> Line:
        seed = hashlib.sha256(f"{pack.seed} {job.name} {visit}".encode()).digest()[:8]
        rng = np.random.default_rng(int.from_bytes(seed, "little"))
        noise = 1 + self.noise * rng.standard_normal(21)
        samples = (
            self.slowness * formula_ms(job.graph, pack.key.threads, pack.key.precision) * noise
        )
        rounded = [float(f"{value:.5g}") for value in samples]
        return {"samples_ms": rounded, "preempted": [], "cpu_ms": []}


def _fake_environment(pack: Pack) -> Line:
    return {
        "board": "fake",
        "runtime": pack.key.runtime,
        "runtime_version": "fake",
        "precision": pack.key.precision,
        "threads": pack.key.threads,
        "date": "2000-01-01T00:00:00Z",
        "seed": pack.seed,
    }
