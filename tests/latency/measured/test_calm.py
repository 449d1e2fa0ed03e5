"""What the machine's state adds is taken off, as far as each row follows it, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from nas.latency.measured.calm import Steadiness, lines, steadiness
from nas.latency.measured.measurement import Gauge, Measurement, Network, Samples
from nas.space.blocks import Block

GAUGES = {"a": (0.5, 1.2), "b": (3.0, 0.7), "c": (0.1, 1.1)}
"""Time in calm (ms), and how steeply it follows the state."""


def samples(ms: float, slope: float, state: np.ndarray, rng: np.random.Generator) -> Samples:
    noise = 0.03 * rng.standard_normal(len(state))
    return Samples(samples_ms=tuple(ms * np.exp(slope * state + noise)))


def states(rounds: int, level: float, rng: np.random.Generator) -> np.ndarray:
    """A machine on which others work now and then: never faster than calm, log of slowness."""
    busy = np.repeat(rng.random(rounds // 5 + 1) < level, 5)[:rounds]
    return busy * 0.25 * rng.random(rounds) + level * 0.1


def block(i: int) -> Block:
    return Block(module="Conv", channels_in=(8,), channels_out=8 + i, height=8, width=8)


def ring(
    window: int, level: float, truth: list[tuple[float, float]], rng: np.random.Generator
) -> tuple[list[Gauge], list[Measurement]]:
    """A ring of blocks with these times and slopes."""
    state = states(60, level, rng)
    gauges = [
        Gauge(session=1, window=window, name=name, samples=samples(ms, slope, state, rng))
        for name, (ms, slope) in GAUGES.items()
    ]
    rows = [row(window, samples(ms, slope, state, rng), i) for i, (ms, slope) in enumerate(truth)]
    return gauges, rows


def row(window: int, found: Samples, number: int, is_network: bool = False) -> Measurement:
    network = Network(digest=str(number), image_size=64, space="", model="")
    return Measurement(
        session=1,
        window=window,
        samples=found,
        block=None if is_network else block(number),
        network=network if is_network else None,
        before={},
        after={},
    )


def test_blocks_of_busy_rings_come_out_as_in_calm() -> None:
    rng = np.random.default_rng(0)
    truth = [(float(ms), float(rng.uniform(0.5, 1.5))) for ms in np.geomspace(0.05, 5, 24)]
    gauges, rows = [], []
    for window, level in enumerate([0.0, 0.1, 0.4, 0.6, 0.8, 0.2]):
        own_gauges, own_rows = ring(window, level, truth, rng)
        gauges += own_gauges
        rows += own_rows
    steady = steadiness(gauges, rows)
    errors, medians = [], []
    for one in rows:
        assert one.block is not None
        ms = truth[one.block.channels_out - 8][0]
        errors.append(abs(steady.calm(one).log_ms - np.log(ms)))
        medians.append(abs(np.log(one.samples.median_ms() / ms)))
    assert np.mean(medians) > 0.05
    assert np.mean(errors) < 0.02
    # A ring that was never calm says so; each error is of the size that is claimed.
    assert steady.drift([rows[-24 * 2]]) > 0.05 > steady.drift([rows[0]])
    claimed = [steady.calm(one).error for one in rows]
    assert np.mean(np.array(errors) < 2.5 * np.array(claimed)) > 0.9


def test_networks_follow_what_ran_beside_them() -> None:
    rng = np.random.default_rng(1)
    rows, truth = [], {}
    for number, ms in enumerate(np.geomspace(4, 40, 10)):
        for window in range(3):
            state = states(20, 0.2 * window + 0.05, rng)
            found = samples(float(ms), 0.8, state, rng)
            beside = tuple(np.exp(state + 0.015 * rng.standard_normal(20)) * 0.4)
            own = Samples(samples_ms=found.samples_ms, beside_ms=beside)
            rows.append(row(window, own, number, is_network=True))
            truth[rows[-1].subject] = float(ms)
    steady = steadiness([], rows)
    # How the calm level is found is the same for all: they agree up to one factor.
    logs = np.array([steady.calm(one).log_ms - np.log(truth[one.subject]) for one in rows])
    medians = np.array([np.log(one.samples.median_ms() / truth[one.subject]) for one in rows])
    assert logs.std() < 0.02 < medians.std()
    assert abs(np.median(logs)) < 0.03


@pytest.mark.parametrize("with_anchors", [True, False])
def test_a_quiet_machine_is_left_alone(with_anchors: bool) -> None:
    rng = np.random.default_rng(2)
    gauges, rows = ring(0, 0.0, [(2.0, 1.0)] * 20, rng)
    steady = steadiness(gauges if with_anchors else [], rows)
    changes = [steady.ms([one]) / one.samples.median_ms() for one in rows]
    assert np.allclose(changes, 1, atol=0.02)
    assert abs(steady.drift(rows)) < 0.01 if with_anchors else steady.drift(rows) == 0


def test_the_surer_row_counts_more() -> None:
    rng = np.random.default_rng(3)
    sure = Samples(samples_ms=tuple(1 + 0.001 * rng.standard_normal(50)))
    unsure = Samples(samples_ms=tuple(1.5 + 0.3 * rng.standard_normal(10)))
    rows = [row(0, sure, 0), row(1, unsure, 0)]
    steady = steadiness([], rows)
    assert steady.ms(rows) == pytest.approx(1.0, abs=0.02)
    assert steady.interval(rows) < steady.interval(rows[1:])


def test_the_overhead_is_taken_off_and_a_time_stays_above_zero() -> None:
    plain = Samples(samples_ms=(1.0,) * 20, overhead_ms=0.25)
    tiny = Samples(samples_ms=(0.01,) * 20, overhead_ms=0.02)
    rows = [row(0, plain, 0), row(1, tiny, 1)]
    steady = steadiness([], rows)
    assert steady.ms(rows[:1]) == pytest.approx(0.75)
    assert 0 < steady.ms(rows[1:]) < 0.01


def test_lines_hold_outliers_back_and_skip_what_is_unknown() -> None:
    rng = np.random.default_rng(4)
    state = rng.random(60) * 0.3
    x = (2 + 0.7 * state + 0.01 * rng.standard_normal(60))[:, None].repeat(2, axis=1)
    x[::10, 0] += 3.0
    x[:5, 1] = np.nan
    height, slope, error = lines(state, x)
    assert height == pytest.approx([2, 2], abs=0.02)
    assert slope == pytest.approx([0.7, 0.7], abs=0.1)
    assert (error < 0.02).all()


OTHER_GAUGES = {"d": (0.02, 1.0), "e": (0.7, 0.9), "f": (1.5, 1.1), "g": (0.2, 1.0)}


def session(
    number: int,
    gauges: dict[str, tuple[float, float]],
    truth: dict[int, float],
    slower: float,
    rng: np.random.Generator,
) -> tuple[list[Gauge], list[Measurement]]:
    """Six windows of a session that was never calmer than `slower` (logarithm)."""
    found: tuple[list[Gauge], list[Measurement]] = ([], [])
    for window in range(6):
        state = slower + states(60, 0.1 * (window % 3), rng)
        found[0].extend(
            Gauge(session=number, window=window, name=name, samples=samples(*line, state, rng))
            for name, line in gauges.items()
        )
        for i, ms in truth.items():
            one = row(window, samples(ms, 1.0, state, rng), i)
            found[1].append(replace(one, session=number))
    return found


def truth_of(first: int, last: int) -> dict[int, float]:
    return {i: 0.05 * 1.15**i for i in range(first, last)}


def off(steady: Steadiness, rows: Sequence[Measurement], truth: dict[int, float]) -> float:
    """By how much the rows come out too slow, in the middle (logarithm)."""
    found = []
    for one in rows:
        assert one.block is not None
        found.append(steady.calm(one).log_ms - np.log(truth[one.block.channels_out - 8]))
    return float(np.median(found))


def test_sessions_with_other_gauges_come_onto_one_scale_by_what_they_share() -> None:
    rng = np.random.default_rng(5)
    first = session(1, GAUGES, truth_of(0, 20), 0.0, rng)
    second = session(2, OTHER_GAUGES, truth_of(8, 30), 0.2, rng)
    steady = steadiness(first[0] + second[0], first[1] + second[1])
    truth = truth_of(0, 30)
    # Twelve blocks are shared: nearly all of the 0.2 comes off.
    assert abs(off(steady, first[1], truth)) < 0.025
    assert abs(off(steady, second[1], truth)) < 0.035
    # In the other order of the sessions it is the same.
    again = steadiness(second[0] + first[0], second[1] + first[1])
    assert off(again, second[1], truth) == pytest.approx(off(steady, second[1], truth), abs=1e-3)


def test_sessions_that_share_nothing_keep_their_own_calm() -> None:
    rng = np.random.default_rng(6)
    first = session(1, GAUGES, truth_of(0, 15), 0.0, rng)
    second = session(2, OTHER_GAUGES, truth_of(15, 30), 0.1, rng)
    steady = steadiness(first[0] + second[0], first[1] + second[1])
    for gauges, rows in (first, second):
        alone = steadiness(gauges, rows)
        away = [steady.calm(one).log_ms - alone.calm(one).log_ms for one in rows]
        assert np.abs(away).max() < 0.005


def test_gauges_that_are_faster_among_another_spaces_blocks_move_no_time() -> None:
    """In rings of small blocks a gauge finds its weights in a nearer cache."""
    rng = np.random.default_rng(10)
    nearer = {name: (0.85 * ms, slope) for name, (ms, slope) in GAUGES.items()}
    first = session(1, GAUGES, truth_of(4, 24), 0.0, rng)
    second = session(2, nearer, truth_of(0, 6), 0.0, rng)
    both = (first[0] + second[0], first[1] + second[1])
    steady = steadiness(*both, spaces={1: "large blocks", 2: "small blocks"})
    for gauges, rows in (first, second):
        alone = steadiness(gauges, rows)
        assert [steady.calm(one) for one in rows] == [alone.calm(one) for one in rows]
    # Taken for one space, the first session would seem never to have been calm.
    taken_for_one = steadiness(*both)
    assert off(taken_for_one, first[1], truth_of(4, 24)) < -0.05
    assert taken_for_one.drift(first[1]) > 0.05


@pytest.mark.parametrize("kept", [("a", "b"), ("b",), ()])
def test_a_session_that_lost_gauges_comes_onto_the_scale_of_the_others(
    kept: tuple[str, ...],
) -> None:
    rng = np.random.default_rng(7)
    first = session(1, GAUGES, truth_of(0, 20), 0.0, rng)
    second = session(2, {n: GAUGES[n] for n in kept}, truth_of(0, 20), 0.15, rng)
    steady = steadiness(first[0] + second[0], first[1] + second[1])
    assert abs(off(steady, first[1], truth_of(0, 20))) < 0.025
    # One gauge alone does not tell by how much it follows the state less than others do.
    assert abs(off(steady, second[1], truth_of(0, 20))) < 0.05


def test_a_round_without_one_of_the_gauges_tells_by_the_others() -> None:
    rng = np.random.default_rng(8)
    truth = truth_of(0, 20)
    gauges, rows = session(1, GAUGES, truth, 0.0, rng)
    # Another gauge is lost in each window, and every third sample of each lost its core.
    some = [
        replace(one, samples=replace(one.samples, preempted=tuple(range(i % 3, 60, 3))))
        for i, one in enumerate(gauges)
        if i % 3 != one.window % 3
    ]
    steady = steadiness(some, rows)
    assert abs(off(steady, rows, truth)) < 0.025


def test_networks_are_calm_by_the_gauges_of_their_own_session() -> None:
    rng = np.random.default_rng(9)
    first, second = (
        session(i + 1, own, truth_of(0, 20), 0.2 * i, rng)
        for i, own in enumerate((GAUGES, OTHER_GAUGES))
    )
    rows: list[Measurement] = []
    for number in range(12):
        for place, level in ((1, 0.4), (2, 0.05)):
            # The second session's gauges take an eighth, and it was slower throughout.
            state = 0.2 * (place - 1) + states(20, 0.1, rng)
            own = replace(
                samples(5.0 + number, 1.0, state, rng), beside_ms=tuple(level * np.exp(state))
            )
            rows.append(replace(row(number, own, number, is_network=True), session=place))
    steady = steadiness(first[0] + second[0], first[1] + second[1] + rows)
    away = [steady.calm(one).log_ms - np.log(5.0 + int(str(one.subject))) for one in rows]
    assert np.abs(away).max() < 0.06
    # Nor does it matter whether a session with networks alone says which gauges it had.
    for named in ({}, {3: tuple(GAUGES)}, {3: ("unknown",)}):
        more = [replace(one, session=3) for one in rows if one.session == 1]
        steady = steadiness(first[0] + second[0], [*first[1], *second[1], *more], named)
        away = [steady.calm(one).log_ms - np.log(5.0 + int(str(one.subject))) for one in more]
        assert np.abs(away).max() < 0.06
