"""Searches killed again and again, whatever keeps their trials: the trials of one left alone.

benchmarks/cluster.py kills 20 times.
"""

from __future__ import annotations

import csv
import random
import subprocess
import time
from pathlib import Path

import pytest

from tests.study.checkout import make_checkout, search

KILLS = 3

BUDGET = ("--budget", "40", "--max-latency-ms", "0.5", "--no-baselines", "--proxy")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = make_checkout(tmp_path_factory.mktemp("kills"))
    (made / "steady.yaml").write_text("kind: fake\nseconds: 0.1\nworkers: 2\n")
    return made


def _trials(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def _wait_until_begun(running: subprocess.Popen[str]) -> str:
    assert running.stderr is not None
    for line in running.stderr:
        if line.startswith(("begins in", "goes on")):
            return line
    pytest.fail("the search ended before it began")


@pytest.fixture(scope="module")
def undisturbed(checkout: Path) -> list[dict[str, str]]:
    out, err = (running := search(checkout, *BUDGET, "fast.yaml", "--run", "alone")).communicate()
    assert running.returncode == 0, err
    assert "40 architectures graded" in out
    return _trials(checkout / "runs" / "alone")


@pytest.mark.slow
@pytest.mark.parametrize(
    "storage", ["sqlite", pytest.param("postgresql", marks=pytest.mark.cluster)]
)
def test_killed_at_random_equals_left_alone(
    checkout: Path,
    undisturbed: list[dict[str, str]],
    storage: str,
    request: pytest.FixtureRequest,
) -> None:
    flags = [*BUDGET, "steady.yaml", "--run", storage]
    if storage == "postgresql":
        flags += ["--storage", request.getfixturevalue("new_database")()]
    rng, begun = random.Random(0), []
    for _ in range(KILLS):
        running = search(checkout, *flags)
        begun.append(_wait_until_begun(running))
        time.sleep(rng.uniform(0, 0.6))
        running.kill()
        running.communicate()
    assert running.returncode == -9, "it was killed on its way"
    assert any(line.startswith("goes on") for line in begun), "and went on from where it was"
    last = search(checkout, *flags)
    _, err = last.communicate()
    assert last.returncode == 0, err
    assert _trials(checkout / "runs" / storage) == undisturbed
