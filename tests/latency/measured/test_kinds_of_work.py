"""The kinds of work: every term of the cost model has one, and they say what a block spends."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nas.latency.answer import WorkKind
from nas.latency.measured.campaign import plan
from nas.latency.measured.cost_model import TERMS, block_terms, fit_rates
from nas.latency.measured.kinds_of_work import KINDS, MEMORY, shares
from nas.latency.reach.runner import formula_ms
from nas.space.blocks import Block
from nas.space.ops import expand
from nas.space.search_space import read_space


@pytest.fixture(scope="module")
def rates() -> np.ndarray:
    some = plan(read_space("fused_mbconv"), 8).blocks[::20]
    return fit_rates(block_terms(some), np.array([formula_ms(expand(block)) for block in some]))


def block(module: str, **more: object) -> Block:
    values = {"channels_in": (48,), "channels_out": 48, "height": 24, "width": 24, **more}
    return Block(module=module, **values)  # type: ignore[arg-type]


def test_every_term_has_one_kind() -> None:
    assert sorted((*KINDS, *MEMORY)) == sorted(TERMS)


def test_shares_add_up_and_are_of_the_work_in_the_blocks(rates: np.ndarray) -> None:
    some = [block("MBConv", kernel=3, expand_ratio=4), block("Concat", channels_in=(24, 24))]
    found = shares(rates, some)
    assert sum(found.values()) == pytest.approx(1)
    assert not any("dense" in kind.value for kind in found)
    assert {WorkKind.ELEMENT_WISE, WorkKind.STARTING} <= found.keys()


def test_a_larger_kernel_computes_more_and_a_deeper_block_starts_more(rates: np.ndarray) -> None:
    one = block("Conv", kernel=1)
    three = replace(one, kernel=3)
    dense, pointwise = WorkKind.DENSE_COMPUTING, WorkKind.POINTWISE_COMPUTING
    assert shares(rates, [three])[dense] > shares(rates, [one]).get(pointwise, 0)
    deep = block("C3", depth=3, height=4, width=4)
    starting = WorkKind.STARTING
    assert shares(rates, [deep])[starting] > shares(rates, [three])[starting]
