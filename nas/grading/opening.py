"""One door for whatever can be graded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from nas.grading.checkpoint_file import open_checkpoint
from nas.grading.detector_file import DetectorFile, DetectorFileError
from nas.grading.exported import REPORT, read_report
from nas.grading.ncnn_file import open_ncnn
from nas.grading.onnx_file import open_onnx

OPENERS: Final[Mapping[str, Callable[[Path], DetectorFile]]] = {
    ".pt": open_checkpoint,
    ".onnx": open_onnx,
    ".param": open_ncnn,
}
"""By the end of a file's name."""

FORMS: Final = (
    "a detector is a best.pt or last.pt of nas.train, an .onnx, a .ncnn.param with its .bin"
    " beside it, or a folder that nas.export left"
)


def open_detectors(path: Path) -> tuple[DetectorFile, ...]:
    """The detector of a file, or all of a folder that nas.export left: a bundle's weights first.

    DetectorFileError where the path leads to none of these, CheckpointError for a bad .pt file.
    """
    if path.is_dir():
        return tuple(OPENERS[one.suffix](one) for one in _files(path))
    opener = OPENERS.get(path.suffix)
    if opener is None:
        raise DetectorFileError(str(path), FORMS, *_what_it_is(path))
    return (opener(path),)


def _files(folder: Path) -> list[Path]:
    """The files of an export that can be graded."""
    report = read_report(folder)
    if report is None:
        remedy = "Name one of the files in it"
        if (folder / "best.pt").is_file():
            remedy = f"Give {folder / 'best.pt'}"
        raise DetectorFileError(str(folder), FORMS, f"a folder without {REPORT}", remedy)
    names = [*report.beside, *(name for entry in report.exported for name in entry.files)]
    found = [folder / name for name in names if Path(name).suffix in OPENERS]
    if not found:
        raise DetectorFileError(
            str(folder),
            "an export that can be graded has an ONNX or an ncnn file",
            ", ".join(names) or "none",
            "Export the model with --format onnx ncnn",
        )
    return found


def _what_it_is(path: Path) -> tuple[str, str]:
    """What was got, and what to do about it."""
    if not path.exists():
        return "no such file", "Correct the path"
    if path.suffix == ".bin":
        return path.name, f"Give {path.with_suffix('.param')}"
    if path.suffix in (".yaml", ".yml"):
        return f"{path.name}, a model without weights", "Give the best.pt that nas.train left"
    return path.name, "Give one of these"
