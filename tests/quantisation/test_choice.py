"""The search over layers, by files that are nothing but their cost."""

from __future__ import annotations

import time

import numpy as np
import pytest

from nas.deploy.check import Run
from nas.deploy.int8.ranges import RangeMethod
from nas.emit.int8 import Int8Choice, Int8Way, can_be_int8
from nas.quantisation.choice import SHARE, Judge, choose, last_of_head, stem
from nas.quantisation.won import Won, WonTable, by_macs, together
from nas.space.ops import OpKind, model_graph
from tests.deploy.detectors import SIZE, small

GRAPH = model_graph(small().spec, SIZE)
ENDS = stem(GRAPH) | last_of_head(GRAPH)
INNER = [op.output for op in GRAPH.ops if can_be_int8(op) and op.output not in ENDS]
PICTURES = np.zeros((8, SIZE, SIZE, 3), np.uint8)


class CostlyLayers:
    """Files whose one output is off by what their int8 layers cost, and so is their mAP."""

    runtime = "fake"
    method: RangeMethod = "min-max"
    arithmetic = "fake"

    def __init__(self, costs: dict[int, float]) -> None:
        self.costs = costs

    def contents(self, choice: Int8Choice) -> dict[str, bytes]:
        return {}

    def run_fp32(self) -> Run:
        return self.run_int8({})

    def run_int8(self, choice: Int8Choice) -> Run:
        lost = sum(self.costs.get(tensor, 0.0) for tensor in choice)
        return lambda _: [np.array([lost, 1.0, -1.0], np.float32)]


def judge(costs: dict[int, float]) -> Judge:
    return Judge(
        files=CostlyLayers(costs), grade=lambda run: 0.5 - float(run(PICTURES)[0][0]),
        tell=lambda _: None,
    )  # fmt: skip


def test_where_nothing_is_lost_all_that_wins_is_int8() -> None:
    won = by_macs(GRAPH)
    slow = INNER[3]
    table = WonTable(of={**won.of, slow: Won(way=Int8Way.DIRECT, ms=-1.0)}, told="")
    found = choose(GRAPH, table, judge({}), PICTURES, 0.01)
    assert set(found.choice) == {tensor for tensor in won.of if tensor != slow}
    assert found.lost == 0


def test_the_stem_and_the_heads_ends_stay_float_where_they_harm() -> None:
    costs = dict.fromkeys(ENDS, 0.002)
    found = choose(GRAPH, by_macs(GRAPH), judge(costs), PICTURES, 0.01)
    assert set(found.choice) == set(INNER)


def test_a_few_costly_layers_are_found_and_left_float() -> None:
    costs = {INNER[1]: 0.2, INNER[-2]: 0.1}
    found = choose(GRAPH, by_macs(GRAPH), judge(costs), PICTURES, 0.01)
    assert not set(costs) & set(found.choice)
    assert found.lost <= SHARE * 0.01
    assert len(found.choice) > len(INNER) / 2


def test_where_every_layer_costs_too_much_the_best_file_is_told() -> None:
    found = choose(GRAPH, by_macs(GRAPH), judge(dict.fromkeys(INNER, 0.1)), PICTURES, 0.01)
    assert found.lost > 0.01 or not found.choice


def test_the_ends_are_the_first_and_the_last_convolutions() -> None:
    convolutions = [op.output for op in GRAPH.ops if op.kind is OpKind.CONVOLUTION]
    assert stem(GRAPH) == {convolutions[0]}
    assert convolutions[-1] in last_of_head(GRAPH)


@pytest.mark.parametrize("is_faster", [True, False])
def test_layers_that_lose_alone_win_where_the_whole_file_does(is_faster: bool) -> None:
    losers = INNER[:2]
    won = by_macs(GRAPH)
    table = WonTable(
        of={**won.of, **{t: Won(way=Int8Way.DIRECT, ms=-0.1) for t in losers}}, told="alone"
    )

    def run_of(choice: Int8Choice) -> Run:
        has_losers = losers[0] in choice

        def run(_: object) -> list[np.ndarray]:
            time.sleep(0.001 if has_losers == is_faster else 0.003)
            return []

        return run

    found = together(table, run_of, np.zeros((1, 3, SIZE, SIZE), np.float32), ENDS)
    assert all((found.of[tensor].ms > 0) == is_faster for tensor in losers)
