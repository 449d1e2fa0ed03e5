"""Estimated tables: made from a log, kept apart from measured ones, corrected by a few of those."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas import profile, stats
from nas.latency.answer import LatencyKind, WorkKind
from nas.latency.device import ROOT, TableKey, read_device
from nas.latency.estimated.board_model import (
    PARAMETERS,
    Array,
    Sums,
    efficiency_of,
    fit_board,
    read_board_model,
)
from nas.latency.estimated.features import features
from nas.latency.estimated.op_work import graph_work
from nas.latency.estimated.predictor import EstimatedPredictor
from nas.latency.estimated.public_log import LogError, LoggedTime, PublicLog, parse_log
from nas.latency.estimated.tables import (
    RECENT,
    EstimatedTable,
    block_ms,
    corrected,
    estimate_from_log,
    estimate_path,
    known_networks,
    read_estimate,
    read_networks,
    sums_of,
    write_estimate,
)
from nas.latency.load import load_table_model
from nas.latency.measured.table import TableError, open_table
from nas.space.blocks import Block
from nas.space.ops import expand, macs
from nas.space.search_space import read_space
from tests.latency.boards import KEY, devices, profiled

RPI4 = TableKey(device="rpi4", threads=4)
CONV = Block(module="Conv", channels_in=(64,), channels_out=64, height=40, width=40, kernel=3)


def times_of(table: EstimatedTable, factor: float = 1.0) -> PublicLog:
    """The log that the table was made from, every time multiplied."""
    return PublicLog(
        settings={"num_threads": table.threads},
        timings=tuple(
            LoggedTime(network=name, min_ms=ms, max_ms=ms, avg_ms=ms)
            for name, ms in (
                (name, factor * one.measured_ms) for name, one in table.networks.items()
            )
        ),
        damaged=(),
    )


@pytest.fixture(scope="module")
def shipped() -> EstimatedTable:
    table = read_estimate(RPI4)
    assert table is not None
    return table


def test_work_has_all_macs_of_a_graph_and_drops_what_is_fused() -> None:
    for block in read_space("tiny").blocks(4):
        graph = expand(block)
        work = graph_work(graph)
        assert sum(op.macs for op in work) == macs(graph)
    fused = graph_work(expand(replace(CONV, activation="ReLU")))
    assert [op.kind for op in fused] == ["winograd"]
    assert [op.kind for op in graph_work(expand(CONV))] == ["winograd", "exponential"]
    assert [op.is_int8 for op in graph_work(expand(CONV), "int8")] == [True, False]


def test_a_slower_board_is_estimated_slower_by_as_much(shipped: EstimatedTable) -> None:
    device = read_device("rpi4")
    once, twice = (
        estimate_from_log(RPI4, device, times_of(shipped, factor), "a log", "2026-11-22")
        for factor in (1.0, 2.0)
    )
    blocks = [b for b in read_space("tiny").blocks(4) if expand(b).ops]
    ratio = block_ms(twice, blocks) / block_ms(once, blocks)
    assert np.allclose(ratio, 2, rtol=0.02)


def test_the_shipped_table_is_what_its_networks_give(shipped: EstimatedTable) -> None:
    again = estimate_from_log(RPI4, read_device("rpi4"), times_of(shipped), "a log", shipped.date)
    found = stats.relative_errors(
        list(again.parameters.values())[: len(PARAMETERS)], list(shipped.parameters.values())
    )
    assert np.median(np.abs(found)) < 0.02
    fitted = [one.fitted_ms for one in shipped.networks.values()]
    assert stats.mape(fitted, [one.measured_ms for one in shipped.networks.values()]) < 0.06


def test_more_work_takes_longer(shipped: EstimatedTable) -> None:
    small = Block(module="Conv", channels_in=(64,), channels_out=64, height=20, width=20, kernel=1)
    larger = [
        replace(small, height=40, width=40),
        replace(small, channels_out=128),
        replace(small, channels_in=(128,)),
        replace(small, kernel=5),
    ]
    first, *others = block_ms(shipped, [small, *larger])
    assert first > 0
    assert all(other > first for other in others)


def test_too_few_networks_and_other_precisions_are_refused(shipped: EstimatedTable) -> None:
    device, log = read_device("rpi4"), times_of(shipped)
    few = replace(log, timings=log.timings[:7])
    with pytest.raises(LogError, match="at least 8 known networks; got 7"):
        estimate_from_log(RPI4, device, few, "a log", "")
    with pytest.raises(LogError, match=r"fp32 or int8.*got ncnn bf16"):
        estimate_from_log(replace(RPI4, precision="bf16"), device, log, "a log", "")
    floats = replace(log, timings=tuple(t for t in log.timings if "int8" not in t.network))
    with pytest.raises(LogError, match="at least 3 known int8 networks"):
        estimate_from_log(replace(RPI4, precision="int8"), device, floats, "a log", "")
    with pytest.raises(LogError, match="Choose by --runtime ncnn --precision fp16"):
        estimate_from_log(replace(RPI4, device="rpi5"), read_device("rpi5"), log, "a log", "")


def test_unknown_networks_are_passed_over() -> None:
    assert list(known_networks(["vision_transformer", "resnet18", "resnet18_int8"])) == [
        "resnet18",
        "resnet18_int8",
    ]


def test_a_board_whose_threads_share_a_slow_memory_is_found() -> None:
    """Where only what is moved takes longer, the fit says so, and of four threads more easily."""
    model, networks = read_board_model("ncnn-fp32"), read_networks()
    work, counts = sums_of(networks)
    slow = np.array([name in ("memory", "weights", "transform") for name in PARAMETERS])
    slow |= np.array([name.startswith("move") for name in PARAMETERS])

    def found(threads: int) -> Array:
        seen = features(work, threads, is_fp16=False, is_recent=True)
        efficiency, prior = efficiency_of(model, seen), model.prior(threads, is_recent=True)
        sums = Sums(counts=counts, ms=counts @ efficiency.op_ms(prior + 1.0 * slow))
        return np.asarray(fit_board(model, efficiency, sums, prior, threads) - prior)

    memory, computing = PARAMETERS.index("memory"), PARAMETERS.index("compute 1x1")
    single, four = found(1), found(4)
    assert four[memory] - four[computing] > 0.5
    assert four[memory] - four[computing] > single[memory] - single[computing]


def test_op_times_are_above_zero_for_every_known_network() -> None:
    model = read_board_model("ncnn-fp32")
    work, _ = sums_of(read_networks())
    for threads, is_recent in itertools.product((1, 3, 4, 64), (False, True)):
        found = features(work, threads, is_fp16=False, is_recent=is_recent)
        prior = model.prior(threads, is_recent=is_recent)
        assert (efficiency_of(model, found).op_ms(prior) > 0).all()


def test_a_log_tells_the_age_of_its_ncnn(shipped: EstimatedTable) -> None:
    """By a network that benchncnn has since July 2022; its kernels are taken for those of then."""
    log = times_of(shipped)
    older = replace(log, timings=tuple(t for t in log.timings if t.network != RECENT))
    table = estimate_from_log(RPI4, read_device("rpi4"), older, "a log", shipped.date)
    assert (shipped.is_recent, table.is_recent) == (True, False)
    # SiLU was slow in those; the same times say so of a table of that age.
    silu, relu = (replace(CONV, kernel=1, activation=name) for name in ("SiLU", "ReLU"))
    first, second = (block_ms(one, [silu, relu]) for one in (shipped, table))
    assert (second[0] - second[1]) != pytest.approx(first[0] - first[1], rel=1e-3)


@pytest.mark.parametrize("activation", ["SiLU", "ReLU"])
@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
@pytest.mark.parametrize("module", ["Conv", "DWConvBlock"])
def test_wider_and_larger_never_takes_less(
    shipped: EstimatedTable, module: str, kernel: int, activation: str
) -> None:
    """Along widths that fill the vectors and maps whose tiles fit."""
    base = Block(
        module=module,
        channels_in=(32,),
        channels_out=32,
        height=12,
        width=12,
        kernel=kernel,
        activation=activation,
    )
    widths = [replace(base, channels_in=(c,), channels_out=c) for c in (32, 64, 128, 256, 512)]
    sides = [replace(base, height=side, width=side) for side in (12, 24, 48, 96, 192)]
    for row in (widths, sides):
        assert (np.diff(block_ms(shipped, row)) > 0).all()


def test_winograd_tiles_are_those_that_ncnn_chooses() -> None:
    """F(6,3) up to 128 channels and F(4,3) above; earlier by the side of the padded map."""

    def macs(channels: int, side: int, *, is_recent: bool) -> float:
        (work,) = graph_work(
            expand(
                replace(
                    CONV,
                    channels_in=(channels,),
                    channels_out=channels,
                    height=side,
                    width=side,
                    activation="ReLU",
                )
            )
        )
        return float(features([work], 1, is_fp16=False, is_recent=is_recent).macs[0])

    def tile(side: int, tiles: int, channels: int) -> float:
        return tiles**2 * (side + 2) ** 2 * channels**2 / 1e6

    assert macs(64, 24, is_recent=True) == pytest.approx(tile(6, 4, 64))
    assert macs(256, 24, is_recent=True) == pytest.approx(tile(4, 6, 256))
    assert macs(64, 8, is_recent=False) == pytest.approx(tile(4, 2, 64))
    assert macs(256, 24, is_recent=False) == pytest.approx(tile(6, 4, 256))


def test_a_table_is_written_and_read_and_a_broken_one_is_named(
    shipped: EstimatedTable, tmp_path: Path
) -> None:
    write_estimate(shipped, tmp_path)
    assert read_estimate(RPI4, tmp_path) == shipped
    assert read_estimate(replace(RPI4, threads=2), tmp_path) is None
    estimate_path(RPI4, tmp_path).write_text('{"format": 99}')
    with pytest.raises(TableError, match="estimated table of format 2"):
        read_estimate(RPI4, tmp_path)
    for other in ({"parameters": {"compute 1x1": 0.0}}, {"format": 1}):
        write_estimate(shipped.model_copy(update=other), tmp_path)
        with pytest.raises(TableError, match="those of this version's model"):
            read_estimate(RPI4, tmp_path)
    # A runtime's units have not changed since the first format.
    units = read_estimate(replace(RPI4, runtime="onnxruntime"))
    assert units is not None
    write_estimate(units.model_copy(update={"format": 1}), tmp_path)
    assert read_estimate(units.key, tmp_path) is not None


def test_estimates_say_so_and_their_interval_holds_them(shipped: EstimatedTable) -> None:
    predictor = EstimatedPredictor(shipped)
    one = read_space("tiny").random(np.random.default_rng(0))
    found = predictor.predict(one.spec, one.image_size)
    assert found.kind is LatencyKind.ESTIMATED
    assert found.measured_share == 0
    assert found.low_ms < found.ms < found.high_ms
    parts = predictor.parts(one.spec, one.image_size)
    assert sum(part.ms for part in parts) == pytest.approx(found.ms)
    assert not any(part.is_measured for part in parts)
    assert any("never seen" in doubt for doubt in predictor.provenance["doubts"])


def fake_estimate(shipped: EstimatedTable) -> EstimatedTable:
    """The Pi's table passed off as one of the fake board, which it knows nothing of."""
    return shipped.model_copy(update={"device": KEY.device, "threads": KEY.threads})


def test_shapes_that_no_log_has_are_a_doubt(shipped: EstimatedTable) -> None:
    predictor = EstimatedPredictor(shipped)
    usual = Block(module="Conv", channels_in=(64,), channels_out=128, height=28, width=28)
    assert predictor.doubts([usual]) == []
    huge = replace(usual, channels_in=(8192,), channels_out=8192)
    (doubt,) = predictor.doubts([usual, huge])
    assert "outside of those in the logs" in doubt


def test_kinds_of_work_add_up_to_a_layer(shipped: EstimatedTable) -> None:
    candidate = read_space("fused_mbconv").random(np.random.default_rng(0))
    parts = EstimatedPredictor(shipped).parts(candidate.spec, candidate.image_size)
    for part in parts:
        assert sum(part.kinds.values()) == pytest.approx(part.ms, abs=1e-9)
    assert WorkKind.OTHER not in {kind for part in parts for kind in part.kinds}


def test_twenty_measured_blocks_correct_an_estimate(shipped: EstimatedTable) -> None:
    """On a board that is unlike the one the table was made for in more than its speed."""
    other = read_estimate(TableKey(device="rpi-zero-2w"))
    assert other is not None
    blocks = [b for b in read_space("fused_mbconv").blocks(4) if expand(b).ops]
    rng = np.random.default_rng(0)
    chosen = [blocks[i] for i in rng.choice(len(blocks), 220, replace=False)]
    few, rest = chosen[:20], chosen[20:]
    true = dict(zip(chosen, block_ms(other, chosen).tolist(), strict=True))
    one_thread = read_estimate(replace(RPI4, threads=1))
    assert one_thread is not None
    after = corrected(one_thread, {block: true[block] for block in few})
    wanted = [true[block] for block in rest]
    plain = block_ms(one_thread, rest)
    scaled = plain * np.median([true[b] for b in few] / block_ms(one_thread, few))
    error = stats.mape(block_ms(after, rest), wanted)
    assert after.corrected_by == 20
    assert error < 0.5 * stats.mape(plain, wanted)
    assert error < stats.mape(scaled, wanted)


def test_measured_and_estimated_never_share_a_table_or_a_sum(
    shipped: EstimatedTable, tmp_path: Path
) -> None:
    root = devices(tmp_path)
    space = read_space("tiny")
    with pytest.raises(TableError, match=r"no .*fake"):
        load_table_model(KEY, root, space)
    write_estimate(fake_estimate(shipped), root)
    one = space.random(np.random.default_rng(0))
    alone = load_table_model(KEY, root, space).predict(one.spec, one.image_size)
    assert alone.kind is LatencyKind.ESTIMATED
    # A measured table without a fit corrects; with one, it alone answers.
    with open_table(KEY, root):
        pass
    again = load_table_model(KEY, root, space).predict(one.spec, one.image_size)
    assert again == alone
    profiled(root)
    measured = load_table_model(KEY, root, space).predict(one.spec, one.image_size)
    assert measured.kind is LatencyKind.PREDICTED


def test_a_profile_from_a_log(
    shipped: EstimatedTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rpi4").mkdir()
    (tmp_path / "rpi4" / "device.yaml").write_text((ROOT / "rpi4" / "device.yaml").read_text())
    lines = [
        f"{row.network:>20}  min = {row.min_ms:8.2f}  max = {row.max_ms:8.2f}  "
        f"avg = {row.avg_ms:8.2f}"
        for row in times_of(shipped).timings
    ]
    log = tmp_path / "log.txt"
    log.write_text("num_threads = 4\n" + "\n".join([*lines, "x  min = 1"]) + "\n")
    assert len(parse_log(log.read_text()).timings) == len(shipped.networks)
    arguments = profile.Arguments(device="rpi4", threads=4, from_log=log)
    profile.run(arguments, tmp_path)
    printed = capsys.readouterr()
    assert "held out whole" in printed.out
    assert f"line {len(lines) + 2}: not 'NETWORK" in printed.err
    assert read_estimate(RPI4, tmp_path) is not None
    with pytest.raises(LogError, match="Say --threads 4"):
        profile.run(replace(arguments, threads=1), tmp_path)


@pytest.mark.data
@pytest.mark.parametrize("name", ["rpi4-2021-run1.txt", "rpi4-2021-run2.txt"])
def test_an_older_log_gives_a_table_of_its_own(shared: Path, name: str) -> None:
    log = parse_log((shared / "benchncnn" / name).read_text())
    table = estimate_from_log(RPI4, read_device("rpi4"), log, name, "2026-11-22")
    fitted = [one.fitted_ms for one in table.networks.values()]
    assert stats.mape(fitted, [one.measured_ms for one in table.networks.values()]) < 0.08
