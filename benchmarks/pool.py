"""The pool: random architectures taught to the end, by which scores of a search are judged.

    python benchmarks/pool.py --datasets ../shared/datasets --workers cpu
    python benchmarks/pool.py --workers cpu cpu cpu cpu cuda cuda --minutes 5
    python benchmarks/pool.py --start none --bands 0 1 2 --out benchmarks/pool_scratch.csv
    python benchmarks/pool.py --print

For each data set 5 random architectures of the default space in each of 4 bands of estimated
Raspberry Pi 4 latency, the image sizes that reach a band in turn. All are taught alike: recipe
`small` at the architecture's own image size, from the same weights, an equal number of steps. One
of each band is taught a second time under another seed. Nothing is chosen by its score; validation
and test part are graded once. Each result is appended to a CSV at once, and what stands there is
not done again. Workers for a GPU take the costliest architectures first, the others the cheapest.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
import tyro
from rows import append_row, read_rows

from nas.data.dataset import DataConfig, read_data
from nas.latency.device import read_device
from nas.latency.load import load_table_model
from nas.places import STARTER
from nas.space.image_size import longest
from nas.space.ops import macs, model_graph
from nas.space.search_space import Candidate, read_space
from nas.study.anchors import anchors_for
from nas.study.candidates import Candidates
from nas.terminal import command_line

SETS: Final = ("bccd", "playing-cards", "aquarium")
SPACE: Final = "fused_mbconv"

BANDS: Final = ((16.0, 22.0), (28.0, 38.0), (42.0, 56.0), (70.0, 95.0))
"""Bounds in ms, estimated for a Raspberry Pi 4: ncnn, fp32, its four threads."""

MEMBERS: Final = 5
"""Architectures in a band, on each data set."""

DRAWS: Final = 3000
"""Random architectures that a set's members are chosen from; a size is in a band if RARE are."""
RARE: Final = 10

STEPS: Final = 1200
"""Optimiser steps of each training of the pool."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Teach the pool's architectures, and print what they reached."""

    datasets: Path = Path("../shared/datasets")
    """The folder of the data sets."""
    sets: tuple[str, ...] = SETS
    """Data sets by their folder's name."""
    bands: tuple[int, ...] = tuple(range(len(BANDS)))
    """Bands of latency to teach in, counted from 0."""
    workers: tuple[Literal["cpu", "cuda"], ...] = ("cpu",)
    """A process of one thread for each: where it computes."""
    minutes: float | None = None
    """No training is begun that would probably end later."""
    start: str = STARTER
    """What architectures are cut from, as nas.train --pretrained takes it."""
    steps: int = STEPS
    """Optimiser steps of each training, 8 pictures each; rows of another number are left alone."""
    out: Path = Path("benchmarks/pool.csv")
    """The CSV that results are appended to."""
    keep: Path | None = None
    """A folder for the trained weights of the first seed, each as a best.pt named by its set,
    band and digest: what benchmarks of exported files work on."""
    print: Annotated[bool, tyro.conf.arg(name="print")] = False
    """Only print the table of what the CSV holds."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """An architecture of the pool on a data set; `band` counts BANDS from 0."""

    set: str
    band: int
    candidate: Candidate
    latency_ms: float

    @property
    def gigamacs(self) -> float:
        """Billions of multiply-accumulates of one picture."""
        return macs(model_graph(self.candidate.spec, self.candidate.image_size)) / 1e9


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training."""

    member: Member
    seed: int

    @property
    def key(self) -> tuple[str, str, int]:
        """What makes it the same training."""
        return self.member.set, self.member.candidate.digest, self.seed


@dataclass(frozen=True, kw_only=True)
class Result:
    """One training's row in the CSV."""

    set: str
    band: int
    digest: str
    seed: int
    image_size: int
    latency_ms: float
    """Estimated."""
    gigamacs: float
    params: int
    steps: int
    start: str
    val_map50_95: float
    val_map50: float
    test_map50_95: float | None
    test_map50: float | None
    core_s: float
    """Of the training's process, without grading."""
    device: str
    torch: str
    date: str
    choices: str
    """JSON: what rebuilds the architecture."""

    @property
    def key(self) -> tuple[str, str, int]:
        """What makes it the same training."""
        return self.set, self.digest, self.seed

    def choice(self, name: str) -> Any:
        """One of the architecture's choices."""
        return json.loads(self.choices)[name]


def main(arguments: Arguments) -> None:
    """Teaches what the CSV does not hold yet, then prints its table."""
    if not arguments.print:
        done = {result.key for result in known(arguments)}
        jobs = [job for job in all_jobs(arguments) if job.key not in done]
        teach_all(jobs, arguments)
    show(known(arguments))


def known(arguments: Arguments) -> list[Result]:
    """The rows of the CSV that were taught for the asked number of steps."""
    return [row for row in read_rows(arguments.out, Result) if row.steps == arguments.steps]


def all_jobs(arguments: Arguments) -> Iterator[Job]:
    """Every training of the pool: each member, and the first of each band once more."""
    for name in arguments.sets:
        found = members(read_data(str(arguments.datasets / name / "data.yaml")), name)
        asked = [one for one in found if one.band in arguments.bands]
        yield from (Job(member=one, seed=0) for one in asked)
        firsts = {one.band: one for one in reversed(asked)}
        yield from (Job(member=firsts[band], seed=1) for band in sorted(firsts))


def candidates_of(data: DataConfig) -> Candidates:
    """The default space's candidates for a data set."""
    return Candidates(
        space=read_space(SPACE), num_classes=data.num_classes, anchors=anchors_for(data, seed=0)
    )


def members(data: DataConfig, name: str) -> list[Member]:
    """The pool's architectures on a data set: the same ones every time.

    Within a band the image sizes take turns, as far as random architectures of that size reach it.
    """
    candidates = candidates_of(data)
    device = read_device("rpi4")
    key = device.key("ncnn", "fp32", None)
    model = load_table_model(key, space=candidates.space, num_classes=data.num_classes)
    rng = np.random.default_rng([20261126, *name.encode()])
    found: dict[tuple[int, int], list[Member]] = {}
    for _ in range(DRAWS):
        drawn = candidates.random(rng)
        latency_ms = model.predict(drawn.spec, drawn.image_size).ms
        for band, (low, high) in enumerate(BANDS):
            if low <= latency_ms <= high:
                member = Member(set=name, band=band, candidate=drawn, latency_ms=latency_ms)
                found.setdefault((band, longest(drawn.image_size)), []).append(member)
    chosen = []
    for band in range(len(BANDS)):
        kinds = [own for (b, _), own in sorted(found.items()) if b == band and len(own) >= RARE]
        turns = [kinds[turn % len(kinds)][turn // len(kinds)] for turn in range(MEMBERS)]
        chosen += turns
    return chosen


def teach_all(jobs: Sequence[Job], arguments: Arguments) -> None:
    """Teaches side by side, and writes each result down as it comes."""
    waiting = sorted(jobs, key=lambda job: job.member.gigamacs)
    lock, began = threading.Lock(), time.monotonic()

    def serve(device: str) -> None:
        """One process's work, from one end of the list."""
        seconds_each: list[float] = []
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            while True:
                with lock:
                    left_s = None
                    if arguments.minutes is not None:
                        left_s = 60 * arguments.minutes - (time.monotonic() - began)
                    job = take(waiting, device, left_s, seconds_each)
                if job is None:
                    return
                started = time.monotonic()
                result = process.submit(teach, job, arguments, device).result()
                seconds_each.append((time.monotonic() - started) / job.member.gigamacs)
                with lock:
                    append_row(arguments.out, result)

    threads = [threading.Thread(target=serve, args=(device,)) for device in arguments.workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def take(
    waiting: list[Job], device: str, left_s: float | None, seconds_each: Sequence[float]
) -> Job | None:
    """The next job of a worker, taken off the list; None where none can end in time.

    seconds_each   what its trainings took for each gigamac of their architecture
    """
    if not waiting:
        return None
    job = waiting[-1 if device == "cuda" else 0]
    if left_s is not None:
        # Small networks cost more for each gigamac: one that is not yet known gets the benefit.
        expected = max(seconds_each, default=0.0) * job.member.gigamacs
        if left_s <= expected:
            return None
    waiting.remove(job)
    return job


def teach(job: Job, arguments: Arguments, device: str) -> Result:
    """Trains and grades one architecture with one seed, on one thread."""
    import cv2
    import torch

    from nas.data.dataset import load_part
    from nas.detector.pretrained.load import load_seed
    from nas.training.beginning import started
    from nas.training.loop import train
    from nas.training.metrics import evaluate_detector
    from nas.training.on_disk.checkpoint import make_checkpoint, save_checkpoint
    from nas.training.recipe import read_recipe

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    one = job.member
    data = read_data(str(arguments.datasets / one.set / "data.yaml"))
    start = None if arguments.start == "none" else load_seed(arguments.start)
    recipe = replace(
        read_recipe("small", knows_pictures=start is not None),
        epochs=None, steps=arguments.steps, evaluate_every=0,
    )  # fmt: skip
    train_set = load_part(data, "train", one.candidate.image_size)
    begin = time.process_time()
    detector, rows = started(
        recipe.build, one.candidate.spec, train_set, recipe, start, seed_number=job.seed
    )  # fmt: skip
    trained = train(
        detector, train_set, None, recipe, seed=job.seed, device=device, whole_rows=rows
    ).detector
    core_s = time.process_time() - begin
    grades: dict[str, Any] = {}
    for part in ("val", "test"):
        own = None
        if part in data.parts:
            own = evaluate_detector(trained, load_part(data, part, one.candidate.image_size))
        grades[f"{part}_map50_95"] = None if own is None else round(own.map50_95, 4)
        grades[f"{part}_map50"] = None if own is None else round(own.map50, 4)
    if arguments.keep is not None and job.seed == 0:
        arguments.keep.mkdir(parents=True, exist_ok=True)
        name = f"{one.set}-{one.band}-{one.candidate.digest}.pt"
        checkpoint = make_checkpoint(
            trained, data.names, one.candidate.image_size,
            map50_95=grades["val_map50_95"], map50=grades["val_map50"],
        )  # fmt: skip
        save_checkpoint(arguments.keep / name, checkpoint)
    result = Result(
        set=one.set,
        band=one.band,
        digest=one.candidate.digest,
        seed=job.seed,
        image_size=longest(one.candidate.image_size),
        latency_ms=round(one.latency_ms, 2),
        gigamacs=round(one.gigamacs, 4),
        params=sum(value.numel() for value in trained.parameters()),
        steps=arguments.steps,
        start=Path(arguments.start).stem,
        core_s=round(core_s, 1),
        device="cpu" if device == "cpu" else torch.cuda.get_device_name(),
        torch=torch.__version__,
        date=datetime.now(timezone.utc).date().isoformat(),
        choices=json.dumps(dict(one.candidate.choices)),
        **grades,
    )
    print(*list(asdict(result).values())[:-1], file=sys.stderr, flush=True)
    return result


def show(results: Sequence[Result]) -> None:
    """Prints a line for each band: its size, and what was reached in it."""
    print("| set | band, ms | trained | mAP50-95: median, best | image sizes | core-s |")
    print("|---|---|---|---|---|---|")
    for name in dict.fromkeys(result.set for result in results):
        for band, (low, high) in enumerate(BANDS):
            own = [r for r in results if r.set == name and r.band == band and r.seed == 0]
            if not own:
                continue
            reached = [result.val_map50_95 for result in own]
            sizes = ", ".join(str(size) for size in sorted(result.image_size for result in own))
            print(
                f"| {name} | {low:g} to {high:g} | {len(own)} |"
                f" {np.median(reached):.3f}, {max(reached):.3f} | {sizes} |"
                f" {np.mean([result.core_s for result in own]):.0f} |"
            )
    gaps = seed_gaps(results)
    if gaps:
        print(f"Two seeds of {len(gaps)} architectures differ by {np.mean(gaps):.3f} in the mean.")


def seed_gaps(results: Sequence[Result]) -> list[float]:
    """How far two seeds of an architecture lie apart, for each that was taught twice (mAP50-95)."""
    reached: dict[tuple[str, str], list[float]] = {}
    for result in results:
        reached.setdefault((result.set, result.digest), []).append(result.val_map50_95)
    return [abs(own[0] - own[1]) for own in reached.values() if len(own) == 2]


if __name__ == "__main__":
    command_line(Arguments, main)
