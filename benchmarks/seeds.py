"""What weights that know pictures are worth: one detector taught from several beginnings.

    OMP_NUM_THREADS=1 python benchmarks/seeds.py MODEL.yaml --data bccd/data.yaml --epochs 14 \\
        --starts none lite2 lite2-first --seeds 0 1

A start is none, a seed as `nas.train --pretrained` takes it, or lite2-first (the seed's first
channels in place of its most important ones) and lite2-plain (batch norm statistics not measured
again). AdamW 0.004, batch 8, usual augmentation; graded once, at the end, on the validation part. A
line of CSV a training goes to stdout. On a GPU, where there is one, in single precision too.
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
from nas.detector.builder import Detector, build_detector
from nas.detector.pretrained.load import cut, load_seed
from nas.space.spec import ModelSpec, read_spec, with_anchors, with_classes
from nas.terminal import command_line
from nas.training.beginning import begin_with
from nas.training.loop import train
from nas.training.settings import TrainSettings


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Teach one detector from several beginnings and print its grades."""

    models: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Model YAMLs."""
    data: Path
    """A YOLO data.yaml."""
    epochs: int = 12
    """Passes over the training part."""
    image_size: int = 192
    """Pixels."""
    lr: float = 0.004
    """Peak learning rate."""
    starts: tuple[str, ...] = ("none", "lite2")
    """Beginnings to compare."""
    seeds: tuple[int, ...] = (0,)
    """Each model is trained once with each."""


def fitted(path: Path, part: ImageSet) -> ModelSpec:
    """The model for the part's classes, with anchors fitted to it."""
    spec = with_classes(read_spec(path), len(part.names))
    if not spec.anchors:
        return spec
    fit = fit_anchors(box_sizes(part), len(spec.anchors), len(spec.anchors[0]) // 2, seed=0)
    return with_anchors(spec, fit.anchors)


def begin(
    start: str, detector: Detector, part: ImageSet, settings: TrainSettings, number: int
) -> None:
    """Fills the detector as a start says."""
    if start == "none":
        return
    if start == "lite2-first":
        begin_with(load_seed("lite2"), detector, part, settings, seed_number=number, order="first")
    elif start == "lite2-plain":
        cut(load_seed("lite2"), detector)
    else:
        begin_with(load_seed(start), detector, part, settings, seed_number=number, must_fit=True)


def main(arguments: Arguments) -> None:
    """Trains and prints."""
    data = read_data(str(arguments.data))
    train_set, val_set = (load_part(data, p, arguments.image_size) for p in ("train", "val"))
    settings = TrainSettings(
        epochs=arguments.epochs,
        batch_size=8,
        optimizer="adamw",
        lr=arguments.lr,
        momentum=0.9,
        weight_decay=0.01,
        evaluate_every=0,
        amp=False,
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print("model,data,epochs,start,seed,map50_95,map50,core_seconds", flush=True)
    for number in arguments.seeds:
        for path in arguments.models:
            spec = fitted(path, train_set)
            for start in arguments.starts:
                torch.manual_seed(number)
                began = time.process_time()
                detector = build_detector(spec)
                begin(start, detector, train_set, settings, number)
                grades = train(
                    detector, train_set, val_set, settings, seed=number, device=device
                ).grades
                assert grades is not None
                seconds = time.process_time() - began
                print(
                    f"{path.stem},{data.name},{arguments.epochs},{start},{number},"
                    f"{grades.map50_95:.4f},{grades.map50:.4f},{seconds:.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    command_line(Arguments, main)
