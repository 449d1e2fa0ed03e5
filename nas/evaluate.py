"""Grades detectors, in whatever form they lie, on one part of a data set.

    python -m nas.evaluate runs/a/MODEL-s0/best.pt --data my.yaml --part test
    python -m nas.evaluate best.pt --data my.yaml --image-size 192 256 320
    python -m nas.evaluate runs/export-MODEL-320px --data my.yaml        # each file of an export

mAP as COCO defines it, in pixels of the pictures as they came; per class and size of object, and
the mean over the classes that the part shows. It leaves a page with curves, confusion matrix, the
worst mistakes and heat maps, the same as PNGs, and evaluation.json (docs/evaluation.md).
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from nas import NasError
from nas.terminal import RUNS, command_line, run_folder, say, show_table

if TYPE_CHECKING:
    from nas.data.dataset import DataConfig
    from nas.grading.detector_file import DetectorFile
    from nas.grading.examination import Evaluation, Examination
    from nas.space.image_size import ImageSize


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Grade a detector on one part of a data set."""

    model: Annotated[Path, tyro.conf.Positional]
    """A best.pt or last.pt of nas.train, an ONNX file, an ncnn .param, or a folder that nas.export
    left: then each of its files."""
    data: str = "shapes"
    """A YOLO data.yaml, or `shapes`, the built-in drawn data set."""
    part: Literal["train", "val", "test"] = "val"
    """The part to grade on."""
    image_size: tuple[str, ...] = ()
    """One size or several, in pixels: 320 is a square, 320x192 is 320 wide and 192 high, each a
    multiple of 32; by default the size it was trained at. An exported file has one size."""
    run: str | None = None
    """The name of the folder in runs/, or its path; an earlier evaluation there is replaced."""
    json: bool = False
    """Print one JSON document."""


def run(arguments: Arguments) -> None:
    """Opens the detector and the data, grades, leaves the page, and prints the grades."""
    if not arguments.model.exists():  # said at once: torch takes a second to load
        raise NasError(
            str(arguments.model), "the detector is a file, or a folder of nas.export",
            "no such file", "Correct the path",
        )  # fmt: skip
    from nas.data.dataset import read_data
    from nas.grading.opening import open_detectors
    from nas.report.evaluation.folder import check_folder, leave_evaluation

    sizes = read_sizes(arguments.image_size)
    files = open_detectors(arguments.model)
    data = read_data(arguments.data)
    for tally in data.tallies:
        print(f"{data.name}, {tally}", file=sys.stderr)
    wanted = [(file, size) for file in files for size in sizes_of(file, sizes)]
    for file in files:
        check_classes(file, data)
    folder = folder_of(arguments, data)
    check_folder(folder)
    evaluation = evaluate(arguments, data, wanted)
    document = leave_evaluation(folder, evaluation)
    if arguments.json:
        print(json.dumps(document, indent=1))
    elif len(evaluation.examinations) == 1:
        show(arguments, evaluation)
    else:
        show_all(arguments, evaluation)
    say(f"left in {folder}: evaluation.html, its plots as PNGs, evaluation.json")


def folder_of(arguments: Arguments, data: DataConfig) -> Path:
    """Where the evaluation is left."""
    if arguments.run is not None:
        return run_folder(arguments.run)
    model = arguments.model.absolute()
    # A best.pt is told by its training's folder.
    parts = [model.parent.name] if model.stem in ("best", "last") else []
    parts += [model.name if model.is_dir() else model.stem, data.name, arguments.part]
    return RUNS / re.sub(r"[^\w.-]+", "_", f"evaluate-{'-'.join(parts)}")


def read_sizes(asked: tuple[str, ...]) -> tuple[ImageSize, ...]:
    """The sizes that the flag names; NasError for what is none, or stands twice."""
    from nas.space.image_size import read_image_size

    sizes = tuple(read_image_size(text, "--image-size") for text in asked)
    if len(set(sizes)) != len(sizes):
        got = " ".join(map(str, asked))
        raise NasError("--image-size", "no size is named twice", got, "Name each once")
    return sizes


def sizes_of(file: DetectorFile, asked: tuple[ImageSize, ...]) -> tuple[ImageSize, ...]:
    """The image sizes to grade a file at; NasError for one that it can't take."""
    from nas.space.image_size import is_multiple, nearest

    if file.has_fixed_size:
        if other := [size for size in asked if size != file.image_size]:
            raise NasError(
                "--image-size",
                f"{file.path.name} takes images of {file.image_size} px alone, as it was exported",
                str(other[0]),
                "Leave the flag out, or evaluate the checkpoint that it came from",
            )
        return (file.image_size,)
    stride = max(file.strides)
    for size in asked:
        if not is_multiple(size, stride):
            raise NasError(
                "--image-size",
                f"the image size is a multiple of {stride}, the detector's largest stride",
                str(size),
                f"Give {nearest(size, stride)}",
            )
    return asked or (file.image_size,)


def check_classes(file: DetectorFile, data: DataConfig) -> None:
    """NasError where the weights were taught other classes than the data has."""
    if file.names == data.names:
        return
    count = ""
    if len(file.names) != len(data.names):
        count = f"{len(file.names)} instead of {len(data.names)}: "
    elif sorted(file.names) == sorted(data.names):
        count = "the same in another order: "
    raise NasError(
        str(file.path),
        f"the weights were taught the classes of {data.name} ({', '.join(data.names)})",
        f"{count}{', '.join(file.names)}",
        "Name the data set that they were trained on, or one with the same classes",
    )


def evaluate(
    arguments: Arguments, data: DataConfig, wanted: list[tuple[DetectorFile, ImageSize]]
) -> Evaluation:
    """Examines each file at each size; images are decoded once for files of one size."""
    from nas.data.dataset import load_part
    from nas.grading.examination import Evaluation, examine

    examinations: list[Examination] = []
    part = None
    for place, (file, size) in enumerate(wanted, start=1):
        if part is None or part.image_size != size:
            part = load_part(data, arguments.part, size)
        many = f" ({place} of {len(wanted)})" if len(wanted) > 1 else ""
        say(f"{file.path.name} on {len(part)} images of {size} px, {file.arithmetic}{many}")
        examinations.append(examine(file, part))
    return Evaluation(
        model=str(arguments.model),
        data=data.name,
        data_digest=data.digest,
        part=arguments.part,
        examinations=tuple(examinations),
    )


def show(arguments: Arguments, evaluation: Evaluation) -> None:
    """The grades of one file at one size, for people."""
    from rich.table import Table

    from nas.report.evaluation.lines import f1_words
    from nas.report.evaluation.words import figure

    (one,) = evaluation.examinations
    grades = one.grades
    table = Table(
        title=f"{arguments.model}, {evaluation.data} {evaluation.part}"
        f" ({grades.images} images), {one.image_size} px",
    )
    for heading in ("class", "objects", "mAP50-95", "mAP50"):
        table.add_column(heading)
    for each in grades.per_class:
        row = (each.name, str(each.objects), figure(each.map50_95), figure(each.map50))
        table.add_row(*row)
    table.add_section()
    for size in one.by_size:
        row = (size.name, str(size.objects), figure(size.map50_95), figure(size.map50))
        table.add_row(*row)
    table.add_section()
    table.add_row("all", str(grades.objects), figure(grades.map50_95), figure(grades.map50))
    show_table(table)
    print(f"best F1: {f1_words(one.curves)} (confidence); computed by {one.file.arithmetic}")


def show_all(arguments: Arguments, evaluation: Evaluation) -> None:
    """The grades of several files or sizes, a line each."""
    from rich.table import Table

    from nas.report.evaluation.lines import f1_words
    from nas.report.evaluation.words import figure

    grades = evaluation.examinations[0].grades
    table = Table(
        title=f"{arguments.model}, {evaluation.data} {evaluation.part} ({grades.images} images)",
        caption="small, medium and large: mAP50-95; best F1 at its confidence",
    )
    table.add_column("file", no_wrap=True)
    for heading in ("px", "mAP50-95", "mAP50", "small", "medium", "large", "best F1"):
        table.add_column(heading)
    table.add_column("computed by")
    for one in evaluation.examinations:
        table.add_row(
            one.file.path.name,
            str(one.image_size),
            figure(one.grades.map50_95),
            figure(one.grades.map50),
            *(figure(size.map50_95) for size in one.by_size),
            f1_words(one.curves),
            one.file.arithmetic,
        )
    show_table(table)


if __name__ == "__main__":
    command_line(Arguments, run)
