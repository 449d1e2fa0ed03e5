"""The whole path of a picture: on a board that a formula knows, and on this machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from html import escape
from pathlib import Path

import pytest

from nas import NasError, verify
from nas.latency.device import TableKey
from nas.latency.reach.runner import (
    FAKE_STEPS_MS,
    BoardError,
    FakeRunner,
    LocalRunner,
    path_refused,
)
from nas.latency.reach.whole_path import PathLine, PathPack
from nas.study.after.whole_path import PathTimes, bundle_files, choose_point, read_path
from tests.latency.boards import devices
from tests.study.boards import candidates_of
from tests.study.verified_runs import finished_run

HOST = TableKey(device="host")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return devices(tmp_path_factory.mktemp("devices"))


@pytest.fixture(scope="module")
def unverified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "a"
    finished_run(folder, budget=12)
    return folder


def _path(folder: Path) -> PathTimes:
    found = read_path(folder)
    assert found is not None
    return found


def test_the_best_point_runs_for_so_long_and_is_not_run_again(
    tmp_path: Path, unverified: Path, root: Path
) -> None:
    folder = Path(shutil.copytree(unverified, tmp_path / "a"))
    verify.run(verify.Arguments(run=folder, minutes=2), root, FakeRunner(noise=0.01))
    document = json.loads((folder / "pareto.json").read_text())["verification"]
    best = max(document["front"], key=lambda one: one["score"])
    found = _path(folder)
    assert document["path"] == found.model_dump(mode="json")
    assert (found.digest, found.name) == (best["digest"], best["name"])
    assert found.weights == "random"
    assert found.steps_ms["network"][0] == pytest.approx(best["ms"], rel=0.01)
    whole = best["ms"] + sum(FAKE_STEPS_MS.values())
    assert found.steps_ms["together"][0] == pytest.approx(whole, rel=0.01)
    kept = found.sustained
    assert kept is not None
    assert kept.seconds == 120
    assert len(kept.slices) == 12
    assert kept.frames_per_second == pytest.approx(1e3 / whole, rel=0.01)
    assert kept.network_ms[0] < kept.network_ms[1]
    warm = [one.temp_c for one in kept.slices]
    assert warm == sorted(warm)
    assert warm[-1] == 50.0
    page = (folder / "pareto.html").read_text(encoding="utf-8")
    for line in document["words"][-2:]:
        assert escape(line) in page
    # Again, and for shorter: what is there answers. For longer: it runs anew.
    for minutes in (2, 1, 0):
        verify.run(verify.Arguments(run=folder, minutes=minutes), root, _NoPath())
        assert _path(folder) == found
    with pytest.raises(BoardError, match="no path here"):
        verify.run(verify.Arguments(run=folder, minutes=3), root, _NoPath())


class _NoPath(FakeRunner):
    """A board that follows no picture."""

    def follow(self, pack: PathPack) -> Iterator[PathLine]:
        raise BoardError("fake board", "it follows a picture", "no path here")


def test_minutes_that_make_no_sense(unverified: Path, root: Path) -> None:
    for minutes in (-1.0, float("nan"), 1e6):
        with pytest.raises(NasError, match="the minutes are 0 to 1440"):
            verify.run(verify.Arguments(run=unverified, minutes=minutes), root)


@pytest.mark.parametrize("runtime", ["ncnn", "onnxruntime"])
def test_this_machine_runs_it(runtime: str) -> None:
    candidate = candidates_of("tiny").rebuild(
        {name: options[0] for name, options in candidates_of("tiny").space.options().items()}
    )
    key = TableKey(device="host", runtime=runtime)
    pack = PathPack(
        key=key, files=bundle_files(candidate, key, None), runs=4, seconds=0.4, slice_s=0.2
    )
    lines = list(LocalRunner().follow(pack))
    assert [line["line"] for line in lines][:2] == ["hello", "apart"]
    assert lines[-1]["line"] == "bye"
    ms = lines[1]["ms"]
    assert set(ms) == {
        "letterbox", "to_input", "network", "candidates", "suppress", "together",
    }  # fmt: skip
    assert all(len(values) == 4 and min(values) > 0 for values in ms.values())
    parts = sum(min(values) for name, values in ms.items() if name != "together")
    assert parts <= 1.5 * max(ms["together"])
    slices = [line for line in lines if line["line"] == "slice"]
    assert slices
    assert sum(len(line["total_ms"]) for line in slices) >= 2
    for line in slices:
        pairs = zip(line["network_ms"], line["total_ms"], strict=True)
        assert all(network < total for network, total in pairs)
    assert slices[-1]["at_s"] == pytest.approx(0.4, abs=0.3)


def test_a_bundle_that_a_board_refuses_is_one_message() -> None:
    candidate = candidates_of("tiny").rebuild(
        {name: options[0] for name, options in candidates_of("tiny").space.options().items()}
    )
    files = bundle_files(candidate, HOST, None)
    files["model.bin"] = files["model.bin"][:-8]
    with pytest.raises(BoardError, match="damaged, its sha256") as error:
        list(LocalRunner().follow(PathPack(key=HOST, files=files)))
    assert error.value.where == "this machine"
    full = path_refused("pi@board", "OSError: [Errno 28] No space left on device")
    assert "Make room there" in str(full)


def test_without_a_front_no_point_is_chosen() -> None:
    assert choose_point(()) is None
