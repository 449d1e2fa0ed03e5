"""The folder that an export leaves: files that are whole, and `report.json`, which names them.

Everything is written beside the folder first, and takes its place when all of it was checked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from nas import NasError
from nas.deploy.check import Comparison
from nas.files import recover_folder, whole_folder
from nas.space.image_size import ImageSize, sides, written

FORMAT: Final = 2
"""1: the first. 2: how raw maps and pixels are read (head, bins, mean, scale), and what a bundle's
files are worth."""

REPORT: Final = "report.json"


class ExportFolderError(NasError):
    """A folder that an export can't be left in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileGrade:
    """How good a file is, run by its own runtime."""

    map50_95: float
    map50: float
    confidence: float
    """From which on its boxes have the best mean F1: what detect.py shows."""
    arithmetic: str
    """What computed, in which numbers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileLatency:
    """What a board's table says of a file, with a 90 % interval; nothing where `told` says why."""

    device: str
    runtime: str
    precision: str
    """How the board computes; fp16 is stored so, and computed in fp32 where cores have no other."""
    threads: int
    ms: float | None = None
    low_ms: float | None = None
    high_ms: float | None = None
    kind: str = "unknown"
    """measured, predicted, estimated (nas.latency.answer), or unknown."""
    heldout_mape: float | None = None
    told: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class GradedOn:
    """The images that files were graded on."""

    data: str
    data_digest: str
    part: str
    images: int
    objects: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Int8Layer:
    """One convolution of an int8 file."""

    tensor: int
    """Its output's number in the graph."""
    what: str
    computes: str
    """float; direct or winograd: in int8 by that kernel (nas.emit.int8)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Int8Speed:
    """An int8 file beside the fp32 file of the same runtime."""

    kind: str
    """measured (both files, here), predicted or estimated (tables), or unknown."""
    where: str
    """Machine or board, and threads."""
    fp32_ms: float | None = None
    int8_ms: float | None = None
    share: float | None = None
    """Of fp32's time that int8 takes; of files that took turns the median of pairs."""
    low_share: float | None = None
    high_share: float | None = None
    """Its 90 % interval."""
    told: str = ""

    @property
    def is_decided(self) -> bool:
        """Whether the interval excludes that both are as fast."""
        if self.low_share is None or self.high_share is None:
            return False
        return self.high_share < 1 or self.low_share > 1

    @property
    def is_faster(self) -> bool:
        """Whether int8 is the faster one, for certain."""
        return self.high_share is not None and self.high_share < 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Int8Facts:
    """What an int8 file loses and wins, and how it was made."""

    map50_95: float
    fp32_map50_95: float
    """Of the same runtime's fp32 file."""
    part: str
    """The images of both."""
    images: int
    arithmetic: str
    ranges: str
    """How the ranges of maps were found (nas.deploy.int8.ranges)."""
    calibration: str
    """Where the pictures came from."""
    calibration_pictures: int
    calibration_digest: str
    """16 hex digits over their pixels."""
    layers: tuple[Int8Layer, ...]
    won: str
    """How each layer's milliseconds were found."""
    tried: tuple[str, ...]
    """Files that were graded on the way, and their mAP50-95."""
    speed: Int8Speed


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """One exported model: its files' names, and how far it is from torch."""

    format: str
    """onnx, ncnn or mmyolo."""
    precision: str
    """fp32, fp16 or int8: how its weights are stored; of mmyolo's fp32."""
    files: tuple[str, ...]
    input: str = ""
    """The input's name; empty where nothing runs alone (mmyolo)."""
    outputs: tuple[str, ...] = ()
    """The outputs' names."""
    holds: str = ""
    """maps (raw, one output a level), or the layout of decoded boxes (nas.deploy.decode)."""
    error: Comparison | None = None
    """Against torch, on one image; None where nothing runs alone."""
    grade: FileGrade | None = None
    """Of a bundle's file that runs alone."""
    latency: FileLatency | None = None
    """Of a bundle's file that runs alone."""
    int8: Int8Facts | None = None
    """Of a file in int8."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportReport:
    """What stands in `report.json`."""

    model: str
    digest: str
    """Of the architecture and the image size, as in pareto.json."""
    image_size: ImageSize
    classes: tuple[str, ...]
    anchors: tuple[tuple[float, ...], ...]
    """Pixels of the input, (w, h) pairs for each level; none where the head has none."""
    strides: tuple[int, ...]
    head: str
    """anchors or anchor-free: how raw maps are decoded (nas.deploy.on_board.detect does)."""
    bins: int
    """Of a head without anchors: numbers for each side of a box; 0 of one with anchors."""
    weights: str
    """The checkpoint's path, or how random ones were drawn."""
    map50_95: float | None
    """That of the checkpoint, on its validation part; of a bundle, graded anew on `graded_on`."""
    exported: tuple[Exported, ...]
    graded_on: GradedOn | None = None
    """Of a bundle."""
    beside: tuple[str, ...] = ()
    """A bundle's other files: model YAML, weights, class names, program, README."""
    trainers: dict[str, str] = field(default_factory=dict)
    """Which of YOLOv5, Ultralytics and MMYOLO train the model, and how much of it."""
    versions: dict[str, str] = field(default_factory=dict)

    def document(self, folder: Path) -> dict[str, Any]:
        """The report as JSON, with the size and digest of each file."""
        values = {"format": FORMAT, **asdict(self), "image_size": written(self.image_size)}
        values["input"] = {
            "shape": [1, 3, *sides(self.image_size)],
            "type": "float32",
            "colours": "RGB",
            "range": [0, 1],
            "mean": [0, 0, 0],
            "scale": [1 / 255, 1 / 255, 1 / 255],
            "padding": "the picture in the middle of the image, grey 114 around it",
        }
        values["beside"] = {
            name: {"bytes": (folder / name).stat().st_size, "sha256": _sha256(folder / name)}
            for name in self.beside
        }
        for one in values["exported"]:
            one["bytes"] = {name: (folder / name).stat().st_size for name in one["files"]}
            one["sha256"] = {name: _sha256(folder / name) for name in one["files"]}
        return values


def write_report(folder: Path, report: ExportReport) -> dict[str, Any]:
    """Writes `report.json` beside the files that it names; returns what stands in it."""
    document = report.document(folder)
    (folder / REPORT).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return document


def leave_export(folder: Path, make: Callable[[Path], ExportReport]) -> dict[str, Any]:
    """Fills `folder` by `make`, whole or not at all, and returns the report's document.

    make    writes its files into the (temporary) folder that it is given, and reports them

    An earlier export there is replaced once all of the new one stands, and stays as it is where
    anything fails. ExportFolderError where the folder holds anything else, or can't be written.
    """
    folder = folder.resolve()
    try:
        recover_folder(folder)
        check_folder(folder)
        with whole_folder(folder) as temporary:
            document = write_report(temporary, make(temporary))
    except OSError as error:
        raise ExportFolderError(
            str(folder),
            "an export can be written there",
            f"{error.strerror or error} ({error.filename or 'writing'})",
            "Make room there, or name another folder with --run; an earlier export is as it was",
        ) from error
    return document


def check_folder(folder: Path) -> None:
    """ExportFolderError unless the folder is new, empty, or holds an export and nothing else."""
    if not folder.exists():
        return
    remedy = "Name another folder with --run"
    if not folder.is_dir():
        raise ExportFolderError(str(folder), "an export is left in a folder", "a file", remedy)
    found = {path.name for path in folder.iterdir()}
    if foreign := sorted(found - _listed(folder / REPORT)):
        raise ExportFolderError(
            str(folder),
            "the folder is new, empty, or holds an earlier export alone, which is replaced",
            f"{foreign[0]}" + (f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""),
            remedy,
        )


def _listed(report: Path) -> set[str]:
    """The files of an export, by its report; none where it can't be read."""
    try:
        document = json.loads(report.read_text(encoding="utf-8"))
        exported = {name for one in document["exported"] for name in one["files"]}
        return {REPORT, *exported, *document.get("beside", ())}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
