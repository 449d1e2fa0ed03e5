"""A model for a rectangle in tools that train at squares: they say what becomes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nas.deploy.weights import random_detector
from nas.integrations.rectangles import told_training, told_weights
from nas.integrations.ultralytics_weights import read_ultralytics, without_anchors
from nas.integrations.yolov5_weights import read_yolov5
from nas.space.image_size import ImageSize, Rectangle
from nas.space.spec import ModelSpec, dump_spec
from nas.training.on_disk.checkpoint import make_checkpoint, save_checkpoint
from tests.deploy.detectors import small
from tests.integrations import test_ultralytics, test_yolov5
from tests.integrations.ultralytics_package import write_package
from tests.integrations.yolov5_checkout import write_checkout

WIDE = Rectangle(width=96, height=64)


def of_size(spec: ModelSpec, size: ImageSize) -> ModelSpec:
    return replace(spec, num_classes=2, image_size=size)


def save(path: Path, spec: ModelSpec, size: ImageSize) -> None:
    save_checkpoint(path, make_checkpoint(random_detector(spec, size), ("a", "b"), size))


@pytest.mark.parametrize("size", [96, WIDE], ids=str)
def test_yolov5_says_what_becomes_of_a_rectangle(size: ImageSize, tmp_path: Path) -> None:
    write_checkout(tmp_path / "yolov5")
    spec = of_size(small().spec, size)
    (tmp_path / "model.yaml").write_text(dump_spec(spec))
    told = test_yolov5.trained(tmp_path).stderr
    assert ("YOLOv5 trains at a square (--img 96), or with --rect" in told) == (size == WIDE)
    save(tmp_path / "ours.pt", spec, size)
    done = test_yolov5.command(tmp_path, "export", "yolov5", "ours.pt", "theirs.pt")
    assert done.returncode == 0, done.stderr
    line = "theirs.pt: they are for 96x64; YOLOv5 keeps one side, so they say imgsz 96. detect.py "
    assert (f"{line}--imgsz 64 96 (height first)" in done.stderr) == (size == WIDE)
    assert read_yolov5(tmp_path / "theirs.pt").image_size == 96


@pytest.mark.parametrize("size", [96, WIDE], ids=str)
def test_ultralytics_says_what_becomes_of_a_rectangle(size: ImageSize, tmp_path: Path) -> None:
    write_package(tmp_path / "packages")
    spec = of_size(without_anchors(small().spec), size)
    (tmp_path / "model.yaml").write_text(dump_spec(spec))
    done = test_ultralytics.command(tmp_path, "train", "model=model.yaml", "steps=1")
    assert done.returncode == 0, done.stderr
    line = "Ultralytics trains at a square (imgsz=96), or with rect=True"
    assert (line in done.stderr) == (size == WIDE)
    save(tmp_path / "ours.pt", spec, size)
    done = test_ultralytics.command(tmp_path, "export", "ours.pt", "theirs.pt")
    assert done.returncode == 0, done.stderr
    assert ("predict imgsz=64,96 (height first)" in done.stderr) == (size == WIDE)
    assert read_ultralytics(tmp_path / "theirs.pt").image_size == 96


def test_squares_are_not_spoken_of() -> None:
    assert told_training(None, "YOLOv5") == told_training(320, "YOLOv5") == ""
    assert told_weights(320, "Ultralytics") == ""
