"""board.py on this machine: what it answers, and what it does about what goes wrong."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas.latency import board
from nas.latency.campaign import block_job, network_job
from nas.latency.device import TableKey
from nas.latency.pack import Job, Pack, Timing, pack_lines
from nas.latency.runner import BoardError, Line, LocalRunner
from nas.space.blocks import Block
from nas.space.search_space import read_space

QUICK = Timing(
    warmup_s=0.01,
    warmup_runs=2,
    ring_size=4,
    min_samples=5,
    cap_s=0.05,
    whole_min_samples=5,
    whole_cap_s=0.05,
)
BLOCKS = (
    Block(module="Conv", channels_in=(16,), channels_out=32, height=16, width=16, kernel=3),
    Block(module="MBConv", channels_in=(16,), channels_out=16, height=8, width=8, kernel=3),
    Block(module="Concat", channels_in=(16, 8), channels_out=24, height=8, width=8),
    Block(module="Detect", channels_in=(16,), channels_out=21, height=8, width=8),
)


def pack(jobs: tuple[Job, ...], runtime: str = "ncnn") -> Pack:
    return Pack(
        key=TableKey(device="host", runtime=runtime),
        jobs=jobs,
        anchors=(jobs[0].name,),
        whole_anchors=tuple(job.name for job in jobs if job.is_whole),
        seed=0,
        timing=QUICK,
    )


def run(asked: Pack) -> list[Line]:
    return list(LocalRunner().run(asked))


def test_every_job_is_answered_with_all_its_samples() -> None:
    candidate = read_space("tiny").random(np.random.default_rng(0))
    jobs = (*map(block_job, BLOCKS), network_job(candidate, 0))
    first, *lines, last = run(pack(jobs))
    assert first["line"] == "hello"
    assert first["environment"]["runtime_version"]
    assert last == {"line": "bye", "done": 5, "left": 0, "seconds": last["seconds"]}
    timings = [line for line in lines if line["line"] == "timing"]
    assert sorted(line["job"] for line in timings) == sorted(job.name for job in jobs)
    for line in timings:
        assert len(line["samples_ms"]) >= QUICK.min_samples
        assert min(line["samples_ms"]) > 0
        assert len(line["cpu_ms"]) == len(line["preempted"])
        assert 0 < line["overhead_ms"] < 1
        assert line["before"].keys() == line["after"].keys()
    # One ring of blocks and one of networks, each with its anchor.
    asked = pack(jobs)
    rings = {line["job"]: line["window"] for line in lines if line["line"] == "anchor"}
    assert rings.keys() == {*asked.anchors, *asked.whole_anchors}
    assert sorted(rings.values()) == [0, 1]


def test_a_graph_that_fails_costs_only_itself() -> None:
    job = block_job(BLOCKS[0])
    lines = list(pack_lines(pack((job,))))
    bad = {**json.loads(lines[1]), "job": "bad", "model": "rubbish"}
    found = _talk([*lines, json.dumps(bad)])
    assert [line["job"] for line in found if line["line"] == "failure"] == ["bad"]
    assert [line["job"] for line in found if line["line"] == "timing"] == [job.name]


def test_a_time_limit_is_shared_between_parts_and_networks() -> None:
    space, rng = read_space("tiny"), np.random.default_rng(0)
    parts = tuple(map(block_job, BLOCKS))
    networks = tuple(network_job(space.random(rng), turn) for turn in range(600))
    limited = replace(pack((*parts, *networks)), seconds=3.0, whole_anchors=(networks[0].name,))
    lines = run(limited)
    timed = [line["job"] for line in lines if line["line"] == "timing"]
    assert {part.name for part in parts} <= set(timed)
    assert len(parts) < len(timed) < len(parts) + len(networks)
    assert lines[-1]["left"] == len(parts) + len(networks) - len(timed)


def test_without_time_nothing_is_timed() -> None:
    lines = run(replace(pack(tuple(map(block_job, BLOCKS))), seconds=0.0))
    assert [line["line"] for line in lines] == ["hello", "bye"]


def test_another_protocol_is_refused() -> None:
    lines = list(pack_lines(pack((block_job(BLOCKS[0]),))))
    header = {**json.loads(lines[0]), "protocol": 99}
    (refusal,) = _talk([json.dumps(header), *lines[1:]], code=2)
    assert refusal["line"] == "refusal"
    assert "the pack 99" in refusal["reason"]


def test_a_board_without_the_runtime_is_one_message(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.exit(3)"\n')
    python.chmod(0o755)
    with pytest.raises(BoardError, match="exit code 3"):
        list(LocalRunner(str(python)).run(pack((block_job(BLOCKS[0]),))))


def test_board_py_stands_alone_and_is_old_enough() -> None:
    source = Path(board.__file__).read_text()
    tree = ast.parse(source, feature_version=(3, 9))
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name)
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    own = {name.split(".")[0] for name in imported if name}
    assert own - set(sys.stdlib_module_names) == {"numpy", "ncnn", "onnxruntime"}


def _talk(lines: list[str], code: int = 0) -> list[Line]:
    done = subprocess.run(
        [sys.executable, board.__file__],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
