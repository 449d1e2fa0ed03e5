"""Laws of nas.evaluate: the same grades whatever runs, what it leaves, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest
import yaml

from nas import NasError, evaluate, export
from nas.data.dataset import DataConfig
from nas.data.images import DataError
from nas.grading.detector_file import DetectorFileError
from nas.grading.opening import open_detectors
from nas.report.evaluation.folder import EvaluationFolderError
from tests.data.pictures import squares
from tests.grading.files import left, taught

NAMES = ("red", "green")
SIZE = 64


def write_squares(folder: Path, count: int = 8) -> None:
    """Squares as a YOLO data set with the parts train and val, so many pictures each."""
    for part, seed in (("train", 0), ("val", 1)):
        pictures = squares(count, seed=seed)
        for index in range(len(pictures)):
            image = folder / "images" / part / f"{index}.png"
            label = folder / "labels" / part / f"{index}.txt"
            image.parent.mkdir(parents=True, exist_ok=True)
            label.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(image), pictures.images[index][:, :, ::-1])
            rows = pictures.of(index)
            lines = []
            for kind, box in zip(pictures.classes[rows], pictures.boxes[rows] / SIZE, strict=True):
                centre, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
                lines.append(f"{kind} {centre[0]} {centre[1]} {size[0]} {size[1]}\n")
            label.write_text("".join(lines))
    document = {"train": "images/train", "val": "images/val", "names": list(NAMES)}
    (folder / "data.yaml").write_text(yaml.safe_dump(document))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data.yaml, best.pt that finds most squares, and `out`, its export."""
    folder = tmp_path_factory.mktemp("home")
    write_squares(folder)
    left(folder, taught(), NAMES, SIZE)
    return folder


def asked(home: Path, run: Path, **changes: object) -> evaluate.Arguments:
    arguments = evaluate.Arguments(
        model=home / "best.pt", data=str(home / "data.yaml"), run=str(run), json=True
    )
    return replace(arguments, **changes)  # type: ignore[arg-type]


def graded(capsys: pytest.CaptureFixture[str], arguments: evaluate.Arguments) -> dict[str, Any]:
    capsys.readouterr()
    evaluate.run(arguments)
    document = json.loads(capsys.readouterr().out)
    assert isinstance(document, dict)
    return document


def test_a_checkpoint_and_its_exports_have_the_same_grades(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = graded(capsys, asked(home, tmp_path / "a"))
    assert best["map50"] > 0.3
    exported = graded(capsys, asked(home, tmp_path / "b", model=home / "out"))
    kinds = [one["kind"] for one in exported["evaluated"]]
    assert kinds == ["onnx", "ncnn"]
    for one in exported["evaluated"]:
        for key in ("map50_95", "map50"):
            assert one[key] == pytest.approx(best[key], abs=1e-3)
        assert one["confusion"]["counts"] == best["evaluated"][0]["confusion"]["counts"]
        assert "heat-maps" not in " ".join(one["pictures"])
    assert exported["map50"] == exported["evaluated"][0]["map50"]


def test_the_document_holds_together(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = graded(capsys, asked(home, tmp_path / "a"))
    assert json.loads((tmp_path / "a" / "evaluation.json").read_text()) == document
    assert {
        "map50_95", "map50", "per_class", "model", "data", "data_digest", "part", "image_size",
        "images", "objects",
    } <= set(document)  # fmt: skip
    (one,) = document["evaluated"]
    assert sum(one["per_size"][size]["objects"] for size in one["per_size"]) == one["objects"]
    assert one["per_size"]["large"]["map50"] is None
    mean = one["curves"]["mean"]
    assert sum(mean["precision"]) / 101 == pytest.approx(document["map50"], abs=1e-4)
    assert max(mean["f1"]) == pytest.approx(one["best_f1"], abs=1e-4)
    for name, each in document["per_class"].items():
        area = sum(one["curves"]["per_class"][name]["precision"]) / 101
        assert area == pytest.approx(each["map50"], abs=1e-4)
    counts = one["confusion"]["counts"]
    objects = [document["per_class"][name]["objects"] for name in NAMES]
    assert [sum(row) for row in counts[:-1]] == objects
    listed = {*one["pictures"], "evaluation.html", "evaluation.json"}
    assert {path.name for path in (tmp_path / "a").iterdir()} == listed
    assert len(one["pictures"]) == 6


def test_several_sizes_at_once(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = graded(capsys, asked(home, tmp_path / "a", image_size=(96, 64)))
    assert [one["image_size"] for one in both["evaluated"]] == [96, 64]
    own = graded(capsys, asked(home, tmp_path / "b"))
    assert both["evaluated"][1]["map50_95"] == own["map50_95"]
    assert both["map50_95"] == both["evaluated"][0]["map50_95"]
    names = [name for one in both["evaluated"] for name in one["pictures"]]
    assert len(set(names)) == 12
    assert "best-checkpoint-96px-confusion.png" in names
    # Of the other form, and the former one's files are gone.
    graded(capsys, asked(home, tmp_path / "a"))
    assert not list((tmp_path / "a").glob("best-*"))


def test_people_see_a_table(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate.run(asked(home, tmp_path / "a", json=False))
    told = capsys.readouterr()
    for word in ("red", "green", "small", "medium", "large", "all", "best F1", "torch"):
        assert word in told.out
    assert f"left in {tmp_path / 'a'}" in told.err
    evaluate.run(asked(home, tmp_path / "b", model=home / "out", json=False))
    told = capsys.readouterr()
    for word in ("one-fp32.onnx", "one-fp32.ncnn.param", "ONNX Runtime", "ncnn"):
        assert word in told.out
    assert "(2 of 2)" in told.err


def test_the_folder_is_named_by_model_data_and_part(home: Path) -> None:
    data = DataConfig(name="my data", names=NAMES, parts={}, digest="0")
    named = {
        "runs/a/MODEL-s0/best.pt": "runs/evaluate-MODEL-s0-best-my_data-val",
        "x/NAME-fp32.onnx": "runs/evaluate-NAME-fp32-my_data-val",
        str(home): f"runs/evaluate-{home.name}-my_data-val",
    }
    for model, folder in named.items():
        arguments = evaluate.Arguments(model=Path(model))
        assert evaluate.folder_of(arguments, data) == Path(folder)


@pytest.mark.parametrize(
    ("changes", "error", "told"),
    [
        ({"model": Path("no.pt")}, NasError, r"no\.pt: .*no such file"),
        ({"model": Path(__file__)}, DetectorFileError, r"test_command\.py: a detector is a best"),
        ({"data": "shapes"}, NasError, r"taught the classes of shapes"),
        ({"part": "test"}, DataError, r"the data set has a test part; got only train, val"),
        ({"image_size": (64, 64)}, NasError, r"--image-size: no size is named twice; got 64 64"),
        ({"image_size": (64, 70)}, NasError, r"multiple of 32.*got 70\. The nearest is 64"),
        ({"image_size": (-32,)}, NasError, r"multiple of 32.*got -32"),
        (
            {"model": "out/one-fp32.onnx", "image_size": (64, 96)},
            NasError,
            r"one-fp32\.onnx takes images of 64 px alone.*got 96",
        ),
    ],
)
def test_bad_input_leaves_nothing(
    home: Path, tmp_path: Path, changes: dict[str, Any], error: type[NasError], told: str
) -> None:
    if isinstance(changes.get("model"), str):
        changes = changes | {"model": home / changes["model"]}
    with pytest.raises(error, match=told) as caught:
        evaluate.run(asked(home, tmp_path / "a", **changes))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("red",), r"got 2 instead of 1: red, green"),
        (("red", "blue"), r"got red, green\. Name the data"),
        (("green", "red"), r"got the same in another order: red, green"),
    ],
)
@pytest.mark.parametrize("model", ["best.pt", "out"])
def test_other_classes_are_refused(
    home: Path, names: tuple[str, ...], told: str, model: str
) -> None:
    data = DataConfig(name="other", names=names, parts={}, digest="0")
    for file in open_detectors(home / model):
        with pytest.raises(NasError, match=told):
            evaluate.check_classes(file, data)


def test_a_folder_with_other_files_is_left_alone(home: Path, tmp_path: Path) -> None:
    mine = tmp_path / "a" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("precious")
    with pytest.raises(EvaluationFolderError, match=r"got mine\.txt\. Name another folder"):
        evaluate.run(asked(home, tmp_path / "a"))
    assert [path.name for path in mine.parent.iterdir()] == ["mine.txt"]
    with pytest.raises(EvaluationFolderError, match="got a file"):
        evaluate.run(asked(home, mine))


@pytest.mark.parametrize(
    "flags",
    [
        ["no.onnx"],
        ["best.pt", "--image-size", "70"],
        ["best.pt", "--part", "tests"],
        ["best.pt", "--data", "no.yaml"],
    ],
)
def test_the_command_exits_with_2(home: Path, flags: list[str]) -> None:
    before = sorted(home.iterdir())
    command = [sys.executable, "-m", "nas.evaluate", "--data", str(home / "data.yaml"), *flags]
    done = subprocess.run(command, capture_output=True, text=True, cwd=home, check=False)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert sorted(home.iterdir()) == before


def test_a_bundle_is_graded_with_its_weights(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = export.Arguments(
        model=home / "one.yaml",
        weights=home / "best.pt",
        bundle=True,
        data=str(home / "data.yaml"),
        run=str(tmp_path / "bundle"),
    )
    export.run(arguments)
    document = graded(capsys, asked(home, tmp_path / "a", model=tmp_path / "bundle"))
    assert [one["kind"] for one in document["evaluated"]] == ["checkpoint", "onnx", "ncnn"]
    told = json.loads((tmp_path / "bundle" / "report.json").read_text())
    for one, said in zip(document["evaluated"][1:], told["exported"], strict=True):
        assert one["map50_95"] == pytest.approx(said["grade"]["map50_95"], abs=1e-6)
    assert document["map50_95"] == pytest.approx(told["map50_95"], abs=1e-6)
