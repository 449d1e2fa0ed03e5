"""The same int8 files on this machine and on another core: mAP of both, and boxes that differ.

    python benchmarks/cores.py --bundle runs/export-NAME-192px --data ../shared/datasets/bccd \\
        --there "qemu-aarch64-static -cpu cortex-a72 -L ROOT ROOT/usr/bin/python3.11" \\
        --packages PACKAGES

ROOT is an ARM Debian with Python, PACKAGES a folder of unpacked wheels for it; the tests of a board
(tests/board) make both. detect.py of the bundle runs over the validation part here and there, each
decoding and scaling by Pillow and numpy, so that the networks read equal pixels. A row for each
file, and a row of fp32 here beside its int8, is added to cores.csv.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deployed import WITHOUT_OPENCV, boxes_of, graded, moved, today
from rows import append_row

from nas.terminal import command_line
from nas.training.metrics import SCORE_THRESHOLD

ROWS: Final = Path(__file__).with_name("cores.csv")

Boxes = list[list[dict[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Hold a bundle's files on another core against this one."""

    bundle: Path
    """A folder of nas.export --bundle with int8 files."""
    data: Path
    """The data set's folder; its pictures lie in images/val."""
    there: str
    """The command that runs a Python with numpy, Pillow, ncnn and onnxruntime on the other core."""
    packages: Path
    """The folder of that Python's packages."""
    csv: Path = ROWS
    """Where rows go."""


@dataclass(frozen=True, kw_only=True)
class CoreRow:
    """Two runs over one validation part."""

    set: str
    model: str
    image_size: str
    runtime: str
    compared: str
    """What the second run is: int8 on the other core, or fp32 on this one."""
    map50_95: float
    """Of int8 on this machine."""
    other_map50_95: float
    boxes: int
    """Of int8 here, from the confidence on that the bundle shows them from."""
    moved_boxes: float
    """Share of the boxes that either run alone has (IoU below 0.9)."""
    moved_px: float
    """Pixels by which the others' sides differ, at the 95th percentile."""
    date: str


def run(arguments: Arguments) -> None:
    """Compares each runtime's int8 file with itself there, and with fp32 here."""
    report = json.loads((arguments.bundle / "report.json").read_text(encoding="utf-8"))
    width = report["input"]["shape"][3]
    for one in report["exported"]:
        if one["precision"] != "int8":
            continue
        runtime = {"onnx": "onnxruntime", "ncnn": "ncnn"}[one["format"]]
        least = one["grade"]["confidence"]
        here = found([sys.executable], arguments, runtime, "int8")
        others = {
            "int8 there": found(shlex.split(arguments.there), arguments, runtime, "int8"),
            "fp32 here": found([sys.executable], arguments, runtime, "fp32"),
        }
        for what, other in others.items():
            share, pixels = moved(shown(here, least), shown(other, least))
            row = CoreRow(
                set=arguments.data.name,
                model=report["digest"],
                image_size=str(report["image_size"]),
                runtime=runtime,
                compared=what,
                map50_95=round(graded(here, arguments.data, width), 4),
                other_map50_95=round(graded(other, arguments.data, width), 4),
                boxes=sum(map(len, shown(here, least))),
                moved_boxes=round(share, 4),
                moved_px=round(pixels, 3),
                date=today(),
            )
            append_row(arguments.csv, row)
            print(row, flush=True)


def found(python: list[str], arguments: Arguments, runtime: str, precision: str) -> Boxes:
    """The boxes of every picture, however unlikely."""
    source = arguments.data / "images" / "val"
    which = ("--runtime", runtime, "--precision", precision, "--threads", 1)
    words = ("-c", WITHOUT_OPENCV, arguments.bundle / "detect.py", "--source", source, "--json")
    is_here = python[0] == sys.executable
    done = subprocess.run(
        [*python, *map(str, (*words, *which, "--confidence", SCORE_THRESHOLD))],
        env={**os.environ, "PYTHONPATH": "" if is_here else str(arguments.packages)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return boxes_of(done.stdout)


def shown(pictures: Boxes, least: float) -> Boxes:
    """The boxes from a confidence on."""
    return [[one for one in boxes if one["confidence"] >= least] for boxes in pictures]


if __name__ == "__main__":
    command_line(Arguments, run)
