"""What a dozen honest looks and a surrogate leave to be wished: YOLOBench on a Raspberry Pi 4.

    python benchmarks/regret.py --figures ../shared/yolobench/pi4.csv --seeds 16

In each window of latency (+-20 % about each of so many middles, where it holds enough networks) a
search looks at 12 networks, and then at 4 that it chooses from what it saw. Printed is by how many
points of mAP the best of the 16 falls short of the best of the window, in the mean over windows and
seeds, with its standard error over the windows. Beside it: the best of 16 random ones, that of 12,
and a ridge regression in the surrogate's place. Nothing was chosen on any of the three truths but
the surrogate's own settings, on VOC (benchmarks/replay.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import tyro
from numpy.typing import NDArray
from replay import TRUTHS, Known, read_known
from replay import Arguments as Replayed

from nas.study.surrogate.gaussian import GaussianProcess

Array = NDArray[np.float64]
Places = list[int]

LOOKS: Final = 12
FURTHER: Final = 4
WINDOW: Final = 0.2
"""A window's reach to both sides of its middle, as a share of it."""

LEAST: Final = 24
"""Networks in a window."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Print the regret of ways to choose 16 networks of a window."""

    figures: Path
    """YOLOBench's pi4.csv."""
    seeds: int = 16
    """Draws in each window."""
    windows: int = 24
    """Middles, evenly over the logarithm of latency."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """The networks of like latency."""

    rows: Array
    scores: Array
    logs: Array
    """Logarithms of their latencies."""

    def regret(self, seen: Places) -> float:
        """Points of mAP (0 to 100) that the best of what was seen falls short."""
        return 100 * float(self.scores.max() - self.scores[seen].max())


def main(arguments: Arguments) -> None:
    """Prints a line for each way, a column for each truth."""
    ways: dict[str, Callable[[Window, int], Places]] = {
        "12 random": lambda window, seed: drawn(window, seed)[:LOOKS],
        "16 random": drawn,
        "12 random, 4 by ridge": by_ridge,
        "12 random, 4 by the surrogate, at once": at_once,
        "12 random, 4 by the surrogate, one by one": one_by_one,
        "12 spread, 4 by the surrogate, one by one": from_spread,
    }
    found = {
        truth: windows(
            read_known(Replayed(figures=arguments.figures, limit_ms=math.inf), column),
            arguments.windows,
        )
        for truth, column in TRUTHS.items()
    }
    counts = ", ".join(f"{truth} {len(own)}" for truth, own in found.items())
    print(f"windows: {counts}; points of mAP, mean (standard error over windows)\n")
    print("| chosen |", " | ".join(found), "| mean |")
    print("|---|", "---|" * (len(found) + 1), sep="")
    for name, way in ways.items():
        means, cells = [], []
        for own in found.values():
            each = [
                np.mean([window.regret(way(window, seed)) for seed in range(arguments.seeds)])
                for window in own
            ]
            means.append(float(np.mean(each)))
            cells.append(f"{means[-1]:.2f} ({np.std(each, ddof=1) / np.sqrt(len(each)):.2f})")
        print(f"| {name} |", " | ".join(cells), f"| {np.mean(means):.2f} |", flush=True)


def windows(known: Known, count: int) -> list[Window]:
    """The windows that hold enough networks."""
    logs = np.log(known.latencies_ms)
    found = []
    for middle in np.linspace(logs.min(), logs.max(), count):
        ms = np.exp(middle)
        inside = np.flatnonzero(np.abs(known.latencies_ms - ms) <= WINDOW * ms)
        if len(inside) >= LEAST:
            found.append(
                Window(rows=known.rows[inside], scores=known.scores[inside], logs=logs[inside])
            )
    return found


def drawn(window: Window, seed: int) -> Places:
    """16 at random."""
    rng = np.random.default_rng(seed)
    return [int(one) for one in rng.permutation(len(window.scores))[: LOOKS + FURTHER]]


def by_ridge(window: Window, seed: int) -> Places:
    """A ridge regression's four best, after 12 random ones."""
    seen = drawn(window, seed)[:LOOKS]
    rows = (window.rows - window.rows.mean(axis=0)) / np.maximum(window.rows.std(axis=0), 1e-9)
    own, level = rows[seen], window.scores[seen].mean()
    weights = np.linalg.solve(
        own.T @ own + rows.shape[1] * np.eye(rows.shape[1]), own.T @ (window.scores[seen] - level)
    )
    return best_unseen(rows @ weights, seen, FURTHER)


def at_once(window: Window, seed: int) -> Places:
    """The surrogate's four best, after 12 random ones."""
    seen = drawn(window, seed)[:LOOKS]
    process = GaussianProcess(window.rows[seen], window.scores[seen])
    return best_unseen(process.expect(window.rows), seen, FURTHER)


def one_by_one(window: Window, seed: int) -> Places:
    """The surrogate's best, learnt from before the next, after 12 random ones."""
    return going_on(window, drawn(window, seed)[:LOOKS])


def from_spread(window: Window, seed: int) -> Places:
    """The same after 12 that lie far from one another in what the surrogate learns over."""
    rng = np.random.default_rng(seed)
    rows = (window.rows - window.rows.mean(axis=0)) / np.maximum(window.rows.std(axis=0), 1e-9)
    seen = [int(rng.integers(len(rows)))]
    while len(seen) < LOOKS:
        away = np.linalg.norm(rows[:, None] - rows[seen], axis=2).min(axis=1)
        seen.append(int(np.argmax(away)))
    return going_on(window, seen)


def going_on(window: Window, seen: Places) -> Places:
    """Four more, each the best by what all before it say."""
    for _ in range(FURTHER):
        process = GaussianProcess(window.rows[seen], window.scores[seen])
        seen = best_unseen(process.expect(window.rows), seen, 1)
    return seen


def best_unseen(expected: Array, seen: Places, count: int) -> Places:
    """What was seen and the `count` best of the others."""
    order = [int(place) for place in np.argsort(-expected) if int(place) not in seen]
    return [*seen, *order[:count]]


if __name__ == "__main__":
    main(tyro.cli(Arguments))
