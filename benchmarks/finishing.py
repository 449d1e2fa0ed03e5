"""What a pick gains by beginning with the weights that the search's candidates share.

    python benchmarks/finishing.py --datasets ../shared/datasets

The last architecture of each of some bands of benchmarks/pool.csv is taught twice, as a search
teaches its picks (Finish.steps): from the starter, and from one network over the space that was
taught on the same data first (SharedWeightsSettings), as after a search by `shared_weights`. The
teaching of that network, once for all, is not in the core-seconds of a row. Results are appended to
a CSV at once, and what stands there is not done again.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import tyro
from pool import BANDS, SETS, Result, candidates_of
from rows import append_row, read_rows

from nas.accuracy import AnyProxy, SharedWeightsSettings, ShortTrainingSettings
from nas.accuracy.choice import build_teacher, prepare_proxy
from nas.data.dataset import read_data
from nas.terminal import command_line

STARTS: Final[dict[str, AnyProxy]] = {
    "starter": ShortTrainingSettings(),
    "shared weights": SharedWeightsSettings(),
}
"""What a search graded by, and so what its picks begin with."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Teach architectures of the pool as picks, from both starts."""

    datasets: Path = Path("../shared/datasets")
    """The folder of the data sets."""
    sets: tuple[str, ...] = SETS
    """Data sets by their folder's name."""
    bands: tuple[int, ...] = (0, 1)
    """Bands of latency, counted from 0."""
    pool: Path = Path("benchmarks/pool.csv")
    """What the architectures are."""
    out: Path = Path("benchmarks/finishing.csv")
    """The CSV that results are appended to."""
    print: Annotated[bool, tyro.conf.arg(name="print")] = False
    """Only print the table of what the CSV holds."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """One pick's row in the CSV."""

    set: str
    band: int
    digest: str
    start: str
    kind: str
    val_map50_95: float
    val_map50: float
    core_s: float


def main(arguments: Arguments) -> None:
    """Teaches what the CSV does not hold yet, then prints its table."""
    if not arguments.print:
        teach_all(arguments)
    show(read_rows(arguments.out, Finished))


def chosen(arguments: Arguments) -> Iterator[Result]:
    """The last of each band of each set."""
    found = [one for one in read_rows(arguments.pool, Result) if one.seed == 0]
    for name in arguments.sets:
        for band in arguments.bands:
            own = [one for one in found if (one.set, one.band) == (name, band)]
            yield from own[-1:]


def teach_all(arguments: Arguments) -> None:
    """Teaches from both starts, on one thread."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    done = {(one.set, one.digest, one.start) for one in read_rows(arguments.out, Finished)}
    for one in chosen(arguments):
        data = read_data(str(arguments.datasets / one.set / "data.yaml"))
        candidates = candidates_of(data)
        candidate = candidates.rebuild(json.loads(one.choices))
        for start, proxy in STARTS.items():
            if (one.set, one.digest, start) in done:
                continue
            prepared = prepare_proxy(proxy, data, candidates.space, candidates.build, 0)
            begin = time.process_time()
            with tempfile.TemporaryDirectory() as folder:
                score = build_teacher(proxy, data, Path(folder), prepared).score(candidate, 0)
            assert score.map50_95 is not None, "a teaching is graded"
            assert score.map50 is not None, "a teaching is graded"
            row = Finished(
                set=one.set,
                band=one.band,
                digest=one.digest,
                start=start,
                kind=score.kind,
                val_map50_95=round(score.map50_95, 4),
                val_map50=round(score.map50, 4),
                core_s=round(time.process_time() - begin, 1),
            )
            append_row(arguments.out, row)


def show(rows: Sequence[Finished]) -> None:
    """Prints both starts side by side."""
    print("| set | estimated ms | from the starter | from shared weights | gain |")
    print("|---|---|---|---|---|")
    reached = {(one.set, one.digest, one.start): one.val_map50_95 for one in rows}
    gains = []
    for one in rows:
        other = reached.get((one.set, one.digest, "shared weights"))
        if one.start != "starter" or other is None:
            continue
        low, high = BANDS[one.band]
        gains.append(other - one.val_map50_95)
        print(
            f"| {one.set} | {low:g} to {high:g} | {one.val_map50_95:.3f} | {other:.3f} |"
            f" {gains[-1]:+.3f} |"
        )
    if gains:
        print(f"In the mean {np.mean(gains):+.3f}, higher in {sum(g > 0 for g in gains)} of them.")


if __name__ == "__main__":
    command_line(Arguments, main)
