"""Laws of nas.export: what it leaves, and what it refuses without leaving anything."""

from __future__ import annotations

import ast
import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from nas import NasError, export
from nas.deploy.check import run_ncnn, run_onnx
from nas.deploy.picture import picture
from nas.deploy.report import ExportFolderError, ExportReport, leave_export
from nas.space.modules import SpecError
from nas.space.spec import dump_spec, with_anchors, with_classes
from nas.training.on_disk.checkpoint import CheckpointError, make_checkpoint, save_checkpoint
from tests.deploy.detectors import candidate, small

NAMES = ("red", "green", "it's blue")
ANCHORS = ((5.0, 7.0, 9.0, 11.0), (13.0, 17.0, 19.0, 23.0), (29.0, 31.0, 37.0, 41.0))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a model, and a checkpoint of it with other classes, anchors and size."""
    spec = small().spec
    (tmp_path / "tiny.yaml").write_text(dump_spec(replace(spec, image_size=160)))
    from nas.deploy.weights import random_detector

    taught = random_detector(with_anchors(with_classes(spec, 3), ANCHORS), 96, seed=5)
    checkpoint = make_checkpoint(taught, NAMES, 96, map50_95=0.25, map50=0.5)
    save_checkpoint(tmp_path / "best.pt", checkpoint)
    return tmp_path


def asked(home: Path, **changes: object) -> export.Arguments:
    arguments = export.Arguments(
        model=home / "tiny.yaml", weights=home / "best.pt", run=str(home / "out")
    )
    return replace(arguments, **changes)  # type: ignore[arg-type]


def report(home: Path) -> dict[str, object]:
    document = json.loads((home / "out" / "report.json").read_text())
    assert isinstance(document, dict)
    return document


def test_an_export_leaves_what_its_report_says(home: Path) -> None:
    export.run(asked(home, format=("onnx", "ncnn", "mmyolo"), precision=("fp32", "fp16")))
    found = report(home)
    assert found["format"] == 2
    assert (found["head"], found["bins"]) == ("anchors", 0)
    assert found["input"]["shape"] == [1, 3, 96, 96]
    assert found["image_size"] == 96
    assert found["classes"] == list(NAMES)
    assert found["anchors"] == [list(level) for level in ANCHORS]
    assert found["strides"] == [8, 16, 32]
    assert found["map50_95"] == 0.25
    assert found["trainers"] == {
        "YOLOv5": "whole",
        "Ultralytics": "under its own head",
        "MMYOLO": "backbone",
    }
    listed = {"report.json"}
    assert isinstance(found["exported"], list)
    for one in found["exported"]:
        for name in one["files"]:
            content = (home / "out" / name).read_bytes()
            assert one["bytes"][name] == len(content)
            assert one["sha256"][name] == hashlib.sha256(content).hexdigest()
        listed |= set(one["files"])
        if one["precision"] == "fp32" and one["format"] != "mmyolo":
            assert one["error"]["max_error"] <= 1e-3 * max(1, one["error"]["largest"])
    assert {path.name for path in (home / "out").iterdir()} == listed
    assert len(listed) == 1 + 2 + 4 + 3


def test_names_of_files_are_never_cut_short(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    export.run(asked(home, format=("onnx", "ncnn"), precision=("fp32", "fp16")))
    found = report(home)
    long = "001.35ms-192px-e54721-"
    for one in found["exported"]:
        one["bytes"] = {f"{long}{name}": size for name, size in one["bytes"].items()}
    capsys.readouterr()
    monkeypatch.setenv("COLUMNS", "80")
    export.show(found, home / "out")
    told = capsys.readouterr().out
    for one in found["exported"]:
        assert all(name in told for name in one["bytes"])


def test_the_files_hold_the_weights_that_were_given(home: Path) -> None:
    export.run(asked(home))
    torch_boxes = export.read_subject(asked(home)).detector(torch.from_numpy(picture(96)))
    (boxes,) = run_onnx(home / "out" / "tiny-fp32.onnx", picture(96))
    assert np.allclose(boxes, torch_boxes.detach().numpy(), rtol=1e-3, atol=1e-2)
    files = (home / "out" / "tiny-fp32.ncnn.param", home / "out" / "tiny-fp32.ncnn.bin")
    maps = run_ncnn(*files, picture(96))
    assert [one.shape for one in maps] == [(1, 16, n, n) for n in (12, 6, 3)]
    metadata = {
        one.key: one.value for one in onnx.load(home / "out" / "tiny-fp32.onnx").metadata_props
    }
    assert metadata["stride"] == "32"
    assert ast.literal_eval(metadata["names"]) == dict(enumerate(NAMES))
    assert ast.literal_eval(metadata["imgsz"]) == [96, 96]


def test_without_weights_they_are_random_and_it_says_so(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export.run(asked(home, weights=None, format=("ncnn",), json=True))
    told = capsys.readouterr()
    assert "random" in told.err
    assert json.loads(told.out) == report(home)
    assert report(home)["weights"] == "random ones (seed 0)"
    assert report(home)["image_size"] == 160
    first = (home / "out" / "tiny-fp32.ncnn.bin").read_bytes()
    export.run(asked(home, weights=None, format=("ncnn",)))
    assert (home / "out" / "tiny-fp32.ncnn.bin").read_bytes() == first


def test_the_image_size_is_the_flags_then_the_weights_then_the_models(home: Path) -> None:
    sizes = {
        (True, None): 96,
        (False, None): 160,
        (True, 64): 64,
        (False, 64): 64,
    }
    for (has_weights, flag), size in sizes.items():
        changes = {} if has_weights else {"weights": None}
        export.run(asked(home, image_size=flag, format=("onnx",), outputs="maps", **changes))
        assert report(home)["image_size"] == size


def test_another_models_weights_are_refused(home: Path) -> None:
    other = candidate("tiny", 3)
    save_checkpoint(home / "other.pt", make_checkpoint(other, NAMES, 96))
    with pytest.raises(NasError, match=r"other\.pt: the weights were trained from .*tiny\.yaml"):
        export.run(asked(home, weights=home / "other.pt"))
    relu = replace(small().spec, activation="ReLU", num_classes=3)
    from nas.deploy.weights import random_detector

    save_checkpoint(home / "relu.pt", make_checkpoint(random_detector(relu, 96), NAMES, 96))
    with pytest.raises(NasError, match="got activation ReLU"):
        export.run(asked(home, weights=home / "relu.pt"))
    assert not (home / "out").exists()


@pytest.mark.parametrize(
    ("changes", "error", "told"),
    [
        ({"weights": Path("no.pt")}, CheckpointError, "no.pt"),
        ({"weights": Path(__file__)}, CheckpointError, "tensors, numbers and text alone"),
        ({"model": Path("no.yaml")}, SpecError, "no.yaml"),
        ({"image_size": 100}, SpecError, "multiple of 32"),
        ({"format": ()}, NasError, "--format: at least one"),
        ({"precision": ("fp16", "fp16")}, NasError, "--precision: .*none twice"),
        ({"format": ("mmyolo",), "precision": ("fp16",)}, NasError, "ncnn and onnx"),
        ({"format": ("ncnn",), "outputs": "maps"}, NasError, "--outputs: the flag is for onnx"),
    ],
)
def test_bad_input_is_refused_and_leaves_nothing(
    home: Path, changes: dict[str, object], error: type[NasError], told: str
) -> None:
    with pytest.raises(error, match=told):
        export.run(asked(home, **changes))
    assert {path.name for path in home.iterdir()} == {"tiny.yaml", "best.pt"}


def test_a_folder_with_other_files_is_left_alone(home: Path) -> None:
    export.run(asked(home, format=("onnx",)))
    export.run(asked(home, format=("ncnn",)))
    assert not list((home / "out").glob("*.onnx"))
    mine = home / "out" / "mine.txt"
    mine.write_text("precious")
    before = sorted(path.name for path in (home / "out").iterdir())
    with pytest.raises(ExportFolderError, match=r"mine\.txt"):
        export.run(asked(home, format=("onnx",)))
    assert sorted(path.name for path in (home / "out").iterdir()) == before
    with pytest.raises(ExportFolderError, match="got a file"):
        export.run(asked(home, run=str(home / "best.pt")))


def test_an_export_that_fails_leaves_the_one_before(home: Path) -> None:
    export.run(asked(home, format=("onnx",)))
    before = (home / "out" / "report.json").read_bytes()

    def fail(folder: Path) -> ExportReport:
        (folder / "half").write_text("half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        leave_export(home / "out", fail)
    assert (home / "out" / "report.json").read_bytes() == before
    assert {path.name for path in home.iterdir()} == {"tiny.yaml", "best.pt", "out"}


@pytest.mark.parametrize(
    "flags", [["--format", "tflite"], ["--precision", "int4"], ["--weights", "no.pt"]]
)
def test_the_command_exits_with_2(home: Path, flags: list[str]) -> None:
    command = [sys.executable, "-m", "nas.export", str(home / "tiny.yaml"), *flags]
    done = subprocess.run(command, capture_output=True, text=True, cwd=home, check=False)
    assert done.returncode == 2, done.stderr
    assert flags[1] in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("failing", [1, 2])
def test_a_rename_that_fails_leaves_the_one_before(
    home: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    export.run(asked(home, format=("onnx",)))
    before = {path.name: path.read_bytes() for path in (home / "out").iterdir()}
    real, calls = Path.rename, []

    def rename(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == failing:
            raise OSError(28, "No space left on device", str(self))
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(ExportFolderError, match=r"No space left on device.*Make room there"):
        export.run(asked(home, format=("ncnn",)))
    assert {path.name: path.read_bytes() for path in (home / "out").iterdir()} == before
    assert {path.name for path in home.iterdir()} == {"tiny.yaml", "best.pt", "out"}


def test_a_kill_between_two_renames_is_mended_by_the_next_export(home: Path) -> None:
    export.run(asked(home, format=("onnx",)))
    (home / "out").rename(home / ".out.123.before")
    with pytest.raises(RuntimeError):
        leave_export(home / "out", failed)
    assert (home / "out" / "tiny-fp32.onnx").is_file()
    (home / ".out.123.before").mkdir()
    export.run(asked(home, format=("ncnn",)))
    assert {path.name for path in home.iterdir()} == {"tiny.yaml", "best.pt", "out"}
    assert not list((home / "out").glob("*.onnx"))


def failed(folder: Path) -> ExportReport:
    raise RuntimeError("killed")


def full(folder: Path) -> ExportReport:
    (folder / "half").write_text("half")
    raise OSError(28, "No space left on device", str(folder / "half"))


def test_a_full_disk_and_a_file_for_a_folder_get_one_message(home: Path) -> None:
    with pytest.raises(ExportFolderError, match="an export can be written there; got No space"):
        leave_export(home / "out", full)
    for run in (home / "best.pt", home / "best.pt" / "below"):
        with pytest.raises(ExportFolderError):
            export.run(asked(home, run=str(run), format=("ncnn",)))
    for run in ("", ".", ".."):
        with pytest.raises(NasError, match="--run: a run has a name"):
            export.run(asked(home, run=run, format=("ncnn",)))
    assert {path.name for path in home.iterdir()} == {"tiny.yaml", "best.pt"}


def test_a_linked_folder_stays_linked(home: Path) -> None:
    (home / "elsewhere").mkdir()
    (home / "out").symlink_to(home / "elsewhere")
    for formats in (("onnx",), ("ncnn",)):
        export.run(asked(home, format=formats))
        assert (home / "out").is_symlink()
    assert (home / "elsewhere" / "tiny-fp32.ncnn.param").is_file()


def test_damaged_weights_are_named(home: Path) -> None:
    content = torch.load(home / "best.pt", weights_only=True)
    first, *_, last = content["weights"]
    for told, change in (
        (f"{first}: absent instead of", {first: None}),
        (f"{last}: .*instead of", {last: torch.zeros(3)}),
        (f"{first} with NaN", {first: content["weights"][first] * float("nan")}),
        ("spare: .* instead of nothing", {"spare": torch.zeros(1)}),
    ):
        weights = {
            name: value
            for name, value in {**content["weights"], **change}.items()
            if value is not None
        }
        torch.save({**content, "weights": weights}, home / "damaged.pt")
        with pytest.raises(NasError, match=rf"damaged\.pt: .*{told}"):
            export.run(asked(home, weights=home / "damaged.pt"))
    whole = (home / "best.pt").read_bytes()
    for count in (0, 3, 1000, 20_000, len(whole) // 2, len(whole) - 1):
        (home / "damaged.pt").write_bytes(whole[:count])
        with pytest.raises(CheckpointError, match="numbers and text alone, whole; got something"):
            export.run(asked(home, weights=home / "damaged.pt"))
    place = whole.index(content["weights"][first].numpy().tobytes()) + 9
    changed = whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :]
    (home / "damaged.pt").write_bytes(changed)
    with pytest.raises(CheckpointError, match="as it was written; got damage in its part"):
        export.run(asked(home, weights=home / "damaged.pt"))
    assert not (home / "out").exists()


def test_a_model_from_before_widths_were_marked_still_fits_its_weights(home: Path) -> None:
    text = "\n".join(
        line
        for line in (home / "tiny.yaml")
        .read_text()
        .replace("Conv, [8, ", "Conv, [9, ")
        .splitlines()
        if not line.startswith("channel_multiple")
    )
    from nas.deploy.weights import random_detector
    from nas.space.spec import parse_written

    odd = random_detector(with_classes(parse_written(text), 3), 96)
    checkpoint = make_checkpoint(odd, NAMES, 96)
    old = "\n".join(
        line for line in checkpoint.model.splitlines() if not line.startswith("channel_multiple")
    )
    save_checkpoint(home / "best.pt", replace(checkpoint, model=old))
    (home / "tiny.yaml").write_text(text)
    export.run(asked(home, format=("ncnn",)))
    assert (home / "out" / "report.json").is_file()
