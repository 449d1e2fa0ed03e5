"""Folders of devices, and profiles on fake boards, for the tests of this room."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from nas.latency.device import ROOT, TableKey
from nas.latency.measured.campaign import Campaign, measure, order_of_work, pending, plan
from nas.latency.measured.fit_file import write_fit
from nas.latency.measured.table import Table, open_table
from nas.latency.measured.validation import validate
from nas.latency.reach.runner import FakeRunner, Runner
from nas.space.search_space import SearchSpace, read_space

KEY = TableKey(device="fake")


def devices(folder: Path) -> Path:
    """A folder like latency_tables/ with the fake device alone."""
    (folder / "fake").mkdir(parents=True)
    shutil.copy(ROOT / "fake" / "device.yaml", folder / "fake" / "device.yaml")
    return folder


def profiled(
    root: Path,
    runner: Runner | None = None,
    space: SearchSpace | None = None,
    detectors: int = 40,
    share: float = 1.0,
) -> tuple[Table, Campaign]:
    """A table of a space with its fit; only `share` of the blocks is measured, those of worth."""
    wanted = plan(space or read_space("tiny"), detectors)
    order = order_of_work(wanted, is_limited=share < 1)
    order = order[: int(np.ceil(share * len(order)))]
    with open_table(KEY, root) as writer:
        work = pending(wanted, writer.table, order)
        for _ in measure(writer, runner or FakeRunner(), wanted, work, seed=0):
            pass
        write_fit(KEY, validate(writer.table, wanted, "2000-01-01"), root)
    return writer.table, wanted
