"""nas.export --precision int8: what it leaves, what it refuses and by which message."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas import NasError, export
from nas.data.drawn import NAMES
from nas.deploy.report import Int8Speed
from nas.emit.int8 import Int8Way
from nas.grading.opening import open_detectors
from nas.quantisation.choice import Chosen
from nas.quantisation.gate import Int8Error, Int8File, Quantiser, check_worth
from nas.quantisation.pictures import LEAST, CalibrationError
from nas.space.spec import dump_spec
from nas.training.on_disk.checkpoint import make_checkpoint, save_checkpoint
from tests.deploy.on_board.bundles import HEADS, SIZE, detector_of, write_pictures


def prepared(folder: Path) -> export.Arguments:
    """The flags of an int8 export of an untaught detector, its data set beside it."""
    detector = detector_of(HEADS[3])
    (folder / "m.yaml").write_text(dump_spec(detector.spec))
    checkpoint = make_checkpoint(detector, NAMES, SIZE, map50_95=0.9, map50=1.0)
    save_checkpoint(folder / "best.pt", checkpoint)
    data = write_pictures(folder / "data", LEAST)
    for kind in ("images", "labels"):
        shutil.copytree(
            folder / "data" / kind / "val", folder / "data" / kind / "train", dirs_exist_ok=True
        )
    return export.Arguments(
        model=folder / "m.yaml",
        weights=folder / "best.pt",
        precision=("fp32", "int8"),
        data=str(data),
        max_map_drop=100.0,
        run=str(folder / "out"),
    )


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> export.Arguments:
    found = prepared(tmp_path_factory.mktemp("home"))
    export.run(found)
    return found


def document(arguments: export.Arguments) -> dict[str, Any]:
    read = json.loads((Path(str(arguments.run)) / "report.json").read_text())
    assert isinstance(read, dict)
    return read


def test_the_report_says_what_an_int8_file_is(arguments: export.Arguments) -> None:
    int8 = [one for one in document(arguments)["exported"] if one["precision"] == "int8"]
    assert [one["format"] for one in int8] == ["onnx", "ncnn"]
    for one in int8:
        told = one["int8"]
        computes = [layer["computes"] for layer in told["layers"]]
        assert computes[0] == "float" or any("and the stem" in tried for tried in told["tried"])
        assert {"float", "direct"} <= set(computes)
        assert told["calibration_pictures"] == LEAST
        assert told["images"] > 0
        assert told["ranges"] in ("min-max", "percentile", "mse")
    (pair,) = (one for one in int8 if one["format"] == "ncnn")
    param = (Path(str(arguments.run)) / pair["files"][0]).read_text()
    in_int8 = sum("8=" in f" {word}" for line in param.splitlines() for word in line.split()
                  if word.startswith("8="))  # fmt: skip
    assert in_int8 == sum(layer["computes"] != "float" for layer in pair["int8"]["layers"])
    # The estimated Pi 4 has int8 tables of ncnn alone.
    kinds = {one["format"]: one["int8"]["speed"]["kind"] for one in int8}
    assert kinds == {"ncnn": "estimated", "onnx": "unknown"}


def test_an_int8_file_is_graded_as_its_report_says(arguments: export.Arguments) -> None:
    from nas.data.dataset import load_part, read_data
    from nas.training.metrics import evaluate

    part = load_part(read_data(str(arguments.data)), "val", SIZE)
    told = {name: one for one in document(arguments)["exported"] for name in one["files"]}
    for detector in open_detectors(Path(str(arguments.run))):
        if detector.precision == "int8":
            facts = told[detector.path.name]["int8"]
            found = evaluate(detector.predict, part).map50_95
            assert found == pytest.approx(facts["map50_95"], abs=1e-6)


def test_too_few_pictures_are_refused_before_anything_is_run(
    arguments: export.Arguments, tmp_path: Path
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    images = sorted(Path(str(arguments.data)).parent.glob("images/val/*.png"))[: LEAST - 1]
    assert len(images) == LEAST - 1
    for image in images:
        (few / image.name).write_bytes(image.read_bytes())
    asked = replace(arguments, calib=str(few), run=str(tmp_path / "out"))
    with pytest.raises(CalibrationError, match=rf"--calib.*at least {LEAST}.*got {LEAST - 1} "):
        export.run(asked)
    assert not (tmp_path / "out").exists()


def test_calib_takes_a_folder_a_list_and_a_data_yaml(arguments: export.Arguments) -> None:
    from nas.data.dataset import read_data
    from nas.quantisation.pictures import calibration_pictures

    data = read_data(str(arguments.data))
    default = calibration_pictures(None, data, SIZE)
    source = data.parts["train"]
    folder = source.files[0].parent  # type: ignore[attr-defined]
    listing = folder.parent / "calib.txt"
    listing.write_text("".join(f"{file}\n" for file in source.files))  # type: ignore[attr-defined]
    for calib in (str(folder), str(listing), str(arguments.data)):
        found = calibration_pictures(calib, data, SIZE)
        assert (found.images == default.images).all()
    assert calibration_pictures(None, data, SIZE, count=LEAST).images.shape[0] == LEAST


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": None}, "no --weights"),
        ({"data": None}, "no --data"),
        ({"max_map_drop": -1.0}, "between 0 and 100; got -1"),
        ({"precision": ("fp32",), "data": None}, "--max-map-drop: the flag is for int8"),
        ({"precision": ("fp32",)}, "--data: the flag is for a bundle and for int8"),
        ({"format": ("mmyolo",)}, "--precision: the flag is for ncnn and onnx"),
        ({"device": "nowhere"}, "the name of a folder in latency_tables"),
    ],
)
def test_flags_that_make_no_sense_are_one_message(
    arguments: export.Arguments, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(NasError, match=message):
        export.run(replace(arguments, run=str(tmp_path / "out"), **changes))
    assert not (tmp_path / "out").exists()


CHOSEN = Chosen(choice={3: Int8Way.DIRECT}, map50_95=0.50, fp32_map50_95=0.52, tried=())
FASTER = Int8Speed(
    kind="measured", where="host, 1 thread", fp32_ms=10.0, int8_ms=8.0, share=0.8, low_share=0.7,
    high_share=0.9,
)  # fmt: skip
SLOWER = replace(FASTER, int8_ms=12.0, share=1.2, low_share=1.1, high_share=1.3)
OPEN = replace(FASTER, low_share=0.9, high_share=1.1)
UNKNOWN = Int8Speed(kind="unknown", where="rpi4, onnxruntime int8, 4 threads")


@pytest.mark.parametrize("speed", [FASTER, OPEN, UNKNOWN])
def test_what_loses_too_much_is_refused_with_both_figures(speed: Int8Speed) -> None:
    check_worth("ncnn", CHOSEN, speed, 0.03, "cells, val")
    with pytest.raises(Int8Error, match=r"at most 1 points.*0\.5200 in fp32, 0\.5000 in int8") as e:
        check_worth("ncnn", CHOSEN, speed, 0.01, "cells, val")
    assert ("speed unknown" in str(e.value)) == (speed is UNKNOWN)


def test_what_is_no_faster_is_refused_and_what_may_be_is_not() -> None:
    with pytest.raises(Int8Error, match=r"12\.0 ms in int8, 10\.0 ms in fp32, 120% of it"):
        check_worth("ncnn", CHOSEN, SLOWER, 1.0, "cells, val")
    check_worth("ncnn", CHOSEN, OPEN, 1.0, "cells, val")
    nothing = replace(CHOSEN, choice={})
    with pytest.raises(Int8Error, match="faster than the fp32 one"):
        check_worth("ncnn", nothing, UNKNOWN, 1.0, "cells, val")


def test_a_rectangle_in_int8(arguments: export.Arguments, tmp_path: Path) -> None:
    asked = replace(
        arguments, image_size="128x96", format=("ncnn",), precision=("int8",),
        run=str(tmp_path / "out"),
    )  # fmt: skip
    export.run(asked)
    (detector,) = open_detectors(tmp_path / "out")
    assert str(detector.image_size) == "128x96"


def half_way(_: Quantiser, *, has_boxes: bool) -> Int8File:
    """Kills this process while an int8 file is sought."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError(has_boxes)


def killed(arguments: export.Arguments) -> None:
    Quantiser.onnx = half_way  # type: ignore[method-assign]
    export.run(arguments)


def test_a_kill_half_way_leaves_no_export(arguments: export.Arguments, tmp_path: Path) -> None:
    asked = replace(arguments, format=("onnx",), run=str(tmp_path / "out"))
    process = multiprocessing.get_context("spawn").Process(target=killed, args=(asked,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    export.run(asked)
    assert (tmp_path / "out" / "report.json").is_file()
