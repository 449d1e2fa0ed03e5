"""What a warm start gains, and what a misleading one costs: replay.py's networks, once more.

    python benchmarks/warm_starts.py --figures ../shared/yolobench/pi4.csv --seeds 16

An earlier search has looked at 50 of the networks by one data set's mAP (replay.py's surrogate); a
new one, of another set, begins with what it learnt, as nas.search does: three of the earlier front
first, one network in each fifth of the latencies that has none of them, then the prior. Two earlier
runs mislead: one whose scores were shuffled among its networks, one whose order is turned round.
Printed is what replay.py prints, with the standard error of the mean.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import tyro
from replay import FIRST, LOOKS, TRUTHS, Arguments, Array, Known, Places, modelled, read_known

from nas.study.on_disk.warm_start import FRONT
from nas.study.pareto import thin
from nas.study.surrogate.gaussian import GaussianProcess
from nas.study.surrogate.improvement import expected_improvement
from nas.study.surrogate.prior import EarlierScores, Expectation, agreed_slopes

COLUMNS: Final = {**TRUTHS, "COCO": "coco_map"}


@dataclass(frozen=True, kw_only=True)
class WarmArguments:
    """Replay searches that begin with what another one learnt."""

    figures: Path
    """YOLOBench's pi4.csv."""
    truth: str = "SKU-110K"
    """The data set that is searched on."""
    earlier: tuple[str, ...] = ("VOC",)
    """The data sets of the earlier runs, one after another; the first one misleads, too."""
    seeds: int = 16
    """Searches of each kind."""


def main(arguments: WarmArguments) -> None:
    """Prints a line for each way of beginning."""
    given = Arguments(figures=arguments.figures, seeds=arguments.seeds)
    known = read_known(given, COLUMNS[arguments.truth])
    seeds = range(arguments.seeds)
    show(arguments.truth, "nothing", known, [modelled(known, seed) for seed in seeds])
    for number, name in enumerate(arguments.earlier):
        other = read_known(given, COLUMNS[name])
        before = [modelled(other, seed) for seed in seeds]
        kinds = ("as it was", "shuffled", "turned round") if number == 0 else ("as it was",)
        for kind in kinds:
            orders = [
                warmed(known, before[seed], told(other.scores[before[seed]], kind, seed), seed)
                for seed in seeds
            ]
            show(arguments.truth, f"{name}, {kind}", known, orders)


def told(scores: Array, kind: str, seed: int) -> Array:
    """The scores that an earlier run is made to say."""
    if kind == "shuffled":
        return np.random.default_rng(seed).permutation(scores)
    return scores.max() + scores.min() - scores if kind == "turned round" else scores


def warmed(known: Known, before: Places, scores: Array, seed: int) -> Places:
    """The order in which the surrogate looks, with an earlier run's scores of `before`."""
    rng = np.random.default_rng(seed)
    expectation = Expectation(EarlierScores(rows=known.rows[before], scores=scores))
    expected = np.array([expectation.of(row) for row in known.rows])
    seen = [before[int(i)] for i in thin(known.latencies_ms[before], scores, FRONT)]
    for fifth in np.array_split(np.argsort(known.latencies_ms), FIRST):
        if len(seen) < FIRST and not set(seen) & set(fifth.tolist()):
            seen.append(int(rng.choice(fifth)))
    while len(seen) < max(LOOKS):
        rest = np.setdiff1d(np.arange(len(known.scores)), seen)
        (slope,) = agreed_slopes(expected[seen, None], known.scores[seen])
        process = GaussianProcess(known.rows[seen], known.scores[seen] - slope * expected[seen])
        believed = process.believe(known.rows[rest])
        gains = expected_improvement(
            known.latencies_ms[seen], known.scores[seen], known.latencies_ms[rest],
            replace(believed, mean=believed.mean + slope * expected[rest]),
            slowest_ms=known.limit_ms, base_score=0.0,
        )  # fmt: skip
        seen.append(int(rest[np.argmax(gains)]))
    return seen


def show(truth: str, begun: str, known: Known, orders: list[Places]) -> None:
    """A row of the table."""
    cells = []
    for looks in LOOKS:
        shares = np.array([known.share(order[:looks]) for order in orders])
        error = shares.std(ddof=1) / np.sqrt(len(shares))
        cells.append(f"{shares.mean():.4f} ({error:.4f})")
    print(f"| {truth} | {begun} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main(tyro.cli(WarmArguments))
