"""An evaluation as one JSON document: what `--json` prints, and `evaluation.json` holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from numpy.typing import NDArray

from nas.grading.boxes.curves import CONFIDENCES, RECALLS, ClassCurves
from nas.grading.boxes.matching import MATCH_IOU
from nas.grading.boxes.mistakes import Mistake
from nas.grading.boxes.sizes import SIZES
from nas.grading.examination import Evaluation, Examination
from nas.report.evaluation.matrix import BACKGROUND
from nas.space.image_size import written

FORMAT: Final = 1
"""Version of evaluation.json. 1: the first."""

DIGITS: Final = 4
"""Behind the point, of curves and scores; grades have all that they have."""


def evaluation_document(
    evaluation: Evaluation, pictures: Sequence[Sequence[str]] = ()
) -> dict[str, Any]:
    """The document.

    pictures  the names of each examination's PNGs, where they were drawn

    The grades of the first examination stand on top; all of each in `evaluated`.
    """
    named = pictures or [()] * len(evaluation.examinations)
    shared = {
        "model": evaluation.model,
        "data": evaluation.data,
        "data_digest": evaluation.data_digest,
        "part": evaluation.part,
    }
    evaluated = [
        _examination(one, list(names))
        for one, names in zip(evaluation.examinations, named, strict=True)
    ]
    first = _grades(evaluation.examinations[0])
    return {"format": FORMAT, **first, **shared, "evaluated": evaluated}


def _grades(one: Examination) -> dict[str, Any]:
    """A class that the part doesn't show has null."""
    grades = one.grades
    return {
        "map50_95": grades.map50_95,
        "map50": grades.map50,
        "per_class": {
            each.name: {
                "map50_95": each.map50_95,
                "map50": each.map50,
                "objects": each.objects,
            }
            for each in grades.per_class
        },
        "image_size": written(one.image_size),
        "images": grades.images,
        "objects": grades.objects,
    }


def _examination(one: Examination, pictures: list[str]) -> dict[str, Any]:
    file, curves = one.file, one.curves
    sizes = {
        each.name: {
            "map50_95": each.map50_95,
            "map50": each.map50,
            "objects": each.objects,
            "least_pixels": SIZES[each.name][0],
            "most_pixels": SIZES[each.name][1],
        }
        for each in one.by_size
    }
    return {
        "file": str(file.path),
        "kind": file.kind,
        "precision": file.precision,
        "arithmetic": file.arithmetic,
        **_grades(one),
        "per_size": sizes,
        "best_confidence": curves.best_confidence,
        "best_f1": float(curves.f1.max()),
        "curves": {
            "iou": MATCH_IOU,
            "recalls": _rounded(RECALLS),
            "confidences": _rounded(CONFIDENCES),
            "mean": {"precision": _rounded(curves.precision), "f1": _rounded(curves.f1)},
            "per_class": {each.name: _class(each) for each in curves.per_class},
        },
        "confusion": {
            "confidence": one.confusion.confidence,
            "iou": MATCH_IOU,
            "rows": [*file.names, BACKGROUND[0]],
            "columns": [*file.names, BACKGROUND[1]],
            "counts": one.confusion.counts.tolist(),
        },
        "detections": one.detections,
        "false": [_mistake(each) for each in one.false],
        "missed": [_mistake(each) for each in one.missed],
        "pictures": pictures,
    }


def _class(one: ClassCurves) -> dict[str, Any]:
    return {
        "precision": _rounded(one.precision),
        "precision_from": _rounded(one.precision_from),
        "recall_from": _rounded(one.recall_from),
        "f1": _rounded(one.f1),
    }


def _mistake(one: Mistake) -> dict[str, Any]:
    return {
        "image": one.file,
        "class": one.name,
        "score": round(one.score, DIGITS),
        "box": [round(edge, 2) for edge in one.box],
        "why": one.why,
    }


def _rounded(values: NDArray[Any]) -> list[float]:
    return [round(float(one), DIGITS) for one in values]
