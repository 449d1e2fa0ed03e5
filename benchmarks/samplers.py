"""Which sampler finds the better front with a budget? On a made-up board and a made-up score.

    python benchmarks/samplers.py --seeds 4 --budget 200
    python benchmarks/samplers.py --seeds 4 --budget 200 --limit-ms 12
    python benchmarks/samplers.py --seeds 1 --budget 2000 --samplers surrogate

The score follows parameters, image size and single choices of each stage, with diminishing returns
and noise; the latency, computation (three times slower where it is depthwise) and bytes moved. The
search is the real one, in this process. Reported, as means over the seeds: the area under the front
of the true scores over the logarithm of latency, refused and repeated trials; core-milliseconds
that a trial takes in all and at the end, in the last tenth of them; megabytes that the process
grows by in the second half of a search.
"""

from __future__ import annotations

import math
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import optuna
import tyro

from nas.accuracy import Proxy, Score
from nas.latency.answer import Latency, LatencyKind, LatencyModel
from nas.latency.device import read_device
from nas.latency.load import load_table_model
from nas.space.anchors import DEFAULT_ANCHORS
from nas.space.image_size import ImageSize, side_of
from nas.space.ops import OpKind, model_graph, params
from nas.space.search_space import Candidate, read_space
from nas.space.spec import ModelSpec
from nas.study.candidates import Candidates
from nas.study.loop import Search, SearchPlan
from nas.study.on_disk.record import Record
from nas.study.pareto import hypervolume
from nas.study.sampling import SamplerName
from nas.study.trial import Ending, Outcome
from nas.study.workers import Graded, Inline

NOISE = 0.015
"""Of the score a search sees: about that of a short training under another seed."""

SLOWEST_MS = 200.0
"""Where the area ends without a limit."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Compare the samplers on a made-up problem."""

    space: str = "fused_mbconv"
    """The search space."""
    budget: int = 200
    """Distinct architectures to grade in each search."""
    seeds: int = 4
    """Searches with each sampler."""
    device: str | None = None
    """A device whose latency table answers, ncnn in fp32, instead of the made-up board."""
    limit_ms: float | None = None
    """A latency limit."""
    samplers: tuple[SamplerName, ...] = get_args(SamplerName)
    """Which of them."""


class Board:
    """The made-up board."""

    def predict(self, spec: ModelSpec, image_size: ImageSize) -> Latency:
        """Its latency, without an interval."""
        ms = 0.0
        for op in model_graph(spec, image_size).ops:
            is_grouped = op.kind is OpKind.CONVOLUTION and op.groups > 1
            ms += op.macs / (8e6 if is_grouped else 3e7) + (op.bytes_in + op.bytes_out) / 8e6
        return Latency(
            ms=ms,
            low_ms=ms,
            high_ms=ms,
            kind=LatencyKind.ESTIMATED,
            measured_share=0.0,
            heldout_mape=0.0,
        )


class Landscape:
    """The made-up proxy."""

    kind = "made up, not a mAP"

    def score(self, candidate: Candidate, seed: int) -> Score:
        """The true score with noise."""
        rng = np.random.default_rng([int(candidate.digest, 16), seed])
        noisy = true_score(candidate) + NOISE * float(rng.standard_normal())
        return Score(score=max(noisy, 0.0), kind=self.kind, is_map=False, seconds=0.0)


def true_score(candidate: Candidate) -> float:
    """What the search tries to find the best of."""
    choices = dict(candidate.choices)
    graph = model_graph(candidate.spec, candidate.image_size)
    score = 0.28 * (1 - math.exp(-params(graph) / 5e5))
    score += 0.15 * math.log(side_of(candidate.image_size) / 192)
    stages = sorted({name.split(".")[0] for name in choices if name.startswith("stage")})
    for number, stage in enumerate(stages, start=1):
        score += 0.012 * (1 + 0.3 * number) * math.log1p(float(choices[f"{stage}.depth"]))
        score += 0.010 * (float(choices[f"{stage}.se_ratio"]) > 0)
        score += 0.008 * (choices[f"{stage}.kernel"] == 5 and number > 2)
        score += 0.012 * (choices[f"{stage}.operator"] == "FusedMBConv" and number <= 2)
    score += 0.02 * math.log(float(choices["neck.width"]) / 32)
    return score + 0.01 * (choices["head.kind"] == "plain")


def area(ending: Ending, limit_ms: float) -> float:
    """Under the front of the true scores, over log(latency in ms)."""
    found = ending.graded
    return hypervolume(
        [math.log(trial.latency.ms) for trial in found],
        [true_score(trial.candidate) for trial in found],
        limit_ms=math.log(limit_ms),
    )


class Watched:
    """A grader that notes when it is given each candidate, and what the process holds then."""

    def __init__(self, proxy: Proxy) -> None:
        self._inline = Inline(proxy)
        self.core_s: list[float] = []
        self.megabytes: list[float] = []

    def submit(self, number: int, candidate: Candidate, seed: int) -> None:
        """Notes, and takes the candidate."""
        self.core_s.append(time.process_time())
        self.megabytes.append(resident_megabytes())
        self._inline.submit(number, candidate, seed)

    def collect(self, *, is_waiting: bool) -> list[Graded]:
        """As the grader in this process does."""
        return self._inline.collect(is_waiting=is_waiting)


def resident_megabytes() -> float:
    """What the process holds in memory now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


@dataclass(frozen=True, kw_only=True)
class Searched:
    """One search: what it reached, and what it took."""

    area: float
    refused: int
    repeated: int
    ms_each: float
    ms_at_end: float
    megabytes_more: float


def searched(
    arguments: Arguments,
    candidates: Candidates,
    model: LatencyModel,
    sampler: SamplerName,
    seed: int,
) -> Searched:
    """Searches once, in this process."""
    grader = Watched(Landscape())
    with tempfile.TemporaryDirectory() as folder:
        ending = Search(
            candidates=candidates,
            model=model,
            grader=grader,
            record=Record(f"journal:{Path(folder) / 'study.log'}", "samplers"),
            plan=SearchPlan(sampler=sampler, seed=seed, limit_ms=arguments.limit_ms, in_flight=4),
        ).run(arguments.budget)
    count = len(grader.core_s)
    last = min(-2, -(count // 10))
    return Searched(
        area=area(ending, arguments.limit_ms or SLOWEST_MS),
        refused=ending.count(Outcome.REFUSED),
        repeated=ending.count(Outcome.REPEATED),
        ms_each=1000 * (grader.core_s[-1] - grader.core_s[0]) / (count - 1),
        ms_at_end=1000 * (grader.core_s[-1] - grader.core_s[last]) / (-last - 1),
        megabytes_more=grader.megabytes[-1] - grader.megabytes[count // 2],
    )


def main(arguments: Arguments) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = read_space(arguments.space)
    candidates = Candidates(space=space, num_classes=6, anchors=DEFAULT_ANCHORS)
    model: LatencyModel = Board()
    if arguments.device is not None:
        key = read_device(arguments.device).key("ncnn", "fp32")
        model = load_table_model(key, space=space, num_classes=candidates.num_classes)
    print("| sampler | area (standard error) | refused | repeated | ms a trial, at the end | MB |")
    print("|---|---|---|---|---|---|")
    for sampler in arguments.samplers:
        rows = [searched(arguments, candidates, model, sampler, n) for n in range(arguments.seeds)]
        mean = {
            name: np.mean([getattr(row, name) for row in rows])
            for name in Searched.__dataclass_fields__
        }
        error = math.nan
        if len(rows) > 1:
            error = np.std([row.area for row in rows], ddof=1) / math.sqrt(len(rows))
        print(
            f"| {sampler} | {mean['area']:.4f} ({error:.4f}) | {mean['refused']:.0f} |"
            f" {mean['repeated']:.0f} | {mean['ms_each']:.0f}, {mean['ms_at_end']:.0f} |"
            f" {mean['megabytes_more']:+.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main(tyro.cli(Arguments))
