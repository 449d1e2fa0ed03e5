"""Laws of benchmarks/pool.py and proxies.py: the same members every time, each taught once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pool
import pytest
from pool import BANDS, MEMBERS, Job, Member, Result, members, seed_gaps, take
from proxies import complete, judgements, ridge_scores
from rows import append_row, read_rows

from nas.data.dataset import DataConfig, read_data

RESULT = Result(
    set="a", band=0, digest="d0", seed=0, image_size=192, latency_ms=20.0, gigamacs=0.1,
    params=1000, steps=9, start="starter", val_map50_95=0.3, val_map50=0.5, test_map50_95=None,
    test_map50=None, core_s=12.5, device="cpu", torch="2.13.0", date="2026-11-26", choices="{}",
)  # fmt: skip


@pytest.fixture(scope="module")
def data() -> DataConfig:
    return read_data("shapes")


def test_members_are_the_same_every_time_and_lie_in_their_bands(
    data: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "DRAWS", 250)
    monkeypatch.setattr(pool, "RARE", 2)
    found = members(data, "shapes")
    assert [one.candidate.digest for one in members(data, "shapes")] == [
        one.candidate.digest for one in found
    ]
    assert len({one.candidate.digest for one in found}) == len(BANDS) * MEMBERS
    for one in found:
        low, high = BANDS[one.band]
        assert low <= one.latency_ms <= high
    assert {one.candidate.image_size for one in found} == {192, 288, 384}


def test_a_csv_gives_back_what_was_appended(tmp_path: Path) -> None:
    path = tmp_path / "pool.csv"
    two = replace(RESULT, seed=1, test_map50_95=0.2, val_map50_95=0.34)
    append_row(path, RESULT)
    append_row(path, two)
    assert read_rows(path, Result) == [RESULT, two]
    assert seed_gaps([RESULT, two]) == [pytest.approx(0.04)]


def test_a_gpu_takes_the_costly_end_and_nobody_begins_what_cannot_end(data: DataConfig) -> None:
    candidates = pool.candidates_of(data)
    rng = pool.np.random.default_rng(0)
    jobs = [
        Job(
            member=Member(set="a", band=0, candidate=candidates.random(rng), latency_ms=1.0), seed=0
        )
        for _ in range(4)
    ]
    jobs.sort(key=lambda job: job.member.gigamacs)
    waiting = [*jobs]
    assert take(waiting, "cuda", None, []) is jobs[-1]
    assert take(waiting, "cpu", 10.0, []) is jobs[0]
    # 5 s were left, and one gigamac took 1000 s.
    assert take(waiting, "cpu", 5.0, [1000.0]) is None
    assert waiting == jobs[1:-1]
    assert take([], "cpu", None, []) is None


def test_a_ridge_never_sees_what_it_tells() -> None:
    """What an architecture reaches has no part in what is said of it."""
    results = [
        replace(
            RESULT, digest=f"d{n}", gigamacs=0.1 + 0.05 * n, latency_ms=16.0 + n,
            image_size=192 + 96 * (n % 2), val_map50_95=0.2 + 0.02 * n,
        )
        for n in range(5)
    ]  # fmt: skip
    told = ridge_scores(results)
    other = [replace(results[0], val_map50_95=0.9), *results[1:]]
    assert ridge_scores(other)["a", "d0"] == told["a", "d0"]
    assert ridge_scores(other)["a", "d1"] != told["a", "d1"]
    names = {one.name for one in judgements(results, [], [])}
    assert names == {"MACs", "latency", "image size", "ridge of the three"}
    assert complete(results, []) == []
