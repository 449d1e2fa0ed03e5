"""Latency tables: append-only JSON lines, one file for each device, runtime, precision, threads.

    {"line": "header", "format": 2, "device": ..., "runtime": ..., "precision": ..., "threads": ...}
    {"line": "session", "session": 1, "environment": {...}, "anchors": [...], "space": ...}
    {"line": "anchor", "session": 1, "window": 0, "name": ..., "samples_ms": [...],
     "preempted": [...], "cpu_ms": [...], "overhead_ms": 0}
    {"line": "block", "session": 1, "window": 0, "block": {...}, "samples_ms": [...],
     "preempted": [...], "cpu_ms": [...], "overhead_ms": ...,
     "before": {...}, "after": {...}, "doubts": [...]}
    {"line": "network", ..., "beside_ms": [...], "digest": ..., "image_size": ..., "space": ...,
     "model": YAML}
    {"line": "failure", "session": 1, "name": ..., "reason": ...}

Every sample is kept; statistics are computed on reading. A last line cut by a kill is dropped, a
corrupt line elsewhere is named and costs only itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from filelock import FileLock, Timeout

from nas import NasError, places
from nas.files import FULL, write_whole
from nas.latency.device import DeviceError, TableKey, check_key, new_root, read_device, roots
from nas.latency.measured.calm import Steadiness, steadiness
from nas.latency.measured.measurement import Gauge, Measurement, Network, Samples
from nas.space.blocks import Block
from nas.space.image_size import parse_image_size, written

FORMAT: Final = 2
"""Version of the table's lines. 1: blocks of a ring ran in one order, which moved their times by
up to 16 %; 2: in a new order each round, and networks have the gauges beside each sample."""

ESTIMATED: Final = "*.estimated.json"
"""The files of estimated tables (estimate.py), which lie beside."""

SAME_IN_A_TABLE: Final = ("board", "architecture", "bits", "runtime_version")
"""Fields of the environment in which all sessions of a table agree."""


class TableError(NasError):
    """A table that is missing, of another key or format, in use, or of another machine."""


@dataclass(kw_only=True)
class Table:
    """A table as read: rows in the order they were written.

    networks  digest -> its rows
    damaged   line number and reason of each line that could not be read
    failures  name of a block (its key) or network -> what the runtime objected to
    session_gauges  session -> the names of its gauges, where the table says them
    session_spaces  session -> the digest of its space, where the table says it
    """

    key: TableKey
    path: Path
    environments: list[dict[str, Any]] = field(default_factory=list)
    blocks: dict[Block, list[Measurement]] = field(default_factory=dict)
    networks: dict[str, list[Measurement]] = field(default_factory=dict)
    gauges: list[Gauge] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    damaged: list[tuple[int, str]] = field(default_factory=list)
    session_gauges: dict[int, tuple[str, ...]] = field(default_factory=dict)
    session_spaces: dict[int, str] = field(default_factory=dict)
    _steady: tuple[tuple[int, int], Steadiness] | None = None

    def steadiness(self) -> Steadiness:
        """What each row takes in calm; found once for the rows that there are."""
        written = (self.row_count(), len(self.gauges))
        if self._steady is None or self._steady[0] != written:
            rows = (*self.blocks.values(), *self.networks.values())
            every = (row for found in rows for row in found)
            steady = steadiness(self.gauges, every, self.session_gauges, self.session_spaces)
            self._steady = (written, steady)
        return self._steady[1]

    def block_ms(self) -> dict[Block, float]:
        """Every measured block with its time in calm (ms), from all its rows."""
        steady = self.steadiness()
        return {block: steady.ms(rows) for block, rows in self.blocks.items()}

    def is_empty(self) -> bool:
        """Whether there is nothing but the header."""
        lines = (self.environments, self.gauges, self.failures, self.damaged)
        return not any(lines) and not self.row_count()

    def row_count(self) -> int:
        """How many rows of blocks and networks there are, repetitions counted."""
        return sum(map(len, self.blocks.values())) + sum(map(len, self.networks.values()))


def read_table(key: TableKey, root: Path | None = None) -> Table:
    """The table of that key; TableError where it is missing, of another key or newer format."""
    path = key.path(root)
    table = Table(key=key, path=path)
    lines = read_content(key, root).split(b"\n")
    # What stands after the last newline was cut off while it was written.
    complete, cut = lines[:-1], lines[-1]
    if not complete:
        raise TableError(str(path), "a table starts with a header line", "none", _start_again(path))
    check_header(complete[0], key, path)
    for number, line in enumerate(complete[1:], start=2):
        try:
            _read_line(table, json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            table.damaged.append((number, f"{type(error).__name__}: {error}"))
    if cut:
        table.damaged.append((len(lines), "cut off in the middle"))
    return table


def read_content(key: TableKey, root: Path | None = None) -> bytes:
    """The bytes of a table's file; TableError where it is missing or can't be read."""
    path = key.path(root)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise missing_table(key, root) from None
    except OSError as error:
        got = error.strerror or str(error)
        raise TableError(str(path), "the table can be read", got, _start_again(path)) from None


def missing_table(key: TableKey, root: Path | None = None) -> TableError:
    """The error for a key without a table: it lists those there are, and the command to make it."""
    there: dict[str, Path] = {}
    for folder in (one / key.device for one in roots(root)):
        measured = {f"{path.stem} (measured)": folder for path in folder.glob("*.jsonl")}
        estimated = {
            f"{path.name.split('.')[0]} (estimated)": folder for path in folder.glob(ESTIMATED)
        }
        there |= {name: at for name, at in (measured | estimated).items() if name not in there}
    return TableError(
        f"latency table of {key}",
        "the table has been made, or estimated",
        f"no {key.path(root)}; tables of {key.device}: {places.told(there)}",
        measure_remedy(key, root),
    )


def profile_command(key: TableKey, space: str = "", host: str = "") -> str:
    """The command that makes the table; `space` as --space takes it."""
    default = TableKey(device=key.device)
    words = ["python -m nas.profile --device", shlex.quote(key.device)]
    words += ["--host", host] if host else []
    words += ["--space", shlex.quote(space)] if space else []
    words += ["--runtime", key.runtime] if key.runtime != default.runtime else []
    words += ["--precision", key.precision] if key.precision != default.precision else []
    # Always: which count is meant without it is the device's.
    words += ["--threads", str(key.threads)]
    return " ".join(words)


def measure_remedy(
    key: TableKey, root: Path | None = None, space: str = "", lead: str = "Make it"
) -> str:
    """A sentence with the command that makes the table, or why the device can't have it.

    A command that device.yaml refuses is never printed.
    """
    try:
        device = read_device(key.device, root)
        check_key(key, device)
    except DeviceError as error:
        if error.where == "--device":
            # A table without its device's file: that is told by whoever reads the device.
            return f"{lead}: {profile_command(key, space)}"
        return f"It can't be measured: {error.rule[0].lower()}{error.rule[1:]}. {error.remedy}"
    # A board that neither is this machine nor says where it is has to be named.
    is_known = device.default_host is not None or not device.has_host() or device.is_here()
    host = "" if is_known else "user@name"
    return f"{lead}: {profile_command(key, space, host)}"


def check_header(line: bytes, key: TableKey, path: Path) -> None:
    """TableError where a table's first line is not the header of that key in this format."""
    try:
        header = json.loads(line)
        version, found = header["format"], TableKey(**{n: header[n] for n in asdict(key)})
    except (ValueError, KeyError, TypeError):
        got = repr(line[:60].decode(errors="replace"))
        raise TableError(
            str(path), "a table starts with a header line", got, _start_again(path)
        ) from None
    if version != FORMAT:
        is_older = isinstance(version, int) and version < FORMAT
        raise TableError(
            str(path),
            f"the table is of format {FORMAT}",
            f"format {version}",
            _start_again(path) if is_older else "A newer version of this program wrote it: upgrade",
        )
    if found != key:
        raise TableError(str(path), f"the table is that of {key}", str(found), _start_again(path))


def _start_again(path: Path) -> str:
    return f"Move {path.name} away and profile again"


def _read_line(table: Table, line: dict[str, Any]) -> None:
    kind = line["line"]
    if kind == "session":
        table.environments.append(line["environment"])
        # Which gauges and space a session has stands there since tables hold several spaces.
        if "anchors" in line:
            table.session_gauges[line["session"]] = tuple(line["anchors"])
        if "space" in line:
            table.session_spaces[line["session"]] = line["space"]
    elif kind == "failure":
        table.failures[line["name"]] = line["reason"]
    elif kind == "anchor":
        table.gauges.append(
            Gauge(
                session=line["session"],
                window=line["window"],
                name=line["name"],
                samples=_samples(line),
            )
        )
    elif kind in ("block", "network"):
        row = _measurement(line)
        if row.block is not None:
            table.blocks.setdefault(row.block, []).append(row)
        elif row.network is not None:
            table.networks.setdefault(row.network.digest, []).append(row)
    else:
        raise ValueError(f"unknown line {kind!r}")


def _samples(line: dict[str, Any]) -> Samples:
    samples = tuple(line["samples_ms"])
    if not samples or min(samples) <= 0:
        raise ValueError("a row has samples, all above 0")
    return Samples(
        samples_ms=samples,
        preempted=tuple(line["preempted"]),
        cpu_ms=tuple(line["cpu_ms"]),
        overhead_ms=line.get("overhead_ms", 0.0),
        beside_ms=tuple(line.get("beside_ms", ())),
    )


def _measurement(line: dict[str, Any]) -> Measurement:
    block = network = None
    if line["line"] == "block":
        block = Block.from_dict(line["block"])
    else:
        size = parse_image_size(line["image_size"])
        if size is None:
            raise ValueError("an image size is a number of pixels, or two as 320x192")
        network = Network(
            digest=line["digest"], image_size=size, space=line["space"], model=line["model"]
        )
    return Measurement(
        session=line["session"],
        window=line["window"],
        samples=_samples(line),
        block=block,
        network=network,
        before=line["before"],
        after=line["after"],
    )


def _network_line(network: Network) -> dict[str, Any]:
    return {**asdict(network), "image_size": written(network.image_size)}


class TableWriter:
    """Appends to a table that it holds the lock of; every line is on the disk when it returns."""

    def __init__(self, file: IO[bytes], table: Table) -> None:
        self._file = file
        self.table = table

    def start_session(
        self, environment: dict[str, Any], gauges: Sequence[str] = (), space: str | None = None
    ) -> int:
        """Writes the session's line and returns its number; TableError for another machine's.

        space  the digest of the space that is profiled; None: its whole networks tell it
        """
        for name in SAME_IN_A_TABLE if self.table.environments else ():
            was, now = self.table.environments[0].get(name), environment.get(name)
            if was != now:
                raise TableError(
                    str(self.table.path),
                    f"all rows of a table come from one machine and runtime ({name} {was})",
                    str(now),
                    _start_again(self.table.path),
                )
        number = len(self.table.environments) + 1
        session = {"line": "session", "session": number, "environment": environment}
        known = {} if space is None else {"space": space}
        self._append({**session, "anchors": list(gauges), **known})
        return number

    def add(self, row: Measurement) -> None:
        """Appends a row."""
        what: dict[str, Any]
        if row.block is not None:
            what = {"line": "block", "block": row.block.to_dict()}
        else:
            assert row.network is not None, "a row is of a block or a network"
            what = {"line": "network", **_network_line(row.network)}
        self._append(
            {
                **what,
                "session": row.session,
                "window": row.window,
                **asdict(row.samples),
                "before": dict(row.before),
                "after": dict(row.after),
                "doubts": list(row.doubts()),
            }
        )

    def add_gauge(self, gauge: Gauge) -> None:
        """Appends a gauge's samples."""
        place = {"line": "anchor", "session": gauge.session, "window": gauge.window}
        self._append({**place, "name": gauge.name, **asdict(gauge.samples)})

    def add_failure(self, session: int, name: str, reason: str) -> None:
        """Appends that the runtime failed on something."""
        self._append({"line": "failure", "session": session, "name": name, "reason": reason})

    def _append(self, line: dict[str, Any]) -> None:
        try:
            _write_line(self._file, line)
        except OSError as error:
            raise cannot_write(self.table.path, error) from None
        _read_line(self.table, line)


def _write_line(file: IO[bytes], line: dict[str, Any]) -> None:
    """Appends the line, whole or not at all; OSError where it can't be."""
    end = file.seek(0, os.SEEK_END)
    left = memoryview(json.dumps(line, separators=(",", ":")).encode() + b"\n")
    try:
        while left:
            # A disk that fills up takes a part, and refuses the next one.
            left = left[file.write(left) :]
    except OSError:
        with contextlib.suppress(OSError):
            file.truncate(end)
        raise


def cannot_write(path: Path, error: OSError) -> TableError:
    """The error for a file of a table that can't be written, with what helps."""
    is_full = error.errno in FULL
    remedy = "Make room there; what was measured is kept, and the same command goes on"
    if not is_full:
        remedy = (
            f"See to it that {path.parent} is a folder that you can write in, or work in a folder "
            "of your own that has a folder latency_tables/"
        )
    return TableError(str(path), "the file can be written", error.strerror or str(error), remedy)


def write_beside(path: Path, text: str) -> Path:
    """Writes a file beside a table in place of an earlier one, which stays where this fails."""
    try:
        return write_whole(path, text)
    except OSError as error:
        raise cannot_write(path, error) from None


@contextmanager
def open_table(key: TableKey, root: Path | None = None) -> Iterator[TableWriter]:
    """The table, made if need be, locked for writing; TableError where another one writes it.

    root  the folder that it lies in; None: where what a person makes goes (nas.places)

    A table in which nothing came to stand (its board was not to be reached) is removed again.
    """
    root = new_root(root)
    path = key.path(root)
    with _held(path), _opened(path) as file:
        if os.fstat(file.fileno()).st_size == 0:
            header = {"line": "header", "format": FORMAT, **asdict(key)}
            try:
                _write_line(file, header)
            except OSError as error:
                path.unlink(missing_ok=True)
                raise cannot_write(path, error) from None
        _drop_cut_line(file)
        writer = TableWriter(file, read_table(key, root))
        try:
            yield writer
        finally:
            with contextlib.suppress(OSError):
                os.fsync(file.fileno())
            if writer.table.is_empty():
                # Closed first: Windows removes no file that is open.
                file.close()
                path.unlink()


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Holds the table's lock, which the system takes back however the process ends."""
    lock = FileLock(path.with_suffix(".lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout:
        raise TableError(
            str(path),
            "one profile at a time writes a table",
            "another one is at work on it",
            "Wait for it",
        ) from None
    except OSError as error:
        raise cannot_write(path, error) from None
    try:
        yield
    finally:
        lock.release()


def _opened(path: Path) -> IO[bytes]:
    """The file of a table for appending, without a buffer: what is written is on the disk.

    TableError where it can't be: a file stands in the folder's place, or the disk is read-only.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab+", buffering=0)
    except OSError as error:
        raise cannot_write(path, error) from None


def _drop_cut_line(file: IO[bytes]) -> None:
    """Cuts the file after its last newline: what follows was half-written when a profile died."""
    file.seek(0)
    content = file.read()
    if not content.endswith(b"\n"):
        file.truncate(content.rfind(b"\n") + 1)
    file.seek(0, os.SEEK_END)
