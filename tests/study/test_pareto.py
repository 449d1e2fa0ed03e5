"""The fast front against the quadratic one, and what the area under it must obey."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.study.pareto import hypervolume, non_dominated, thin

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
