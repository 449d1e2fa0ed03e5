"""What a cluster gains, and what kills change: sleeping gradings, so that few cores will do.

    python benchmarks/cluster.py             # Dask: 1 worker and 4, then two of 4 killed at random
    python benchmarks/cluster.py --kills 20  # nas.search killed so often, SQLite and PostgreSQL

The first needs the package's extra `cluster`, the second Debian's postgresql and psycopg. A trial
counts as the same where its number, architecture, outcome, latency and score are.
"""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import dask
import numpy as np
import tyro
from distributed import Client, LocalCluster
from postgres_server import server

from nas.accuracy import FakeSettings, Proxy, build_proxy
from nas.data.dataset import read_data
from nas.space.anchors import DEFAULT_ANCHORS
from nas.space.search_space import Candidate, read_space
from nas.study.candidates import Candidates
from nas.study.cluster.connection import connected
from nas.study.cluster.grader import ClusterGrader, workers_of
from nas.study.cluster.kit import Here, Kit
from nas.study.workers import Grader, Inline

FAKE = "kind: fake\nseconds: {seconds}\nworkers: 2\n"


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Measure a cluster of this machine's, or kill searches."""

    gradings: int = 48
    """Candidates that are graded in each arm."""
    seconds: float = 1.0
    """How long each grading sleeps."""
    kills: int = 0
    """Kill nas.search so often instead, in each storage."""


def main(arguments: Arguments) -> None:
    """Prints a line an arm."""
    if arguments.kills:
        kill_searches(arguments.kills)
    else:
        measure_cluster(arguments)


def measure_cluster(arguments: Arguments) -> None:
    """The same gradings by one worker, by four, and by four of which two are killed at random."""
    space = read_space("tiny")
    candidates = Candidates(space=space, num_classes=6, anchors=DEFAULT_ANCHORS)
    rng = np.random.default_rng(0)
    asked = [candidates.random(rng) for _ in range(arguments.gradings)]
    wanted = graded(Inline(build_proxy(FakeSettings(), read_data("shapes"))), asked)
    kit = Kit(make=partial(_sleeping, arguments.seconds), traits=dict)
    taken: dict[str, float] = {}
    for name, count in (("1 worker", 1), ("4 workers", 4), ("4, two killed at random", 4)):
        with (
            cluster_of(count) as client,
            dask.config.set({"distributed.scheduler.allowed-failures": 30}),
            ClusterGrader(client, kit) as grader,
        ):
            graded(grader, asked[: 2 * count])  # each has begun, and loaded what it needs
            with killing(client) if "killed" in name else nothing() as killed:
                begin = time.monotonic()
                found = graded(grader, asked)
                taken[name] = time.monotonic() - begin
        assert found == wanted, "scores depend on no worker"
        gain = taken["1 worker"] / taken[name]
        print(
            f"{name:<24} {taken[name]:6.1f} s for {len(asked)} gradings of"
            f" {arguments.seconds:g} s: {gain:.2f} times as fast; {len(killed)} killed,"
            " scores equal",
            flush=True,
        )


def graded(grader: Grader, asked: list[Candidate]) -> dict[int, float]:
    """The scores by number."""
    for number, candidate in enumerate(asked):
        grader.submit(number, candidate, 0)
    found: dict[int, float] = {}
    while len(found) < len(asked):
        done = grader.collect(is_waiting=True)
        found |= {one.number: one.score.score for one in done if one.score is not None}
    return found


@contextmanager
def cluster_of(count: int) -> Iterator[Client]:
    """A client of so many workers here, each started again when it dies."""
    with (
        LocalCluster(
            n_workers=count, threads_per_worker=1, host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        connected(cluster.scheduler_address) as client,
    ):  # fmt: skip
        client.wait_for_workers(count)
        yield client


@contextmanager
def nothing() -> Iterator[list[str]]:
    """Nobody is killed."""
    yield []


@contextmanager
def killing(client: Client) -> Iterator[list[str]]:
    """Two workers at random are killed whenever all four are there; the addresses of the killed."""
    rng, over, killed = random.Random(0), threading.Event(), list[str]()

    def go_on() -> None:
        while not over.wait(1.5):
            there = sorted(workers_of(client))
            if len(there) == 4:
                pids = client.run(os.getpid, on_error="ignore")
                for address in rng.sample(sorted(pids), 2):
                    os.kill(pids[address], signal.SIGKILL)
                    killed.append(address)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def _sleeping(seconds: float, here: Here) -> Proxy:
    return build_proxy(FakeSettings(seconds=seconds), read_data("shapes"))


def kill_searches(kills: int) -> None:
    """A search left alone, and in each storage one that is killed again and again."""
    with tempfile.TemporaryDirectory() as name, server() as new_database:
        folder = Path(name)
        (folder / "fast.yaml").write_text(FAKE.format(seconds=0))
        (folder / "steady.yaml").write_text(FAKE.format(seconds=0.1))
        assert begun(folder, "fast.yaml", "--run", "alone").wait() == 0
        alone = trials(folder / "runs" / "alone")
        storages: dict[str, Callable[[], list[str]]] = {
            "SQLite": list,
            "PostgreSQL": lambda: ["--storage", new_database()],
        }
        for storage, flags in storages.items():
            given = ["steady.yaml", "--run", storage, *flags()]
            unfinished = sum(killed_once(folder, given, seed) for seed in range(kills))
            assert begun(folder, *given).wait() == 0
            is_same = trials(folder / "runs" / storage) == alone
            print(
                f"{storage:<10} {kills} kills, {unfinished} of them before its end:"
                f" {len(alone)} trials, {'all the same' if is_same else 'NOT the same'}",
                flush=True,
            )


def killed_once(folder: Path, flags: list[str], seed: int) -> bool:
    """Kills a search within a quarter of a second after it went on; False where it had ended."""
    running = begun(folder, *flags)
    assert running.stderr is not None
    for line in running.stderr:
        if line.startswith(("begins in", "goes on")):
            break
    time.sleep(random.Random(seed).uniform(0, 0.25))
    running.kill()
    running.communicate()
    return running.returncode == -signal.SIGKILL


def begun(folder: Path, *flags: str) -> subprocess.Popen[str]:
    """A search in a folder, its budget 80."""
    command = [sys.executable, "-m", "nas.search", "--space", "tiny", "--device", "rpi4"]
    command += ["--budget", "80", "--no-baselines", "--proxy", *flags]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def trials(folder: Path) -> list[dict[str, str]]:
    """What trials.csv says, but for what the gradings took."""
    with (folder / "trials.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


if __name__ == "__main__":
    main(tyro.cli(Arguments))
