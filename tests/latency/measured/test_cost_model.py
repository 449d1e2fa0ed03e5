"""The cost model knows the fake board's formula, says how sure it is, and picks what to time."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from nas import stats
from nas.latency.measured.campaign import Campaign, plan
from nas.latency.measured.cost_model import (
    MODULES,
    TERMS,
    block_terms,
    fit_cost_model,
    order_of_worth,
    shape_features,
    terms,
)
from nas.latency.reach.runner import formula_ms
from nas.space.blocks import Block
from nas.space.modules import HEADS
from nas.space.ops import expand, macs
from nas.space.search_space import read_space

CONV = Block(module="Conv", channels_in=(16,), channels_out=16, height=8, width=8)


@pytest.fixture(scope="module")
def default() -> Campaign:
    return plan(read_space("fused_mbconv"), 8)


def test_terms_hold_all_macs_and_add_up(default: Campaign) -> None:
    at = [i for i, name in enumerate(TERMS) if name.startswith("MACs") and "not of" not in name]
    for block in default.blocks[::50]:
        graph = expand(block)
        assert terms(graph)[at].sum() == pytest.approx(macs(graph) / 1e6)
        assert terms(graph)[1] + terms(graph)[2] == len(graph.ops)


def test_a_quarter_of_the_blocks_tells_the_rest(default: Campaign) -> None:
    truth = np.array([formula_ms(expand(block)) for block in default.blocks])
    rng = np.random.default_rng(0)
    noisy = truth * (1 + 0.01 * rng.standard_normal(len(truth)))
    order = order_of_worth(default.blocks, default.usage)
    known, unknown = order[: len(order) // 4], order[len(order) // 4 :]
    model = fit_cost_model([default.blocks[i] for i in known], noisy[known].tolist())
    predicted = model.predict([default.blocks[i] for i in unknown])
    assert (model.rates >= 0).all()
    assert stats.mape(predicted, truth[unknown]) < 0.02
    assert model.smoothness.error < 0.03


def test_the_order_of_worth_is_a_permutation_with_what_is_used_first(default: Campaign) -> None:
    order = order_of_worth(default.blocks, default.usage)
    assert sorted(order) == list(range(len(default.blocks)))
    cost = default.usage * block_terms(default.blocks)[:, 3:8].sum(axis=1)
    quarter = len(order) // 4
    assert cost[order[:quarter]].sum() > 0.5 * cost.sum()


def test_blocks_of_two_modules_are_the_same_step_apart_whichever_they_are() -> None:
    # Every pair differs in the module alone; nn.Upsample, Conv and ShuffleBlock among them.
    found = []
    for first, second in itertools.combinations(MODULES, 2):
        alike = [
            replace(CONV, module=name, branches=(8, 8) if name in HEADS else ())
            for name in (first, second)
        ]
        kinds = shape_features(alike)[:, -len(MODULES) :]
        found.append(float(np.linalg.norm(kinds[0] - kinds[1])))
    assert np.allclose(found, found[0])
    assert found[0] > 1
