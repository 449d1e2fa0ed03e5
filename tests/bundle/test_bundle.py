"""Laws of a bundle: complete, true to its report, and enough to find the boxes that were graded."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas import NasError, export
from nas.bundle.folder import Bundling
from nas.bundle.worth import Worth
from nas.data.dataset import load_part, read_data
from nas.data.drawn import NAMES
from nas.deploy.on_board import detect
from nas.deploy.report import Exported, ExportFolderError, ExportReport, Int8Facts, Int8Speed
from nas.deploy.weights import as_stored
from nas.grading.examination import examine
from nas.grading.opening import open_detectors
from nas.latency.device import read_device
from nas.space.spec import dump_spec
from nas.training.metrics import Detections, evaluate, grade
from nas.training.metrics import detect as graded
from nas.training.on_disk.checkpoint import load_checkpoint, make_checkpoint, save_checkpoint
from tests.deploy.on_board.bundles import (
    HEADS,
    SIZE,
    between,
    detector_of,
    rgb,
    stray,
    write_pictures,
)

BESIDE = {"m.yaml", "best.pt", "classes.txt", "detect.py", "README.md"}


def prepared(folder: Path, head: str = HEADS[3]) -> export.Arguments:
    """The flags of a bundle of an untaught detector, its data set beside it."""
    detector = detector_of(head)
    (folder / "m.yaml").write_text(dump_spec(detector.spec))
    checkpoint = make_checkpoint(
        detector, NAMES, SIZE, map50_95=0.9, map50=1.0, training={"step": 7}
    )
    save_checkpoint(folder / "last.pt", checkpoint)
    return export.Arguments(
        model=folder / "m.yaml",
        weights=folder / "last.pt",
        precision=("fp32", "fp16"),
        bundle=True,
        data=str(write_pictures(folder / "data", 8)),
        run=str(folder / "out"),
    )


@pytest.fixture(scope="module", params=[HEADS[0], HEADS[3]])
def arguments(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    found = prepared(tmp_path_factory.mktemp("home"), request.param)
    export.run(found)
    return found


def report(arguments: export.Arguments) -> dict[str, Any]:
    document = json.loads((Path(str(arguments.run)) / "report.json").read_text())
    assert isinstance(document, dict)
    return document


def test_a_bundle_is_what_its_report_says(arguments: export.Arguments) -> None:
    folder, found = Path(str(arguments.run)), report(arguments)
    assert set(found["beside"]) == BESIDE
    listed = {
        **{
            n: (one["bytes"][n], one["sha256"][n])
            for one in found["exported"]
            for n in one["files"]
        },
        **{name: (one["bytes"], one["sha256"]) for name, one in found["beside"].items()},
    }
    assert {path.name for path in folder.iterdir()} == {"report.json", *listed}
    for name, (size, digest) in listed.items():
        content = (folder / name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (size, digest)
    assert (folder / "classes.txt").read_text().splitlines() == list(NAMES)
    assert (folder / "detect.py").read_text() == Path(detect.__file__).read_text()
    weights = load_checkpoint(folder / "best.pt")
    assert weights.training is None, "what going on with a training takes is left behind"
    assert (folder / "m.yaml").read_text() == weights.model


def test_each_files_map_is_that_of_its_own_runtime(arguments: export.Arguments) -> None:
    folder, found = Path(str(arguments.run)), report(arguments)
    part = load_part(read_data(str(arguments.data)), "val", SIZE)
    assert found["graded_on"]["images"] == len(part) == 8
    assert found["graded_on"]["data_digest"] == read_data(str(arguments.data)).digest
    weights, *files = open_detectors(folder)
    assert weights.kind == "checkpoint"
    for one, detector in zip(found["exported"], files, strict=True):
        right = evaluate(detector.predict, part)
        assert one["grade"]["map50_95"] == right.map50_95
        assert one["grade"]["map50"] == right.map50
        assert one["grade"]["confidence"] == examine(detector, part).curves.best_confidence
        assert one["precision"] in one["grade"]["arithmetic"] or one["precision"] == "fp16"
    assert found["map50_95"] != 0.9, "the checkpoint is graded anew, on this data"


def test_detect_py_grades_like_its_report(arguments: export.Arguments) -> None:
    """The mAP that its own boxes give, at the threshold of grading, is the report's."""
    folder, found = Path(str(arguments.run)), report(arguments)
    part = load_part(read_data(str(arguments.data)), "val", SIZE)
    for one in found["exported"]:
        detector = detect.load_detector(
            folder, detect.RUNTIMES[one["format"]], one["precision"], threads=1
        )
        assert detector.confidence == one["grade"]["confidence"]
        detector.confidence = 0.001
        boxes = []
        for name in part.files:
            mine, _ = detector.detect(rgb(Path(name)))
            boxes.append(Detections(boxes=mine.boxes, scores=mine.scores, classes=mine.classes))
        assert grade(boxes, part).map50_95 == pytest.approx(one["grade"]["map50_95"], abs=2e-3)


def test_latencies_are_the_boards_and_say_their_kind(arguments: export.Arguments) -> None:
    found = report(arguments)
    for one in found["exported"]:
        latency = one["latency"]
        assert latency["device"] == "rpi4"
        assert latency["kind"] == "estimated"
        assert latency["threads"] == 4
        assert 0 < latency["low_ms"] < latency["ms"] < latency["high_ms"]
        # A Pi 4's cores don't compute in half precision: what is stored so runs in fp32.
        assert latency["precision"] == "fp32"
        assert bool(latency["told"]) == (one["precision"] == "fp16")
    page = (Path(str(arguments.run)) / "README.md").read_text()
    assert "estimated" in page
    assert "scp -r out pi@raspberrypi.local:" in page
    assert max(map(len, page.splitlines())) <= 100


def test_where_a_table_is_absent_the_reason_stands_there(
    arguments: export.Arguments, tmp_path: Path
) -> None:
    part = load_part(read_data(str(arguments.data)), "val", SIZE)
    spec = load_checkpoint(Path(str(arguments.run)) / "best.pt").build().spec
    worth = Worth(spec=spec, image_size=SIZE, part=part, device=read_device("rpi4"))
    told = {
        ("ncnn", "fp32", "rpi5"): "Make it: python -m nas.profile --device rpi5",
        ("ncnn", "fp16", "rpi5"): "",
        ("ncnn", "int8", "rpi4"): "",
        ("onnx", "fp16", "rpi4"): "stored in half precision, computed in fp32",
    }
    for (kind, precision, device), why in told.items():
        one = Exported(format=kind, precision=precision, files=("a",))
        found = replace(worth, device=read_device(device)).latency(one)
        assert why in found.told
        assert (found.ms is None) == (found.kind == "unknown") == ("Make it" in why)
    alone = worth.device.model_copy(update={"runtimes": {"ncnn": ["fp32"]}})
    one = Exported(format="onnx", precision="fp32", files=("a",))
    assert "has no table of onnxruntime fp32" in replace(worth, device=alone).latency(one).told


def test_an_int8_files_latency_is_that_of_its_own_layers(arguments: export.Arguments) -> None:
    """The table knows a detector all in int8; a file keeps layers in float, and says its time."""
    part = load_part(read_data(str(arguments.data)), "val", SIZE)
    spec = load_checkpoint(Path(str(arguments.run)) / "best.pt").build().spec
    worth = Worth(spec=spec, image_size=SIZE, part=part, device=read_device("rpi4"))
    one = Exported(format="ncnn", precision="int8", files=("a",))
    whole = worth.latency(one)
    assert whole.ms is not None
    assert whole.low_ms is not None
    key = worth.device.key("ncnn", "int8")
    speed = Int8Speed(kind="estimated", where=str(key), fp32_ms=9.0, int8_ms=1.25 * whole.ms)
    facts = Int8Facts(
        map50_95=0.5, fp32_map50_95=0.5, part="val", images=1, arithmetic="", ranges="",
        calibration="", calibration_pictures=1, calibration_digest="", layers=(), won="", tried=(),
        speed=speed,
    )  # fmt: skip
    mixed = worth.latency(replace(one, int8=facts))
    assert mixed.ms == pytest.approx(1.25 * whole.ms)
    assert mixed.low_ms == pytest.approx(1.25 * whole.low_ms)
    assert "float" in mixed.told
    # Timed on another machine, it says nothing of this board.
    elsewhere = replace(facts, speed=replace(speed, where="host, 1 thread"))
    assert worth.latency(replace(one, int8=elsewhere)).ms == whole.ms


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"weights": None}, "--bundle: .*no --weights"),
        ({"data": None}, "--bundle: .*no --data"),
        ({"format": ("mmyolo",), "precision": ("fp32",)}, "detect.py runs an ONNX or an ncnn file"),
        ({"bundle": False}, "--data: the flag is for a bundle"),
        ({"bundle": False, "data": None, "device": "rpi4"}, "--device: the flag is for a bundle"),
        ({"device": "rpi9"}, "rpi9"),
        ({"data": "nothing.yaml"}, "nothing.yaml"),
    ],
)
def test_bad_input_is_met_before_the_work(
    changes: dict[str, object], told: str, tmp_path: Path
) -> None:
    found = replace(prepared(tmp_path), **changes)  # type: ignore[arg-type]
    before = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(NasError, match=told) as error:
        export.run(found)
    assert not isinstance(error.value, ExportFolderError)
    assert {path.name for path in tmp_path.iterdir()} == before


def test_data_of_other_classes_is_refused(tmp_path: Path) -> None:
    found = prepared(tmp_path)
    other = tmp_path / "data" / "data.yaml"
    other.write_text(other.read_text().replace("ring", "rung"))
    with pytest.raises(
        NasError, match=r"--data: the data set has the classes .* ring.* got .*rung"
    ):
        export.run(found)
    assert not (tmp_path / "out").exists()


def half_way(report_: ExportReport, folder: Path) -> ExportReport:
    """Kills this process when half of a bundle is there."""
    assert (folder / "m-fp32.onnx").exists()
    os.kill(os.getpid(), signal.SIGKILL)
    return report_


def killed(arguments: export.Arguments) -> None:
    Bundling.complete = lambda self, one, folder: half_way(one, folder)  # type: ignore[method-assign]
    export.run(arguments)


def test_a_kill_half_way_leaves_nothing_that_looks_like_a_bundle(tmp_path: Path) -> None:
    found = prepared(tmp_path)
    process = multiprocessing.get_context("spawn").Process(target=killed, args=(found,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    export.run(found)
    first = report(found)
    process = multiprocessing.get_context("spawn").Process(target=killed, args=(found,))
    process.start()
    process.join()
    assert report(found) == first, "the bundle that was there is as it was"


def test_a_bundle_takes_an_exports_place_and_the_other_way_round(tmp_path: Path) -> None:
    found = prepared(tmp_path)
    plain = replace(found, bundle=False, data=None)
    export.run(found)
    export.run(plain)
    assert not BESIDE & {path.name for path in (tmp_path / "out").iterdir()}
    export.run(found)
    assert {path.name for path in (tmp_path / "out").iterdir()} > BESIDE
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(ExportFolderError, match=r"mine\.txt"):
        export.run(found)


def test_boxes_of_every_file_are_those_of_torch(arguments: export.Arguments) -> None:
    folder = Path(str(arguments.run))
    part = load_part(read_data(str(arguments.data)), "val", SIZE)
    from nas.training.metrics import torch_predictor

    trained = load_checkpoint(folder / "best.pt").build()
    for model in detect.read_models(folder):
        right = as_stored(trained, model.precision)  # type: ignore[arg-type]
        detector = detect.load_detector(folder, model.runtime, model.precision, 1)
        boxes = next(iter(graded(torch_predictor(right), part)))
        detector.confidence = between(boxes.scores)
        above = boxes.scores > detector.confidence
        mine, _ = detector.detect(rgb(Path(part.files[0])))
        kept = replace(
            boxes,
            boxes=boxes.boxes[above],
            scores=boxes.scores[above],
            classes=boxes.classes[above],
        )
        assert np.max(stray(mine, kept)) < 0.02, model
