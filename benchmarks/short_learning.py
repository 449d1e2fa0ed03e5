"""How well reference models learn in a short training: their mAP, class by class.

    python benchmarks/short_learning.py yolov5n yolov8n --data bccd/data.yaml --steps 120

Each is trained by the recipe of the proxy (nas.training.settings.short_settings) on the training
part and graded on the validation part, both at the image size; anchors are fitted as nas.train
does it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from nas.data.anchors import box_sizes, fit_anchors
from nas.data.dataset import load_part, read_data
from nas.data.images import ImageSet
from nas.detector.builder import build_detector
from nas.space.references import REFERENCES
from nas.space.spec import ModelSpec, read_spec, with_anchors, with_classes
from nas.terminal import command_line
from nas.training.loop import train
from nas.training.settings import short_settings


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Train reference models briefly and print their grades."""

    models: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Names of files in search_spaces/reference/."""
    data: Path
    """A YOLO data.yaml."""
    image_size: int = 128
    """Pixels."""
    steps: int = 120
    """Steps of 8 images."""
    seeds: tuple[int, ...] = (0,)
    """Each model is trained once with each."""


def fitted(name: str, part: ImageSet) -> ModelSpec:
    """The model for the part's classes, with anchors fitted to it."""
    spec = with_classes(read_spec(REFERENCES / f"{name}.yaml"), len(part.names))
    if not spec.anchors:
        return spec
    sizes = box_sizes(part)
    fit = fit_anchors(sizes, len(spec.anchors), len(spec.anchors[0]) // 2, seed=0)
    return with_anchors(spec, fit.anchors)


def main(arguments: Arguments) -> None:
    """Trains and prints, a line a training."""
    data = read_data(str(arguments.data))
    train_set, val_set = (load_part(data, p, arguments.image_size) for p in ("train", "val"))
    print(f"{data.name}, {arguments.image_size} px, {arguments.steps} steps of 8 images")
    for name in arguments.models:
        for seed in arguments.seeds:
            torch.manual_seed(seed)
            detector = build_detector(fitted(name, train_set))
            start = time.perf_counter()
            settings = short_settings(arguments.steps)
            grades = train(detector, train_set, val_set, settings, seed=seed).grades
            assert grades is not None
            classes = ", ".join(
                f"{one.name} {one.map50:.3f}" for one in grades.per_class if one.map50 is not None
            )
            print(
                f"{name}, seed {seed}: mAP50-95 {grades.map50_95:.3f}, mAP50 {grades.map50:.3f}"
                f" ({classes}), {time.perf_counter() - start:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    command_line(Arguments, main)
