"""ShuffleNetV2's four rules: by hand, at their bounds, and what a made-up board says they cost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nas.latency.device import TableKey
from nas.latency.load import load_table_model
from nas.latency.rules import four_rules, rule_costs
from nas.space.ops import Graph, OpKind, expand, model_graph
from nas.space.references import REFERENCES
from nas.space.spec import read_spec
from tests.latency.measured.test_kinds_of_work import block


def conv(channels_in: int, channels_out: int, **more: object) -> Graph:
    return expand(block("Conv", channels_in=(channels_in,), channels_out=channels_out, **more))


def test_equal_widths_are_at_the_bound_and_unequal_ones_above() -> None:
    assert four_rules(conv(48, 48)).pointwise_over_bound == pytest.approx(1)
    # 24 x 24 cells: 576 (24 + 96) + 24 * 96 numbers, against 2 * 576 * 48 + 24 * 96.
    uneven = four_rules(conv(24, 96)).pointwise_over_bound
    assert uneven == pytest.approx((576 * 120 + 2304) / (1152 * 48 + 2304))
    assert four_rules(conv(96, 24)).pointwise_over_bound == pytest.approx(uneven)
    # Of 3x3 and grouped convolutions the rule says nothing.
    assert four_rules(conv(24, 96, kernel=3)).pointwise_over_bound == 1
    assert four_rules(conv(24, 96, groups=4)).pointwise_over_bound == 1


def test_grouped_convolutions_have_few_macs_and_much_access() -> None:
    found = four_rules(expand(block("DWConvBlock", kernel=3)))
    assert found.grouped_macs == pytest.approx(9 * 48 / (9 * 48 + 48 * 48))
    assert 0.45 < found.grouped_access < 0.5
    assert four_rules(conv(48, 48)).grouped_access == 0


def test_ops_are_those_that_are_started() -> None:
    # A ReLU is fused into its convolution, a SiLU is not.
    assert four_rules(conv(48, 48, activation="ReLU")).ops == 1
    relu, silu = (four_rules(conv(48, 48, activation=name)) for name in ("ReLU", "SiLU"))
    assert (relu.ops, silu.ops) == (1, 2)
    assert relu.element_wise == 0
    assert 0.4 < silu.element_wise < 0.6
    assert relu.macs_per_op == 2 * silu.macs_per_op == 576 * 48 * 48


def test_what_the_rules_cost_on_a_raspberry_pi_4() -> None:
    board = load_table_model(TableKey(device="rpi4", threads=4))
    found = {}
    for name in ("v5lite-e", "yolov5n", "efficientnet-b0"):
        spec = read_spec(REFERENCES / f"{name}.yaml")
        parts = board.parts(spec, 320)
        costs = rule_costs(model_graph(spec, 320), parts, board)
        total = sum(part.ms for part in parts)
        assert 0 <= costs.element_wise_ms < total
        assert 0 < costs.starting_ms < 0.1 * total
        assert abs(costs.unequal_ms) < 0.2 * total
        found[name] = costs
    assert found["yolov5n"].grouped_ms == 0
    assert found["v5lite-e"].grouped_ms > 0
    assert found["efficientnet-b0"].element_wise_ms > 10 * found["v5lite-e"].element_wise_ms
    assert found["efficientnet-b0"].unequal_ms > found["yolov5n"].unequal_ms


def test_equal_widths_cost_nothing_over_equal_widths() -> None:
    graph = conv(48, 48, activation="ReLU")
    board = load_table_model(TableKey(device="rpi4", threads=4))
    assert rule_costs(graph, (), board).unequal_ms == pytest.approx(0, abs=1e-9)
    (op,) = [op for op in graph.ops if op.kind is OpKind.CONVOLUTION]
    alone = replace(graph, ops=(op,), outputs=(op.output,))
    assert rule_costs(alone, (), board).starting_ms > 0
