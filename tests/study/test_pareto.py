"""The fast front against the quadratic one, and what the area under it must obey."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.study.pareto import best_within, hypervolume, non_dominated, sampled_bounds, thin

# Few distinct values, so that ties in one and in both objectives come up all the time.
POINTS = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 5)), max_size=40)


def _quadratic(points: list[tuple[int, int]]) -> list[int]:
    def dominates(a: tuple[int, int], b: tuple[int, int]) -> bool:
        return a[0] <= b[0] and a[1] >= b[1] and a != b

    return [i for i, p in enumerate(points) if not any(dominates(q, p) for q in points)]


def _columns(points: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    return [p[0] for p in points], [p[1] for p in points]


@given(POINTS)
@settings(max_examples=300, deadline=None)
def test_the_fast_front_is_the_quadratic_one(points: list[tuple[int, int]]) -> None:
    found = non_dominated(*_columns(points)).tolist()
    assert sorted(found) == _quadratic(points)
    assert [points[i] for i in found] == sorted(points[i] for i in found)


@given(POINTS)
@settings(max_examples=100, deadline=None)
def test_hypervolume_is_the_count_of_dominated_cells(points: list[tuple[int, int]]) -> None:
    cells = sum(
        any(p[0] <= x and p[1] >= y + 1 for p in points) for x in range(1, 7) for y in range(5)
    )
    assert hypervolume(*_columns(points), limit_ms=7.0) == pytest.approx(cells)


@given(POINTS, st.integers(0, 39))
@settings(max_examples=100, deadline=None)
def test_dropping_a_point_never_adds_area(points: list[tuple[int, int]], index: int) -> None:
    rest = points[:index] + points[index + 1 :]
    whole = hypervolume(*_columns(points), limit_ms=7.0)
    assert hypervolume(*_columns(rest), limit_ms=7.0) <= whole


@given(POINTS.filter(bool), st.integers(1, 6))
@settings(max_examples=100, deadline=None)
def test_a_thinned_front_is_a_part_of_it_with_both_ends(
    points: list[tuple[int, int]], count: int
) -> None:
    front = non_dominated(*_columns(points)).tolist()
    kept = thin(*_columns(points), count).tolist()
    assert len(kept) == min(count, len(front))
    assert [i for i in front if i in kept] == kept
    assert kept[-1] == front[-1]
    if count > 1:
        assert kept[0] == front[0]


def test_ten_thousand_points_take_no_time() -> None:
    rng = np.random.default_rng(0)
    latency = rng.uniform(1, 100, 10_000)
    front = non_dominated(latency, np.log(latency) + rng.normal(size=10_000))
    assert 1 < len(front) < 200


def test_thin_drops_what_covers_least() -> None:
    # The second point adds next to nothing beside the third.
    assert thin([1, 9.9, 10, 100], [0.1, 0.5, 0.51, 0.9], 3).tolist() == [0, 2, 3]


CUBES = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(0, 4)), max_size=30)
"""Points of two boards."""


def _dominates(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return all(x <= y for x, y in zip(a[:-1], b[:-1], strict=True)) and a[-1] >= b[-1] and a != b


def _boards(points: list[tuple[int, ...]]) -> tuple[list[list[int]], list[int]]:
    return [list(p[:-1]) for p in points], [p[-1] for p in points]


@given(CUBES)
@settings(max_examples=300, deadline=None)
def test_the_front_of_two_boards_is_the_quadratic_one(points: list[tuple[int, ...]]) -> None:
    found = non_dominated(*_boards(points)).tolist()
    wanted = [i for i, p in enumerate(points) if not any(_dominates(q, p) for q in points)]
    assert sorted(found) == wanted
    assert [points[i][0] for i in found] == sorted(points[i][0] for i in found)


@given(POINTS)
@settings(max_examples=100, deadline=None)
def test_a_second_board_that_says_the_same_changes_nothing(points: list[tuple[int, int]]) -> None:
    latencies, scores = _columns(points)
    twice = [[ms, 3 * ms] for ms in latencies]
    assert sorted(non_dominated(twice, scores)) == sorted(non_dominated(latencies, scores))


@given(CUBES.filter(bool), st.tuples(st.integers(1, 5), st.integers(1, 5)))
@settings(max_examples=200, deadline=None)
def test_the_best_within_bounds_is_the_best_of_all_there(
    points: list[tuple[int, ...]], bound: tuple[int, int]
) -> None:
    inside = [p[2] for p in points if p[0] <= bound[0] and p[1] <= bound[1]]
    assert best_within(*_boards(points), [list(bound)])[0] == max(inside, default=-np.inf)
    own = [p[2] for p in points if p[0] <= bound[0]]
    one_board = best_within([p[0] for p in points], [p[2] for p in points], [bound[0]])
    assert one_board[0] == max(own, default=-np.inf)


@given(CUBES.filter(bool), st.integers(1, 6))
@settings(max_examples=100, deadline=None)
def test_a_thinned_front_of_two_boards_keeps_the_fastest_and_the_best(
    points: list[tuple[int, ...]], count: int
) -> None:
    latencies, scores = _boards(points)
    front = non_dominated(latencies, scores).tolist()
    kept = thin(latencies, scores, count).tolist()
    assert len(kept) == min(count, len(front))
    assert [i for i in front if i in kept] == kept
    assert max(scores) in [scores[i] for i in kept]
    if count > 1:
        assert min(p[0] for p in points) in [points[i][0] for i in kept]


def test_what_a_thinned_front_of_two_boards_loses_is_what_covers_least() -> None:
    # The second is nearly the first, in both latencies and score: it is the one to go.
    latencies = [[10.0, 10.0], [10.5, 9.9], [20.0, 40.0], [40.0, 20.0], [80.0, 80.0]]
    scores = [0.2, 0.21, 0.4, 0.41, 0.6]
    assert thin(latencies, scores, 4).tolist() == [0, 2, 3, 4]


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_bounds_fill_a_box_evenly(dimensions: int) -> None:
    low, high = np.arange(1.0, dimensions + 1), np.arange(1.0, dimensions + 1) * 3
    bounds = sampled_bounds(low, high)
    assert bounds.shape[1] == dimensions
    assert (bounds >= low).all()
    assert (bounds <= high).all()
    # The share of each corner is its volume, within what chance would miss tenfold.
    for share in (0.2, 0.5, 0.8):
        inside = (bounds <= low + share * (high - low)).all(axis=1).mean()
        assert inside == pytest.approx(share**dimensions, abs=0.012)
