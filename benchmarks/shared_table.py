"""What the spaces that share a latency table do to one another's times.

    nas profile --device host && nas profile --device host --space tiny
    python benchmarks/shared_table.py --device host

For each space in the table: its blocks' times with all sessions of the table, over those with its
own sessions alone (the median and four fifths of the blocks), the share of its rows that are 3 % or
more from calm, and each gauge's tenth quantile, which tells what its rings leave in the caches.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nas import NasError
from nas.latency.device import read_device
from nas.latency.measured.measurement import DRIFT_LIMIT, Measurement
from nas.latency.measured.table import Table, read_table
from nas.terminal import command_line


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Compare times in a shared table with those of each space's own sessions."""

    device: str = "host"
    """The board whose measured table it is."""
    runtime: str = "ncnn"
    precision: str = "fp32"
    threads: int | None = None


def run(arguments: Arguments) -> None:
    """Prints a paragraph for each space."""
    device = read_device(arguments.device)
    table = read_table(device.key(arguments.runtime, arguments.precision, arguments.threads))
    spaces = spaces_of(table)
    if not spaces:
        raise NasError(str(table.path), "a session says which space it timed", "none does")
    whole = table.block_ms()
    for space in dict.fromkeys(spaces.values()):
        sessions = {session for session, own in spaces.items() if own == space}
        own_ms = only(table, sessions).block_ms()
        ratio = np.array([whole[block] / ms for block, ms in own_ms.items()])
        low, high = np.quantile(ratio, [0.1, 0.9])
        drifts = [
            table.steadiness().drift([row]) > DRIFT_LIMIT
            for rows in table.blocks.values()
            for row in rows
            if row.session in sessions
        ]
        print(f"space {space}: {len(ratio)} blocks in sessions {sorted(sessions)}")
        print(f"  with the others over alone: {np.median(ratio):.3f} ({low:.3f} to {high:.3f})")
        print(f"  rows {DRIFT_LIMIT:.0%} or more from calm: {np.mean(drifts):.0%}")
        for name in sorted({gauge.name for gauge in table.gauges}):
            samples = [
                ms
                for gauge in table.gauges
                if gauge.name == name and gauge.session in sessions
                for ms in gauge.samples.samples_ms
            ]
            if samples:
                print(f"  {np.quantile(samples, 0.1):.3f} ms: {name}")


def spaces_of(table: Table) -> dict[int, str]:
    """Session -> the digest of its space, where the table tells it."""
    rows = (row for rows in table.networks.values() for row in rows)
    told = {row.session: row.network.space for row in rows if row.network is not None}
    return told | table.session_spaces


def only(table: Table, sessions: set[int]) -> Table:
    """The table of these sessions alone."""

    def kept(rows: list[Measurement]) -> list[Measurement]:
        return [row for row in rows if row.session in sessions]

    return replace(
        table,
        blocks={block: own for block, rows in table.blocks.items() if (own := kept(rows))},
        networks={name: own for name, rows in table.networks.items() if (own := kept(rows))},
        gauges=[gauge for gauge in table.gauges if gauge.session in sessions],
        _steady=None,
    )


if __name__ == "__main__":
    command_line(Arguments, run)
