"""What the pool holds follows from its seed, its stage and what it was told, and from no more."""

from __future__ import annotations

import numpy as np
import pytest

from nas.study.surrogate import pool as pool_module
from nas.study.surrogate.pool import FIRST, STAGES, CandidatePool
from tests.study.boards import MacBoard, candidates_of


def _pool(limit_ms: float | None = None, space: str = "large") -> CandidatePool:
    return CandidatePool(candidates_of(space), MacBoard(), limit_ms, 3)


def _held(pool: CandidatePool) -> list[str]:
    return [one.digest for one in pool]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of it says the same."""
    for name in ("FIRST", "MOST", "LOOKED_AT"):
        monkeypatch.setattr(pool_module, name, getattr(pool_module, name) // 10)


@pytest.mark.parametrize("limit_ms", [None, 6.0])
def test_stages_and_breeding_may_come_in_any_order(limit_ms: float | None) -> None:
    at_once, bit_by_bit = _pool(limit_ms), _pool(limit_ms)
    parents = list(at_once)[:3]
    at_once.breed(parents, 8, np.random.default_rng(1))
    at_once.grow(STAGES + 5)
    for stage in range(1, STAGES + 1):
        bit_by_bit.grow(stage)
        if stage == 7:
            bit_by_bit.breed(parents, 8, np.random.default_rng(1))
    assert _held(at_once) == _held(bit_by_bit)
    assert at_once.slowest_ms == bit_by_bit.slowest_ms
    assert all(one.latency_ms <= (limit_ms or np.inf) for one in at_once)


def test_the_first_stage_is_a_part_and_the_last_is_all() -> None:
    pool, first = _pool(), FIRST // 10
    assert len(pool) == first // STAGES
    pool.grow(STAGES)
    assert 0.98 * first < len(pool) <= first, "two draws are seldom alike"


def test_a_small_space_is_there_at_once() -> None:
    pool = _pool(space="tiny")
    candidates = candidates_of("tiny")
    rng = np.random.default_rng(0)
    assert len(pool) == len({one.digest for one in candidates.shuffled(rng)})


def test_the_oldest_that_were_bred_go() -> None:
    pool, most = _pool(), pool_module.MOST
    pool.grow(STAGES)
    first = _held(pool)
    for seed in range(40):
        before = _held(pool)
        pool.breed(list(pool)[:5], most // 20, np.random.default_rng(seed))
        assert set(_held(pool)[-most // 40 :]) - set(before), "the young are there"
    assert most - len(first) // 10 <= len(pool) <= most
    assert _held(pool)[: len(first)] == first


def test_a_proposal_looks_at_some_and_at_all_the_young() -> None:
    pool, looked_at = _pool(), pool_module.LOOKED_AT
    pool.grow(STAGES)
    asked = set(_held(pool)[:9])
    assert [one.digest for one in pool.looked_at(asked, 0)] == _held(pool)[9:]
    pool.breed(list(pool)[:5], 6 * looked_at, np.random.default_rng(0))
    seen = [one.digest for one in pool.looked_at(asked, 7)]
    assert seen == [one.digest for one in pool.looked_at(asked, 7)]
    assert len(seen) == len(set(seen)) == looked_at
    assert seen[-looked_at // 2 :] == _held(pool)[-looked_at // 2 :]
    assert not asked & set(seen)
    other = {one.digest for one in pool.looked_at(asked, 8)}
    assert len(other & set(seen)) < 0.9 * looked_at


def test_what_is_kept_of_an_architecture_is_enough_to_build_it() -> None:
    candidates = candidates_of("large")
    for one in list(_pool())[:5]:
        assert candidates.rebuild(dict(one.choices)).digest == one.digest
