"""The picks of a search against detectors made by hand and scaled to the same latency.

    python benchmarks/handmade.py --datasets ../shared/datasets --workers cpu
    python benchmarks/handmade.py --sets playing-cards --bands 1 --only yolov8n --seed 1
    python benchmarks/handmade.py --start none --steps 2400 --workers cuda
    python benchmarks/handmade.py --print

Teaches hand-made detectors of search_spaces/reference/ and the plain grid of the default space,
each at the image size at which its estimated Raspberry Pi 4 latency lies highest within a band of
benchmarks/pool.csv, exactly as `picks.py` teaches the picks of the searches: one recipe, one number
of steps, from the weights that fit it best. Where none fit (all but those of EfficientNet's blocks)
it begins from scratch and nothing of it is frozen. The table then tells the best of each band
beside the pick. What the CSV holds is not done again. A detector that was taught under several
seeds stands there with their mean and its number.

With `--start none` all begin from scratch: hand-made ones, the picks of a search that scored so too
(`nas search --pretrained none`), and those of the first arm's search as `pick with weights`. Where
1,500 steps leave scores too low to rank by, that search is the one of 6,000, as it says itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import picks
import pool
from rows import read_rows

from nas.data.dataset import DataConfig, read_data
from nas.latency.answer import LatencyModel
from nas.latency.device import read_device
from nas.latency.load import load_table_model
from nas.places import STARTER
from nas.report.files import SILENT
from nas.space.references import as_candidate, fits, reference_files
from nas.space.search_space import Candidate
from nas.space.spec import (
    ModelSpec,
    model_text,
    parse_spec,
    read_spec,
    with_anchors,
    with_classes,
)
from nas.study.after.baselines import grid
from nas.study.candidates import Candidates, anchors_at, anchors_like
from nas.terminal import command_line

MODELS: Final = (
    "yolov5n", "v5lite-e", "v5lite-s", "nanodet-m", "yolov8n", "yolov5-efficientnetv2",
)  # fmt: skip
"""By their files; `yolov5n` is taken at half its width (0.125) as well."""

NARROW: Final = "yolov5n, width 0.125"
SIZES: Final = tuple(range(96, 673, 32))
"""Pixels at which a hand-made detector may fit a band."""

SCRATCH: Final = "none"

SEARCHES: Final = {
    STARTER: {"shared": "pick"},
    SCRATCH: {
        "scratch": "pick, 1,500 steps",
        "scratch6000": "pick, 6,000 steps",
        "shared": "pick with weights",
    },
}
"""Which searches of benchmarks/picked.csv are compared, by what all begin with, and what their
picks are called. Steps are those that the shared weights were taught for."""


@dataclass(frozen=True, kw_only=True)
class Arguments(pool.Arguments):
    """Teach hand-made detectors in the bands of the pool, and print them beside the picks."""

    bands: tuple[int, ...] = (0, 1, 2)
    """Bands of latency to teach in and to print, counted from 0."""
    only: tuple[str, ...] = ()
    """Detectors to teach, by the table's names; all without."""
    seed: int = 0
    """Of their trainings."""
    out: Path = Path("benchmarks/handmade.csv")
    """The CSV that results are appended to."""


def main(arguments: Arguments) -> None:
    """Teaches what the CSV does not hold yet, then prints its table."""
    found = {
        name: list(
            entrants(read_data(str(arguments.datasets / name / "data.yaml")), name, arguments.start)
        )
        for name in arguments.sets
    }
    rows = pool.known(arguments)
    if not arguments.print:
        done = {(*row.key, row.start) for row in rows}
        jobs = list(all_jobs(found, arguments))
        for start in dict.fromkeys(start for _, start in jobs):
            own = [job for job, s in jobs if s == start and (*job.key, start) not in done]
            pool.teach_all(own, replace(arguments, start=start))
        rows = pool.known(arguments)
    taught = pool.known(replace(arguments, out=picks.PICKED))
    show(found, [*rows, *taught], arguments)


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A detector in a band; `start` is the weights that fit it best."""

    name: str
    member: pool.Member
    start: str


def entrants(data: DataConfig, name: str, start: str) -> Iterator[Entrant]:
    """Everything that stands in a set's bands: picks, hand-made detectors, the grid's best fit."""
    candidates = pool.candidates_of(data)
    key = read_device("rpi4").key("ncnn", "fp32", None)
    model = load_table_model(key, space=candidates.space, num_classes=data.num_classes)

    def of(name_: str, band: int, candidate: Candidate, start: str) -> Entrant:
        latency_ms = model.predict(candidate.spec, candidate.image_size).ms
        member = pool.Member(set=name, band=band, candidate=candidate, latency_ms=latency_ms)
        return Entrant(name=name_, member=member, start=start)

    noted = [one for one in read_rows(picks.NOTED, picks.Picked) if one.set == name]
    for by, title in titles(noted, start).items():
        for one in noted:
            if one.by == by:
                yield of(title, one.band, candidates.rebuild(json.loads(one.choices)), STARTER)
    plain = [baseline.candidate for baseline in grid(candidates, model)]
    for band in range(len(pool.BANDS)):
        for title, spec in specs():
            scaled = highest_within(scaled_to_data(spec, candidates), band, model)
            if scaled is not None:
                fits_it = STARTER if "efficientnet" in title else SCRATCH
                yield of(title, band, scaled, fits_it)
        best = highest_within(plain, band, model)
        if best is not None:
            yield of("grid", band, best, STARTER)


def titles(noted: Sequence[picks.Picked], start: str) -> dict[str, str]:
    """What the picks of each search on a set are called; `pick` are those that count.

    From scratch those of the short teaching count, or of the long one where the first search says
    that its scores are too low to rank by.
    """
    if start != SCRATCH:
        return SEARCHES[STARTER]
    best = max((one.score for one in noted if one.by == "scratch"), default=0.0)
    return SEARCHES[SCRATCH] | {"scratch" if best >= SILENT else "scratch6000": "pick"}


def specs() -> Iterator[tuple[str, ModelSpec]]:
    """The hand-made detectors by name."""
    files = {path.stem: path for path in reference_files()}
    for name in MODELS:
        yield name, read_spec(files[name])
    yield NARROW, parse_spec(model_text(files["yolov5n"]), NARROW, multiples=(0.33, 0.125))


def scaled_to_data(spec: ModelSpec, candidates: Candidates) -> Iterator[Candidate]:
    """A hand-made detector for a data set, at every size that it fits."""
    own = with_classes(spec, candidates.num_classes)
    for size in SIZES:
        if fits(own, size):
            anchors = anchors_at(anchors_like(candidates.anchors, own.anchors), size)
            yield as_candidate(with_anchors(own, anchors), size)


def highest_within(
    candidates: Iterator[Candidate] | Sequence[Candidate], band: int, model: LatencyModel
) -> Candidate | None:
    """Of candidates the slowest one that a band admits, if any."""
    low, high = pool.BANDS[band]
    timed = [(model.predict(one.spec, one.image_size).ms, one) for one in candidates]
    within = [pair for pair in timed if low <= pair[0] <= high]
    return max(within, key=lambda pair: pair[0])[1] if within else None


def all_jobs(
    found: dict[str, list[Entrant]], arguments: Arguments
) -> Iterator[tuple[pool.Job, str]]:
    """Every training and its start. Of picks that begin with weights `picks.py` does the first."""
    from_scratch = arguments.start == SCRATCH
    for own in found.values():
        for one in own:
            is_there = arguments.seed == 0 and arguments.steps == pool.STEPS
            is_here = from_scratch or not is_there or one.name != "pick"
            is_asked = not arguments.only or one.name in arguments.only
            if one.member.band in arguments.bands and is_here and is_asked:
                start = SCRATCH if from_scratch else one.start
                yield pool.Job(member=one.member, seed=arguments.seed), start


@dataclass(frozen=True, kw_only=True)
class Taught:
    """An entrant and its trainings, one for each seed."""

    entrant: Entrant
    rows: tuple[pool.Result, ...]

    @property
    def val(self) -> float:
        """mAP50-95 on the validation part, in the mean of the seeds."""
        return float(np.mean([row.val_map50_95 for row in self.rows]))

    def words(self) -> str:
        """What it reached, where and how fast: 0.567 (grid, 288 px, 33.3 ms)."""
        one = self.entrant
        return f"{self.val:.3f} ({one.name}, {self.rows[0].image_size} px, {self.ms:.1f} ms)"

    @property
    def ms(self) -> float:
        """Estimated."""
        return self.entrant.member.latency_ms


def show(
    found: dict[str, list[Entrant]], rows: Sequence[pool.Result], arguments: Arguments
) -> None:
    """Prints the detectors of each band, the best first; then a line for each band."""
    from_scratch = arguments.start == SCRATCH
    print("| set | band, ms | detector | px | estimated ms | begun with | mAP50-95: val, test |")
    print("|---|---|---|---|---|---|---|")
    reached: dict[tuple[str, str, str], list[pool.Result]] = {}
    for row in rows:
        reached.setdefault((row.set, row.digest, row.start), []).append(row)
    taught: dict[tuple[str, int], list[Taught]] = {}
    for name, own in found.items():
        for one in own:
            start = SCRATCH if from_scratch else one.start
            seeds = reached.get((name, one.member.candidate.digest, start))
            if seeds and one.member.band in arguments.bands:
                place = taught.setdefault((name, one.member.band), [])
                place.append(Taught(entrant=one, rows=tuple(seeds)))
    for (name, band), there in taught.items():
        low, high = pool.BANDS[band]
        for each in sorted(there, key=lambda one: -one.val):
            tests = [row.test_map50_95 for row in each.rows if row.test_map50_95 is not None]
            test = f", {np.mean(tests):.3f}" if tests else ""
            count = f" ({len(each.rows)} seeds)" if len(each.rows) > 1 else ""
            print(
                f"| {name} | {low:g} to {high:g} | {each.entrant.name} |"
                f" {each.rows[0].image_size} | {each.ms:.1f} | {each.rows[0].start} |"
                f" {each.val:.3f}{test}{count} |"
            )
    show_bands(taught, {name: noise_of(name, from_scratch) for name in found})


def noise_of(name: str, from_scratch: bool) -> float:
    """How far two seeds of a training lie apart in the mean, on a set and in an arm (mAP50-95)."""
    paths = (
        Path("benchmarks/pool.csv"), Path("benchmarks/pool_scratch.csv"),
        Path("benchmarks/handmade.csv"), picks.PICKED,
    )  # fmt: skip
    rows = [row for path in paths for row in read_rows(path, pool.Result)]
    own = {
        row.key: row
        for row in rows
        if row.set == name and (row.start == SCRATCH) == from_scratch and row.steps == pool.STEPS
    }
    gaps = pool.seed_gaps(list(own.values()))
    return float(np.mean(gaps)) if gaps else 0.0


def show_bands(taught: dict[tuple[str, int], list[Taught]], noise: dict[str, float]) -> None:
    """Prints for each band the pick, the best of the grid and by hand, and what is as good.

    That is the fastest pick of the set that is no more than the noise of two seeds below the best
    that was made by hand.

    noise  of each set
    """
    print(
        "\n| set | band, ms | pick | grid | best made by hand | pick's distance | as good, times |"
    )
    print("|---|---|---|---|---|---|---|")
    for (name, band), there in taught.items():
        picks_ = [one for one in there if one.entrant.name == "pick"]
        grids = [one for one in there if one.entrant.name == "grid"]
        by_hand = [one for one in there if not one.entrant.name.startswith(("pick", "grid"))]
        if not picks_ or not by_hand:
            continue
        low, high = pool.BANDS[band]
        pick, best = picks_[0], max(by_hand, key=lambda one: one.val)
        as_good = [
            one
            for (set_, _), others in taught.items()
            for one in others
            if set_ == name and one.entrant.name == "pick" and one.val >= best.val - noise[name]
        ]
        times = f"{best.ms / min(one.ms for one in as_good):.1f}" if as_good else ""
        print(
            f"| {name} | {low:g} to {high:g} | {pick.val:.3f} ({pick.ms:.1f} ms) |"
            f" {f'{grids[0].val:.3f}' if grids else ''} | {best.words()} |"
            f" {pick.val - best.val:+.3f} | {times} |"
        )
    told = ", ".join(f"{value:.3f} on {name}" for name, value in noise.items())
    print(f"Two seeds differ in the mean by {told}.")


if __name__ == "__main__":
    command_line(Arguments, main)
