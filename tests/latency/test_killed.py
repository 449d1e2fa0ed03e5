"""A profile of this machine that is killed keeps what it has, and its board script goes away."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from nas.latency.device import TableKey
from nas.latency.measured.campaign import VISITS, Campaign, measure, order_of_work, pending, plan
from nas.latency.measured.table import open_table, read_table
from nas.latency.reach.pack import Timing
from nas.latency.reach.runner import LocalRunner
from nas.space.search_space import read_space

KEY = TableKey(device="host")
QUICK = Timing(
    warmup_s=0.05,
    warmup_runs=2,
    ring_warmup_s=0.0,
    ring_size=8,
    min_samples=5,
    cap_s=0.1,
    whole_min_samples=5,
    whole_cap_s=0.1,
)


def wanted() -> Campaign:
    return plan(read_space("tiny"), 8)


def profile(root: Path) -> None:
    """What nas.profile does, with less patience."""
    work_plan = wanted()
    with open_table(KEY, root) as writer:
        work = pending(work_plan, writer.table, order_of_work(work_plan, is_limited=False))
        for _ in measure(writer, LocalRunner(), work_plan, work, seed=0, timing=QUICK):
            pass


def test_killed_and_resumed_has_every_row_once(tmp_path: Path) -> None:
    code = f"from tests.latency.test_killed import *; profile(Path({str(tmp_path)!r}))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[2]
    )
    path = KEY.path(tmp_path)
    end = time.monotonic() + 60
    while time.monotonic() < end and (not path.exists() or path.read_bytes().count(b"\n") < 20):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = read_table(KEY, tmp_path)
    assert 0 < kept.row_count() < VISITS * len(wanted().blocks)
    profile(tmp_path)
    table = read_table(KEY, tmp_path)
    assert len(table.environments) == 2
    assert not table.damaged
    assert set(table.blocks) == set(wanted().blocks)
    assert set(table.networks) == {one.digest for one in wanted().detectors}
    assert all(len(rows) == VISITS for rows in (*table.blocks.values(), *table.networks.values()))
    assert all(rows == table.blocks[block][: len(rows)] for block, rows in kept.blocks.items())
