"""Every score is recorded under the architecture and seed that it was graded for."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from nas.accuracy import FakeSettings, Proxy, build_proxy
from nas.data.dataset import read_data
from nas.space.search_space import Candidate
from nas.study.after.grading_again import grade_further
from nas.study.loop import Search, SearchPlan
from nas.study.on_disk.record import BASELINE, REGRADE, Record
from nas.study.workers import Graded, Workers
from tests.study.boards import MacBoard, candidates_of


def _proxy() -> Proxy:
    return build_proxy(FakeSettings(), read_data("shapes"))


@dataclass
class Shuffled:
    """A grader that is done in an order of its own, and tells some results twice."""

    rng: np.random.Generator
    queue: list[tuple[int, Candidate, int]] = field(default_factory=list)
    told: list[Graded] = field(default_factory=list)

    def submit(self, number: int, candidate: Candidate, seed: int) -> None:
        self.queue.append((number, candidate, seed))

    def collect(self, *, is_waiting: bool) -> list[Graded]:
        count = int(self.rng.integers(1 if is_waiting else 0, 3))
        done = []
        for _ in range(min(count, len(self.queue))):
            number, candidate, seed = self.queue.pop(int(self.rng.integers(len(self.queue))))
            score = _proxy().score(candidate, seed)
            done.append(Graded(number=number, digest=candidate.digest, seed=seed, score=score))
        self.told += done
        return [*done, *done[:1]]


def _some(count: int, seed: int) -> list[Candidate]:
    rng = np.random.default_rng(seed)
    return [candidates_of("tiny").random(rng) for _ in range(count)]


@pytest.mark.parametrize("seed", range(8))
def test_any_order_and_duplicates(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    record = Record(f"journal:{tmp_path / 'study.log'}", "run")
    grader = Shuffled(rng)
    for kind in (REGRADE, BASELINE):
        some = _some(6, int(rng.integers(100)))
        picked = [some[int(i)] for i in rng.integers(len(some), size=12)]
        wanted = [(candidate, int(rng.integers(2))) for candidate in picked]
        found = grade_further(wanted, kind, record, grader, lambda *_: None)
        by_digest = {candidate.digest: candidate for candidate in some}
        for (digest, under), score in {**found, **record.scores(kind)}.items():
            assert score.score == _proxy().score(by_digest[digest], under).score
        assert found.keys() == {(c.digest, s) for c, s in wanted} == record.scores(kind).keys()
        assert grader.queue == [], "nothing is left in flight"


@pytest.mark.parametrize("seed", range(4))
def test_a_searchs_scores_too(tmp_path: Path, seed: int) -> None:
    ending = Search(
        candidates=candidates_of("tiny"),
        model=MacBoard(),
        grader=Shuffled(np.random.default_rng(seed)),
        record=Record(f"journal:{tmp_path / 'study.log'}", "run"),
        plan=SearchPlan(sampler="tpe", seed=0, limit_ms=None, in_flight=4),
    ).run(15)
    for trial in ending.graded:
        assert trial.score is not None
        assert trial.score.score == _proxy().score(trial.candidate, 0).score


def test_two_baselines_of_one_architecture_are_graded_once(tmp_path: Path) -> None:
    """With two workers the second one's result was taken for the next step's first."""
    first, second = _some(2, 0)
    assert first.digest != second.digest
    record = Record(f"journal:{tmp_path / 'study.log'}", "run")
    make = partial(build_proxy, FakeSettings(seconds=0.05), read_data("shapes"))
    with Workers(make, 2) as workers:
        grade_further([(first, 0), (first, 0)], BASELINE, record, workers, lambda *_: None)
        found = grade_further([(second, 0)], BASELINE, record, workers, lambda *_: None)
    assert found[second.digest, 0].score == _proxy().score(second, 0).score
    assert record.scores(BASELINE)[first.digest, 0].score == _proxy().score(first, 0).score
