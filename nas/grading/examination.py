"""All that is found out about one detector file at one image size, on one part of a data set."""

from __future__ import annotations

from dataclasses import dataclass

from nas.data.images import ImageSet
from nas.grading.boxes.confusion import Confusion, confusion
from nas.grading.boxes.curves import Curves, curves
from nas.grading.boxes.heat import HeatMap, heat_maps
from nas.grading.boxes.matching import match
from nas.grading.boxes.mistakes import Mistake, false_boxes, missed_objects
from nas.grading.boxes.sizes import SIZES, SizeGrade, size_grades
from nas.grading.detector_file import DetectorFile
from nas.space.image_size import ImageSize
from nas.training.metrics import ANY_AREA, Grades, detect, grade, precision_table


@dataclass(frozen=True, kw_only=True)
class Examination:
    """The grades of a detector file, and what stands behind them."""

    file: DetectorFile
    image_size: ImageSize
    """Of the images that were graded on."""
    grades: Grades
    by_size: tuple[SizeGrade, ...]
    curves: Curves
    detections: int
    """Boxes that were graded, of any score."""
    confusion: Confusion
    """From the confidence of the best mean F1 on."""
    false: tuple[Mistake, ...]
    missed: tuple[Mistake, ...]
    heat: tuple[HeatMap, ...] | None
    """None where there are no gradients to ask for: of an exported file."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was examined in one go: files, image sizes, on one part of a data set."""

    model: str
    """The path that was asked for."""
    data: str
    """The data set's name."""
    data_digest: str
    part: str
    """train, val or test."""
    examinations: tuple[Examination, ...]


def examine(file: DetectorFile, part: ImageSet) -> Examination:
    """Grades a file on a part whose images have a size that it takes, and looks at its boxes."""
    found = list(detect(file.predict, part))
    matches = match(found, part)
    precision = precision_table(found, part, (ANY_AREA, *SIZES.values()))
    read = curves(precision[0, :, :, 0], matches, part.names)
    confidence = read.best_confidence
    return Examination(
        file=file,
        image_size=part.image_size,
        grades=grade(found, part),
        by_size=size_grades(precision[..., 1:], matches.objects.boxes),
        curves=read,
        detections=len(matches.detections),
        confusion=confusion(matches, confidence, len(part.names)),
        false=false_boxes(matches, part),
        missed=missed_objects(matches, part, confidence),
        heat=None if file.detector is None else heat_maps(file.detector, part, matches),
    )
