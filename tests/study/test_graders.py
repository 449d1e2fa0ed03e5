"""The contract of `Grader`, held by every kind of it: here, in processes beside, on a cluster."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from nas import NasError
from nas.accuracy import FakeSettings, Proxy, build_proxy
from nas.data.dataset import read_data
from nas.space.search_space import Candidate
from nas.study.loop import Search, SearchPlan
from nas.study.on_disk.record import Record
from nas.study.workers import Graded, Grader, Inline, WorkerError, Workers
from tests.study.boards import MacBoard, candidates_of, notebook, search
from tests.study.misfits import Misfit, fake, kit_of

Make = Callable[[Callable[[], Proxy]], AbstractContextManager[Grader]]

BESIDE = [
    "one process",
    "three processes",
    pytest.param("cluster", marks=pytest.mark.cluster),
]
"""The graders that do not grade in this process."""


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Make:
    """What makes a grader of the kind that the test is run with, from what makes a proxy."""
    if request.param == "inline":
        return lambda proxy: nullcontext(Inline(proxy()))
    if request.param == "cluster":
        from nas.study.cluster.grader import ClusterGrader

        client = request.getfixturevalue("dask_client")
        return lambda proxy: ClusterGrader(client, kit_of(proxy))
    count = {"one process": 1, "three processes": 3}[request.param]
    return lambda proxy: Workers(proxy, count)


every_kind = pytest.mark.parametrize("make", ["inline", *BESIDE], indirect=True)
every_kind_beside = pytest.mark.parametrize("make", BESIDE, indirect=True)


def _candidates(count: int) -> list[Candidate]:
    rng = np.random.default_rng(0)
    return [candidates_of("large").random(rng) for _ in range(count)]


def _all(grader: Grader, count: int) -> list[Graded]:
    done: list[Graded] = []
    while len(done) < count:
        new = grader.collect(is_waiting=True)
        assert new, "it waits until there is something"
        done += new
    return done


@every_kind
def test_a_search_finds_the_same(tmp_path: Path, make: Make) -> None:
    (tmp_path / "inline").mkdir()
    inline = search(tmp_path / "inline", notebook(), budget=14)
    with make(fake) as grader:
        ending = Search(
            candidates=candidates_of("large"),
            model=MacBoard(),
            grader=grader,
            record=Record(f"journal:{tmp_path / 'study.log'}", "test"),
            plan=SearchPlan(sampler="tpe", seed=0, limit_ms=None, in_flight=4),
        ).run(14)
    assert [(t.candidate.digest, t.score and t.score.score) for t in ending.trials] == [
        (t.candidate.digest, t.score and t.score.score) for t in inline.trials
    ]


@every_kind
def test_each_is_graded_once_under_its_own_number(make: Make) -> None:
    proxy = build_proxy(FakeSettings(), read_data("shapes"))
    wanted = {10 * n: (c, n % 3) for n, c in enumerate(_candidates(9))}
    with make(fake) as grader:
        for number, (candidate, seed) in wanted.items():
            grader.submit(number, candidate, seed)
        done = _all(grader, len(wanted))
        assert grader.collect(is_waiting=False) == []
    assert sorted(one.number for one in done) == sorted(wanted)
    for one in done:
        candidate, seed = wanted[one.number]
        assert (one.digest, one.seed) == (candidate.digest, seed)
        assert one.score.score == proxy.score(candidate, seed).score


@every_kind_beside
def test_submitting_and_looking_do_not_wait(make: Make) -> None:
    slow = partial(build_proxy, FakeSettings(seconds=3), read_data("shapes"))
    (candidate,) = _candidates(1)
    with make(fake) as grader:
        grader.submit(0, candidate, 0)
        _all(grader, 1)
        begin = time.monotonic()
        grader.submit(1, candidate, 0)
        assert time.monotonic() - begin < 1
    with make(slow) as grader:
        grader.submit(0, candidate, 0)
        assert grader.collect(is_waiting=False) == [], "nothing is done at once"


@every_kind
def test_a_users_mistake_arrives_as_itself(make: Make) -> None:
    with make(partial(Misfit, "mistake")) as grader:
        grader.submit(0, _candidates(1)[0], 0)
        with pytest.raises(
            NasError, match=r"^data\.yaml: it is there; got nothing\. Put it there\.$"
        ):
            grader.collect(is_waiting=True)


@every_kind
def test_our_bug_arrives_with_what_it_says(make: Make) -> None:
    with make(partial(Misfit, "bug")) as grader:
        grader.submit(0, _candidates(1)[0], 0)
        with pytest.raises(Exception, match="of a sort") as caught:
            grader.collect(is_waiting=True)
    assert not isinstance(caught.value, NasError)


@every_kind_beside
def test_a_candidate_that_kills_is_told_and_ends_it(make: Make) -> None:
    with make(partial(Misfit, "death")) as grader:
        grader.submit(0, _candidates(1)[0], 0)
        with pytest.raises(WorkerError, match=r"^grading.*resume"):
            grader.collect(is_waiting=True)


@every_kind_beside
def test_a_warning_of_every_worker_is_heard_once(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    with make(partial(Misfit, "warning")) as grader:
        for number, candidate in enumerate(_candidates(8)):
            grader.submit(number, candidate, 0)
        _all(grader, 8)
    assert caplog.messages.count("one image is unreadable") == 1
    assert {r.levelno for r in caplog.records if r.name.startswith("nas")} <= {logging.WARNING}
