"""Grades trained detectors on one part of a data set.

    python -m nas.evaluate runs/a/MODEL-s0/best.pt --data my.yaml --part test --json

mAP as COCO defines it, in pixels of the pictures as they came; per class, and the mean over the
classes that the part shows.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from nas import NasError
from nas.terminal import command_line, show_table

if TYPE_CHECKING:
    from nas.data.dataset import DataConfig
    from nas.training.metrics import Grades
    from nas.training.on_disk.checkpoint import Checkpoint


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Grade a trained detector on one part of a data set."""

    model: Annotated[Path, tyro.conf.Positional]
    """A best.pt or last.pt of nas.train."""
    data: str = "shapes"
    """A YOLO data.yaml, or `shapes`, the built-in drawn data set."""
    part: Literal["train", "val", "test"] = "val"
    """The part to grade on."""
    image_size: int | None = None
    """Pixels of the square image, a multiple of 32; by default the size it was trained at."""
    json: bool = False
    """Print one JSON document."""


def run(arguments: Arguments) -> None:
    """Reads the weights and the data, and prints the grades."""
    import torch

    from nas.data.dataset import load_part, read_data
    from nas.training.metrics import evaluate_detector
    from nas.training.on_disk.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(arguments.model)
    data = read_data(arguments.data)
    for tally in data.tallies:
        print(f"{data.name}, {tally}", file=sys.stderr)
    check_classes(arguments.model, checkpoint, data)
    detector = checkpoint.build()
    size = checkpoint.image_size if arguments.image_size is None else arguments.image_size
    stride = max(detector.head.strides)
    if size < stride or size % stride:
        raise NasError(
            "--image-size",
            f"the image size is a multiple of {stride}, the detector's largest stride",
            str(size),
            f"Give {max(1, round(size / stride)) * stride}",
        )
    part = load_part(data, arguments.part, size)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    grades = evaluate_detector(detector.to(device), part)
    if arguments.json:
        print(json.dumps(document(arguments, data, size, grades), indent=1))
    else:
        show(arguments, data, size, grades)


def check_classes(path: Path, checkpoint: Checkpoint, data: DataConfig) -> None:
    """NasError where the weights were taught other classes than the data has."""
    if checkpoint.names != data.names:
        raise NasError(
            str(path),
            f"the weights were taught the classes of {data.name} ({', '.join(data.names)})",
            ", ".join(checkpoint.names),
            "Name the data set that they were trained on, or one with the same classes",
        )


def document(arguments: Arguments, data: DataConfig, size: int, grades: Grades) -> dict[str, Any]:
    """The grades for programs; a class that the part doesn't show has null."""
    return {
        "map50_95": grades.map50_95,
        "map50": grades.map50,
        "per_class": {
            one.name: {"map50_95": one.map50_95, "map50": one.map50, "objects": one.objects}
            for one in grades.per_class
        },
        "model": str(arguments.model),
        "data": data.name,
        "data_digest": data.digest,
        "part": arguments.part,
        "image_size": size,
        "images": grades.images,
        "objects": grades.objects,
    }


def show(arguments: Arguments, data: DataConfig, size: int, grades: Grades) -> None:
    """The grades for people."""
    from rich.table import Table

    table = Table(
        title=f"{arguments.model}, {data.name} {arguments.part} ({grades.images} images), {size} px"
    )
    for heading in ("class", "objects", "mAP50-95", "mAP50"):
        table.add_column(heading)
    for one in grades.per_class:
        figures = ("-" if v is None else f"{v:.3f}" for v in (one.map50_95, one.map50))
        table.add_row(one.name, str(one.objects), *figures)
    table.add_row("all", str(grades.objects), f"{grades.map50_95:.3f}", f"{grades.map50:.3f}")
    show_table(table)


if __name__ == "__main__":
    command_line(Arguments, run)
