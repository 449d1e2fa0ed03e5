"""`nas.verify` on fake boards: errors that are known are found, and the front follows from them."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas import NasError, verify
from nas.latency.device import TableKey
from nas.latency.measured.table import read_table
from nas.latency.reach.runner import BoardError, FakeRunner
from nas.latency.verified.times import VISITS
from nas.study.after.verification import FOLDER
from nas.study.on_disk.run import held
from tests.latency.boards import devices, profiled
from tests.study.verified_runs import finished_run

Copy = Callable[[str], Path]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return devices(tmp_path_factory.mktemp("devices"))


@pytest.fixture(scope="module")
def unverified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without a limit."""
    folder = tmp_path_factory.mktemp("runs") / "a"
    finished_run(folder)
    return folder


@pytest.fixture
def copied(tmp_path: Path, unverified: Path) -> Copy:
    return lambda name: Path(shutil.copytree(unverified, tmp_path / name))


def _verify(folder: Path, root: Path, runner: FakeRunner | None = None) -> dict[str, Any]:
    """Verifies a run; its pareto.json."""
    verify.run(verify.Arguments(run=folder, minutes=0), root, runner or FakeRunner())
    document: dict[str, Any] = json.loads((folder / "pareto.json").read_text())
    return document


def _limit(folder: Path, limit_ms: float) -> None:
    """Gives a run a limit."""
    path = folder / "settings.yaml"
    path.write_text(path.read_text().replace("max_latency_ms: null", f"max_latency_ms: {limit_ms}"))


def test_a_board_that_is_slower_by_7_percent_is_found_out(copied: Copy, root: Path) -> None:
    document = _verify(copied("slow"), root, FakeRunner(noise=0.01, slowness=1.07))
    told = document["verification"]
    assert document["format"] == 2
    assert len(told["points"]) == len(document["front"]) + len(document["runners_up"])
    for row in document["front"]:
        assert row["latency_kind"] == "predicted"
        assert row["measured_ms"] == pytest.approx(1.07 * row["latency_ms"], rel=0.02)
        assert row["measured_low_ms"] < row["measured_ms"] < row["measured_high_ms"]
        assert row["corrected_ms"] == pytest.approx(row["measured_ms"], rel=0.02)
        assert row["measured_samples"] >= 20 * VISITS
    assert told["mape"] == pytest.approx(1 - 1 / 1.07, abs=0.005)
    assert told["correction"]["is_applied"]
    assert told["correction"]["factor"] == pytest.approx(1.07, rel=0.005)
    assert told["correction"]["left_out_mape_after"] < 0.01
    # The order of residuals: the largest are told as such.
    errors = [point["error"] for point in told["points"]]
    assert told["worst"] == pytest.approx(max(map(abs, errors)), abs=1e-6)


def test_each_is_timed_in_its_own_way_to_run(tmp_path: Path, root: Path) -> None:
    ways = ("ncnn-fp32-1t", "onnxruntime-int8-2t")
    folder = tmp_path / "ways"
    finished_run(folder, ways=ways)
    document = _verify(folder, root, FakeRunner(noise=0.01, slowness=1.07))
    rows = [*document["front"], *document["runners_up"]]
    assert {row["way"] for row in rows} == set(ways)
    for way in ways:
        table = read_table(TableKey.of_stem("fake", way), folder / FOLDER)
        assert table.networks.keys() == {row["digest"] for row in rows if row["way"] == way}
    told = document["verification"]
    # The formula of the fake board has factors for runtimes, precisions and threads: each way has
    # its own error, which no other corrects.
    for way, near in zip(ways, (0.02, 0.1), strict=True):
        own = [row for row in rows if row["way"] == way]
        factor = told["corrections"][way]["factor"]
        assert told["corrections"][way]["networks"] == len(own) > 3
        for row in own:
            assert row["measured_ms"] == pytest.approx(factor * row["latency_ms"], rel=near)
    assert told["corrections"][ways[0]]["factor"] == pytest.approx(1.07, rel=0.005)
    assert told["corrections"][ways[1]]["factor"] < 0.6
    assert any(f"Predictions of what runs as {ways[1]} are multip" in one for one in told["words"])
    assert [point["way"] for point in told["points"]] == [row["way"] for row in rows]
    # What is timed already is not timed again, in whichever way.
    before = sorted((p.name, p.read_bytes()) for p in (folder / FOLDER).rglob("*.jsonl"))
    _verify(folder, root, FakeRunner(stop_after=0))
    assert before == sorted((p.name, p.read_bytes()) for p in (folder / FOLDER).rglob("*.jsonl"))


def test_a_board_that_was_calmer_when_it_was_profiled_is_told(copied: Copy, tmp_path: Path) -> None:
    """The gauges are slower by as much as the networks: the predictor is not to blame."""
    own = devices(tmp_path / "own")
    profiled(own)
    folder = copied("busy")
    document = _verify(folder, own, FakeRunner(slowness=1.07))
    told = document["verification"]
    assert told["pace"] == pytest.approx(1.07, rel=0.01)
    (line,) = [line for line in told["words"] if line.startswith("The gauges say")]
    assert "slower than when its table was made" in line
    assert float(line.rsplit("off by ", 1)[1].rstrip("%.")) < 1
    assert _verify(copied("as then"), own, FakeRunner())["verification"]["pace"] == pytest.approx(
        1, abs=0.005
    )


def test_predictions_that_are_right_are_left_alone(copied: Copy, root: Path) -> None:
    document = _verify(copied("right"), root, FakeRunner(noise=0.001))
    told = document["verification"]
    assert told["mape"] < 0.002
    assert not told["correction"]["is_applied"]
    assert all(row["corrected_ms"] is None for row in document["front"])
    assert told["changes"] == []
    assert [one["name"] for one in told["front"]] == [row["name"] for row in document["front"]]


def test_a_point_over_the_limit_leaves_the_front_and_another_enters(
    copied: Copy, root: Path
) -> None:
    folder = copied("limited")
    front = json.loads((folder / "pareto.json").read_text())["front"]
    # The slowest keeps the limit as predicted, and breaks it when it is timed.
    slowest, next_one = front[-1], front[-2]
    assert slowest["latency_ms"] > 1.1 * next_one["latency_ms"]
    limit_ms = 1.03 * slowest["latency_ms"]
    _limit(folder, limit_ms)
    document = _verify(folder, root, FakeRunner(slowness=1.07))
    told = document["verification"]
    left = {one["name"]: one["why"] for one in told["changes"] if one["way"] == "left"}
    assert "over the limit" in left[slowest["name"]]
    assert slowest["name"] not in {one["name"] for one in told["front"]}
    assert told["over_limit_by_3_percent"] == 1
    by_name = {row["name"]: row for row in document["front"]}
    assert by_name[slowest["name"]]["keeps_limit"] < 0.05
    assert by_name[next_one["name"]]["keeps_limit"] > 0.95
    for one in told["front"]:
        assert one["ms"] <= limit_ms
        assert (folder / one["model"]).is_file()


def test_a_runner_up_enters_where_the_board_prefers_it(copied: Copy, root: Path) -> None:
    """The best point of the front can't run there: who stood behind it takes its place."""
    folder = copied("broken")
    before = json.loads((folder / "pareto.json").read_text())
    ups = {row["name"]: row for row in before["runners_up"]}
    broken = [f"network {row['digest']}" for row in before["front"]]
    document = _verify(folder, root, FakeRunner(broken=broken[1:]))
    told = document["verification"]
    entered = [one["name"] for one in told["changes"] if one["way"] == "entered"]
    assert entered
    for name in entered:
        assert (folder / "models" / f"{name}.yaml").read_text() == ups[name]["yaml"]
    failures = [point["failure"] for point in told["points"] if point["failure"]]
    assert len(failures) == len(broken) - 1
    assert all("it is broken" in failure for failure in failures)
    scores = [one["score"] for one in told["front"]]
    assert scores == sorted(scores)


def test_cut_and_resumed_equals_never_cut(copied: Copy, root: Path) -> None:
    whole = _verify(copied("whole"), root)
    folder = copied("cut")
    for stop in (3, 10):
        with pytest.raises(BoardError):
            verify.run(verify.Arguments(run=folder, minutes=0), root, FakeRunner(stop_after=stop))
        assert json.loads((folder / "pareto.json").read_text())["verification"] is None
    resumed = _verify(folder, root)
    key = TableKey(device="fake")
    table = read_table(key, folder / FOLDER)
    assert {len(rows) for rows in table.networks.values()} == {VISITS}
    assert len(table.environments) == 3, "three sessions, and what was measured was kept"
    for first, second in zip(
        whole["verification"]["points"], resumed["verification"]["points"], strict=True
    ):
        assert first["name"] == second["name"]
        assert second["measured_ms"] == pytest.approx(first["measured_ms"], rel=0.01)
    # And once more: nothing is timed again, nothing changes.
    content = (folder / "pareto.json").read_bytes()
    assert _verify(folder, root, FakeRunner(stop_after=0)) == resumed
    assert (folder / "pareto.json").read_bytes() == content


def test_the_csv_and_what_is_printed_are_what_the_file_says(
    copied: Copy, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied("told")
    document = _verify(folder, root, FakeRunner(slowness=1.07))
    out = capsys.readouterr().out
    for line in document["verification"]["words"]:
        assert line in out
    assert "measured ms" in out
    assert "predicted ms" in out
    with (folder / "pareto.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = [
        {k: "" if v is None else str(v) for k, v in row.items()} for row in document["front"]
    ]
    assert rows == expected
    verify.run(verify.Arguments(run=folder, json=True, minutes=0), root, FakeRunner())
    assert json.loads(capsys.readouterr().out) == document["verification"]


def test_a_run_of_an_older_format_whose_space_is_gone_is_verified_too(
    copied: Copy, root: Path
) -> None:
    """The settings name a space and data that nobody has; pareto.json is of format 1."""
    folder = copied("old")
    path = folder / "pareto.json"
    document = json.loads(path.read_text())
    for row in document["front"]:
        for name in [name for name in row if name.startswith(("measured", "corrected", "keeps"))]:
            del row[name]
    del document["runners_up"], document["verification"]
    path.write_text(json.dumps({**document, "format": 1}))
    after = _verify(folder, root)
    assert after["format"] == 2
    assert all(math.isfinite(row["measured_ms"]) for row in after["front"])


def _edited(folder: Path) -> None:
    front = json.loads((folder / "pareto.json").read_text())["front"]
    shutil.copy(folder / front[1]["model"], folder / front[0]["model"])


def _emptied(folder: Path) -> None:
    document = json.loads((folder / "pareto.json").read_text())
    (folder / "pareto.json").write_text(json.dumps({**document, "front": []}))


def _in_tflite(folder: Path) -> None:
    path = folder / "pareto.json"
    path.write_text(path.read_text().replace('"runtime": "ncnn"', '"runtime": "tflite"'))


@pytest.mark.parametrize(
    ("damage", "arguments", "message"),
    [
        (None, {"device": "host"}, "a front is verified on the device that it was searched for"),
        (None, {"host": "pi@board"}, "device fake is a board that one can log in to"),
        (_edited, {}, "the YAML is the architecture that was searched"),
        (_emptied, {}, "the run has a front to verify"),
        (_in_tflite, {}, "It can be estimated, and not verified"),
        (lambda folder: (folder / "pareto.json").unlink(), {}, "Let the search come to its end"),
        (lambda folder: (folder / "pareto.json").write_text("{}"), {}, "grades nothing"),
        (lambda folder: (folder / "settings.yaml").unlink(), {}, "it has a settings.yaml"),
    ],
)
def test_a_mistake_is_told_before_anything_is_timed(
    copied: Copy,
    root: Path,
    damage: Callable[[Path], None] | None,
    arguments: dict[str, str],
    message: str,
) -> None:
    folder = copied("mistake")
    if damage is not None:
        damage(folder)
    before = sorted(path.name for path in folder.rglob("*"))
    with pytest.raises(NasError, match=message):
        verify.run(verify.Arguments(run=folder, minutes=0, **arguments), root)
    left = [name for name in sorted(path.name for path in folder.rglob("*")) if name != ".lock"]
    assert left == [name for name in before if name != ".lock"]


def test_a_run_that_is_being_searched_is_left_alone(copied: Copy, root: Path) -> None:
    folder = copied("busy")
    with held(folder), pytest.raises(NasError, match="a folder that another one holds"):
        verify.run(verify.Arguments(run=folder, minutes=0), root)
    assert not (folder / FOLDER).exists()


def test_a_board_that_is_not_there_leaves_nothing(copied: Copy, root: Path) -> None:
    folder = copied("away")
    with pytest.raises(BoardError):
        verify.run(verify.Arguments(run=folder, minutes=0), root, _Away())
    assert not (folder / FOLDER).exists()
    assert json.loads((folder / "pareto.json").read_text())["verification"] is None


class _Away(FakeRunner):
    """A board that nobody reaches."""

    def run(self, pack: Any) -> Any:
        raise BoardError("pi@board", "ssh connects to the board", "No route to host")
