"""How fast the surrogate finds a front that is known: YOLOBench's networks on a Raspberry Pi 4.

    python benchmarks/replay.py --figures ../shared/yolobench/pi4.csv --seeds 16

Every network of the CSV that was fine-tuned on all sets is known with its latency (ONNX Runtime,
measured there) and its mAP; a search may look at so many of them, one after another. Printed is the
hypervolume of what it has seen as a share of that of all that meet the limit, mean and least over
the seeds, beside a random choice among those that meet it. The surrogate's settings were chosen on
VOC alone; nothing was chosen on the other two.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import tyro
from numpy.typing import NDArray

from nas.study.pareto import hypervolume
from nas.study.surrogate.description import amounts, describe
from nas.study.surrogate.gaussian import GaussianProcess
from nas.study.surrogate.improvement import expected_improvement

sys.path.append(str(Path(__file__).parent / "estimates"))
from yolobench_networks import network

Array = NDArray[np.float64]
Places = list[int]

TRUTHS: Final = {
    "VOC": "voc_finetuned_map",
    "SKU-110K": "sku110k_map",
    "WIDER FACE": "widerface_map",
}
"""Columns of the CSV."""

LOOKS: Final = (15, 25, 50)

FIRST: Final = 5
"""Looks before anything is modelled, one in each fifth of the latencies."""

OBJECT_SHARE: Final = 0.2
"""Side of an object in an image: it is the same for all networks, and changes nothing here."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Replay searches over networks whose figures are known."""

    figures: Path
    """YOLOBench's pi4.csv."""
    seeds: int = 16
    """Searches of each kind."""
    limit_ms: float = 300.0
    """Slower networks are never looked at."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """The networks that meet the limit."""

    latencies_ms: Array
    rows: Array
    """What the surrogate learns over."""
    scores: Array
    limit_ms: float

    def share(self, seen: Places) -> float:
        """The hypervolume of some networks as a share of that of all."""
        return self._volume(seen) / self._volume(list(range(len(self.scores))))

    def _volume(self, seen: Places) -> float:
        return hypervolume(self.latencies_ms[seen], self.scores[seen], limit_ms=self.limit_ms)


def main(arguments: Arguments) -> None:
    """Prints a line for each truth and each way of choosing."""
    print("| truth | networks | chosen by |", " | ".join(f"{n} looks" for n in LOOKS), "|")
    print("|---|---|---|", "---|" * len(LOOKS), sep="")
    choosers: dict[str, Callable[[Known, int], Places]] = {"surrogate": modelled, "random": drawn}
    for truth, column in TRUTHS.items():
        known = read_known(arguments, column)
        for name, choose in choosers.items():
            orders = [choose(known, seed) for seed in range(arguments.seeds)]
            cells = []
            for looks in LOOKS:
                shares = [known.share(order[:looks]) for order in orders]
                cells.append(f"{np.mean(shares):.3f} ({min(shares):.3f})")
            print(f"| {truth} | {len(known.scores)} | {name} |", " | ".join(cells), "|", flush=True)


def read_known(arguments: Arguments, column: str) -> Known:
    """The networks whose latency and score are known, and that meet the limit."""
    with arguments.figures.open(encoding="utf-8", newline="") as file:
        lines = [line for line in csv.DictReader(file) if line[column]]
    lines = [line for line in lines if float(line["pi4_ort_fp32_ms"]) <= arguments.limit_ms]
    rows = []
    for line in lines:
        image = (int(line["image_size"]), int(line["image_size"]))
        total = amounts(network(line["model"], image[0]), image)
        rows.append(describe(total, image, float(line["pi4_ort_fp32_ms"]), OBJECT_SHARE))
    return Known(
        latencies_ms=np.array([float(line["pi4_ort_fp32_ms"]) for line in lines]),
        rows=np.array(rows),
        scores=np.array([float(line[column]) for line in lines]),
        limit_ms=arguments.limit_ms,
    )


def drawn(known: Known, seed: int) -> Places:
    """A random order."""
    rng = np.random.default_rng(seed)
    return [int(place) for place in rng.permutation(len(known.scores))]


def modelled(known: Known, seed: int) -> Places:
    """The order in which the surrogate looks."""
    rng = np.random.default_rng(seed)
    fifths = np.array_split(np.argsort(known.latencies_ms), FIRST)
    seen = [int(rng.choice(fifth)) for fifth in fifths]
    while len(seen) < max(LOOKS):
        rest = np.setdiff1d(np.arange(len(known.scores)), seen)
        process = GaussianProcess(known.rows[seen], known.scores[seen])
        gains = expected_improvement(
            known.latencies_ms[seen], known.scores[seen], known.latencies_ms[rest],
            process.believe(known.rows[rest]), slowest_ms=known.limit_ms, base_score=0.0,
        )  # fmt: skip
        seen.append(int(rest[np.argmax(gains)]))
    return seen


if __name__ == "__main__":
    main(tyro.cli(Arguments))
