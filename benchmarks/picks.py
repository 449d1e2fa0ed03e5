"""What a search's score is for: its picks in the pool's bands, taught as the pool was.

    python -m nas.search --data ../shared/datasets/SET/data.yaml --proxy ... --run runs/SET-NAME
    python benchmarks/picks.py --runs runs/bccd-shared runs/bccd-former ...
    python benchmarks/picks.py --workers cpu cpu
    python benchmarks/picks.py --print

`--runs` takes runs of the default space for the Raspberry Pi 4, one by each of some proxies on each
of some data sets, and notes of each the architecture of the best score in each band of
benchmarks/pool.csv. `--workers` then teaches what was noted, each as pool.py teaches its random
architectures: one recipe, one number of steps, from the same weights. The table tells each pick
beside the median and the best of its band. Nothing that is noted or taught is done again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pool
from rows import append_row, read_rows

from nas import NasError
from nas.data.dataset import read_data
from nas.study.candidates import Candidates
from nas.study.trial import Trial
from nas.terminal import command_line

NOTED: Final = Path("benchmarks/picked.csv")
PICKED: Final = Path("benchmarks/picks.csv")


@dataclass(frozen=True, kw_only=True)
class Arguments(pool.Arguments):
    """Note the picks of runs, teach them, and print what they reached."""

    runs: tuple[Path, ...] = ()
    """Folders of finished searches, each called SET-NAME: NAME says by what it was graded."""
    out: Path = PICKED
    """The CSV that results are appended to."""
    pool: Path = Path("benchmarks/pool.csv")
    """What random architectures of the bands reach."""
    workers: tuple[Literal["cpu", "cuda"], ...] = ()
    """A process of one thread for each: where it computes. Without any, nothing is taught."""


@dataclass(frozen=True, kw_only=True)
class Picked:
    """The architecture of the best score that a search has in a band."""

    set: str
    by: str
    band: int
    graded: int
    """Architectures of the band that the search has graded."""
    digest: str
    latency_ms: float
    score: float
    choices: str
    """JSON: what rebuilds the architecture."""


def main(arguments: Arguments) -> None:
    """Notes and teaches what the CSVs do not hold yet, then prints the table."""
    there = {(one.set, one.by) for one in read_rows(NOTED, Picked)}
    for folder in arguments.runs:
        if named(folder) not in there:
            for picked in picks_of(folder):
                append_row(NOTED, picked)
    noted = read_rows(NOTED, Picked)
    if arguments.workers and not arguments.print:
        done = {result.key for result in pool.known(arguments)}
        asked = [one for one in noted if one.band in arguments.bands]
        jobs = {job.key: job for job in jobs_of(asked, arguments.datasets)}
        pool.teach_all([job for key, job in jobs.items() if key not in done], arguments)
    show(noted, pool.known(arguments), read_rows(arguments.pool, pool.Result))


def named(folder: Path) -> tuple[str, str]:
    """The data set and the proxy that a run's name tells."""
    for name in pool.SETS:
        if folder.name.startswith(f"{name}-"):
            return name, folder.name.removeprefix(f"{name}-")
    raise NasError(str(folder), "a run here is called SET-NAME, the set one of the pool's",
                   folder.name)  # fmt: skip


def picks_of(folder: Path) -> Iterator[Picked]:
    """The best of a run in each band; a band in which it has graded nothing has none."""
    from nas.space.search_space import read_space
    from nas.study.after.audit import graded_trials
    from nas.study.on_disk.claim import claimed
    from nas.study.on_disk.run import open_run, read_settings

    name, by = named(folder)
    settings = read_settings(folder)
    assert settings.data.where is not None
    candidates = Candidates(
        space=read_space(settings.space.where or settings.space.name),
        num_classes=read_data(settings.data.where).num_classes,
        anchors=settings.data.anchors,
    )
    with open_run(folder, settings) as opened, claimed(opened, None) as record:
        trials = graded_trials(record, candidates)
    for band, (low, high) in enumerate(pool.BANDS):
        inside = [trial for trial in trials if low <= trial.latency.ms <= high]
        if inside:
            best = max(inside, key=score_of)
            yield Picked(
                set=name, by=by, band=band, graded=len(inside), digest=best.candidate.digest,
                latency_ms=round(best.latency.ms, 2), score=round(score_of(best), 6),
                choices=json.dumps(dict(best.candidate.choices)),
            )  # fmt: skip


def score_of(trial: Trial) -> float:
    """What the search's proxy says of a graded one."""
    assert trial.score is not None
    return trial.score.score


def jobs_of(noted: Sequence[Picked], datasets: Path) -> Iterator[pool.Job]:
    """A training for each pick."""
    candidates = {
        name: pool.candidates_of(read_data(str(datasets / name / "data.yaml")))
        for name in {one.set for one in noted}
    }
    for one in noted:
        member = pool.Member(
            set=one.set, band=one.band, latency_ms=one.latency_ms,
            candidate=candidates[one.set].rebuild(json.loads(one.choices)),
        )  # fmt: skip
        yield pool.Job(member=member, seed=0)


def show(
    noted: Sequence[Picked], results: Sequence[pool.Result], others: Sequence[pool.Result]
) -> None:
    """Prints a line for each band, and for each proxy in how many its pick is above the median."""
    reached = {(one.set, one.digest): one.val_map50_95 for one in results}
    # The picks of a search from scratch are taught by handmade.py.
    names = list(dict.fromkeys(one.by for one in noted if (one.set, one.digest) in reached))
    gains: dict[str, list[float]] = {name: [] for name in names}
    ahead: dict[str, int] = dict.fromkeys(names, 0)
    print(f"| set | band, ms | random: median, best | {' | '.join(names)} |")
    print(f"|---|---|---|{'---|' * len(names)}")
    for name in dict.fromkeys(one.set for one in noted):
        for band, (low, high) in enumerate(pool.BANDS):
            own = [r.val_map50_95 for r in others if (r.set, r.band, r.seed) == (name, band, 0)]
            cells = []
            for by in names:
                found = [one for one in noted if (one.set, one.band, one.by) == (name, band, by)]
                if not found or (name, found[0].digest) not in reached:
                    cells.append("")
                    continue
                value = reached[name, found[0].digest]
                gains[by].append(value - float(np.median(own)))
                ahead[by] += int(value > np.median(own))
                cells.append(f"{value:.3f} ({gains[by][-1]:+.3f})")
            print(
                f"| {name} | {low:g} to {high:g} | {np.median(own):.3f}, {max(own):.3f} |"
                f" {' | '.join(cells)} |"
            )
    for by in names:
        if gains[by]:
            print(
                f"{by}: above the band's median in {ahead[by]} of {len(gains[by])},"
                f" {np.mean(gains[by]):+.3f} mAP50-95 in the mean"
            )


if __name__ == "__main__":
    command_line(Arguments, main)
