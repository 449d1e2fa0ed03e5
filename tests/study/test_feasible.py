"""A limit that can't be met is said at once, with the fastest; one that can is met."""

from __future__ import annotations

import re

import numpy as np
import pytest

from nas.study.feasible import LimitError, find_within
from tests.study.boards import MacBoard, candidates_of


def test_the_fastest_is_the_fastest_of_all() -> None:
    space = candidates_of("tiny").space
    board = MacBoard()
    everything = candidates_of("tiny").shuffled(np.random.default_rng(0))
    fastest_ms = min(board.predict(c.spec, c.image_size).ms for c in everything)
    with pytest.raises(LimitError) as error:
        find_within(space, 6, board, fastest_ms * 0.999, seed=0)
    stated = re.search(r"takes ([\d.e-]+) ms", str(error.value))
    assert stated is not None
    assert float(stated[1]) == pytest.approx(fastest_ms, rel=0.01)
    found = find_within(space, 6, board, fastest_ms, seed=0)
    assert board.predict(found.spec, found.image_size).ms == fastest_ms


class Contrary(MacBoard):
    """A board on which the default space's smallest network isn't the fastest."""

    def predict(self, spec, image_size):  # type: ignore[no-untyped-def]
        latency = super().predict(spec, image_size)
        penalty = 50.0 if spec.backbone[0].args[0] == 16 else 0.0
        return type(latency)(
            ms=latency.ms + penalty,
            low_ms=latency.low_ms,
            high_ms=latency.high_ms + penalty,
            kind=latency.kind,
            measured_share=1.0,
            heldout_mape=0.0,
        )


def test_a_board_with_its_own_taste_is_searched() -> None:
    space = candidates_of("large").space
    smallest = space.rebuild({name: values[0] for name, values in space.options().items()})
    assert Contrary().predict(smallest.spec, smallest.image_size).ms > 50.0
    found = find_within(space, 6, Contrary(), 5.0, seed=0)
    assert Contrary().predict(found.spec, found.image_size).ms <= 5.0
    with pytest.raises(LimitError, match="large takes 0"):
        find_within(space, 6, Contrary(), 0.1, seed=0)
