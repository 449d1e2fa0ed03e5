"""The two commands: profile and predict, on a board that does not exist."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas import NasError, predict, profile
from nas.latency.device import DeviceError
from nas.latency.load import load_table_model
from nas.latency.measured import campaign
from nas.latency.measured.campaign import GAUGES, VISITS, plan
from nas.latency.measured.table import TableError, read_table
from nas.latency.reach.runner import BoardError, FakeRunner, formula_ms
from nas.space.ops import model_graph
from nas.space.search_space import read_space
from nas.space.spec import dump_spec
from tests.latency.boards import KEY, devices, profiled

SPACES = Path(__file__).resolve().parents[2] / "search_spaces"


def arguments(**changed: object) -> profile.Arguments:
    values = {"device": "fake", "space": "tiny", "validate": 8, **changed}
    return profile.Arguments(**values)  # type: ignore[arg-type]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return devices(tmp_path / "tables")


def test_a_profile_prints_its_error_and_does_nothing_the_second_time(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile.run(arguments(), root)
    first = capsys.readouterr()
    for expected in ("84 of 84 blocks of tiny", "MAPE", "plain sum", "within 10 %", "90 %"):
        assert expected in first.out
    table = KEY.path(root).read_bytes()
    profile.run(arguments(), root)
    second = capsys.readouterr()
    assert second.out == first.out
    assert second.err == ""
    assert KEY.path(root).read_bytes() == table


def test_lost_rows_are_measured_again(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profile.run(arguments(), root)
    whole = read_table(KEY, root)
    path = KEY.path(root)
    lines = path.read_bytes().split(b"\n")
    lines[20] = lines[20][:50]
    path.write_bytes(b"\n".join(lines[:60]))
    profile.run(arguments(), root)
    assert "line 21: cannot be read" in capsys.readouterr().err
    table = read_table(KEY, root)
    assert table.block_ms() == pytest.approx(whole.block_ms(), rel=0.02)
    assert all(len(rows) == VISITS for rows in (*table.blocks.values(), *table.networks.values()))


def test_more_detectors_are_added_to_those_there(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile.run(arguments(), root)
    before = read_table(KEY, root).networks.keys()
    profile.run(arguments(validate=16), root)
    assert before <= read_table(KEY, root).networks.keys()
    capsys.readouterr()


def two_spaces(root: Path) -> Path:
    """A second space beside `tiny`, larger, with blocks of which tiny has a few."""
    text = (SPACES / "tiny.yaml").read_text().replace("[64, 96]", "[96, 128]")
    path = root.parent / "wider.yaml"
    path.write_text(text.replace("width: [24]", "width: [32]"))
    return path


def test_several_spaces_share_a_table(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = two_spaces(root)
    profile.run(arguments(), root)
    before = read_table(KEY, root).block_ms()
    profile.run(arguments(space=str(other)), root)
    assert "blocks of wider are measured" in capsys.readouterr().out
    table = read_table(KEY, root)
    # One set of gauges, and each space's blocks are what they were.
    assert len(set(table.session_gauges.values())) == 1
    found = table.block_ms()
    assert {block: found[block] for block in before} == pytest.approx(before, rel=0.005)
    for space in (read_space("tiny"), read_space(str(other))):
        one = space.random(np.random.default_rng(0))
        answer = load_table_model(KEY, root, space).predict(one.spec, one.image_size)
        true = formula_ms(model_graph(one.spec, one.image_size))
        assert answer.ms == pytest.approx(true, rel=0.02)
    # Neither has anything left to do.
    profile.run(arguments(), root)
    assert "to time" not in capsys.readouterr().err


@pytest.mark.parametrize("broken", [1, len(GAUGES)])
def test_spaces_share_a_table_whose_gauges_failed_or_were_others(
    broken: int, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = plan(read_space("tiny"), 8)
    # As tables were made before: each space had gauges of its own.
    monkeypatch.setattr(campaign, "GAUGES", wanted.blocks[5:10])
    profiled(root, FakeRunner(), detectors=8)
    monkeypatch.setattr(campaign, "GAUGES", GAUGES)
    names = [f"block {block.key()}" for block in GAUGES[:broken]]
    other = read_space(str(two_spaces(root)))
    table, _ = profiled(root, FakeRunner(slowness=1.1, broken=names), other, detectors=8)
    assert len(table.failures) == broken
    for space in (read_space("tiny"), other):
        one = space.random(np.random.default_rng(0))
        answer = load_table_model(KEY, root, space).predict(one.spec, one.image_size)
        true = formula_ms(model_graph(one.spec, one.image_size))
        assert 0.97 * true < answer.ms < 1.12 * true
    capsys.readouterr()


def test_a_board_without_a_thermometer_cannot_keep_cool(root: Path) -> None:
    with pytest.raises(BoardError, match="--max-temp-c"):
        profile.run(arguments(max_temp_c=60.0), root)


@pytest.mark.parametrize(
    ("text", "expected"), [("90s", 90), ("4m", 240), ("1h", 3600), ("0.5h", 1800), (" 2 m ", 120)]
)
def test_time_limits(text: str, expected: float) -> None:
    assert profile.seconds(text) == expected


@pytest.mark.parametrize("text", ["4", "m", "-4m", "0s", "4 minutes", "1e3s"])
def test_other_time_limits_are_refused(text: str, root: Path) -> None:
    with pytest.raises(NasError, match="--time-limit"):
        profile.run(arguments(time_limit=text), root)


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"device": "toaster"}, DeviceError),
        ({"threads": 3}, DeviceError),
        ({"runtime": "tflite"}, DeviceError),
        ({"validate": 3}, NasError),
        ({"host": "pi@raspberrypi.local"}, BoardError),
        ({"max_temp_c": 10.0}, NasError),
        ({"space": "nowhere"}, NasError),
    ],
)
def test_mistakes_leave_nothing(
    changed: dict[str, object], error: type[Exception], root: Path
) -> None:
    with pytest.raises(error):
        profile.run(arguments(**changed), root)
    assert [path.name for path in root.rglob("*") if path.is_file()] == ["device.yaml"]


def test_predict_answers_for_people_and_programs(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    candidate = read_space("tiny").random(np.random.default_rng(0))
    model = tmp_path / "model.yaml"
    model.write_text(dump_spec(replace(candidate.spec, image_size=64)))
    asked = predict.Arguments(model=model, device="fake")
    with pytest.raises(TableError, match="Make it: python -m nas"):
        predict.run(asked, root)
    profile.run(arguments(), root)
    capsys.readouterr()
    predict.run(asked, root)
    shown = capsys.readouterr().out
    for expected in (
        "ms (predicted; 90 % interval",
        "fake, ncnn fp32, 1 thread",
        "kind of work",
        "G3 fragmentation",
        "trained by nas.train, YOLOv5, Ultralytics (under its own head), MMYOLO (backbone alone)",
    ):
        assert expected in shown
    predict.run(predict.Arguments(model=model, device="fake", image_size=64, json=True), root)
    told = json.loads(capsys.readouterr().out)
    assert told["low_ms"] <= told["latency_ms"] <= told["high_ms"]
    assert told["kind"] == "predicted"
    assert told["image_size"] == 64
    for parts in ("stages_ms", "kinds_ms"):
        assert sum(told[parts].values()) == pytest.approx(told["latency_ms"])
    stages = list(told["stages_ms"])
    assert stages[0] == "P1/2"
    assert stages[-2:] == ["neck", "head"]
    assert {"measured_share", "heldout_mape", "params", "macs", "provenance"} <= told.keys()
    assert told["trainers"].keys() == {"YOLOv5", "Ultralytics", "MMYOLO"}
    assert told["rules"]["pointwise_over_bound"] >= 1
    assert told["rules"]["element_wise_ms"] == told["kinds_ms"]["element-wise ops (G4)"]
    with pytest.raises(NasError, match="--image-size"):
        predict.run(predict.Arguments(model=model, device="fake", image_size=100), root)
