"""What a table predicts: exact where the board is additive, and honest where blocks are missing."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas.latency.answer import LatencyKind
from nas.latency.device import TableKey
from nas.latency.measured.fit_file import fit_path, read_fits
from nas.latency.measured.predictor import load_predictor
from nas.latency.measured.table import TableError
from nas.latency.reach.runner import FakeRunner, formula_ms
from nas.space.blocks import blocks
from nas.space.ops import model_graph
from nas.space.search_space import SPACES, parse_space, read_space
from nas.space.spec import read_spec
from tests.latency.boards import KEY, devices, profiled

OTHER_SPACE = """
format: 1
image_size: [64]
stem: {width: [16]}
stages:
  - {stride: 2, operator: [FusedMBConv], expand_ratio: [1], se_ratio: [0], kernel: [3], depth: [1],
     width: [16]}
  - {stride: 2, operator: [MBConv], expand_ratio: [2], se_ratio: [0], kernel: [3], depth: [1],
     width: [16]}
  - {stride: 2, operator: [MBConv], expand_ratio: [2], se_ratio: [0], kernel: [3], depth: [1],
     width: [24]}
  - {stride: 2, operator: [MBConv], expand_ratio: [2], se_ratio: [0], kernel: [3], depth: [1],
     width: [32]}
neck: {width: [16], depth: [1]}
head: {width: [16], kind: [plain]}
"""


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny space on a board without noise."""
    root = devices(tmp_path_factory.mktemp("exact"))
    profiled(root, FakeRunner(noise=0.0))
    return root


def test_an_additive_board_is_predicted_without_error(exact: Path) -> None:
    predictor, space = load_predictor(KEY, exact), read_space("tiny")
    rng = np.random.default_rng(1)
    for _ in range(20):
        candidate = space.random(rng)
        found = predictor.predict(candidate.spec, candidate.image_size)
        truth = formula_ms(model_graph(candidate.spec, candidate.image_size))
        assert found.ms == pytest.approx(truth, rel=1e-4)
        assert found.low_ms <= found.ms <= found.high_ms
        assert found.measured_share == pytest.approx(1)
        assert found.kind is LatencyKind.PREDICTED
        assert found.heldout_mape < 1e-4


def test_the_same_question_gets_the_same_answer(exact: Path) -> None:
    candidate = read_space("tiny").random(np.random.default_rng(2), num_classes=7)
    first, second = load_predictor(KEY, exact), load_predictor(KEY, exact)
    found = first.predict(candidate.spec, candidate.image_size)
    assert found == second.predict(candidate.spec, candidate.image_size)
    assert found == first.predict(candidate.spec, candidate.image_size)


def test_parts_add_up_to_the_latency(exact: Path) -> None:
    predictor = load_predictor(KEY, exact)
    candidate = read_space("tiny").random(np.random.default_rng(3))
    parts = predictor.parts(candidate.spec, candidate.image_size)
    whole = predictor.predict(candidate.spec, candidate.image_size).ms
    assert sum(part.ms for part in parts) == pytest.approx(whole)
    assert sum(sum(part.kinds.values()) for part in parts) == pytest.approx(whole)


def test_blocks_that_were_not_timed_come_from_the_cost_model(tmp_path: Path) -> None:
    root = devices(tmp_path / "tables")
    profiled(root, FakeRunner(noise=0.0), read_space("fused_mbconv"), detectors=24, share=0.25)
    predictor = load_predictor(KEY, root)
    assert predictor.fit.blocks_measured < 0.26 * predictor.fit.blocks_in_space
    assert predictor.fit.report.mape < 0.03
    shares = [one.measured_share for one in predictor.fit.report.networks]
    assert 0.2 < np.mean(shares) < 0.95
    # Less measured is less sure.
    widths = [one.high_ms / one.low_ms for one in predictor.fit.report.networks]
    assert np.corrcoef(shares, widths)[0, 1] < -0.9


def test_classes_that_were_not_timed_are_nearly_wholly_measured(exact: Path) -> None:
    predictor = load_predictor(KEY, exact)
    candidate = read_space("tiny").random(np.random.default_rng(4), num_classes=7)
    found = predictor.predict(candidate.spec, candidate.image_size)
    truth = formula_ms(model_graph(candidate.spec, candidate.image_size))
    assert 0.8 < found.measured_share < 1
    assert found.ms == pytest.approx(truth, rel=0.02)


def test_a_prediction_takes_two_milliseconds_at_most(exact: Path) -> None:
    predictor, space = load_predictor(KEY, exact), read_space("tiny")
    rng = np.random.default_rng(5)
    candidates = [space.random(rng) for _ in range(100)]
    for candidate in candidates:
        predictor.predict(candidate.spec, candidate.image_size)
    begin = time.process_time()
    for candidate in candidates:
        predictor.predict(candidate.spec, candidate.image_size)
    assert (time.process_time() - begin) / 100 < 0.004  # 0.7 ms on a quiet machine


def test_the_report_compares_with_simpler_models(exact: Path) -> None:
    fit = read_fits(KEY, exact)[0]
    assert fit.report.count == fit.networks_fitted == 20
    assert fit.report.plain_mape < 1e-4
    assert fit.report.flops_mape > 0.02
    assert fit.report.noise_floor == 0
    assert fit.report.within_5 == 1


def test_no_table_says_the_command(exact: Path) -> None:
    with pytest.raises(TableError, match=r"python -m nas\.profile --device fake --threads 2"):
        load_predictor(TableKey(device="fake", threads=2), exact)


def test_a_table_that_was_not_validated_is_refused(tmp_path: Path) -> None:
    root = devices(tmp_path / "tables")
    profiled(root, detectors=8)
    fit_path(KEY, root).unlink()
    with pytest.raises(TableError, match=r"validated .* no fit\. Make it: python -m nas\.profile"):
        load_predictor(KEY, root)


def test_a_space_without_a_table_of_its_own_is_answered_by_the_cost_model(exact: Path) -> None:
    other = parse_space(OTHER_SPACE, "other", "mine/other.yaml")
    predictor, own = load_predictor(KEY, exact, other), load_predictor(KEY, exact)
    told = predictor.provenance["doubts"][0]
    assert re.search(r"of other's blocks \d+ of \d+ were measured; .* that of tiny\.", told)
    assert "nas.profile --device fake --space mine/other.yaml --threads 1" in told
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(20):
        one = other.random(rng)
        found = predictor.predict(one.spec, one.image_size)
        true = formula_ms(model_graph(one.spec, one.image_size))
        usual = own.predict(one.spec, one.image_size)
        assert found.ms == pytest.approx(true, rel=0.25)
        assert found.kind is LatencyKind.PREDICTED
        # The less of it was timed, the wider.
        assert found.high_ms / found.low_ms > usual.high_ms / usual.low_ms
        assert found.high_ms / found.ms > 1 + 0.12 * (1 - found.measured_share)
        inside += found.low_ms <= true <= found.high_ms
    assert inside >= 18
    # Its own space stands on it as ever.
    tiny = load_predictor(KEY, exact, read_space("tiny"))
    assert tiny.provenance["doubts"] == []


def test_of_several_fits_that_of_networks_as_large_answers(tmp_path: Path) -> None:
    root = devices(tmp_path / "tables")
    profiled(root, FakeRunner(noise=0.0), read_space("fused_mbconv"), detectors=24, share=0.1)
    profiled(root, FakeRunner(noise=0.0))
    large, small = read_fits(KEY, root)
    for name in ("yolov5n", "yolov8n", "nanodet-m"):
        spec = read_spec(SPACES / "reference" / f"{name}.yaml")
        predictor = load_predictor(KEY, root, walk=blocks(spec, 320))
        assert predictor.fit == large
        found = predictor.predict(spec, 320)
        true = formula_ms(model_graph(spec, 320))
        assert found.low_ms < true < found.high_ms
        assert found.high_ms / found.low_ms > 1.2
        assert "never timed" in predictor.doubts(blocks(spec, 320))[0]
    one = read_space("tiny").random(np.random.default_rng(0))
    assert load_predictor(KEY, root, walk=blocks(one.spec, one.image_size)).fit == small
    grid = load_predictor(KEY, root, read_space("grid"))
    assert grid.fit == large
    assert re.match(
        "none of this space's blocks were measured: 0 of |of grid's blocks",
        grid.provenance["doubts"][0],
    )


@pytest.mark.parametrize("content", ["{", '{"format": 2, "fits": []}', '{"format": 1}'])
def test_a_damaged_fit_is_one_message(content: str, exact: Path, tmp_path: Path) -> None:
    table = KEY.path(tmp_path)
    table.parent.mkdir()
    table.write_bytes(KEY.path(exact).read_bytes())
    fit_path(KEY, tmp_path).write_text(content)
    with pytest.raises(TableError, match=r"format 1; .* Delete it and run"):
        load_predictor(KEY, tmp_path)


def test_provenance_says_where_a_number_comes_from(exact: Path) -> None:
    told = load_predictor(KEY, exact).provenance
    assert told["device"] == "fake"
    assert told["runtime_version"] == "fake"
    assert told["heldout_networks"] == 20
    assert told["doubts"] == []


def test_a_network_of_blocks_never_timed_is_doubtful(exact: Path) -> None:
    predictor = load_predictor(KEY, exact)
    candidate = read_space("tiny").random(np.random.default_rng(2))
    known = blocks(candidate.spec, candidate.image_size)
    assert predictor.doubts(known) == []
    (doubt,) = predictor.doubts([replace(block, height=40, width=40) for block in known])
    assert doubt.startswith("100% of it are blocks that were never timed")
