"""One architecture with each activation, with SE and without: what int8 is compared on.

    python benchmarks/variants.py --datasets ../shared/datasets --workers cpu --keep WEIGHTS
    python benchmarks/int8.py --weights WEIGHTS

Teaches the variants of one detector of the default space alike, as `pool.py` teaches its
architectures, and keeps their weights for `int8.py`, whose CSV then tells activations and SE apart
in pairs. What the CSV holds is not done again.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import pool
from rows import read_rows

from nas.data.dataset import read_data
from nas.space.search_space import make_space, read_space
from nas.study.anchors import anchors_for
from nas.study.candidates import Candidates
from nas.terminal import command_line

BASE: Final[dict[str, Any]] = {
    "image_size": 288,
    "stem.operator": "Lite", "stem.width": 16, "stem.kernel": 3,
    "stage1.operator": "FusedMBConv", "stage1.expand_ratio": 2, "stage1.kernel": 3,
    "stage1.depth": 1, "stage1.width": 16, "stage1.se_ratio": 0,
    "stage2.operator": "FusedMBConv", "stage2.expand_ratio": 4, "stage2.kernel": 3,
    "stage2.depth": 2, "stage2.width": 32, "stage2.se_ratio": 0,
    "stage3.operator": "FusedMBConv", "stage3.expand_ratio": 2, "stage3.kernel": 3,
    "stage3.depth": 2, "stage3.width": 56,
    "stage4.operator": "MBConv", "stage4.expand_ratio": 4, "stage4.kernel": 3,
    "stage4.depth": 3, "stage4.width": 72,
    "stage5.operator": "MBConv", "stage5.expand_ratio": 4, "stage5.kernel": 5,
    "stage5.depth": 2, "stage5.width": 112,
    "neck.pool": 5, "neck.width": 48, "neck.depth": 1,
    "head.width": 64, "head.kind": "plain", "head.detect": "light",
}  # fmt: skip
"""All choices but the two that differ: both operators, dense and depthwise 3x3 convolutions."""

ACTIVATIONS: Final = ("SiLU", "ReLU", "ReLU6")
SE_RATIOS: Final = (0, 0.25)
"""Of stages 3 to 5."""


@dataclass(frozen=True, kw_only=True)
class Arguments(pool.Arguments):
    """Teach the variants, and print what they reached."""

    out: Path = Path("benchmarks/variants.csv")
    """The CSV that results are appended to."""


def main(arguments: Arguments) -> None:
    """Teaches what the CSV does not hold yet, then prints its table."""
    if not arguments.print:
        done = {result.key for result in read_rows(arguments.out, pool.Result)}
        jobs = [pool.Job(member=one, seed=0) for name in arguments.sets
                for one in members(arguments.datasets, name)]  # fmt: skip
        pool.teach_all([job for job in jobs if job.key not in done], arguments)
    show(read_rows(arguments.out, pool.Result))


def members(datasets: Path, name: str) -> list[pool.Member]:
    """The variants on a data set; their latency is not estimated, and all are of band 0."""
    document = read_space(pool.SPACE).document()
    document["activation"] = list(ACTIVATIONS)
    space = make_space(document, "variants", "variants")
    data = read_data(str(datasets / name / "data.yaml"))
    candidates = Candidates(
        space=space, num_classes=data.num_classes, anchors=anchors_for(data, seed=0)
    )
    found = []
    for activation, se_ratio in product(ACTIVATIONS, SE_RATIOS):
        with_se = {f"stage{stage}.se_ratio": se_ratio for stage in (3, 4, 5)}
        candidate = candidates.rebuild({**BASE, **with_se, "activation": activation})
        found.append(pool.Member(set=name, band=0, candidate=candidate, latency_ms=0.0))
    return found


def show(results: list[pool.Result]) -> None:
    """Prints a line for each variant."""
    print("| set | activation | SE | mAP50-95: validation, test | core-s |")
    print("|---|---|---|---|---|")
    for one in results:
        print(
            f"| {one.set} | {one.choice('activation')} | {one.choice('stage4.se_ratio')} |"
            f" {one.val_map50_95:.3f}, {one.test_map50_95 or float('nan'):.3f} |"
            f" {one.core_s:.0f} |"
        )


if __name__ == "__main__":
    command_line(Arguments, main)
