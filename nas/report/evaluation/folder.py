"""The folder that an evaluation leaves, whole or not at all: the page, its PNGs, the document."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from nas import NasError
from nas.files import recover_folder, whole_folder
from nas.grading.examination import Evaluation, Examination
from nas.report.evaluation.document import evaluation_document
from nas.report.evaluation.lines import f1_confidence, precision_recall
from nas.report.evaluation.matrix import confusion_png
from nas.report.evaluation.page import evaluation_page
from nas.report.evaluation.plots import curve_png
from nas.report.evaluation.sheets import heat_tiles, mistake_tiles, sheet_png
from nas.report.evaluation.words import about

DOCUMENT: Final = "evaluation.json"
PAGE: Final = "evaluation.html"


class EvaluationFolderError(NasError):
    """A folder that an evaluation can't be left in."""


def check_folder(folder: Path) -> None:
    """EvaluationFolderError unless the folder is new, empty, or holds an evaluation alone."""
    remedy = "Name another folder with --run"
    rule = "the folder is new, empty, or holds an earlier evaluation alone, which is replaced"
    try:
        if not folder.exists():
            return
        if not folder.is_dir():
            raise EvaluationFolderError(
                str(folder), "an evaluation is left in a folder", "a file", remedy
            )
        foreign = sorted({path.name for path in folder.iterdir()} - _listed(folder / DOCUMENT))
    except OSError as error:
        got = error.strerror or str(error)
        raise EvaluationFolderError(str(folder), rule, got, remedy) from error
    if foreign:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise EvaluationFolderError(str(folder), rule, f"{foreign[0]}{more}", remedy)


def leave_evaluation(folder: Path, evaluation: Evaluation) -> dict[str, Any]:
    """Fills the folder, and returns the document. An earlier evaluation there is replaced."""
    folder = folder.resolve()
    try:
        recover_folder(folder)
        check_folder(folder)
        with whole_folder(folder) as temporary:
            names = _pictures(evaluation, temporary)
            page = evaluation_page(evaluation)
            (temporary / PAGE).write_text(page, encoding="utf-8")
            document = evaluation_document(evaluation, names)
            text = json.dumps(document, indent=1) + "\n"
            (temporary / DOCUMENT).write_text(text, encoding="utf-8")
    except OSError as error:
        raise EvaluationFolderError(
            str(folder),
            "an evaluation can be written there",
            f"{error.strerror or error} ({error.filename or 'writing'})",
            "Make room there, or name another folder with --run; an earlier one is as it was",
        ) from error
    return document


def _pictures(evaluation: Evaluation, folder: Path) -> list[list[str]]:
    """Draws the PNGs of each examination, and returns their names."""
    found = []
    for one in evaluation.examinations:
        before = "" if len(evaluation.examinations) == 1 else f"{_stem(one)}-"
        names = []
        for name, draw in _plots(evaluation, one).items():
            names.append(f"{before}{name}.png")
            (folder / names[-1]).write_bytes(draw())
        found.append(names)
    return found


def _plots(evaluation: Evaluation, one: Examination) -> dict[str, Callable[[], bytes]]:
    """What is drawn of an examination, by name."""
    of, names = about(evaluation, one), one.file.names
    plots: dict[str, Callable[[], bytes]] = {
        "precision-recall": lambda: curve_png(precision_recall(one), of),
        "f1-confidence": lambda: curve_png(f1_confidence(one), of),
        "confusion": lambda: confusion_png(one.confusion, names, of),
        "false-boxes": lambda: sheet_png(
            "Worst false boxes",
            (of, "orange: the box; blue, dashed: what is labelled"),
            mistake_tiles(one.false, are_boxes=True),
        ),
        "missed-objects": lambda: sheet_png(
            "Worst missed objects",
            (of, f"blue: the object; orange, dashed: boxes from {one.confusion.confidence:.2f} on"),
            mistake_tiles(one.missed, are_boxes=False),
        ),
    }
    if (heat := one.heat) is not None:
        note = "Grad-CAM of the logit of the cell that gave the box; bright: what raised it"
        plots["heat-maps"] = lambda: sheet_png("What made a box", (of, note), heat_tiles(heat))
    return plots


def _stem(one: Examination) -> str:
    """An examination's name for its files."""
    stem = one.file.path.stem.removesuffix(".ncnn")
    return re.sub(r"[^\w.-]+", "_", f"{stem}-{one.file.kind}-{one.image_size}px")


def _listed(document: Path) -> set[str]:
    """The files of an evaluation, by its document; none where it can't be read."""
    try:
        values = json.loads(document.read_text(encoding="utf-8"))
        pictures = {name for one in values["evaluated"] for name in one["pictures"]}
        return {DOCUMENT, PAGE, *pictures}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
