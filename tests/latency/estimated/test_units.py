"""A runtime as costs of units: amounts follow the work, and costs are found again from sums."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas import predict, stats
from nas.latency.device import TableKey
from nas.latency.estimated import mlas, tflite
from nas.latency.estimated.amounts import Amount
from nas.latency.estimated.op_work import OpWork, graph_work
from nas.latency.estimated.predictor import EstimatedPredictor
from nas.latency.estimated.tables import (
    EstimatedTable,
    block_ms,
    block_work,
    corrected,
    is_extrapolated,
    read_estimate,
)
from nas.latency.estimated.units import UNIT_MODELS, UnitTimes, board_reach, fit_units, own_reach
from nas.latency.load import load_table_model
from nas.latency.measured.table import TableError
from nas.space.blocks import Block, blocks
from nas.space.ops import expand
from nas.space.search_space import read_space
from nas.space.spec import read_spec

ORT = UNIT_MODELS["onnxruntime-fp32"]
KEYS = [
    TableKey(device="rpi4", runtime="onnxruntime", threads=4),
    TableKey(device="rpi5", runtime="onnxruntime", threads=4),
    TableKey(device="rpi4", runtime="tflite", threads=4),
    TableKey(device="rpi4", runtime="tflite", precision="int8", threads=4),
]
REFERENCE = Path(__file__).parents[3] / "search_spaces" / "reference" / "yolov5n.yaml"


def conv(
    filters: int, depth: int, side: int, *, kernel: int = 1, stride: int = 1, groups: int = 1
) -> OpWork:
    return OpWork(
        kind="1x1" if kernel == 1 else "dense",
        channels_in=depth,
        channels_out=filters,
        height=side,
        width=side,
        cells=kernel**2,
        stride=stride,
        groups=groups,
        numbers_in=depth * (side * stride) ** 2,
        numbers_out=filters * side**2,
        weights=depth // groups * filters * kernel**2,
    )


def total(amounts: list[Amount], unit: str) -> float:
    return sum(amount.count for amount in amounts if amount.unit == unit)


def shipped(key: TableKey) -> EstimatedTable:
    table = read_estimate(key)
    assert table is not None, key
    return table


def test_shapes_that_fit_the_kernel_take_their_macs_and_no_more() -> None:
    even = conv(64, 32, 16)
    assert total(mlas.amounts(even, 1), "products") == even.macs
    assert total(mlas.amounts(even, 4), "products") == even.macs / 4
    assert total(mlas.amounts(even, 4), "patches") == 0
    assert total(mlas.amounts(replace(even, stride=2), 1), "patches") == 32 * 16**2
    assert total(mlas.amounts(conv(64, 32, 16, kernel=3), 1), "patches") == 9 * 32 * 16**2


def test_odd_rests_take_more_than_their_share() -> None:
    def per_mac(op: OpWork) -> float:
        return total(mlas.amounts(op, 1), "products") / op.macs

    # 25 cells run as 32 columns, 9 rows as 8 and one of its own.
    assert per_mac(conv(8, 32, 5)) == pytest.approx(32 / 25)
    assert per_mac(conv(9, 32, 4)) == pytest.approx((8 + 1.5) / 9)
    assert per_mac(conv(8, 32, 4)) == 1


def test_more_filters_than_cells_leave_the_patches_to_one_thread() -> None:
    few_cells, many_cells = conv(512, 64, 5, kernel=3), conv(64, 64, 20, kernel=3)
    assert total(mlas.amounts(few_cells, 4), "patches") == 9 * 64 * 25
    # 400 cells on 4 threads: 100 each, and 112 as multiples of 16.
    assert total(mlas.amounts(many_cells, 4), "patches") == 9 * 64 * 112


def test_small_products_get_few_threads() -> None:
    tiny = conv(16, 16, 10)
    assert tiny.macs < mlas.THREAD_PRODUCTS
    assert mlas.amounts(tiny, 4) == mlas.amounts(tiny, 1)


@pytest.mark.parametrize("kernel", [1, 3])
def test_threads_never_add_products_and_never_save_more_than_their_number(kernel: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        filters, depth, side = (int(v) for v in rng.integers([1, 1, 1], [300, 300, 50]))
        op = conv(filters, depth, side, kernel=kernel)
        each = [total(mlas.amounts(op, threads), "products") for threads in (1, 2, 3, 4)]
        assert each[0] >= op.macs
        assert all(one <= each[0] * 1.01 for one in each)
        assert all(one >= op.macs / threads for threads, one in enumerate(each, 1))


def test_groups_are_products_of_their_own() -> None:
    whole, grouped = conv(64, 64, 40, kernel=3), conv(64, 64, 40, kernel=3, groups=64)
    assert total(mlas.amounts(grouped, 1), "weights") >= grouped.weights
    products = total(mlas.amounts(grouped, 1), "products")
    assert grouped.macs < products < total(mlas.amounts(whole, 1), "products")
    # One filter of 9 weights is no work for a second thread.
    assert total(mlas.amounts(grouped, 4), "products") == products


def test_silu_is_one_op_in_onnx_runtime_and_two_in_tflite() -> None:
    block = Block(module="Conv", channels_in=(8,), channels_out=8, height=8, width=8)
    kinds = {r: [op.kind for op in graph_work(expand(block), "fp32", r)] for r in RUNTIMES}
    assert kinds["onnxruntime"] == ["1x1", "exponential"]
    assert kinds["tflite"] == ["1x1", "exponential", "add"]


RUNTIMES = ("onnxruntime", "tflite")


def test_bytes_fit_the_cache_where_floats_do_not() -> None:
    op = conv(512, 512, 10)
    (floats,) = (a for a in tflite.fp32_amounts(op, 4) if a.unit == "products missed")
    (whole,) = (a for a in tflite.int8_amounts(op, 4) if a.unit == "products missed")
    assert floats.footprint_bytes == 4 * whole.footprint_bytes == 4 * op.weights


@pytest.mark.parametrize("model", UNIT_MODELS.values(), ids=list(UNIT_MODELS))
def test_every_op_of_the_default_space_is_a_sum_of_units(model: object) -> None:
    assert model in UNIT_MODELS.values()
    space = read_space("fused_mbconv")
    for name, own in UNIT_MODELS.items():
        runtime, precision = name.split("-")
        works = [graph_work(expand(b), precision, runtime) for b in space.blocks(4)[::40]]
        ops = list({op for work in works for op in work})
        amounts = UnitTimes(own, ops, 4).amounts(0.0)
        assert (amounts >= 0).all()
        assert (amounts.sum(axis=1) > 0).all()


def made_up(count: int, seed: int) -> tuple[UnitTimes, np.ndarray]:
    """Some ops, and how often they occur in so many networks."""
    rng = np.random.default_rng(seed)
    ops = [
        conv(int(f), int(d), int(s), kernel=k)
        for f, d, s in rng.integers([8, 8, 4], [256, 256, 60], (40, 3))
        for k in (1, 3)
    ]
    maps = [
        OpWork(kind=kind, channels_in=32, channels_out=32, height=s, width=s, numbers_in=32 * s * s,
             numbers_out=32 * s * s)
        for kind in ("exponential", "add", "move", "pool", "upsample")
        for s in (10, 20, 40, 80)
    ]  # fmt: skip
    work = [*ops, *maps]
    return UnitTimes(ORT, work, 4), rng.poisson(0.5, (count, len(work))).astype(float)


def test_costs_are_found_again_and_predict_networks_unlike_the_known() -> None:
    times, counts = made_up(120, 0)
    rng = np.random.default_rng(1)
    true = ORT.start(1.0)
    true[:-1] += rng.normal(0, 0.4, len(true) - 1) - 0.7
    ms = counts @ times.op_ms(true)
    found = fit_units(times, counts[:80], ms[:80], ORT.start(1.0), own_reach(ORT))
    assert stats.mape(counts[80:] @ times.op_ms(found), ms[80:]) < 0.01
    assert found[-1] == true[-1]


def test_a_wild_time_moves_a_fit_little() -> None:
    times, counts = made_up(60, 0)
    true = ORT.start(1.0)
    ms = counts @ times.op_ms(true)
    ms[7] *= 3
    found = fit_units(times, counts, ms, ORT.start(1.0), own_reach(ORT))
    rest = np.arange(60) != 7
    assert stats.mape(counts[rest] @ times.op_ms(found), ms[rest]) < 0.01


def test_another_board_is_known_from_ten_networks() -> None:
    times, counts = made_up(60, 2)
    first = ORT.start(1.0)
    other = first.copy()
    # Arithmetic five times as fast, the memory a fifth: no one number says so.
    speeds = dict(zip(ORT.speeds, (0.2, 0.5, 0.3, 0.8, 0.3), strict=True))
    for i, unit in enumerate(ORT.start_ms):
        other[i] += math.log(next(v for own, v in speeds.items() if unit in own))
    ms = counts @ times.op_ms(other)
    found = fit_units(times, counts[:10], ms[:10], first, board_reach(ORT))
    scaled = counts @ times.op_ms(first)
    scaled *= np.exp(np.mean(np.log(ms[:10] / scaled[:10])))
    error = stats.mape((counts @ times.op_ms(found))[10:], ms[10:])
    assert error < 0.02
    assert error < 0.5 * stats.mape(scaled[10:], ms[10:])


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_a_shipped_table_answers_and_says_what_it_stands_on(key: TableKey) -> None:
    table = shipped(key)
    listed = table.networks.values()
    assert stats.mape([o.fitted_ms for o in listed], [o.measured_ms for o in listed]) < 0.06
    assert table.heldout.count > 200
    assert table.heldout.mape < 0.06
    assert any("YOLOBench" in source for source in table.sources)
    predictor = EstimatedPredictor(table)
    told = " ".join(predictor.provenance["doubts"])
    assert "depthwise" in told
    assert "threads" in told
    assert ("python -m nas.profile" in told) == (key.runtime == "onnxruntime")
    found = predictor.predict(read_spec(REFERENCE), 320)
    assert found.low_ms < found.ms < found.high_ms


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_what_no_network_has_is_doubted_in_words(key: TableKey) -> None:
    predictor = EstimatedPredictor(shipped(key))
    space = read_space("fused_mbconv")
    one = next(
        walk
        for walk in (
            blocks(c.spec, c.image_size)
            for c in (space.random(np.random.default_rng(seed)) for seed in range(50))
        )
        if sum(b.se_ratio > 0 for b in walk) > 3
    )
    (doubt,) = predictor.doubts(one)
    assert "depthwise convolutions" in doubt
    assert "squeeze-and-excite" in doubt
    assert "guess" in doubt
    assert predictor.doubts(blocks(read_spec(REFERENCE), 320)) == []
    works = block_work(predictor.table, one)
    kinds = {op.kind for ops in works for op in ops if is_extrapolated(predictor.table, op)}
    assert {"depthwise 3x3", "global pool"} <= kinds
    # The interval is wider by what is guessed, and by nothing where nothing is.
    guess = sum(predictor.unseen_shares(one).values())
    width = math.exp(predictor.table.heldout.interval_quantile)
    found, plain = predictor.predict_blocks(one), predictor.predict(read_spec(REFERENCE), 320)
    assert found.high_ms / found.ms == pytest.approx((1 + guess) * width)
    assert found.ms / found.low_ms == pytest.approx(width / (1 - guess / 2))
    assert plain.high_ms / plain.ms == pytest.approx(width)


def test_a_table_of_other_units_is_refused() -> None:
    table = shipped(KEYS[0])
    others = dict(reversed(table.parameters.items()))
    block = Block(module="Conv", channels_in=(8,), channels_out=8, height=8, width=8)
    with pytest.raises(TableError, match="the parameters are those of onnxruntime-fp32"):
        block_ms(table.model_copy(update={"parameters": others}), [block])


def test_a_pi_5_is_faster_than_a_pi_4() -> None:
    space = read_space("tiny").blocks(4)
    some = [block for block in space if expand(block).ops]
    first, second = (block_ms(shipped(key), some) for key in KEYS[:2])
    assert (first > second).mean() > 0.95
    assert 2 < first.sum() / second.sum() < 6


def test_twenty_measured_blocks_correct_a_table_of_units() -> None:
    one, other = (shipped(key) for key in KEYS[:2])
    every = [b for b in read_space("fused_mbconv").blocks(4) if expand(b).ops]
    rng = np.random.default_rng(0)
    chosen = [every[i] for i in rng.choice(len(every), 220, replace=False)]
    few, rest = chosen[:20], chosen[20:]
    true = dict(zip(chosen, block_ms(other, chosen).tolist(), strict=True))
    after = corrected(one, {block: true[block] for block in few})
    wanted = [true[block] for block in rest]
    scale = np.median([true[b] for b in few] / block_ms(one, few))
    error = stats.mape(block_ms(after, rest), wanted)
    assert after.corrected_by == 20
    assert list(after.parameters) == list(one.parameters)
    assert error < stats.mape(scale * block_ms(one, rest), wanted)


def test_other_thread_counts_are_told() -> None:
    ort = TableKey(device="rpi4", runtime="onnxruntime")
    with pytest.raises(
        TableError, match=r"got none\. The estimated ones are of 4 threads\. To mea"
    ):
        load_table_model(ort)
    with pytest.raises(TableError, match=r"nas\.profile --device rpi4 .*--precision int8"):
        load_table_model(replace(ort, precision="int8"))
    tflite_one = replace(ort, runtime="tflite")
    with pytest.raises(TableError, match=r"of 4 threads\.?$"):
        load_table_model(tflite_one)
    with pytest.raises(TableError, match="another runtime needs an estimated table"):
        load_table_model(replace(tflite_one, device="rpi5"))


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_predict_answers_from_the_box(key: TableKey, capsys: pytest.CaptureFixture[str]) -> None:
    predict.run(
        predict.Arguments(
            model=REFERENCE,
            device=key.device,
            image_size=320,
            runtime=key.runtime,
            precision=key.precision,
            threads=key.threads,
            json=True,
        )
    )
    told = json.loads(capsys.readouterr().out)
    assert told["kind"] == "estimated"
    assert told["latency_ms"] == pytest.approx(sum(told["kinds_ms"].values()), rel=1e-6)
    assert "others" not in told["kinds_ms"]
