"""Dask's workers die, come, differ and lack files: the scores stay what they are."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import dask
import numpy as np
import pytest

from nas import NasError
from nas.accuracy import (
    FakeSettings,
    Score,
    ShortTrainingSettings,
    build_proxy,
)
from nas.data.dataset import DataConfig, FileSource, read_data
from nas.space.search_space import Candidate
from nas.study.cluster.connection import ClusterError
from nas.study.cluster.grader import ClusterGrader, check_workers
from nas.study.cluster.kit import SentFile, cached, kit_for
from nas.study.loop import Search, SearchPlan
from nas.study.on_disk.record import Record
from nas.study.workers import Grader, Inline, Workers
from tests.data.pictures import write_data
from tests.study.boards import MacBoard, candidates_of
from tests.study.cluster.local import addresses, kill, local_cluster, pids
from tests.study.misfits import Misfit, kit_of

if TYPE_CHECKING:
    from distributed import Client

pytestmark = pytest.mark.cluster


def _candidate() -> Candidate:
    return candidates_of("tiny").random(np.random.default_rng(0))


def _score(grader: Grader, candidate: Candidate) -> Score:
    grader.submit(0, candidate, 5)
    (graded,) = grader.collect(is_waiting=True)
    return graded.score


def test_four_workers_are_faster_than_one(dask_client: Client) -> None:
    """benchmarks/cluster.py measures how much; here in the time that the gradings say they took."""
    sleeping = partial(build_proxy, FakeSettings(seconds=1.0), read_data("shapes"))
    with ClusterGrader(dask_client, kit_of(sleeping)) as grader:
        for number in range(4):  # until each has begun
            grader.submit(number, _candidate(), number)
        done = []
        while len(done) < 4:
            done += grader.collect(is_waiting=True)
        begin, done = time.monotonic(), []
        for number in range(12):
            grader.submit(number, _candidate(), number)
        while len(done) < 12:
            done += grader.collect(is_waiting=True)
        wall_s = time.monotonic() - begin
    assert sum(graded.score.seconds for graded in done) / wall_s > 2.5


@contextmanager
def _killing(client: Client) -> Iterator[list[str]]:
    """Two workers at random are killed whenever all four are there, while the context lasts."""
    rng, over, killed = random.Random(0), threading.Event(), []

    def go_on() -> None:
        before: list[str] = []
        while not over.wait(0.5):
            there = addresses(client)
            # Dask starts no worker again that is killed while it begins.
            is_settled, before = there == before, there
            if len(there) == 4 and is_settled:
                doomed = rng.sample(there, 2)
                kill(client, doomed)
                killed.extend(doomed)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def _story(grader: Grader, journal: Path) -> list[tuple[object, ...]]:
    """A search's trials, in their order."""
    ending = Search(
        candidates=candidates_of("large"),
        model=MacBoard(),
        grader=grader,
        record=Record(f"journal:{journal}", "test"),
        plan=SearchPlan(sampler="tpe", seed=3, limit_ms=7.0, in_flight=8),
    ).run(24)
    return [(t.outcome, t.candidate.digest, t.score and t.score.score) for t in ending.trials]


@pytest.fixture
def mortal_client() -> Iterator[Client]:
    """Of four workers of the test's own, which it may kill."""
    with local_cluster(4) as client:
        yield client


def test_workers_killed_at_random_change_no_trial(tmp_path: Path, mortal_client: Client) -> None:
    """Two of four, again and again; what dies with them is not taken for the cause of it."""
    data = read_data("shapes")
    undisturbed = _story(Inline(build_proxy(FakeSettings(), data)), tmp_path / "undisturbed")
    slow = partial(build_proxy, FakeSettings(seconds=0.3), data)
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 30}),
        ClusterGrader(mortal_client, kit_of(slow)) as grader,
        _killing(mortal_client) as killed,
    ):
        assert _story(grader, tmp_path / "killed") == undisturbed
    assert killed


def test_a_worker_that_joins_is_given_work(mortal_client: Client) -> None:
    """Those that were there are all killed, so that only new ones can have graded."""
    with ClusterGrader(mortal_client, kit_of(partial(Misfit, "nothing"))) as grader:
        _score(grader, _candidate())
        before = pids(mortal_client)
        kill(mortal_client, list(before))
        assert _score(grader, _candidate()).score == 0.5
    assert not {*pids(mortal_client).values()} & {*before.values()}


def test_another_version_is_left_out_by_name(
    dask_client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    dask_client.wait_for_workers(4, timeout=60)
    address, odd = next(iter(pids(dask_client).items()))
    kit = replace(kit_of(partial(Misfit, "nothing")), traits=partial(_torch_of, odd))
    check_workers(dask_client, kit.traits)  # the others may grade
    with ClusterGrader(dask_client, kit) as grader:
        for number in range(8):
            grader.submit(number, _candidate(), 0)
        done = []
        while len(done) < 8:
            done += grader.collect(is_waiting=True)
        deadline = time.monotonic() + 20
        while "left out" not in caplog.text and time.monotonic() < deadline:
            grader.collect(is_waiting=False)
    (said,) = [one for one in caplog.messages if "left out" in one]
    assert said.startswith(f"the worker at {address} is left out.")
    assert "its torch is that of the coordinator, 2.13.0" in said
    assert "got 1.13.0. Install the same versions there" in said


def test_where_no_worker_may_grade_the_search_does_not_begin(dask_client: Client) -> None:
    with pytest.raises(ClusterError, match=r"a worker at least may grade; got worker .*torch"):
        check_workers(dask_client, partial(_torch_of, -os.getpid()))


def _torch_of(odd: int) -> dict[str, str]:
    """As if another torch were installed for one process; for all but one, below zero."""
    is_odd = os.getpid() == odd if odd > 0 else os.getpid() != -odd
    return {"torch": "1.13.0" if is_odd else "2.13.0"}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataConfig:
    """Data whose files lie below the test's own current folder, where no worker finds them."""
    boxes = {f"{i}": f"{i % 2} 0.5 0.5 0.{3 + i % 4} 0.4\n" for i in range(8)}
    file = write_data(tmp_path / "pictures", {"train": boxes, "val": boxes}, size=(96, 64))
    monkeypatch.chdir(tmp_path)
    found = read_data(file)
    mine = Path("/proc/self/cwd")  # of whoever reads it: each process has its own
    parts = {}
    for name, source in found.parts.items():
        assert isinstance(source, FileSource)
        files = tuple(mine / path.relative_to(tmp_path) for path in source.files)
        parts[name] = replace(source, files=files)
    return replace(found, parts=parts)


def test_a_real_grading_where_the_data_is_not(
    tmp_path: Path,
    dask_client: Client,
    data: DataConfig,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Equal to the local one; what was sent is kept, and what was damaged is sent again."""
    settings = ShortTrainingSettings(steps=3, batch_size=4, pretrained="none", finish=None)
    kit = kit_for(settings, data, None)
    candidate = replace(candidates_of("tiny"), num_classes=2).random(np.random.default_rng(0))
    with Workers(partial(build_proxy, settings, data), 1) as local:
        wanted = _score(local, candidate)
    for sent in (16, 0, 1):
        if sent == 1:
            dask_client.run(_spoil, kit.files[3], workers=addresses(dask_client)[:1])
        caplog.clear()
        with ClusterGrader(dask_client, kit) as grader:
            found = _score(grader, candidate)
        said = [one for one in caplog.messages if one.startswith("sending")]
        assert [one.split()[1] for one in said] == [str(sent)] * (sent > 0)
        assert found.is_map
        assert replace(found, seconds=0.0) == replace(wanted, seconds=0.0)


def test_a_file_that_is_taken_away_meanwhile_ends_the_search(
    tmp_path: Path, dask_client: Client
) -> None:
    lost = SentFile(path=tmp_path / "1.png", digest="0" * 64)
    kit = replace(kit_of(partial(Misfit, "nothing")), files=(lost,))
    with (
        ClusterGrader(dask_client, kit) as grader,
        pytest.raises(NasError, match=r"1\.png: the files of a search stay where they are"),
    ):
        _score(grader, _candidate())


def _spoil(file: SentFile) -> None:
    """One byte of a file in the worker's cache becomes another."""
    content = bytearray(cached(file).read_bytes())
    content[-1] ^= 1
    cached(file).write_bytes(content)
