"""Evaluations of detectors that never were: many classes, no box at all, classes that lack."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas.data.images import ImageSet
from nas.grading.detector_file import DetectorFile
from nas.grading.examination import Evaluation, examine
from tests.data.pictures import image_set

AWKWARD = ("cat", "<b>dog</b> & %{x}", "数据")
"""Names that HTML, plotly and OpenCV each take amiss."""


def detector(part: ImageSet, *, finds: bool = True, seed: int = 0) -> DetectorFile:
    """One that finds most objects of the part, or none at all."""
    rng, count = np.random.default_rng(seed), len(part.names)
    asked = iter(range(len(part)))

    def predict(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        boxes = np.zeros((len(images), 12, 5 + count), np.float32)
        for index in range(len(images)) if finds else ():
            rows = part.of(next(asked))
            for place, box in enumerate(part.boxes[rows]):
                kind = int(part.classes[rows][place])
                kind = kind if rng.random() < 0.7 else int(rng.integers(count))
                moved = box + rng.normal(0, 1, 4)
                boxes[index, place, :2] = (moved[:2] + moved[2:]) / 2
                boxes[index, place, 2:4] = moved[2:] - moved[:2]
                boxes[index, place, 4] = 1
                boxes[index, place, 5 + kind] = rng.uniform(0.1, 1)
        return boxes

    return DetectorFile(
        path=Path("made-up.onnx"),
        kind="onnx",
        precision="fp32",
        arithmetic="made up",
        names=part.names,
        image_size=part.image_size,
        strides=(),
        anchors=(),
        predict=predict,
    )


def of_many_classes(count: int = 80) -> Evaluation:
    rng = np.random.default_rng(0)
    places = [(x, y, x + 24, y + 24) for x in (5, 40, 70) for y in (5, 40, 70)]
    objects = [[(int(rng.integers(count)), *place) for place in places] for _ in range(30)]
    names = tuple(f"a rather long name of a class, number {i}" for i in range(count))
    part = image_set(objects, names)
    return _evaluation(detector(part), part)


def of_nothing_found() -> Evaluation:
    """One large object, of the first of three classes."""
    part = image_set([[(0, 5, 5, 60, 60)], []], AWKWARD)
    return _evaluation(detector(part, finds=False), replace(part, sizes=part.sizes * 6))


def _evaluation(file: DetectorFile, part: ImageSet) -> Evaluation:
    return Evaluation(
        model="made-up.onnx",
        data="made up",
        data_digest="0" * 16,
        part="val",
        examinations=(examine(file, part),),
    )
