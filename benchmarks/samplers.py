"""Which sampler finds the better front with a budget? On a made-up board and a made-up score.

    python benchmarks/samplers.py --seeds 4 --budget 200
    python benchmarks/samplers.py --seeds 4 --budget 200 --limit-ms 12

The score follows parameters, image size and single choices of each stage, with diminishing returns
and noise; the latency, computation (three times slower where it is depthwise) and bytes moved. The
search is the real one, in this process. Reported, as means over the seeds: the area under the front
of the true scores over the logarithm of latency, refused and repeated trials, seconds.
"""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import optuna
import tyro

from nas.accuracy import Score
from nas.latency.answer import Latency, LatencyKind
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
from nas.study.workers import Inline

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
    limit_ms: float | None = None
    """A latency limit."""


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


def main(arguments: Arguments) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = read_space(arguments.space)
    candidates = Candidates(space=space, num_classes=6, anchors=DEFAULT_ANCHORS)
    print("sampler   area (standard error)   refused   repeated   seconds a search")
    for sampler in get_args(SamplerName):
        rows = []
        for seed in range(arguments.seeds):
            begin = time.process_time()
            with tempfile.TemporaryDirectory() as folder:
                ending = Search(
                    candidates=candidates,
                    model=Board(),
                    grader=Inline(Landscape()),
                    record=Record(f"journal:{Path(folder) / 'study.log'}", "samplers"),
                    plan=SearchPlan(
                        sampler=sampler, seed=seed, limit_ms=arguments.limit_ms, in_flight=4
                    ),
                ).run(arguments.budget)
            rows.append(
                (
                    area(ending, arguments.limit_ms or SLOWEST_MS),
                    ending.count(Outcome.REFUSED),
                    ending.count(Outcome.REPEATED),
                    time.process_time() - begin,
                )
            )
        table = np.array(rows)
        mean = table.mean(axis=0)
        error = table[:, 0].std(ddof=1) / math.sqrt(len(rows)) if len(rows) > 1 else math.nan
        print(
            f"{sampler:8s}  {mean[0]:.4f} ({error:.4f})         {mean[1]:7.0f}   {mean[2]:8.0f}"
            f"   {mean[3]:8.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main(tyro.cli(Arguments))
