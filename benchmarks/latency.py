"""How well whole detectors are predicted on this machine, for each runtime and precision.

    python benchmarks/latency.py [--keys ncnn-fp32-1t ...] [--detectors 80] [--tables FOLDER]

Profiles the space once for each key, as nas.profile does, half of the detectors correcting the
predictor and half, never seen, stating its error. Beside each error stand, on the same detectors
of the same run: the plain sum of blocks, the sum times one number, a line through MACs, and the
same predictor from the quarter of the blocks most worth timing. The first key is profiled a second
time at the end, and the two tables are compared. With --tables the tables are kept there, and the
same command resumes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas import profile
from nas.latency.device import ROOT, TableKey
from nas.latency.measured.campaign import plan
from nas.latency.measured.cost_model import order_of_worth
from nas.latency.measured.fit_file import HeldOutReport, read_fits
from nas.latency.measured.predictor import BlockTimes
from nas.latency.measured.table import read_table
from nas.latency.measured.validation import judge, timed_networks
from nas.space.search_space import SearchSpace, read_space
from nas.terminal import command_line

PREPARE = """
import itertools, sys, time
from nas.latency.measured.campaign import block_job, plan
from nas.latency.device import TableKey
from nas.latency.reach.pack import Pack, pack_lines
from nas.space.search_space import read_space
blocks = plan(read_space(sys.argv[1]), 8).blocks[:1000]
runtime, precision, _ = sys.argv[2].split("-")
begin = time.perf_counter()
pack = Pack(key=TableKey(device="host", runtime=runtime, precision=precision),
            jobs=tuple(map(block_job, blocks)), gauges=(), seed=0)
size = sum(map(len, pack_lines(pack)))
seconds = time.perf_counter() - begin
print(f"{len(blocks)} blocks prepared for {sys.argv[2]} in {seconds:.2f} s, {size / 1e6:.1f} MB, "
      f"torch imported: {'torch' in sys.modules}")
"""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Profile this machine and state how far predictions of whole detectors are off."""

    keys: tuple[str, ...] = (
        "ncnn-fp32-1t",
        "ncnn-fp32-2t",
        "onnxruntime-fp32-1t",
        "ncnn-int8-1t",
        "onnxruntime-int8-1t",
    )
    """Runtime, precision and threads of each table."""
    detectors: int = 80
    """Whole detectors for each table: half fitted, half held out."""
    space: str = "fused_mbconv"
    """A search space."""
    tables: Path | None = None
    """Folder to keep the tables in."""


def parse_key(text: str) -> TableKey:
    """The key of a table's name."""
    runtime, precision, threads = text.split("-")
    return TableKey(
        device="host", runtime=runtime, precision=precision, threads=int(threads.rstrip("t"))
    )


def profiled(key: TableKey, arguments: Arguments, root: Path) -> HeldOutReport:
    """Profiles the space for a key, and the error on held-out detectors."""
    folder = root / key.device
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "device.yaml").write_bytes((ROOT / key.device / "device.yaml").read_bytes())
    begin = time.monotonic()
    asked = profile.Arguments(
        device=key.device,
        space=arguments.space,
        runtime=key.runtime,
        precision=key.precision,
        threads=key.threads,
        validate=arguments.detectors,
    )
    profile.run(asked, root)
    print(f"took {(time.monotonic() - begin) / 60:.1f} min\n")
    return read_fits(key, root)[0].report


def quarter(key: TableKey, space: SearchSpace, detectors: int, root: Path) -> HeldOutReport:
    """The error where only the quarter of the blocks most worth timing is known."""
    table, wanted = read_table(key, root), plan(space, detectors)
    order = order_of_worth(wanted.blocks, wanted.usage)
    some = {wanted.blocks[i] for i in order[: len(order) // 4]}
    ms = {block: ms for block, ms in table.block_ms().items() if block in some}
    _, _, report = judge(BlockTimes(ms, None), *timed_networks(table, space.digest))
    return report


def exchanged(key: TableKey, space: SearchSpace, root: Path) -> str:
    """The error where the halves are exchanged: fitted on what was held out."""
    table = read_table(key, root)
    fitting, held_out = timed_networks(table, space.digest)
    _, _, report = judge(BlockTimes(table.block_ms(), None), held_out, fitting)
    return (
        f"{key.stem}, halves exchanged: MAPE {report.mape:.1%}, the 90 % interval holds "
        f"{report.coverage:.0%}"
    )


def repeated(key: TableKey, first: Path, second: Path) -> str:
    """How far two profiles of this machine agree."""
    one, two = (read_table(key, root).block_ms() for root in (first, second))
    ratios = np.array([two[block] / one[block] for block in one if block in two])
    away = np.abs(ratios / np.median(ratios) - 1)
    large = np.array([ms >= 0.1 for block, ms in one.items() if block in two])
    return (
        f"two profiles of {key}: medians of {np.mean(np.abs(ratios - 1) < 0.05):.1%} of "
        f"{len(ratios)} blocks within 5 % (the second {np.median(ratios) - 1:+.1%} as a whole; "
        f"without that {np.mean(away < 0.05):.1%}, of the {large.sum()} of 0.1 ms and more "
        f"{np.mean(away[large] < 0.05):.1%}), median difference {np.median(away):.1%}"
    )


def line(name: str, report: HeldOutReport, part: HeldOutReport) -> str:
    """A row of the table of errors."""
    bands = report.spearman_in_bands
    floor = report.noise_floor
    return (
        f"{name:20} {report.count:3d} {report.fastest_ms:5.1f}-{report.slowest_ms:<5.1f}"
        f"{report.mape:6.1%} {report.within_4:5.0%} {report.within_5:5.0%} {report.worst:6.1%} "
        f"{float('nan') if bands is None else bands:5.2f} {report.coverage:5.0%} "
        f"{part.mape:7.1%} {report.plain_mape:6.1%} {report.scalar_mape:6.1%} "
        f"{report.flops_mape:6.1%} {float('nan') if floor is None else floor:6.1%}"
    )


HEADER = (
    "table                n  ms          MAPE  <4 %  <5 %  worst bands 90 %  quarter  plain "
    "scalar   MACs  noise"
)


def run(arguments: Arguments) -> None:
    """Profiles, and prints a row for each key."""
    space = read_space(arguments.space)
    for name in arguments.keys:
        subprocess.run([sys.executable, "-c", PREPARE, arguments.space, name], check=True)
    with tempfile.TemporaryDirectory() as temporary:
        root = arguments.tables or Path(temporary)
        rows, swapped = [], []
        for name in arguments.keys:
            key = parse_key(name)
            report = profiled(key, arguments, root)
            rows.append(line(name, report, quarter(key, space, arguments.detectors, root)))
            swapped.append(exchanged(key, space, root))
        key = parse_key(arguments.keys[0])
        profiled(key, arguments, root / "again")
        print("\n".join([HEADER, *rows, "", *swapped, repeated(key, root, root / "again")]))


if __name__ == "__main__":
    command_line(Arguments, run)
