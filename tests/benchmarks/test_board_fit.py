"""The fit of what boards share: its slopes, what it finds again, which runs it leaves out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from board_fit import COUNT, BoardFit, Runs, Settings, fit
from board_priors import SHARING
from log_runs import is_disturbed

from nas.latency.estimated.board_model import SPEED
from nas.latency.estimated.tables import read_networks, sums_of

SETTINGS = Settings()


@pytest.fixture(scope="module")
def runs() -> Runs:
    """Five boards, with one thread and with four, that know every network; no times yet."""
    networks = read_networks()
    work, counts = sums_of(networks)
    boards = tuple(f"board {i}" for i in range(5) for _ in range(2))
    return Runs(
        work=tuple(work),
        counts=counts,
        ms=np.ones((10, len(networks))),
        is_known=np.ones((10, len(networks)), dtype=np.bool_),
        boards=boards,
        threads=(1, 4) * 5,
        is_recent=(True,) * 4 + (False,) * 6,
        is_fp16=False,
    )


def drawn(runs: Runs) -> Runs:
    """The runs with the times of boards drawn by the priors."""
    whole, random = BoardFit(runs, SETTINGS), np.random.default_rng(0)
    start = whole.start()
    at = replace(
        start,
        shared=0.7 * whole.spread * random.normal(size=len(whole.spread)),
        own=random.multivariate_normal(np.zeros(COUNT), 0.5 * whole.own, size=10),
        speed=random.normal(size=10),
        sharing=np.repeat(random.normal(size=5), 2),
    )
    return replace(runs, ms=whole.ms(at))


def test_slopes_are_those_of_small_steps(runs: Runs) -> None:
    whole = BoardFit(replace(runs, ms=runs.ms * 50), SETTINGS)
    at = whole.start()
    rows, networks = whole.places
    logs, own, shared = whole.linearised(at)
    assert np.allclose(logs, np.log(whole.ms(at))[rows, networks])
    step = 1e-5
    for place in range(len(whole.spread)):
        moved = at.shared.copy()
        moved[place] += step
        after = np.log(whole.ms(replace(at, shared=moved)))[rows, networks]
        assert np.allclose((after - logs) / step, shared[:, place], atol=1e-3), place
    faster = np.log(whole.ms(replace(at, speed=at.speed + step)))[rows, networks]
    assert np.allclose((faster - logs) / step, own @ SPEED, atol=1e-3)
    shared_memory = replace(at, sharing=at.sharing + step)
    slower = np.log(whole.ms(shared_memory))[rows, networks]
    assert np.allclose((slower - logs) / step, whole.halves[rows] * (own @ SHARING), atol=1e-3)


def test_a_network_held_out_of_boards_that_follow_the_model_is_found(runs: Runs) -> None:
    true = drawn(runs)
    held = list(range(0, true.ms.shape[1], 6))
    predicted = fit(true.without(held), SETTINGS)[1]
    off = np.abs(np.log(predicted / true.ms))
    assert np.median(off[:, held]) < 0.05
    known = [i for i in range(true.ms.shape[1]) if i not in held]
    assert np.median(off[:, known]) < 0.02


def test_times_that_are_not_known_do_not_count(runs: Runs) -> None:
    true = drawn(runs)
    hidden = true.without([3])
    wrong = true.ms.copy()
    wrong[:, 3] *= 100
    assert np.allclose(
        fit(hidden, SETTINGS)[1], fit(replace(hidden, ms=wrong), SETTINGS)[1], rtol=1e-6
    )


def test_threads_that_only_disturb_one_another_are_left_out() -> None:
    def run(threads: int, ms: float, device: str = "a board") -> dict[str, object]:
        results = {"resnet18": {"min": ms}, "mobilenet": {"min": ms / 3}}
        return {"device": device, "num_threads": threads, "results": results}

    single, slower, faster = run(1, 100), run(4, 130), run(4, 40)
    logs = [single, slower, faster]
    assert [is_disturbed(one, logs) for one in logs] == [False, True, False]
    assert not is_disturbed(run(4, 130, "another board"), logs)
