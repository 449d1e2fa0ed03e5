"""The contract of `Grader`, held by every kind of it: here, in processes beside, on a cluster."""

from __future__ import annotations

import logging
import re
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
from nas.study.trial import FailureKind
from nas.study.workers import Graded, Grader, Inline, Workers
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
        assert one.score
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


@every_kind_beside
@pytest.mark.parametrize(
    ("deed", "kind", "reason"),
    [
        ("bug", FailureKind.ERROR, r"^ZeroDivisionError: of a sort$"),
        ("no memory", FailureKind.MEMORY, r"^RuntimeError: .*can't allocate memory: 1 TB$"),
        ("death", FailureKind.DEATH, r"(exit code -9, 2 times.*memory|workers died under it)"),
    ],
)
def test_what_cannot_be_graded_comes_with_the_reason(
    make: Make, deed: str, kind: FailureKind, reason: str
) -> None:
    (candidate,) = _candidates(1)
    with make(partial(Misfit, deed)) as grader:
        grader.submit(3, candidate, 5)
        (done,) = _all(grader, 1)
    assert (done.number, done.digest, done.seed) == (3, candidate.digest, 5)
    assert done.score is None
    assert done.failure is not None
    assert done.failure.kind is kind
    assert re.search(reason, done.failure.reason)
    assert ("Traceback" in done.failure.trace) == (kind is not FailureKind.DEATH)


@every_kind_beside
def test_the_others_are_graded_nevertheless(make: Make) -> None:
    asked = _candidates(9)
    with make(partial(Misfit, "some")) as grader:
        for number, candidate in enumerate(asked):
            grader.submit(number, candidate, 0)
        done = {one.number: one for one in _all(grader, len(asked))}
    failed = {number for number, one in enumerate(asked) if int(one.digest, 16) % 3 == 0}
    assert {number for number, one in done.items() if one.failure} == failed
    assert 0 < len(failed) < len(asked)


@every_kind_beside
def test_one_that_only_died_under_it_is_graded_again(make: Make, tmp_path: Path) -> None:
    with make(partial(Misfit, "one death", place=str(tmp_path / "dead"))) as grader:
        for number, candidate in enumerate(_candidates(3)):
            grader.submit(number, candidate, 0)
        done = _all(grader, 3)
    assert [one.score and one.score.score for one in done] == [0.5, 0.5, 0.5]


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
