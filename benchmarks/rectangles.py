"""Is a rectangle's latency predicted as well as a square's? On whole detectors that no fit saw.

    python -m nas.profile --space benchmarks/rectangles.yaml --validate 48 --time-limit 7m
    python benchmarks/rectangles.py --csv benchmarks/rectangles.csv

The profile times blocks at two squares and two rectangles, and whole random detectors of the
space, interleaved with its gauges. Half of these correct the predictor, the others are predicted
here, twice: by all blocks that were timed; and by the blocks at squares alone, corrected by the
squares of the fitting half, so that the cost model answers for every block of a rectangle.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas.latency.device import TableKey
from nas.latency.measured.predictor import BlockTimes
from nas.latency.measured.table import read_table
from nas.latency.measured.validation import Timed, judge, timed_networks
from nas.space.search_space import read_space
from nas.terminal import command_line


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Print the errors of squares and rectangles, side by side."""

    space: str = "benchmarks/rectangles.yaml"
    """The space that was profiled."""
    tables: Path | None = None
    """A folder of latency tables instead of the usual ones."""
    device: str = "host"
    """The board that was profiled."""
    csv: Path | None = None
    """Where a row for each detector goes."""


def run(arguments: Arguments) -> None:
    """Fits twice, and prints how far off each is on both shapes."""
    table = read_table(TableKey(device=arguments.device, threads=1), arguments.tables)
    fitting, held_out = timed_networks(table, read_space(arguments.space).digest)
    held_out.sort(key=lambda one: (str(one.image_size), one.ms))
    every = table.block_ms()
    squares = {block: ms for block, ms in every.items() if block.height == block.width}
    rows: list[dict[str, object]] = []
    print(f"{table.key}: {len(every)} blocks timed, {len(squares)} of them at squares")
    for told, times, known in (
        ("all blocks", BlockTimes(every, None), fitting),
        ("squares alone", BlockTimes(squares, None), [one for one in fitting if is_square(one)]),
    ):
        _, _, report = judge(times, known, held_out)
        predicted = {one.digest: one.predicted_ms for one in report.networks}
        inside = {
            one.digest: one.low_ms <= one.measured_ms <= one.high_ms for one in report.networks
        }
        for shape in ("square", "rectangle"):
            own = [one for one in held_out if is_square(one) == (shape == "square")]
            off = np.array([predicted[one.digest] / one.ms - 1 for one in own])
            within = np.mean([inside[one.digest] for one in own])
            print(
                f"{told}, {shape}s: {len(own)} held out, {len(known)} fitted; median error"
                f" {np.median(np.abs(off)):.2%}, mean {np.abs(off).mean():.2%}, worst"
                f" {np.abs(off).max():.2%}, bias {off.mean():+.2%}; {within:.0%} inside"
                " the 90 % interval"
            )
        rows += [
            {
                "digest": one.digest,
                "image_size": one.image_size,
                "measured_ms": round(one.ms, 4),
                "predicted_from": told,
                "predicted_ms": round(predicted[one.digest], 4),
            }
            for one in held_out
        ]
    turns = [one.turns for one in (*fitting, *held_out) if len(one.turns) > 1]
    if turns:
        noise = np.mean([abs(two[0] / two[1] - 1) for two in turns])
        print(f"noise: {len(turns)} detectors timed twice differ by {noise:.2%} on average")
    if arguments.csv is not None:
        with arguments.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def is_square(one: Timed) -> bool:
    return isinstance(one.image_size, int)


if __name__ == "__main__":
    command_line(Arguments, run)
