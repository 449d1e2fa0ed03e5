"""A table keeps what was written, whatever happens to it."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import IO, Any

import pytest

from nas.latency.device import TableKey
from nas.latency.measured.campaign import VISITS, measure, order_of_work, pending, plan
from nas.latency.measured.measurement import Gauge, Measurement, Network, Samples
from nas.latency.measured.table import (
    Table,
    TableError,
    TableWriter,
    open_table,
    read_table,
    write_beside,
)
from nas.latency.reach.runner import BoardError, FakeRunner
from nas.space.blocks import Block
from nas.space.search_space import read_space
from tests.latency.boards import KEY

BLOCK = Block(module="Conv", channels_in=(8,), channels_out=16, height=8, width=8, kernel=3)
ENVIRONMENT = {"board": "fake", "runtime_version": "1"}
SAMPLES = Samples(samples_ms=(1.25, 1.5, 1.75), preempted=(2,), cpu_ms=(1.5,), overhead_ms=0.125)
WHOLE = Samples(samples_ms=(9.5, 9.25), overhead_ms=0.125, beside_ms=(0.5, 0.625))


def rows() -> list[Measurement]:
    network = Network(digest="ab" * 8, image_size=64, space="cd" * 8, model="nc: 1\n")
    return [
        Measurement(
            session=1, window=2, samples=SAMPLES, block=BLOCK, before={"load": 1.0}, after={}
        ),
        Measurement(
            session=1, window=3, samples=WHOLE, network=network, before={}, after={"temp_c": 51.5}
        ),
    ]


def write(root: Path) -> Path:
    with open_table(KEY, root) as writer:
        assert writer.start_session(ENVIRONMENT) == 1
        writer.add_gauge(Gauge(session=1, window=2, name="a", samples=SAMPLES))
        for row in rows():
            writer.add(row)
        writer.add_failure(1, "block x", "RuntimeError: no")
    return KEY.path(root)


def test_round_trip(tmp_path: Path) -> None:
    write(tmp_path)
    table = read_table(KEY, tmp_path)
    assert [*table.blocks[BLOCK], *table.networks["ab" * 8]] == rows()
    assert table.gauges == [Gauge(session=1, window=2, name="a", samples=SAMPLES)]
    assert table.failures == {"block x": "RuntimeError: no"}
    assert table.environments == [ENVIRONMENT]
    assert not table.damaged


def test_every_cut_of_the_file_loses_one_line_at_most(tmp_path: Path) -> None:
    path = write(tmp_path)
    whole = path.read_bytes()
    header = whole.index(b"\n") + 1
    for end in range(header, len(whole), 7):
        path.write_bytes(whole[:end])
        complete = whole[:end].count(b"\n") - 1
        table = read_table(KEY, tmp_path)
        read = len(table.environments) + len(table.gauges) + table.row_count()
        assert read + len(table.failures) == complete
        # Whoever writes next starts on a line of its own.
        with open_table(KEY, tmp_path) as writer:
            writer.add_failure(1, "after the cut", "test")
        again = read_table(KEY, tmp_path)
        assert not again.damaged
        assert "after the cut" in again.failures


@pytest.mark.parametrize(
    "damage",
    [b"\x00\xff rubbish", b"{}", b'{"line": "block"}', b'{"line": "novel"}', b"[1, 2]", b"7"],
)
def test_a_corrupt_line_costs_only_itself(damage: bytes, tmp_path: Path) -> None:
    path = write(tmp_path)
    lines = path.read_bytes().splitlines()
    lines[3] = damage
    path.write_bytes(b"\n".join(lines) + b"\n")
    table = read_table(KEY, tmp_path)
    assert [number for number, _ in table.damaged] == [4]
    assert BLOCK not in table.blocks
    assert table.networks
    assert table.failures


def test_rows_of_another_key_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    other = TableKey(device="fake", threads=4)
    other.path(tmp_path).write_bytes(path.read_bytes())
    with pytest.raises(TableError, match="the table is that of fake, ncnn fp32, 4 threads"):
        read_table(other, tmp_path)
    with pytest.raises(TableError, match="the table is that of"), open_table(other, tmp_path):
        pass


def test_another_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = write(tmp_path)
    for version, remedy in ((9, "upgrade"), (1, "profile again")):
        other = path.read_bytes().replace(b'"format":2', f'"format":{version}'.encode(), 1)
        path.write_bytes(other)
        with (
            pytest.raises(TableError, match=f"format {version}.*{remedy}"),
            open_table(KEY, tmp_path),
        ):
            pass
        assert path.read_bytes() == other
        path.write_bytes(other.replace(f'"format":{version}'.encode(), b'"format":2', 1))


@pytest.mark.parametrize("content", [b"", b"not json\n", b"cut off"])
def test_a_file_without_a_header_is_refused(content: bytes, tmp_path: Path) -> None:
    path = KEY.path(tmp_path)
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(TableError, match="starts with a header line"):
        read_table(KEY, tmp_path)


def test_a_missing_table_names_those_there_and_the_command(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(
        TableError,
        match=r"fake: ncnn-fp32-1t \(measured\) \(in .*fake\)\..*--device fake --threads 2\.$",
    ):
        read_table(TableKey(device="fake", threads=2), tmp_path)


def test_a_table_of_nothing_is_not_left_behind(tmp_path: Path) -> None:
    with pytest.raises(BoardError), open_table(KEY, tmp_path):
        raise BoardError("a board", "it can be reached", "no")
    assert not KEY.path(tmp_path).exists()
    path = write(tmp_path)
    kept = path.read_bytes()
    with pytest.raises(BoardError), open_table(KEY, tmp_path):
        raise BoardError("a board", "it can be reached", "no")
    assert path.read_bytes() == kept


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    second = open_table(KEY, tmp_path)
    with open_table(KEY, tmp_path), pytest.raises(TableError, match="one profile at a time"):
        second.__enter__()
    with open_table(KEY, tmp_path):
        pass


def test_another_machine_does_not_add_to_a_table(tmp_path: Path) -> None:
    write(tmp_path)
    with open_table(KEY, tmp_path) as writer:
        assert writer.start_session(ENVIRONMENT) == 2
        with pytest.raises(TableError, match=r"runtime_version 1\); got 2"):
            writer.start_session({**ENVIRONMENT, "runtime_version": "2"})


def fake_profile(root: Path, stops: list[int | None]) -> Path:
    """A profile of the tiny space on the fake board, cut after so many rows each time."""
    wanted = plan(read_space("tiny"), 8)
    for stop in stops:
        with open_table(KEY, root) as writer:
            work = pending(wanted, writer.table, order_of_work(wanted, is_limited=False))
            rows = measure(writer, FakeRunner(stop_after=stop), wanted, work, seed=3)
            if stop is None:
                list(rows)
            else:
                with pytest.raises(BoardError, match="cut off"):
                    list(rows)
    return KEY.path(root)


def test_the_same_seed_gives_the_same_table(tmp_path: Path) -> None:
    first, second = (fake_profile(tmp_path / name, [None]) for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_killed_and_resumed_equals_never_killed(tmp_path: Path) -> None:
    fake_profile(tmp_path / "whole", [None])
    fake_profile(tmp_path / "cut", [5, 100, 0, None])
    whole, cut = read_table(KEY, tmp_path / "whole"), read_table(KEY, tmp_path / "cut")

    def samples(table: Table) -> set[tuple[object, ...]]:
        rows = [
            row for found in (*table.blocks.values(), *table.networks.values()) for row in found
        ]
        return {(row.subject, row.samples) for row in rows}

    assert samples(cut) == samples(whole)
    # How windows fall is another matter: what is calm moves within the fake board's noise.
    assert cut.block_ms() == pytest.approx(whole.block_ms(), rel=0.005)
    assert cut.networks.keys() == whole.networks.keys()
    assert all(len(found) == VISITS for found in (*cut.blocks.values(), *cut.networks.values()))


def test_five_thousand_rows_are_read_in_half_a_second(tmp_path: Path) -> None:
    import time

    path = write(tmp_path)
    header, session, _, block, *_ = path.read_text().splitlines()
    line = json.loads(block)
    line["samples_ms"] = [round(1 + i / 1000, 4) for i in range(60)]
    lines = []
    for i in range(5000):
        line["block"]["channels_out"] = i + 1
        lines.append(json.dumps(line))
    path.write_text("\n".join([header, session, *lines]) + "\n")
    begin = time.process_time()
    assert len(read_table(KEY, tmp_path).block_ms()) == 5000
    assert time.process_time() - begin < 1.0  # 0.3 s on a quiet machine


class Full:
    """A disk that is full after so many bytes, in a file's place."""

    def __init__(self, file: IO[bytes], room: int) -> None:
        self.file, self.room = file, room

    def write(self, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        part = bytes(data[: self.room])
        self.room -= len(part)
        return self.file.write(part)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 5, 100])
def test_a_full_disk_is_one_message_and_costs_the_row_in_hand_alone(
    room: int, tmp_path: Path
) -> None:
    path = write(tmp_path)
    before = path.read_bytes()
    with (
        pytest.raises(TableError, match=r"No space left on device\. Make room there; .*goes on"),
        path.open("ab+", buffering=0) as file,
    ):
        TableWriter(Full(file, room), read_table(KEY, tmp_path)).add(rows()[0])  # type: ignore[arg-type]
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["fake", "fake/ncnn-fp32-1t.jsonl"])
def test_what_stands_in_the_way_of_a_table_is_one_message(name: str, tmp_path: Path) -> None:
    way = tmp_path / name
    if name == "fake":
        way.write_text("a file where the folder should be")
    else:
        way.mkdir(parents=True)
        with pytest.raises(TableError, match=r"the table can be read; got Is a directory\. Move"):
            read_table(KEY, tmp_path)
    with (
        pytest.raises(TableError, match="is a folder that you can write in"),
        open_table(KEY, tmp_path),
    ):
        pass
    assert way.exists()


def test_a_file_beside_a_table_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.fit.json"
    path.write_text("before")
    (tmp_path / f".{os.getpid()}.{path.name}").mkdir()
    with pytest.raises(TableError, match="the file can be written; got Is a directory"):
        write_beside(path, "after")
    assert path.read_text() == "before"
