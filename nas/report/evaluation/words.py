"""What the page, the PNGs and the terminal say alike."""

from __future__ import annotations

from typing import Final

from nas.grading.examination import Evaluation, Examination

SIZE_NOTE: Final = (
    "area of the object's box in pixels of the picture as it came: below 32 x 32, up to 96 x 96,"
    " above"
)

FALSE_NOTE: Final = (
    "Orange: boxes of the highest scores that find no object. Blue, dashed: what is labelled. An"
    " object that lacks its label shows up here, too."
)

MISSED_NOTE: Final = (
    "Blue: labelled objects that no box finds from the best confidence on, those of the least"
    " score first, then the largest. Orange, dashed: the boxes that are shown."
)

HEAT_NOTE: Final = (
    "Grad-CAM of the logit of the cell that gave the box, at the last map of the backbone that is"
    " as fine as the head's finest; gradients weigh each place of the map (HiResCAM), because"
    " their mean would light every object of the class."
)

NO_HEAT: Final = (
    "No heat maps: an exported file has no gradients to ask for. Evaluate the checkpoint that it"
    " came from."
)


def label(one: Examination) -> str:
    """An examination's file and image size."""
    return f"{one.file.path.name}, {one.image_size} px"


def about(evaluation: Evaluation, one: Examination) -> str:
    """What a PNG is of."""
    return f"{label(one)}; {evaluation.data}, {evaluation.part}, {one.grades.images} images"


def figure(value: float | None) -> str:
    """A grade, or - where there was nothing to grade."""
    return "-" if value is None else f"{value:.3f}"
