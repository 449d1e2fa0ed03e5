"""A search that weighs the latency on two boards: its front, its samplers, its way back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nas.study.after.beliefs import beliefs
from nas.study.after.finalists import plain_front
from nas.study.sampling import SamplerName
from nas.study.trial import Ending, latency_from_dict, latency_to_dict
from tests.study.boards import TwoBoards, candidates_of, notebook, search


def _searched(folder: Path, sampler: SamplerName, budget: int = 40) -> Ending:
    folder.mkdir(exist_ok=True)
    return search(folder, notebook(), budget=budget, sampler=sampler, model=TwoBoards(), boards=2)


@pytest.mark.parametrize("sampler", ["surrogate", "tpe", "nsgaii", "random"])
def test_every_sampler_searches_for_a_front_of_both(tmp_path: Path, sampler: SamplerName) -> None:
    ending = _searched(tmp_path / "whole", sampler)
    points = plain_front(ending.graded).points
    for point in points:
        own = point.trial.latency.each_ms
        assert len(own) == 2
        better = [
            t
            for t in ending.graded
            if t.score
            and all(a <= b for a, b in zip(t.latency.each_ms, own, strict=True))
            and t.score.score > point.score
        ]
        assert not better
    # Some point is there for the second board alone.
    lone = [p.trial.number for p in plain_front(ending.graded).points]
    first = [t for t in ending.graded if t.number in lone]
    dominated_here = [
        t
        for t in first
        if any(
            u.score and t.score and u.latency.ms <= t.latency.ms and u.score.score > t.score.score
            for u in ending.graded
        )
    ]
    assert dominated_here
    # Killed after some trials and resumed, it asks for the same.
    _searched(tmp_path / "cut", sampler, budget=17)
    again = _searched(tmp_path / "cut", sampler)
    assert [t.candidate.digest for t in again.trials] == [t.candidate.digest for t in ending.trials]
    assert [t.latency for t in again.trials] == [t.latency for t in ending.trials]


def test_the_surrogate_covers_more_of_both_boards_than_chance(tmp_path: Path) -> None:
    volumes = {}
    names: tuple[SamplerName, ...] = ("surrogate", "random")
    for sampler in names:
        ending = _searched(tmp_path / sampler, sampler, budget=60)
        logs = np.log([t.latency.each_ms for t in ending.graded])
        scores = np.array([t.score.score for t in ending.graded if t.score])
        rng = np.random.default_rng(0)
        bounds = rng.uniform(np.log([1.0, 1.0]), np.log([60.0, 60.0]), size=(4000, 2))
        inside = (logs[:, None] <= bounds).all(axis=2)
        volumes[sampler] = np.where(inside, scores[:, None], 0.0).max(axis=0).mean()
    assert volumes["surrogate"] > 1.03 * volumes["random"]


def test_what_is_next_faster_is_as_fast_on_both(tmp_path: Path) -> None:
    ending = _searched(tmp_path, "surrogate")
    front = plain_front(ending.graded)
    found = beliefs(ending.graded, front, candidates_of("large"))
    for point in front.points:
        own = point.trial.latency.each_ms
        faster = [
            p
            for p in front.points
            if p is not point
            and all(a <= b for a, b in zip(p.trial.latency.each_ms, own, strict=True))
        ]
        assert (found[point.trial.candidate.digest].better is None) == (not faster)


def test_latencies_on_other_boards_come_back_from_the_record() -> None:
    candidate = candidates_of("large").random(np.random.default_rng(0))
    latency = TwoBoards().predict(candidate.spec, 192)
    assert latency_from_dict(latency_to_dict(latency)) == latency
    assert latency.each_ms == (latency.ms, latency.others[0])
