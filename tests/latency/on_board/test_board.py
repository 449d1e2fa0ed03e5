"""board.py on this machine: what it answers, and what it does about what goes wrong."""

from __future__ import annotations

import ast
import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas.latency.device import TableKey
from nas.latency.measured.campaign import block_job, network_job
from nas.latency.on_board import board
from nas.latency.reach.pack import Job, Pack, Timing, pack_lines
from nas.latency.reach.runner import BoardError, Line, LocalRunner
from nas.space.blocks import Block
from nas.space.search_space import read_space

QUICK = Timing(
    warmup_s=0.01,
    warmup_runs=2,
    ring_warmup_s=0.0,
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


def once(*blocks: Block) -> tuple[Job, ...]:
    return tuple(block_job(block, visits=1) for block in blocks)


def pack(jobs: tuple[Job, ...], runtime: str = "ncnn", precision: str = "fp32") -> Pack:
    return Pack(
        key=TableKey(device="host", runtime=runtime, precision=precision),
        jobs=jobs,
        gauges=(jobs[0].name,),
        seed=0,
        timing=QUICK,
    )


def run(asked: Pack) -> list[Line]:
    return list(LocalRunner().run(asked))


KEYS = [("ncnn", "fp32"), ("ncnn", "int8"), ("onnxruntime", "fp32"), ("onnxruntime", "int8")]


@pytest.mark.parametrize(("runtime", "precision"), KEYS)
def test_every_job_is_answered_with_all_its_samples(runtime: str, precision: str) -> None:
    candidate = read_space("tiny").random(np.random.default_rng(0))
    jobs = (*once(*BLOCKS), network_job(candidate, visits=1))
    first, *lines, last = run(pack(jobs, runtime, precision))
    assert first["line"] == "hello"
    assert first["environment"]["runtime_version"]
    assert first["environment"]["precision"] == precision
    assert last == {"line": "bye", "done": 5, "left": 0, "seconds": last["seconds"]}
    timings = [line for line in lines if line["line"] == "timing"]
    assert sorted(line["job"] for line in timings) == sorted(job.name for job in jobs)
    for line in timings:
        assert len(line["samples_ms"]) >= QUICK.min_samples
        assert min(line["samples_ms"]) > 0
        assert len(line["cpu_ms"]) == len(line["preempted"])
        assert 0 < line["overhead_ms"] < 1
        assert line["before"].keys() == line["after"].keys()
    # One ring of blocks with its gauge, and one of networks with the gauge beside each sample.
    (gauge,) = [line for line in lines if line["line"] == "anchor"]
    assert gauge["job"] == jobs[0].name
    (whole,) = [line for line in timings if "beside_ms" in line]
    assert whole["job"] == jobs[-1].name
    assert len(whole["beside_ms"]) == len(whole["samples_ms"])


@pytest.mark.parametrize("precision", ["bf16", "fp16", "int8"])
def test_ncnn_computes_in_the_precision_that_is_asked_for(precision: str) -> None:
    candidate = read_space("tiny").random(np.random.default_rng(1))
    found = {}
    for one in ("fp32", precision):
        lines = run(pack((*once(BLOCKS[0]), network_job(candidate, visits=1)), precision=one))
        (whole,) = [line for line in lines if "results" in line]
        found[one] = np.array(whole["results"])
    # Near, but not the same: a precision that is ignored would be.
    strays = np.abs(found[precision] - found["fp32"]) / found["fp32"][:, 1:]
    assert 1e-6 < strays.max() < (0.5 if precision == "int8" else 0.03)


def test_each_visit_is_a_ring_of_its_own_and_dealt_afresh() -> None:
    jobs = tuple(block_job(replace(BLOCKS[0], channels_out=c), visits=3) for c in range(8, 72, 8))
    lines = run(pack(jobs))
    windows: dict[str, list[int]] = {}
    for line in lines:
        if line["line"] == "timing":
            windows.setdefault(line["job"], []).append(line["window"])
    assert windows.keys() == {job.name for job in jobs}
    assert all(len(set(found)) == 3 for found in windows.values())
    together = [
        frozenset(name for name, own in windows.items() if window in own) for window in range(6)
    ]
    assert all(len(ring) == 4 for ring in together)
    assert len(set(together)) > 2


def test_a_ring_has_large_and_small_jobs() -> None:
    jobs = [{"job": str(i), "macs": 10**i} for i in range(9)]
    rings = board._dealt(jobs, 3, random.Random(0))
    assert sorted(len(ring) for ring in rings) == [3, 3, 3]
    for ring in rings:
        assert sorted(int(job["job"]) // 3 for job in ring) == [0, 1, 2]


def test_a_graph_that_fails_costs_only_itself() -> None:
    (job,) = once(BLOCKS[0])
    lines = list(pack_lines(pack((job,))))
    bad = {**json.loads(lines[1]), "job": "bad", "model": "rubbish"}
    found = _talk([*lines, json.dumps(bad)])
    assert [line["job"] for line in found if line["line"] == "failure"] == ["bad"]
    assert [line["job"] for line in found if line["line"] == "timing"] == [job.name]


def test_a_time_limit_is_shared_between_parts_and_networks() -> None:
    space, rng = read_space("tiny"), np.random.default_rng(0)
    parts = once(*BLOCKS)
    drawn = {(one := space.random(rng)).digest: one for _ in range(40)}
    networks = tuple(network_job(one, visits=20) for one in drawn.values())
    limited = replace(pack((*parts, *networks)), seconds=3.0)
    lines = run(limited)
    timed = [line["job"] for line in lines if line["line"] == "timing"]
    assert {part.name for part in parts} <= set(timed)
    wanted = len(parts) + 20 * len(networks)
    assert len(parts) < len(timed) < wanted
    assert lines[-1]["left"] == wanted - len(timed)


def test_without_time_nothing_is_timed() -> None:
    lines = run(replace(pack(once(*BLOCKS)), seconds=0.0))
    assert [line["line"] for line in lines] == ["hello", "bye"]


def test_one_profile_at_a_time_times_a_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    alone = replace(pack(once(BLOCKS[0])), timing=replace(QUICK, is_alone=True, wait_s=0.3))
    lock = board.hold_board(0.0)
    with pytest.raises(BoardError, match=rf"another profile is at work .*kill {os.getpid()}"):
        run(alone)
    lock.close()
    assert run(alone)[-1]["done"] == 1


class Counting:
    """A runtime whose graphs do nothing but count their runs."""

    version = "0"

    def __init__(self, header: Line) -> None:
        self.runs = 0

    def load(self, job: Line) -> board.Loaded:
        def run() -> None:
            self.runs += 1

        return board.Loaded(job["job"], job["is_whole"], lambda: None, run, list)


def session_of(
    states: list[dict[str, float]], monkeypatch: pytest.MonkeyPatch, **timing: object
) -> list[Line]:
    """The lines of a session on a machine that tells these states, the last for ever."""
    monkeypatch.setitem(board.RUNTIMES, "ncnn", Counting)
    monkeypatch.setattr(board.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(board, "state", lambda: states.pop(0) if len(states) > 1 else states[0])
    asked = replace(pack(once(*BLOCKS[:2])), timing=replace(QUICK, **timing))  # type: ignore[arg-type]
    header, *jobs = (json.loads(line) for line in pack_lines(asked))
    said: list[Line] = []
    board.Session(header, jobs, said.append).run()
    return said


def test_a_hot_board_pauses_until_it_is_five_degrees_cooler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hot = [{"temp_c": t} for t in (40.0, 71.0, 68.0, 66.0, 64.5, 60.0)]
    lines = session_of(hot, monkeypatch, max_temp_c=70.0)
    # 40 is for the hello; 71 is over 70; it goes on below 65.
    assert [one["state"]["temp_c"] for one in lines if one["line"] == "waiting"] == [
        68.0,
        66.0,
        64.5,
    ]
    timings = [one for one in lines if one["line"] == "timing"]
    assert {one["before"]["temp_c"] for one in timings} == {64.5}


def test_throttled_samples_go(monkeypatch: pytest.MonkeyPatch) -> None:
    # Sound at the start, throttled after sampling, sound again after waiting and sampling anew.
    told: list[dict[str, float]] = [{"throttled": bits} for bits in (0, 0, 4, 4, 0, 0x50000)]
    lines = session_of(told, monkeypatch, cap_s=0.0)
    assert sum(one["line"] == "waiting" for one in lines) == 2
    timings = [one for one in lines if one["line"] == "timing"]
    assert len(timings) == 2
    assert {one["after"]["throttled"] for one in timings} == {0x50000}
    # What was sampled while throttled is not among the samples.
    assert {len(one["samples_ms"]) for one in timings} == {QUICK.min_samples}


def test_another_protocol_is_refused() -> None:
    lines = list(pack_lines(pack(once(BLOCKS[0]))))
    header = {**json.loads(lines[0]), "protocol": 99}
    (refusal,) = _talk([json.dumps(header), *lines[1:]], code=2)
    assert refusal["line"] == "refusal"
    assert "the pack 99" in refusal["reason"]


def test_a_board_without_the_runtime_is_one_message(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.exit(3)"\n')
    python.chmod(0o755)
    with pytest.raises(BoardError, match="exit code 3"):
        list(LocalRunner(str(python)).run(pack(once(BLOCKS[0]))))


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
