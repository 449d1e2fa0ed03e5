"""Mistakes in the YOLO families' model YAMLs: the file, the row and the rule, and exit code 2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nas.space.blocks import layers
from nas.space.modules import SpecError
from nas.space.references import REFERENCES
from nas.space.spec import read_spec

V3, V4, V5, V8 = (
    REFERENCES / f"{n}.yaml" for n in ("yolov3-tiny", "yolov4-tiny", "yolov5n", "yolov8n")
)


@pytest.mark.parametrize(
    ("source", "old", "new", "expected"),
    [
        (V5, "Conv, [512, 1, 1]", "Convv, [512, 1, 1]", "head row 0: the module is one that is"),
        (
            V5,
            "[-1, 3, C3, [128]]",
            "[-9, 3, C3, [128]]",
            "backbone row 2 (row 2, C3): 'from' names",
        ),
        (V5, "[[-1, 6], 1,", "[[-1, 99], 1,", "head row 2 (row 12, Concat): 'from' names"),
        (
            V5,
            "[[-1, 6], 1,",
            "[[-1, 4], 1,",
            "head row 2 (row 12, Concat): the maps that are joined",
        ),
        (V5, "10,13, 16,30, 33,23", "10,13, 16,30, 33", ", anchors: the anchors are a list"),
        (V5, "[[17, 20, 23]", "[[17, 20]", "head row 14 (row 24, Detect): Detect reads one row"),
        (
            V5,
            "SPPF, [1024, 5]",
            "SPPF, ['2**10', 5]",
            "backbone row 9, argument 'channels' of SPPF",
        ),
        (V5, "SPPF, [1024, 5]", "SPPF, [1024, {a: 1}]", "argument 'kernel' of SPPF: the kernel is"),
        (V5, "nc: 80", "nc: !!python/object/apply:os.getcwd []", "plain YAML (no code, no tags)"),
        (V5, "nc: 80", "nc: '__import__(\"os\")'", ", nc: the number of classes is at least 1"),
        (
            V5,
            "SPPF, [1024, 5]",
            "SPP, [1024, [5, 9, 14]]",
            "argument 'kernels' of SPP: the kernels",
        ),
        (
            V5,
            "SPPF, [1024, 5]",
            "SPP, [1024, 5]",
            "argument 'kernels' of SPP: the kernels are three",
        ),
        (
            V5,
            "Conv, [64, 6, 2, 2]",
            "Focus, [64, 4]",
            "argument 'kernel' of Focus: the kernel is an",
        ),
        (V5, "width_multiple: 0.25", "width_multiple: .inf", ", width_multiple: the value is a"),
        (V5, "width_multiple: 0.25", "width_multiple: .nan", ", width_multiple: the value is a"),
        (V5, "nc: 80", "nc: 80\nscale: n", ", scale: a scale is one of those that the key scales"),
        (
            V3,
            "MaxPool2d, [2, 1, 0]",
            "MaxPool2d, [2, 1, 2]",
            "a max pool is padded by half its kernel",
        ),
        (V3, "MaxPool2d, [2, 1, 0]", "MaxPool2d, [1]", "the kernel is a whole number from 2 to 13"),
        (V3, "[[0, 1, 0, 1]]", "[[1, 1, 1, 1]]", "row 11, argument 'padding' of nn.ZeroPad2d"),
        (V3, "[[0, 1, 0, 1]]", "[1]", "row 11, argument 'padding' of nn.ZeroPad2d"),
        (V3, "[[19, 15]", "[[19, 15, 8]", "Detect reads one row for each of the 2 levels"),
        (V4, "RouteGroup, [2, 1]", "RouteGroup, [2, 2]", "row 3 (row 3, RouteGroup): the groups"),
        (V4, "RouteGroup, [2, 1]", "RouteGroup, [3, 1]", "got group 1 of 3 in 64 channels"),
        (V8, "nc: 80", "nc: 80\nanchors: [[1, 2]]", ", anchors: a model whose head has no anchors"),
        (V8, "Detect, [nc]", "Detect, [80]", "argument 'classes' of Detect: the number of classes"),
        (V8, "C2f, [128, True]", "C2f, [128, 1]", "argument 'shortcut' of C2f: the shortcut is"),
        (V8, "n: [0.33, 0.25, 1024]", "n: [0.33, 0.25]", ", scales, n: the scales are names with"),
        (V8, "n: [0.33, 0.25, 1024]", "n: [0.33, 0, 1024]", ", scales, n: the value is a number"),
        (
            V8,
            "  n: [0.33, 0.25, 1024]\n",
            "",
            ", scale: the model is one of its scales, s, m, l, x",
        ),
        (
            V8,
            "nc: 80",
            "nc: 80\nscale: z",
            "scale: the model is one of its scales, n, s, m, l, x; got",
        ),
        (
            V8,
            "nc: 80",
            "nc: 80\nwidth_multiple: 0.5",
            "multiples stand under scales or beside them",
        ),
    ],
)
def test_a_mistake_names_file_row_and_rule(
    source: Path, old: str, new: str, expected: str, tmp_path: Path
) -> None:
    text = source.read_text().replace(old, new, 1)
    assert text != source.read_text()
    path = tmp_path / source.name
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        layers(read_spec(path), 320)
    assert expected in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_focus_on_an_odd_map(tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text((REFERENCES / "yolov5s-v5.yaml").read_text())
    with pytest.raises(SpecError, match=r"odd\.yaml, backbone row 0 .*even sides; got 33x33"):
        layers(read_spec(path), 33)


@pytest.mark.parametrize(
    "mistake",
    ["[[-1, 99], 1, Concat, [1]]", "[-1, 1, Conv, ['__import__(\"os\").abort()']]"],
    ids=["wrong from", "code"],
)
def test_a_command_ends_with_one_message_and_exit_code_2(mistake: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(V5.read_text().replace("[[-1, 6], 1, Concat, [1]]", mistake, 1))
    command = [sys.executable, "-m", "nas.predict", str(path), "--device", "rpi4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {path}, head row 2")
    assert len(done.stderr.splitlines()) == 1


def test_a_scale_of_a_family_that_has_no_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "yolov8.yaml").write_text(V8.read_text())
    assert read_spec(tmp_path / "yolov8n.yaml") == read_spec(V8)
    small, medium = (read_spec(tmp_path / f"yolov8{letter}.yaml") for letter in "sm")
    assert small != medium
    with pytest.raises(SpecError, match=r"yolov9n\.yaml: the model YAML exists; got no such file"):
        read_spec(tmp_path / "yolov9n.yaml")
    with pytest.raises(SpecError, match=r"yolov8q\.yaml: the model YAML exists; got no such file"):
        read_spec(tmp_path / "yolov8q.yaml")
