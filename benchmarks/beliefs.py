"""Is what a report believes of its front true? On the made-up problem of samplers.py.

    python benchmarks/beliefs.py --seeds 4

The true score is known there. Printed are, over all graded architectures and over the points of the
fronts: the share of true scores inside the believed 90 % interval, by how much the search's own
scores and the beliefs lie above the truth in the mean, and the mean distance of each to it. Then of
the steps of the fronts: how many are told apart, and how many of those, and of the others, are
steps up in truth.
"""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
import tyro
from samplers import Board, Landscape, true_score

from nas.space.anchors import DEFAULT_ANCHORS
from nas.space.search_space import read_space
from nas.study.after.beliefs import beliefs
from nas.study.after.finalists import plain_front
from nas.study.candidates import Candidates
from nas.study.loop import Search, SearchPlan
from nas.study.on_disk.record import Record
from nas.study.sampling import SamplerName
from nas.study.workers import Inline


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Hold beliefs against the truth."""

    space: str = "fused_mbconv"
    """The search space."""
    budget: int = 200
    """Distinct architectures to grade in each search."""
    seeds: int = 4
    """Searches."""
    sampler: SamplerName = "surrogate"
    """What proposes."""


def main(arguments: Arguments) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    candidates = Candidates(
        space=read_space(arguments.space), num_classes=6, anchors=DEFAULT_ANCHORS
    )
    rows: dict[str, list[tuple[float, float, float, bool]]] = {"all": [], "front": []}
    steps: list[tuple[bool, bool]] = []
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory() as folder:
            ending = Search(
                candidates=candidates,
                model=Board(),
                grader=Inline(Landscape()),
                record=Record(f"journal:{Path(folder) / 'study.log'}", "beliefs"),
                plan=SearchPlan(sampler=arguments.sampler, seed=seed, limit_ms=None, in_flight=4),
            ).run(arguments.budget)
        front = plain_front(ending.graded)
        found = beliefs(ending.graded, front, candidates)
        for name, trials in {
            "all": ending.graded, "front": [point.trial for point in front.points],
        }.items():  # fmt: skip
            for trial in trials:
                assert trial.score is not None
                belief, true = found[trial.candidate.digest], true_score(trial.candidate)
                is_inside = belief.low <= true <= belief.high
                rows[name].append((trial.score.score, belief.mean, true, is_inside))
        trials = [point.trial for point in front.points]
        for faster, slower in itertools.pairwise(trials):
            is_apart = bool(found[slower.candidate.digest].is_told_apart)
            steps.append((is_apart, true_score(slower.candidate) > true_score(faster.candidate)))
    print("| of | count | inside 90 % | score, belief above truth | score, belief off by |")
    print("|---|---|---|---|---|")
    for name, own in rows.items():
        scores, means, truths, inside = (np.array(column) for column in zip(*own, strict=True))
        print(
            f"| {name} | {len(own)} | {inside.mean():.0%} | {np.mean(scores - truths):+.4f},"
            f" {np.mean(means - truths):+.4f} | {np.mean(abs(scores - truths)):.4f},"
            f" {np.mean(abs(means - truths)):.4f} |"
        )
    for title, kind in (("told apart", True), ("not told apart", False)):
        own_steps = [is_up for is_apart, is_up in steps if is_apart is kind]
        share = np.mean(own_steps) if own_steps else np.nan
        print(f"{len(own_steps)} of {len(steps)} steps {title}: {share:.0%} are steps up in truth")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
