"""An emulated Raspberry Pi 4 over a real ssh: profiled, cut, resumed, and computing as we do.

Its times mean nothing, and the table says so; what it computes is what the same pack gives here.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas import doctor
from nas import profile as profile_command
from nas.latency.device import ROOT, TableKey, read_device
from nas.latency.measured.campaign import (
    VISITS,
    Campaign,
    block_job,
    measure,
    network_job,
    order_of_work,
    pending,
    plan,
)
from nas.latency.measured.table import open_table, read_table
from nas.latency.reach.pack import Pack
from nas.latency.reach.runner import BoardError, LocalRunner
from nas.latency.reach.ssh_runner import SshRunner, look
from nas.space.search_space import read_space
from tests.board.host import MODEL, Sshd, until
from tests.latency.on_board.test_board import QUICK

pytestmark = [pytest.mark.board, pytest.mark.slow]

DEVICE = read_device("rpi4")
KINDS = [
    (runtime, precision)
    for precision in ("fp32", "int8")
    for runtime, precisions in DEVICE.runtimes.items()
    if precision in precisions
]
STRAY = {"fp32": 2e-3, "int8": 5e-2}
"""How far an output's mean and deviation may lie from ours, as a share of the deviation. ncnn's
int8 on x86 computes otherwise with its packed layout than without it (up to 0.03 here); without it,
it gives what ARM gives to the last bit, with and without packing."""
TIMING = replace(QUICK, ring_size=16)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder like latency_tables/ with the board alone."""
    (tmp_path / "rpi4").mkdir()
    shutil.copy(ROOT / "rpi4" / "device.yaml", tmp_path / "rpi4" / "device.yaml")
    return tmp_path


def test_it_is_taken_for_the_board(
    emulated: Sshd, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = look(emulated.login())
    assert (facts.board, facts.machine, facts.bits) == (MODEL, "aarch64", 64)
    assert facts.is_emulated
    monkeypatch.setenv("PATH", str(emulated.client()), prepend=":")
    doctor.run(doctor.Arguments(host="board", json=True))
    told = json.loads(capsys.readouterr().out)
    levels = {one["what"]: one["level"] for one in told["findings"]}
    assert told["device"] == "rpi4"
    assert (levels["board"], levels["processor"]) == ("ok", "warning")
    assert "fault" not in levels.values()


@pytest.mark.parametrize(("runtime", "precision"), KINDS)
def test_it_computes_what_this_machine_computes(
    runtime: str, precision: str, emulated: Sshd
) -> None:
    """Every block of a space in every runtime and precision, and whole detectors."""
    space, rng = read_space("tiny"), np.random.default_rng(0)
    jobs = (
        *(block_job(block, visits=1) for block in space.blocks()),
        *(network_job(space.random(rng), visits=1) for _ in range(3)),
    )
    pack = Pack(
        key=TableKey(device="rpi4", runtime=runtime, precision=precision),
        jobs=jobs,
        gauges=(),
        seed=0,
        timing=TIMING,
    )
    there, here = (
        {line["job"]: line.get("results") for line in runner.run(pack) if line["line"] == "timing"}
        for runner in (SshRunner(DEVICE, emulated.login()), LocalRunner())
    )
    assert there.keys() == here.keys() == {job.name for job in jobs}
    for name in (job.name for job in jobs if job.is_whole):
        found = there[name]
        means, deviations = np.array(here[name]).T
        strays = np.abs(np.array(found).T - [means, deviations]) / deviations
        assert strays.max() < STRAY[precision], name


def wanted() -> Campaign:
    return plan(read_space("tiny"), 8)


def profile(
    key: TableKey, sshd: Sshd, root: Path, runner_type: type[SshRunner] = SshRunner
) -> None:
    """What nas.profile does, with less patience."""
    work_plan = wanted()
    with open_table(key, root) as writer:
        work = pending(work_plan, writer.table, order_of_work(work_plan, is_limited=False))
        runner = runner_type(DEVICE, sshd.login())
        for _ in measure(writer, runner, work_plan, work, seed=0, timing=TIMING):
            pass


def rows(key: TableKey, root: Path) -> int:
    path = key.path(root)
    return path.read_bytes().count(b'"samples_ms"') if path.exists() else 0


# Cutting and resuming know nothing of runtimes: the two that differ most stand for all.
@pytest.mark.parametrize(("runtime", "precision"), [("ncnn", "fp32"), ("onnxruntime", "int8")])
def test_cut_twice_and_resumed_it_has_every_visit_once(
    runtime: str, precision: str, emulated: Sshd, root: Path
) -> None:
    key = TableKey(device="rpi4", runtime=runtime, precision=precision)
    # First we are killed, then the board is.
    code = (
        "from tests.board.test_emulated import *; from tests.board.host import Sshd; "
        f"profile({key!r}, Sshd(Path({str(emulated.folder)!r}), 0, None), Path({str(root)!r}))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[2]
    )
    assert until(lambda: rows(key, root) >= 10, seconds=120)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # What we leave behind ends by itself, there too.
    assert until(lambda: not emulated.at_work())
    first = read_table(key, root).row_count()
    assert 0 < first < VISITS * len(wanted().blocks)
    with pytest.raises(BoardError, match="the same command resumes"):
        cut_after(30, key, emulated, root)
    assert until(lambda: not emulated.at_work())
    assert first < read_table(key, root).row_count() < VISITS * len(wanted().blocks)
    profile(key, emulated, root)
    table = read_table(key, root)
    assert not table.damaged
    assert not table.failures
    assert len(table.environments) == 3
    assert all(environment["is_emulated"] for environment in table.environments)
    assert set(table.blocks) == set(wanted().blocks)
    assert set(table.networks) == {one.digest for one in wanted().detectors}
    assert all(len(found) == VISITS for found in (*table.blocks.values(), *table.networks.values()))


def test_the_command_says_that_it_was_emulated(
    emulated: Sshd, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(emulated.client()), prepend=":")
    arguments = {"device": "rpi4", "host": "board", "space": "tiny", "validate": 8, "threads": 1}
    profile_command.run(profile_command.Arguments(**arguments, time_limit="25s"), root)
    told = capsys.readouterr().out
    assert told.startswith("rpi4, ncnn fp32, 1 thread: Raspberry Pi 4 Model B")
    assert "doubt: the board was emulated: its times mean nothing" in told


def cut_after(count: int, key: TableKey, sshd: Sshd, root: Path) -> None:
    """A profile whose connection is cut when so many rows are there."""

    class Cutting(SshRunner):
        def run(self, pack: Pack):  # type: ignore[no-untyped-def]
            for line in super().run(pack):
                yield line
                if rows(key, root) >= count:
                    sshd.cut()

    profile(key, sshd, root, Cutting)
