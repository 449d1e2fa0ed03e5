"""A person's way from a taught model to boxes, and what a bundle's files take to find them.

    python benchmarks/deployed.py --weights WEIGHTS --datasets ../shared/datasets
    python benchmarks/deployed.py --weights WEIGHTS --sets bccd --most 1 --precision fp32 fp16

WEIGHTS holds checkpoints of nas.train, SET-ANYTHING.pt. For each a model's YAML and weights are
laid where a search leaves them; then come the README's commands, as processes, by the clock:

    nas.export runs/NAME/models/MODEL.yaml --weights MODEL.pt --bundle --data SET/data.yaml
    detect.py --source PICTURE --out found            of the bundle, one validation picture
    detect.py --source SET/images/val --benchmark 100     of each of its files

The bundle's files are also told apart: detect.py's boxes on the validation part by OpenCV and by
Pillow (without OpenCV pixels differ by a grey level), and by file against fp32 in ncnn.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

import numpy as np
from rows import append_row

from nas import NasError
from nas.data.dataset import load_part, read_data
from nas.terminal import command_line
from nas.training.metrics import SCORE_THRESHOLD, Detections, grade
from nas.training.on_disk.checkpoint import load_checkpoint

TIMES: Final = Path(__file__).with_name("deployed.csv")
WAYS: Final = Path(__file__).with_name("deployed_ways.csv")

WITHOUT_OPENCV: Final = """
import runpy, sys
sys.modules["cv2"] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Go a person's way with each of some weights, and time it."""

    weights: Path
    """A folder of checkpoints called SET-ANYTHING.pt."""
    datasets: Path = Path("../shared/datasets")
    """The folder of the data sets."""
    sets: tuple[str, ...] = ("bccd", "playing-cards", "aquarium")
    """Data sets by their folder's name."""
    most: int = 3
    """Checkpoints of each set; the first by name."""
    precision: tuple[str, ...] = ("fp32", "fp16")
    """What nas.export is asked for."""
    threads: int = 1
    """Of detect.py's runtimes."""
    count: int = 100
    """Pictures of each benchmark."""
    times: Path = TIMES
    """Where a row for each file goes."""
    ways: Path = WAYS
    """Where a row for each command goes."""


@dataclass(frozen=True, kw_only=True)
class StepRow:
    """One command of a person's way."""

    set: str
    model: str
    command: str
    seconds: float
    date: str


@dataclass(frozen=True, kw_only=True)
class FileRow:
    """One file of a bundle, timed by detect.py --benchmark (ms of one picture).

    Each part's least, which other work on the machine disturbs least, and statistics of the whole.
    """

    set: str
    model: str
    runtime: str
    precision: str
    threads: int
    width: int
    height: int
    megabytes: float
    map50_95: float
    """By nas.grading, as the bundle's report has it."""
    own_map50_95: float
    """Of the boxes that detect.py prints."""
    torch_map50_95: float
    before_ms: float
    network_ms: float
    after_ms: float
    total_ms: float
    total_median_ms: float
    total_mean_ms: float
    total_p95_ms: float
    boxes_a_picture: float
    moved_boxes: float
    """Share of the boxes that the file finds or loses (IoU below 0.9) beside ncnn's fp32."""
    moved_px: float
    """Pixels by which the others' sides differ, at the 95th percentile."""
    machine: str
    date: str


def run(arguments: Arguments) -> None:
    """Goes the way with each checkpoint, and prints what each command took."""
    for name in arguments.sets:
        found = sorted(arguments.weights.glob(f"{name}-*.pt"))[: arguments.most]
        if not found:
            raise NasError(
                "--weights", f"it holds {name}-*.pt", str(arguments.weights), "See --help"
            )
        for weights in found:
            with tempfile.TemporaryDirectory() as folder:
                go(arguments, name, weights, Path(folder))


def go(arguments: Arguments, name: str, weights: Path, home: Path) -> None:
    """One person's way, in a folder of its own."""
    models = home / "runs" / name / "models"
    models.mkdir(parents=True)
    model = weights.stem.rpartition("-")[2]
    (models / f"{model}.yaml").write_text(load_checkpoint(weights).model, encoding="utf-8")
    (models / f"{model}.pt").write_bytes(weights.read_bytes())
    data = (arguments.datasets / name).resolve()
    pictures = data / "images" / "val"
    steps: list[StepRow] = []

    def step(what: str, *words: object) -> str:
        start = time.perf_counter()
        told = command(home, *words)
        seconds = round(time.perf_counter() - start, 2)
        steps.append(StepRow(set=name, model=model, command=what, seconds=seconds, date=today()))
        append_row(arguments.ways, steps[-1])
        print(f"{name} {model}: {what} {seconds} s", flush=True)
        return told

    exporting = ("-m", "nas.export", models / f"{model}.yaml", "--weights", models / f"{model}.pt")
    more = ("--precision", *arguments.precision, "--bundle", "--data", data / "data.yaml")
    step("nas.export --bundle", *exporting, *more, "--run", "bundle")
    bundle = home / "runs" / "bundle"
    picture = sorted(pictures.iterdir())[0]
    step("detect.py", bundle / "detect.py", "--source", picture, "--out", "found")
    if not (home / "found" / picture.name).is_file():
        raise SystemExit(f"{picture.name} was not drawn")
    report = json.loads((bundle / "report.json").read_text(encoding="utf-8"))
    usual = ("-c", WITHOUT_OPENCV, bundle / "detect.py", "--source", pictures, "--json")
    by_opencv = boxes_of(command(home, *usual[2:]))
    by_pillow = boxes_of(command(home, *usual))
    print(f"{name} {model}: Pillow instead of OpenCV: {told(moved(by_opencv, by_pillow))}")
    for one in report["exported"]:
        row = timed(arguments, home, data, report, one, by_opencv)
        append_row(arguments.times, FileRow(set=name, model=model, **row))
        print(
            f"{name} {model} {row['runtime']} {row['precision']}: mAP50-95 {row['map50_95']:.4f} "
            f"(by its own boxes {row['own_map50_95']:.4f}), "
            f"{row['before_ms']:.2f} + {row['network_ms']:.2f} + {row['after_ms']:.2f} ms, "
            f"{told((row['moved_boxes'], row['moved_px']))}",
            flush=True,
        )


def timed(
    arguments: Arguments,
    home: Path,
    data: Path,
    report: dict[str, Any],
    one: dict[str, Any],
    usual: list[list[dict[str, Any]]],
) -> dict[str, Any]:
    """What detect.py says of one of the bundle's files, as the fields of a FileRow."""
    program = home / "runs" / "bundle" / "detect.py"
    runtime = {"onnx": "onnxruntime", "ncnn": "ncnn"}[one["format"]]
    which = ("--runtime", runtime, "--precision", one["precision"])
    how = ("--source", data / "images" / "val", "--json", "--threads", arguments.threads)
    words = (program, *how, *which)
    found = json.loads(command(home, *words, "--benchmark", arguments.count))
    share, pixels = moved(usual, boxes_of(command(home, *words)))
    every = boxes_of(command(home, *words, "--confidence", SCORE_THRESHOLD))
    total = found["ms"]["total"]
    return {
        "runtime": runtime,
        "precision": one["precision"],
        "threads": arguments.threads,
        **found["input"],
        "megabytes": round(sum(one["bytes"].values()) / 1e6, 3),
        "map50_95": round(one["grade"]["map50_95"], 4),
        "own_map50_95": round(graded(every, data, found["input"]["width"]), 4),
        "torch_map50_95": round(report["map50_95"], 4),
        **{
            f"{part}_ms": round(found["ms"][part]["min"], 3)
            for part in ("before", "network", "after", "total")
        },
        "total_median_ms": round(total["median"], 3),
        "total_mean_ms": round(total["mean"], 3),
        "total_p95_ms": round(total["p95"], 3),
        "boxes_a_picture": round(found["boxes_a_picture"], 2),
        "moved_boxes": round(share, 4),
        "moved_px": round(pixels, 3),
        "machine": found["machine"],
        "date": today(),
    }


def command(home: Path, *words: object) -> str:
    """What a command prints; where it fails its message ends this."""
    # The house that this benchmark is of, wherever the command runs.
    house = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=home,
        env={**os.environ, "PYTHONPATH": house},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def boxes_of(text: str) -> list[list[dict[str, Any]]]:
    """The boxes of each picture, of detect.py's JSON lines."""
    return [json.loads(line)["boxes"] for line in text.splitlines()]


def graded(pictures: list[list[dict[str, Any]]], data: Path, size: int) -> float:
    """mAP50-95 of boxes on the validation part, whose pictures come by name."""
    part = load_part(read_data(data / "data.yaml"), "val", size)
    assert list(part.files) == sorted(part.files, key=lambda name: Path(name).name)
    found = [
        Detections(
            boxes=np.array([one["box"] for one in boxes], np.float64).reshape(-1, 4),
            scores=np.array([one["confidence"] for one in boxes], np.float64),
            classes=np.array([one["class"] for one in boxes], np.int64),
        )
        for boxes in pictures
    ]
    return grade(found, part).map50_95


def moved(
    usual: list[list[dict[str, Any]]], others: list[list[dict[str, Any]]]
) -> tuple[float, float]:
    """The share of boxes without one of their class over there (IoU 0.9), and the others' strays.

    Strays in pixels of the picture, the 95th percentile of the largest of four sides.
    """
    strays: list[float] = []
    alone = count = 0
    for pair in zip(usual, others, strict=True):
        for mine, theirs in (pair, pair[::-1]):
            for one in mine:
                count += 1
                same = [other["box"] for other in theirs if other["class"] == one["class"]]
                best = max(same, key=lambda box: overlap(box, one["box"]), default=None)
                if best is None or overlap(best, one["box"]) < 0.9:
                    alone += 1
                else:
                    strays.append(float(np.abs(np.subtract(best, one["box"])).max()))
    return alone / max(count, 1), float(np.percentile(strays, 95)) if strays else 0.0


def overlap(one: list[float], two: list[float]) -> float:
    """Intersection over union."""
    width = min(one[2], two[2]) - max(one[0], two[0])
    height = min(one[3], two[3]) - max(one[1], two[1])
    common = max(width, 0.0) * max(height, 0.0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, two))
    return common / max(areas - common, 1e-9)


def told(found: tuple[float, float]) -> str:
    """What `moved` found, in words."""
    return f"{found[0]:.2%} of the boxes found or lost, sides within {found[1]:.2f} px"


def today() -> str:
    """The date, UTC."""
    return datetime.now(timezone.utc).date().isoformat()


if __name__ == "__main__":
    command_line(Arguments, run)
