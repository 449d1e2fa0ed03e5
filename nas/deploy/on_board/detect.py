"""Finds objects in pictures, with the detector that lies beside it.

    python3 detect.py --source picture.jpg --out found        # a picture, a folder or a video
    python3 detect.py --source camera                         # a USB camera; camera:1 is the next
    python3 detect.py --source picamera2 --frames 100         # a Raspberry Pi's own camera
    python3 detect.py --source pictures/ --benchmark 100

One file: Python 3.9 or newer, numpy, Pillow or OpenCV (video and USB cameras need OpenCV), and
ncnn or onnxruntime. It uses no network. `report.json` beside it says which models there are and how
they are read. What a picture goes through: `letterbox` and `to_input`, the network, `candidates`,
`suppress` and `to_picture`; `BundledDetector` does all of it and takes the times.

Exit 0 done, 2 a mistake (one message says which), 130 interrupted.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import io
import itertools
import json
import math
import os
import platform
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import numpy as np

if TYPE_CHECKING:  # absent from the numpy of older systems
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Frame = tuple[int, int, int, int]
    Outputs = list[NDArray[np.float32]]

REPORT = "report.json"
REPORT_FORMATS = (2,)
"""Versions of report.json that are understood here."""

GREY = 114
"""The value of the padding."""

CONFIDENCE = 0.25
"""From which on boxes are shown where neither --confidence nor the model's grade says it."""

IOU = 0.6
"""What --iou is if nothing is said: that of grading."""

CANDIDATES = 1000
"""Best-scored pairs of box and class of a picture that are compared with each other."""

MOST_BOXES = 100
"""Best-scored boxes of a picture that are given."""

BLOCK = 16
"""Boxes that are compared with all others at once."""

WARM_UP = 10
"""Pictures before a benchmark's first."""

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".mjpeg")
"""Endings of files: of a folder's pictures, and of what is read as a video."""

LEAST_SIDE = 480
"""Pixels: a drawn picture whose longer side is below is enlarged, so that its labels are read."""

LEAST_FREE = 20 << 20
"""Bytes that must be free where pictures are to be saved."""

PACKAGES = {
    "ncnn": "ncnn",
    "onnxruntime": "onnxruntime",
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
}
"""What is imported -> what is installed."""


class SourceError(Exception):
    """A mistake, told in one message; exit code 2."""


@cache
def _imported(name: str) -> tuple[Any, str]:
    """A package and nothing, or None and why it can't be used. Asked once: looking costs time."""
    try:
        return importlib.import_module(name), ""
    except ModuleNotFoundError as error:
        if error.name == name:
            return None, "not installed here"
        return None, f"installed, but it lacks {error.name}"
    except (ImportError, AttributeError, ValueError, OSError) as error:
        # A part built for another numpy, say, or a library that the system lacks.
        told = " ".join(str(error).split())[:200]
        return None, f"installed, but it fails to load ({type(error).__name__}: {told})"


def _package(name: str) -> Any:
    """An installed package, or None where it can't be used."""
    return _imported(name)[0]


def _pip(*names: str) -> str:
    """The command that installs these."""
    return f"{sys.executable or 'python3'} -m pip install {' '.join(PACKAGES[n] for n in names)}"


# ---------------------------------------------------------------- what lies in the bundle

RUNTIMES = {"ncnn": "ncnn", "onnx": "onnxruntime"}
"""Format of a file -> what runs it; the first is taken where nothing is said."""

PRECISIONS = ("fp32", "fp16", "int8")
"""In the order in which they are taken where nothing is said."""


@dataclass(frozen=True)
class BundleModel:
    """One of a bundle's models, and how its outputs are read.

    files     of ncnn the .param and the .bin
    holds     maps (raw, one output a level), yolov5 boxes, or yolov8 boxes
    anchors   pixels of the input, (w, h) pairs for each level; none where the head has none
    bins      of a head without anchors: how many numbers stand for one side of a box
    confidence  from which on its boxes were best on validation images
    """

    name: str
    runtime: str
    precision: str
    files: tuple[Path, ...]
    digests: tuple[str, ...]
    input: str
    outputs: tuple[str, ...]
    holds: str
    height: int
    width: int
    classes: tuple[str, ...]
    strides: tuple[int, ...]
    anchors: tuple[tuple[float, ...], ...]
    bins: int
    confidence: float = CONFIDENCE


def read_models(folder: Path) -> list[BundleModel]:
    """The models that a bundle's report.json lists. SourceError where it can't be used."""
    path = folder / REPORT
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        if report["format"] not in REPORT_FORMATS:
            raise SourceError(
                f"{path}: this detect.py reads format {REPORT_FORMATS[-1]}; got "
                f"{report['format']}. Take the detect.py that came with the bundle."
            )
        return [
            _model(folder, report, one) for one in report["exported"] if one["format"] in RUNTIMES
        ]
    except FileNotFoundError:
        raise SourceError(
            f"{path}: a bundle has this file; there is none. Copy the whole folder that nas.export "
            "--bundle left, or name it with --bundle."
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(
            f"{path}: it says what lies in the bundle; it can't be read "
            f"({type(error).__name__}: {error}). Copy the bundle again."
        ) from error


def _model(folder: Path, report: Any, one: Any) -> BundleModel:
    height, width = report["input"]["shape"][2:]
    return BundleModel(
        name=str(report["model"]),
        runtime=RUNTIMES[one["format"]],
        precision=str(one["precision"]),
        files=tuple(folder / name for name in one["files"]),
        digests=tuple(one["sha256"][name] for name in one["files"]),
        input=str(one["input"]),
        outputs=tuple(one["outputs"]),
        holds=str(one["holds"]),
        height=int(height),
        width=int(width),
        classes=tuple(map(str, report["classes"])),
        strides=tuple(map(int, report["strides"])),
        anchors=tuple(tuple(map(float, level)) for level in report["anchors"]),
        bins=int(report["bins"]),
        confidence=float((one.get("grade") or {}).get("confidence", CONFIDENCE)),
    )


def choose_model(
    models: list[BundleModel], runtime: str | None = None, precision: str | None = None
) -> BundleModel:
    """The model that is asked for, or the first that runs here. SourceError says why none does."""
    held = ", ".join(f"{one.runtime} {one.precision}" for one in models) or "nothing that runs"
    fitting = [
        one
        for one in models
        if one.runtime == (runtime or one.runtime) and one.precision == (precision or one.precision)
    ]
    if not fitting:
        asked = " ".join(word for word in (runtime, precision) if word)
        raise SourceError(f"--runtime, --precision: the bundle holds {held}; asked was {asked}.")
    usable = [one for one in fitting if _package(one.runtime) is not None]
    if not usable:
        lacking = list(dict.fromkeys(one.runtime for one in fitting))
        told = "; ".join(f"{name}: {_imported(name)[1]}" for name in lacking)
        ways = ", or ".join(_pip(name) for name in lacking)
        raise SourceError(f"{told}. What is asked for needs it. Install it: {ways}")
    runtimes = list(RUNTIMES.values())

    def place(one: BundleModel) -> tuple[int, int]:
        is_known = one.precision in PRECISIONS
        last = len(PRECISIONS)
        return (
            runtimes.index(one.runtime),
            PRECISIONS.index(one.precision) if is_known else last,
        )

    return min(usable, key=place)


def check_files(model: BundleModel) -> None:
    """SourceError where a model's file is absent, or not as it was exported.

    Runtimes may die of a damaged file without a word: its digest is looked at before.
    """
    for path, digest in zip(model.files, model.digests):  # noqa: B905  # Python 3.9
        try:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise SourceError(
                f"{path}: {REPORT} names this file; {error.strerror or error}. Copy the bundle "
                "again."
            ) from error
        if found != digest:
            raise SourceError(
                f"{path}: damaged, its sha256 is not the one in {REPORT}. Copy the bundle again."
            )


# ---------------------------------------------------------------- before the network


def fit_frame(width: int, height: int, input_width: int, input_height: int) -> Frame:
    """Left, top, width, height of a picture that fills the input, its sides' ratio kept."""
    scale = min(input_width / width, input_height / height)
    inner_width = min(input_width, max(1, round(width * scale)))
    inner_height = min(input_height, max(1, round(height * scale)))
    left, top = (input_width - inner_width) // 2, (input_height - inner_height) // 2
    return left, top, inner_width, inner_height


def letterbox(picture: Bytes, height: int, width: int) -> tuple[Bytes, Frame]:
    """A picture (H, W, 3) in the middle of a grey one of that size, and its frame there."""
    frame = left, top, inner_width, inner_height = fit_frame(
        picture.shape[1], picture.shape[0], width, height
    )
    canvas = np.full((height, width, 3), GREY, np.uint8)
    canvas[top : top + inner_height, left : left + inner_width] = resized(
        picture, inner_height, inner_width
    )
    return canvas, frame


def resized(picture: Bytes, height: int, width: int) -> Bytes:
    """A picture at another size: areas averaged where it shrinks, else bilinear.

    By OpenCV where it is installed; what stands in for it differs by one grey level at most.
    """
    if picture.shape[:2] == (height, width):
        return picture
    shrinks = width < picture.shape[1]
    cv2 = _package("cv2")
    if cv2 is not None:
        way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        by_opencv: Bytes = cv2.resize(picture, (width, height), interpolation=way)
        return by_opencv
    if not shrinks:
        return _bilinear(picture, height, width)
    if picture.shape[:2] == (2 * height, 2 * width):
        quarters = picture.reshape(height, 2, width, 2, 3).sum(axis=(1, 3), dtype=np.uint16)
        return as_bytes((quarters + 2) >> 2)
    tall = _averaged(picture.reshape(picture.shape[0], -1), height).reshape(height, -1, 3)
    wide = _averaged(
        np.ascontiguousarray(tall.transpose(1, 0, 2)).reshape(tall.shape[1], -1), width
    )
    return as_bytes(wide.reshape(width, height, 3).transpose(1, 0, 2))


def as_bytes(values: NDArray[Any]) -> Bytes:
    """Grey levels, rounded."""
    found: Bytes = np.rint(values).astype(np.uint8)
    return found


def _averaged(values: NDArray[Any], count: int) -> Floats:
    """Rows (n, m) as so many fewer: means over equal stretches, parts of rows by their share."""
    rows = len(values)
    ends = np.arange(count + 1) * (rows / count)
    whole = np.minimum(np.floor(ends + 1e-9).astype(np.int64), rows)
    part = np.maximum(ends - whole, 0.0)[:, None].astype(np.float32)
    edges = part * values[np.minimum(whole, rows - 1)]
    found: Floats = edges[1:] - edges[:-1]
    for row in range(count):
        found[row] += values[whole[row] : whole[row + 1]].sum(axis=0, dtype=np.float32)
    found *= np.float32(count / rows)
    return found


def _bilinear(picture: Bytes, height: int, width: int) -> Bytes:
    found: NDArray[Any] = picture
    for axis, count in ((0, height), (1, width)):
        last = found.shape[axis] - 1
        places = np.clip((np.arange(count) + 0.5) * ((last + 1) / count) - 0.5, 0, last)
        first = np.minimum(places.astype(np.int64), max(last - 1, 0))
        share = (places - first).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        after = np.minimum(first + 1, last)
        found = found.take(first, axis) * (1 - share) + found.take(after, axis) * share
    return as_bytes(found)


def to_input(canvas: Bytes) -> Floats:
    """A picture (H, W, 3) as the network takes it: (1, 3, H, W), RGB in 0..1."""
    found = np.empty((1, 3, *canvas.shape[:2]), np.float32)
    for channel in range(3):
        np.divide(canvas[..., channel], np.float32(255), out=found[0, channel])
    return found


# ---------------------------------------------------------------- the network


class LoadedNetwork(Protocol):
    """A model that is loaded."""

    version: str

    def run(self, image: Floats) -> Outputs:
        """The outputs, in the report's order, for an image (1, 3, H, W)."""
        ...


class NcnnNetwork:
    """A model in ncnn. fp16 is how it computes too, where the processor can."""

    def __init__(self, model: BundleModel, threads: int) -> None:
        import ncnn

        self.version = str(ncnn.__version__)
        self._ncnn, self._model, self._net = ncnn, model, ncnn.Net()
        options = self._net.opt
        options.num_threads = threads
        options.use_vulkan_compute = False
        is_half = model.precision == "fp16"
        options.use_fp16_packed = options.use_fp16_storage = is_half
        options.use_fp16_arithmetic = is_half
        param, binary = map(str, model.files)
        if self._net.load_param(param) != 0 or self._net.load_model(binary) != 0:
            raise SourceError(
                f"{param}: ncnn {self.version} can't load it. Its own message stands above; "
                f"another version may: {_pip('ncnn')} --upgrade"
            )

    def run(self, image: Floats) -> Outputs:
        extractor = self._net.create_extractor()
        # The Mat borrows the array's memory; `image` lives until we return.
        extractor.input(self._model.input, self._ncnn.Mat(image[0]))
        found = []
        for name in self._model.outputs:
            code, output = extractor.extract(name)
            if code != 0:
                raise SourceError(f"{self._model.files[0]}: ncnn fails to compute {name} ({code}).")
            found.append(np.array(output, np.float32))
        return found


class OnnxNetwork:
    """A model in ONNX Runtime, on the processor."""

    def __init__(self, model: BundleModel, threads: int) -> None:
        import onnxruntime

        self.version = str(onnxruntime.__version__)
        self._model = model
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if model.precision == "int8" and saturates():
            options.add_session_config_entry("session.x64quantprecision", "1")
        try:
            self._session = onnxruntime.InferenceSession(
                str(model.files[0]), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # of classes that the package keeps to itself
            told = " ".join(str(error).split())[:300]
            raise SourceError(
                f"{model.files[0]}: ONNX Runtime {self.version} can't load it ({told}). Another "
                f"version may: {_pip('onnxruntime')} --upgrade"
            ) from error

    def run(self, image: Floats) -> Outputs:
        found = self._session.run(list(self._model.outputs), {self._model.input: image})
        return [one[0] for one in found]


def saturates() -> bool:
    """Whether products of bytes are cut here: on x86-64 without VNNI. ONNX Runtime can do without.

    A board with ARM cores has no such thing.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:  # no Linux: taken for the worse
        return True
    return not {"avx512_vnni", "avx_vnni"} & set(text.split())


def load_network(model: BundleModel, threads: int) -> LoadedNetwork:
    """The model's network, ready to run. SourceError where its files are damaged."""
    check_files(model)
    return NcnnNetwork(model, threads) if model.runtime == "ncnn" else OnnxNetwork(model, threads)


# ---------------------------------------------------------------- after the network


@dataclass(frozen=True)
class FoundBoxes:
    """n boxes of one picture, best first.

    boxes    (n, 4) left, top, right, bottom in pixels
    scores   (n,) in 0..1
    classes  (n,) indices
    """

    boxes: Doubles
    scores: Doubles
    classes: Integers


def candidates(
    outputs: Outputs,
    model: BundleModel,
    confidence: float = CONFIDENCE,
    classes: Integers | None = None,
) -> tuple[Floats, Floats, Integers]:
    """Pairs of box and class above the confidence, in the order of the network's outputs.

    Boxes (n, 4) as centre x, y, width, height in pixels of the input, scores (n,), classes (n,).
    Boxes are decoded of those pairs alone.

    outputs   as the network gives them, without the batch's dimension
    classes   the indices that are wanted; None: all
    """
    if model.holds == "maps":
        parts = [
            _pairs_with_anchors(output, model.strides[level], model.anchors[level], confidence)
            if model.anchors
            else _pairs_without_anchors(output, model.strides[level], model.bins, confidence)
            for level, output in enumerate(outputs)
        ]
    elif model.holds == "yolov5 boxes":
        rows = outputs[0][outputs[0][:, 4] > confidence]
        parts = [_pairs(rows[:, :4], rows[:, 4:5] * rows[:, 5:], confidence)]
    else:
        parts = [_pairs(outputs[0][:4].T, outputs[0][4:].T, confidence)]
    boxes, scores, kinds = (np.concatenate(group) for group in zip(*parts))  # noqa: B905
    if classes is not None:
        wanted = np.isin(kinds, classes)
        boxes, scores, kinds = boxes[wanted], scores[wanted], kinds[wanted]
    return boxes, scores, kinds


def _pairs(boxes: Floats, shares: Floats, confidence: float) -> tuple[Floats, Floats, Integers]:
    """Boxes (n, 4) and the probabilities (n, classes) of their classes, as pairs."""
    rows, kinds = np.nonzero(shares > confidence)
    return boxes[rows], shares[rows, kinds], kinds


def _pairs_with_anchors(
    output: Floats, stride: int, anchors: tuple[float, ...], confidence: float
) -> tuple[Floats, Floats, Integers]:
    """Of one raw map (anchors * (5 + classes), rows, columns), as YOLOv5's heads give it.

    xy = (2 sigmoid - 0.5 + cell) * stride, wh = (2 sigmoid)^2 * anchor.
    """
    sizes, columns = np.array(anchors, np.float32).reshape(-1, 2), output.shape[2]
    flat = output.reshape(len(sizes), -1, output.shape[1] * columns)
    anchor, cell = np.nonzero(flat[:, 4] > _floor(confidence))
    shares = _sigmoid(flat[anchor, :, cell])
    rows, kinds = np.nonzero(shares[:, 5:] * shares[:, 4:5] > confidence)
    shares, anchor, cell = shares[rows], anchor[rows], cell[rows]
    cells = np.stack([cell % columns, cell // columns], 1).astype(np.float32)
    centres = (shares[:, :2] * 2 - np.float32(0.5) + cells) * np.float32(stride)
    extents = (shares[:, 2:4] * 2) ** 2 * sizes[anchor]
    scores = shares[np.arange(len(kinds)), 5 + kinds] * shares[:, 4]
    return np.concatenate([centres, extents], 1), scores, kinds


def _pairs_without_anchors(
    output: Floats, stride: int, bins: int, confidence: float
) -> tuple[Floats, Floats, Integers]:
    """Of one raw map (4 * bins + classes, rows, columns): distances to four sides, and classes.

    A distance is the mean of a distribution over the bins, in cells; of one bin its softplus.
    """
    columns = output.shape[2]
    flat = output.reshape(output.shape[0], -1)
    logits = flat[4 * bins :]
    cell, kinds = np.nonzero((logits > _floor(confidence)).T)
    scores = _sigmoid(logits[kinds, cell])
    is_kept = scores > confidence
    cell, kinds, scores = cell[is_kept], kinds[is_kept], scores[is_kept]
    sides = flat[: 4 * bins, cell].reshape(4, bins, -1)
    if bins == 1:
        distances = np.logaddexp(sides[:, 0], np.float32(0))
    else:
        shares = np.exp(sides - sides.max(axis=1, keepdims=True))
        weights = np.arange(bins, dtype=np.float32)[None, :, None]
        distances = (shares * weights).sum(axis=1) / shares.sum(axis=1)
    cells = np.stack([cell % columns, cell // columns]).astype(np.float32)
    centres = (cells + np.float32(0.5)) * np.float32(stride)
    low = centres - distances[:2] * np.float32(stride)
    high = centres + distances[2:] * np.float32(stride)
    return np.concatenate([(low + high) / 2, high - low]).T, scores, kinds


def _sigmoid(values: Floats) -> Floats:
    with np.errstate(over="ignore"):
        found: Floats = np.float32(1) / (1 + np.exp(-values))
    return found


def _floor(confidence: float) -> float:
    """A logit below which no probability is above the confidence, rounding allowed for."""
    return -math.inf if confidence <= 0 else math.log(confidence / (1 - confidence)) - 1e-3


def suppress(
    boxes: Floats,
    scores: Floats,
    classes: Integers,
    iou: float = IOU,
    most: int = MOST_BOXES,
) -> FoundBoxes:
    """What is left of candidates: of boxes of one class that overlap more than `iou` the best."""
    sizes = boxes[:, 2:].astype(np.float64)
    corners = boxes[:, :2] - sizes / 2
    finite = np.isfinite(scores) & np.isfinite(corners).all(axis=1) & np.isfinite(sizes).all(axis=1)
    best = np.nonzero(finite)[0]
    # Stable: equal scores keep their order, and the result is the same everywhere.
    best = best[np.argsort(-scores[best].astype(np.float64), kind="stable")[:CANDIDATES]]
    low, high, kinds = corners[best], corners[best] + sizes[best], classes[best]
    sides = np.concatenate([low, high], axis=1).T.copy()
    left, kept = np.arange(len(best)), np.zeros(0, np.int64)
    while len(left) and len(kept) < most:
        block = left[:BLOCK]
        is_spared = ~(_overlaps(sides, kinds, block, left) > np.float32(iou))
        is_left, chosen = np.ones(len(left), bool), np.zeros(len(block), bool)
        for row in range(len(block)):
            if is_left[row]:
                chosen[row] = True
                is_left &= is_spared[row]
        kept = np.concatenate([kept, block[chosen]])[:most]
        left = left[len(block) :][is_left[len(block) :]]
    return FoundBoxes(
        boxes=np.concatenate([low[kept], high[kept]], axis=1),
        scores=scores[best][kept].astype(np.float64),
        classes=kinds[kept].astype(np.int64),
    )


def _overlaps(sides: Doubles, kinds: Integers, some: Integers, others: Integers) -> Floats:
    """Intersection over union (some, others) of boxes of one class; 0 of those of two classes.

    sides  (4, n): left, top, right, bottom
    """
    left, top, right, bottom = sides[:, some, None]
    left_2, top_2, right_2, bottom_2 = sides[:, others]
    width = np.minimum(right, right_2) - np.maximum(left, left_2)
    height = np.minimum(bottom, bottom_2) - np.maximum(top, top_2)
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    is_alike = kinds[some, None] == kinds[others]
    shared *= is_alike
    areas = (right - left) * (bottom - top) + (right_2 - left_2) * (bottom_2 - top_2)
    # Boxes without area count as equal, as in OpenCV's suppression.
    is_empty = (areas <= np.finfo(np.float64).eps) & is_alike
    found: Floats = ((shared + is_empty) / (areas - shared + is_empty)).astype(np.float32)
    return found


def to_picture(found: FoundBoxes, frame: Frame, width: int, height: int) -> FoundBoxes:
    """Boxes of a letterboxed picture in pixels of the picture as it came, clipped to it."""
    size = np.array([width, height], np.float64)
    scale = size / np.array(frame[2:], np.float64)
    points = (found.boxes.reshape(-1, 2, 2) - np.array(frame[:2], np.float64)) * scale
    return replace(found, boxes=np.clip(points, 0.0, size).reshape(-1, 4))


# ---------------------------------------------------------------- all of it, with its times


@dataclass(frozen=True)
class Milliseconds:
    """What one picture took: letterbox and scaling, the network, decoding and suppression."""

    before: float
    network: float
    after: float
    total: float


@dataclass
class BundledDetector:
    """A bundle's model, loaded, with the thresholds of its boxes."""

    model: BundleModel
    network: LoadedNetwork
    threads: int
    confidence: float = CONFIDENCE
    iou: float = IOU
    classes: Integers | None = None

    def detect(self, picture: Bytes) -> tuple[FoundBoxes, Milliseconds]:
        """The boxes of a picture (H, W, 3) RGB, in its pixels, and what they took."""
        begin = time.perf_counter()
        canvas, frame = letterbox(picture, self.model.height, self.model.width)
        image = to_input(canvas)
        ready = time.perf_counter()
        outputs = self.network.run(image)
        computed = time.perf_counter()
        pairs = candidates(outputs, self.model, self.confidence, self.classes)
        kept = suppress(*pairs, iou=self.iou)
        found = to_picture(kept, frame, picture.shape[1], picture.shape[0])
        end = time.perf_counter()
        return found, Milliseconds(
            before=1e3 * (ready - begin),
            network=1e3 * (computed - ready),
            after=1e3 * (end - computed),
            total=1e3 * (end - begin),
        )


def load_detector(
    folder: Path,
    runtime: str | None = None,
    precision: str | None = None,
    threads: int | None = None,
) -> BundledDetector:
    """The detector of a bundle's folder. SourceError where it can't run as asked."""
    model = choose_model(read_models(folder), runtime, precision)
    count = threads or default_threads()
    return BundledDetector(model, load_network(model, count), count, model.confidence)


def default_threads() -> int:
    """As many as there are cores for us, four at most."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(4, cores or 1)


# ---------------------------------------------------------------- where pictures come from


@dataclass(frozen=True)
class Shot:
    """One picture, and what it is called.

    pixels  (H, W, 3) RGB
    rate    frames a second, of a video's frame; else 0
    """

    name: str
    pixels: Bytes
    rate: float = 0.0


def open_source(source: str) -> Iterator[Shot]:
    """The pictures of a file, a folder, a video or a camera. SourceError where there are none."""
    kind, _, number = source.partition(":")
    path = Path(source)
    if kind == "camera" and not path.exists():
        return _camera(number)
    if source == "picamera2" and not path.exists():
        return _picamera2()
    if path.is_dir():
        return _files(pictures_in(path))
    if not path.exists():
        raise SourceError(
            f"--source {source}: a picture, a folder, a video, camera, camera:1 or picamera2; "
            "there is no such file."
        )
    return _video(path) if path.suffix.lower() in VIDEOS else _files([path])


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder, by name; those in folders below it don't count."""
    found = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in PICTURES and not path.name.startswith(".")
    )
    if not found:
        raise SourceError(
            f"--source {folder}: a folder of pictures ({', '.join(PICTURES)}); it holds none."
        )
    return found


def _files(paths: list[Path]) -> Iterator[Shot]:
    """Each picture; one that can't be read is said, and is a mistake only if all of them are."""
    flaws: list[str] = []
    for path in paths:
        pixels = read_picture(path)
        if isinstance(pixels, str):
            flaws.append(f"{path}: {pixels}")
            if len(paths) > 1:
                say(f"{flaws[-1]}; going on without it")
            continue
        yield Shot(path.name, pixels)
    if len(flaws) == len(paths):
        raise SourceError(flaws[0] if len(flaws) == 1 else f"none of {len(flaws)} can be read.")


def read_picture(path: Path) -> Bytes | str:
    """A picture's pixels (H, W, 3) RGB, turned as its EXIF says; or why there are none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return f"can't be read ({error.strerror or error})"
    cv2, pillow = _package("cv2"), _package("PIL")
    if cv2 is not None:
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
        except (cv2.error, MemoryError):
            image = None
        if image is not None:
            return _rgb(image)
    elif pillow is not None:
        found = _decoded_by_pillow(data)
        if found is not None:
            return found
    else:
        raise SourceError(f"a picture is decoded by OpenCV or Pillow: {_pip('PIL')}")
    return f"no picture that {'OpenCV' if cv2 is not None else 'Pillow'} reads"


def _decoded_by_pillow(data: bytes) -> Bytes | None:
    image_module = importlib.import_module("PIL.Image")
    turn = importlib.import_module("PIL.ImageOps").exif_transpose
    try:
        with image_module.open(io.BytesIO(data)) as image:
            image.load()
            if image.mode.startswith("I"):  # 16 bits of grey: the upper eight, as OpenCV takes them
                grey = (np.asarray(turn(image)).astype(np.int64) >> 8).clip(0, 255)
                return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
            return np.array(turn(image).convert("RGB"))
    except (OSError, ValueError, SyntaxError, MemoryError, image_module.DecompressionBombError):
        return None


def _rgb(image: Bytes) -> Bytes:
    """A picture whose first channel is blue, red first."""
    return np.ascontiguousarray(image[..., 2::-1])


def _opencv(what: str) -> Any:
    """OpenCV, or the SourceError that says what needs it."""
    cv2 = _package("cv2")
    if cv2 is None:
        raise SourceError(
            f"{what} is read by OpenCV, which is {_imported('cv2')[1]}: {_pip('cv2')}, or on "
            "Raspberry Pi OS: sudo apt install python3-opencv"
        )
    return cv2


def _video(path: Path) -> Iterator[Shot]:
    cv2 = _opencv("a video")
    capture = cv2.VideoCapture(str(path))
    try:
        count, rate = 0, capture.get(cv2.CAP_PROP_FPS) or 25.0
        while capture.isOpened():
            is_there, image = capture.read()
            if not is_there:
                break
            count += 1
            yield Shot(f"{path.stem}-{count:06d}.jpg", _rgb(image), rate)
        if not count:
            raise SourceError(f"{path}: no video that OpenCV reads.")
    finally:
        capture.release()


def _camera(number: str) -> Iterator[Shot]:
    """Frames of a camera that the system knows as /dev/video<number>."""
    if not (number or "0").isdigit():
        raise SourceError(f"--source camera:{number}: a camera has a number, as in camera:1.")
    cv2 = _opencv("a camera")
    way = cv2.CAP_V4L2 if sys.platform.startswith("linux") else cv2.CAP_ANY
    capture = cv2.VideoCapture(int(number or 0), way)
    try:
        count = 0
        while capture.isOpened():
            is_there, image = capture.read()
            if not is_there:
                break
            count += 1
            yield Shot(f"camera-{count:06d}.jpg", _rgb(image))
        held = ", ".join(sorted(str(one) for one in Path("/dev").glob("video*"))) or "none"
        raise SourceError(
            f"--source camera:{number or 0}: no camera gives pictures there; cameras of this "
            f"system: {held}. A Raspberry Pi's own camera is --source picamera2."
            if not count
            else f"--source camera:{number or 0}: the camera stopped after {count} pictures."
        )
    finally:
        capture.release()


def _picamera2() -> Iterator[Shot]:
    """Frames of a Raspberry Pi's camera. What picamera2 calls RGB888 has blue first in memory."""
    module = _package("picamera2")
    if module is None:
        raise SourceError(
            f"--source picamera2: Python's picamera2 is {_imported('picamera2')[1]}. On Raspberry "
            "Pi OS: sudo apt install python3-picamera2; a virtual environment sees it if it was "
            "made by python3 -m venv --system-site-packages, and has no numpy of its own."
        )
    try:
        camera = module.Picamera2()
    except (IndexError, RuntimeError, OSError) as error:
        raise SourceError(
            f"--source picamera2: no camera is found ({error}). Look at its cable, and at what "
            "`rpicam-hello --list-cameras` says."
        ) from error
    try:
        size = {"size": (640, 480), "format": "RGB888"}
        camera.configure(camera.create_video_configuration(main=size))
        camera.start()
        count = 0
        while True:
            image = camera.capture_array("main")
            count += 1
            yield Shot(f"picamera2-{count:06d}.jpg", _rgb(image))
    finally:
        camera.close()


# ---------------------------------------------------------------- a picture with its boxes


def drawn(picture: Bytes, found: FoundBoxes, names: tuple[str, ...]) -> Bytes:
    """A copy with boxes and labels; a small picture is enlarged by a whole factor first."""
    longer = max(picture.shape[:2])
    factor = max(1, math.ceil(LEAST_SIDE / longer))
    canvas = np.array(picture.repeat(factor, 0).repeat(factor, 1))
    height, width = canvas.shape[:2]
    line = max(2, round(max(height, width) / 400))
    text_height = max(12, round(max(height, width) / 50))
    taken: list[Frame] = []
    edges = [tuple(np.rint(box * factor).astype(int)) for box in found.boxes]
    # The best last: its lines lie above the others'.
    for (left, top, right, bottom), kind in zip(edges[::-1], found.classes[::-1]):  # noqa: B905
        _outline(canvas, (left, top, right, bottom), line, _colour(int(kind)))
    for (left, top, _, bottom), kind, score in zip(  # noqa: B905  # Python 3.9
        edges, found.classes, found.scores
    ):
        label = _label(f"{names[kind]} {score:.2f}", f"{kind} {score:.2f}", text_height)
        rows, columns = label.shape
        x = max(0, min(left, width - columns))
        ways = [top - rows, top, bottom, bottom - rows]
        places = [(x, max(0, min(y, height - rows)), columns, rows) for y in ways]
        place = next((one for one in places if not _meets(one, taken)), places[0])
        taken.append(place)
        _paint(canvas, label, place, _colour(int(kind)))
    return canvas


def _outline(canvas: Bytes, box: tuple[int, ...], line: int, colour: Bytes) -> None:
    height, width = canvas.shape[:2]
    left, top, right, bottom = box
    right, bottom = min(max(right, left + line), width), min(max(bottom, top + line), height)
    canvas[top:bottom, left : left + line] = colour
    canvas[top:bottom, max(left, right - line) : right] = colour
    canvas[top : top + line, left:right] = colour
    canvas[max(top, bottom - line) : bottom, left:right] = colour


def _meets(place: Frame, taken: list[Frame]) -> bool:
    x, y, width, height = place
    return any(
        x < left + columns and left < x + width and y < top + rows and top < y + height
        for left, top, columns, rows in taken
    )


def _paint(canvas: Bytes, label: Bytes, place: Frame, colour: Bytes) -> None:
    """A label of letters (0..255) in black or white on the colour, whichever is read better."""
    left, top = place[:2]
    under = canvas[top : top + label.shape[0], left : left + label.shape[1]]
    letters = 0 if colour @ np.array([0.299, 0.587, 0.114]) > 140 else 255
    share = label[: under.shape[0], : under.shape[1], None] / 255
    under[:] = as_bytes(colour * (1 - share) + letters * share)


def _colour(kind: int) -> Bytes:
    """A class's colour: hues far apart for neighbours, the same in every picture."""
    position = 6 * ((0.02 + 0.61803398875 * kind) % 1)
    offsets = np.array([5.0, 3.0, 1.0])
    ramp = (offsets + position) % 6
    share = 1 - np.clip(np.minimum(ramp, 4 - ramp), 0, 1) * 0.85
    return as_bytes(255 * share * (1.0 if kind % 2 == 0 else 0.85))


@lru_cache(maxsize=512)
def _label(text: str, otherwise: str, height: int) -> Bytes:
    """Letters (0..255) on nothing; `otherwise` where the text has some that can't be drawn here."""
    cv2 = _package("cv2")
    if cv2 is None:
        return _label_by_pillow(text, height)
    plain = text if text.isascii() else otherwise
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, height / 30
    (width, above), below = cv2.getTextSize(plain, font, scale, 1)
    canvas = np.zeros((above + below + 4, width + 6), np.uint8)
    cv2.putText(canvas, plain, (3, above + 2), font, scale, 255, 1, cv2.LINE_AA)
    return canvas


def _label_by_pillow(text: str, height: int) -> Bytes:
    draw, fonts = (importlib.import_module(f"PIL.{name}") for name in ("ImageDraw", "ImageFont"))
    image_module = importlib.import_module("PIL.Image")
    try:
        font = fonts.load_default(height + 2)
    except TypeError:  # before Pillow 10.1 it has one size
        font = fonts.load_default()
    measure = draw.Draw(image_module.new("L", (1, 1)))
    left, top, right, bottom = measure.textbbox((0, 0), text, font=font)
    image = image_module.new("L", (int(right - left) + 6, int(bottom - top) + 6))
    draw.Draw(image).text((3 - left, 3 - top), text, fill=255, font=font)
    return np.array(image)


# ---------------------------------------------------------------- what is told and left


def say(text: str) -> None:
    """Tells the person at the terminal; stdout is for results."""
    print(text, file=sys.stderr)


def told(shot: Shot, found: FoundBoxes, took: Milliseconds, names: tuple[str, ...]) -> str:
    """A picture's line for people."""
    counts = Counter(names[kind] for kind in found.classes)
    what = ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing"
    return (
        f"{shot.name}: {what}; {took.before:.1f} before + {took.network:.1f} network + "
        f"{took.after:.1f} after = {took.total:.1f} ms"
    )


def document(
    shot: Shot, found: FoundBoxes, took: Milliseconds, names: tuple[str, ...]
) -> dict[str, Any]:
    """A picture's line for programs; boxes are left, top, right, bottom in its pixels."""
    rows = zip(found.boxes.tolist(), found.scores.tolist(), found.classes.tolist())  # noqa: B905
    return {
        "picture": shot.name,
        "width": shot.pixels.shape[1],
        "height": shot.pixels.shape[0],
        "boxes": [
            {
                "class": kind,
                "name": names[kind],
                "confidence": round(score, 5),
                "box": [round(value, 2) for value in box],
            }
            for box, score, kind in rows
        ],
        "ms": {name: round(value, 3) for name, value in vars(took).items()},
    }


def yolo_rows(found: FoundBoxes, width: int, height: int) -> str:
    """YOLO's label lines with the confidence behind: class, centre, size in 0..1.

    A box that lies outside of the picture has none.
    """
    low, high = found.boxes[:, :2], found.boxes[:, 2:]
    size = np.array([width, height], np.float64)
    shares = np.concatenate([(low + high) / 2 / size, (high - low) / size], axis=1)
    return "".join(
        f"{kind} {' '.join(f'{value:.6f}' for value in row)} {score:.6f}\n"
        for kind, row, score in zip(found.classes, shares, found.scores)  # noqa: B905  # Python 3.9
        if row[2:].min() >= 1e-6
    )


@dataclass
class OutFolder:
    """Where drawn pictures and label files are left; a video's as one video."""

    path: Path
    has_labels: bool = False
    _writer: Any = field(default=None, repr=False)

    def save(self, shot: Shot, found: FoundBoxes, names: tuple[str, ...]) -> None:
        """Leaves one picture with its boxes, and its label file. SourceError without room."""
        picture = drawn(shot.pixels, found, names)
        if shot.rate:
            self._frame(shot, picture)
        else:
            is_usual = Path(shot.name).suffix.lower() in (".jpg", ".jpeg", ".png")
            name = shot.name if is_usual else f"{shot.name}.png"
            _write(self.path / name, encoded(picture, Path(name).suffix.lower()))
        if self.has_labels:
            rows = yolo_rows(found, shot.pixels.shape[1], shot.pixels.shape[0])
            _write(self.path / "labels" / f"{Path(shot.name).stem}.txt", rows.encode())

    def _frame(self, shot: Shot, picture: Bytes) -> None:
        cv2 = _opencv("a video")
        if self._writer is None:
            path = self.path / f"{shot.name.rpartition('-')[0]}.mp4"
            size, code = (picture.shape[1], picture.shape[0]), cv2.VideoWriter_fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(path), code, shot.rate, size)
            if not self._writer.isOpened():
                raise SourceError(f"{path}: OpenCV can't write a video there.")
        self._writer.write(_rgb(picture))

    def close(self) -> None:
        """Ends a video's file."""
        if self._writer is not None:
            self._writer.release()


def open_out(path: Path, source: str, *, has_labels: bool) -> OutFolder:
    """The folder, made and tried. SourceError where it can't take what is found."""
    if Path(source).is_dir() and path.resolve() == Path(source).resolve():
        raise SourceError(f"--out {path}: another folder than the pictures'; it is the same.")
    if Path(source).exists() and path.resolve() == Path(source).resolve().parent:
        raise SourceError(f"--out {path}: another folder than the picture's; it is the same.")
    if has_labels and Path(source).is_dir():
        twice = [
            k for k, n in Counter(one.stem for one in pictures_in(Path(source))).items() if n > 1
        ]
        if twice:
            raise SourceError(
                f"--save-txt: a label file is named by its picture; {source} holds two pictures "
                f"called {twice[0]}. Rename one."
            )
    try:
        (path / "labels" if has_labels else path).mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(path).free
    except OSError as error:
        raise SourceError(f"--out {path}: {error.strerror or error}.") from error
    if free < LEAST_FREE:
        raise SourceError(
            f"--out {path}: at least {LEAST_FREE >> 20} MB must be free there; "
            f"{free / 1e6:.0f} MB are."
        )
    _write(path / ".detect", b"")
    (path / ".detect").unlink()
    return OutFolder(path, has_labels)


def encoded(picture: Bytes, suffix: str) -> bytes:
    """A picture's file, .jpg or .png."""
    cv2 = _package("cv2")
    if cv2 is not None:
        _, data = cv2.imencode(suffix, picture[..., ::-1])
        return bytes(data)
    file = io.BytesIO()
    image = importlib.import_module("PIL.Image").fromarray(picture)
    image.save(file, "PNG" if suffix == ".png" else "JPEG", quality=95)
    return file.getvalue()


def _write(path: Path, content: bytes) -> None:
    """Writes a file whole; SourceError where there is no room, or no right to."""
    part = path.with_name(f".{path.name}.part")
    try:
        try:
            part.write_bytes(content)
            part.replace(path)
        finally:
            if part.exists():
                part.unlink()
    except OSError as error:
        raise SourceError(f"{path}: it can't be written: {error.strerror or error}.") from error


# ---------------------------------------------------------------- a benchmark


def machine() -> str:
    """What this runs on."""
    name = ""
    for path, key in (("/proc/device-tree/model", ""), ("/proc/cpuinfo", "model name")):
        try:
            lines = Path(path).read_text(errors="replace").splitlines()
        except OSError:  # this system has no such file
            continue
        name = next((line.partition(":")[2] if key else line for line in lines if key in line), "")
        name = name.strip().rstrip("\0")
        if name:
            break
    return f"{name or platform.processor() or 'unknown'} ({platform.machine()})"


def benchmark(detector: BundledDetector, pictures: list[Bytes], count: int) -> dict[str, Any]:
    """Times of `count` pictures in turn, after some to warm up: statistics, samples, what ran."""
    samples: dict[str, list[float]] = {}
    boxes = 0
    for number in range(-WARM_UP, count):
        found, took = detector.detect(pictures[number % len(pictures)])
        if number < 0:
            continue
        boxes += len(found.scores)
        for name, value in vars(took).items():
            samples.setdefault(name, []).append(round(value, 4))
    model = detector.model
    return {
        "model": model.name,
        "runtime": model.runtime,
        "runtime_version": detector.network.version,
        "precision": model.precision,
        "threads": detector.threads,
        "input": {"width": model.width, "height": model.height},
        "pictures": len(pictures),
        "picture": {"width": pictures[0].shape[1], "height": pictures[0].shape[0]},
        "count": count,
        "warm_up": WARM_UP,
        "boxes_a_picture": boxes / count,
        "confidence": detector.confidence,
        "iou": detector.iou,
        "machine": machine(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "scaled_by": "OpenCV" if _package("cv2") is not None else "numpy",
        "ms": {name: _statistics(values) for name, values in samples.items()},
        "frames_per_second": 1e3 / (sum(samples["total"]) / count),
        "samples_ms": samples,
    }


def _statistics(values: list[float]) -> dict[str, float]:
    ordered = np.array(values)
    return {
        "mean": float(ordered.mean()),
        "median": float(np.median(ordered)),
        "p95": float(np.percentile(ordered, 95)),
        "min": float(ordered.min()),
    }


def benchmark_text(found: dict[str, Any]) -> str:
    """A benchmark for people."""
    size, picture = found["input"], found["picture"]
    lines = [
        f"{found['model']}: {found['runtime']} {found['runtime_version']} {found['precision']}, "
        f"{found['threads']} thread{'s' if found['threads'] > 1 else ''}, input "
        f"{size['width']}x{size['height']}",
        f"{found['machine']}, {found['system']}, Python {found['python']}",
        f"{found['count']} runs over {found['pictures']} picture"
        f"{'s' if found['pictures'] > 1 else ''} ({picture['width']}x{picture['height']}), "
        f"{found['boxes_a_picture']:.1f} boxes each, after {found['warm_up']} to warm up; scaled "
        f"by {found['scaled_by']}",
        "",
        f"{'ms':9}" + "".join(f"{name:>9}" for name in ("mean", "median", "p95", "min")),
    ]
    for name, row in found["ms"].items():
        figures = (row[key] for key in ("mean", "median", "p95", "min"))
        lines.append(f"{name:9}" + "".join(f"{value:9.2f}" for value in figures))
    lines.append(f"{found['frames_per_second']:.1f} frames a second (1000 / mean of total)")
    return "\n".join(lines)


# ---------------------------------------------------------------- the command line


class Flags(argparse.ArgumentParser):
    """A parser whose mistakes are told as all others are."""

    def error(self, message: str) -> NoReturn:
        raise SourceError(f"{message}. See --help.")


def parsed(words: list[str] | None) -> argparse.Namespace:
    """The flags; SourceError where they make no sense."""
    parser = Flags(
        description="Find objects in pictures, with the detector that lies beside this file."
    )
    add = parser.add_argument
    add("--source", help="a picture, a folder, a video, camera, camera:1 or picamera2")
    add("--out", type=Path, help="a folder for the pictures with their boxes")
    add("--save-txt", action="store_true", help="label files too, in OUT/labels: YOLO's, with "
        "the confidence behind")  # fmt: skip
    add("--json", action="store_true", help="print one JSON document a picture")
    add("--confidence", type=float, help="least score of a box; by default that of the "
        "best F1 on validation pictures")  # fmt: skip
    add("--iou", type=float, default=IOU, help="overlap above which the better of two boxes of a "
        "class is kept (%(default)s)")  # fmt: skip
    add("--classes", nargs="+", help="names or numbers of the classes that are wanted")
    add("--runtime", choices=[*RUNTIMES.values()], help="by default ncnn, if it is installed")
    add("--precision", choices=PRECISIONS, help="of the model; by default the first of these")
    add("--threads", type=int, help="of the runtime; by default one a core, 4 at most")
    add("--frames", type=int, help="stop after so many pictures")
    add("--benchmark", type=int, metavar="COUNT", help="time so many pictures, those of the "
        "source in turn (without one: noise of 640x480)")  # fmt: skip
    add("--bundle", type=Path, default=Path(__file__).resolve().parent, help="the folder of the "
        "detector; by default this file's")  # fmt: skip
    found = parser.parse_args(words)
    for name in ("threads", "frames", "benchmark"):
        value = getattr(found, name)
        if value is not None and value < 1:
            parser.error(f"--{name}: at least 1; got {value}")
    if not 0 <= (found.confidence or 0) < 1 or not 0 < found.iou <= 1:
        parser.error("--confidence is in 0..1 below 1, --iou in 0..1 above 0")
    if found.source is None and found.benchmark is None:
        parser.error("--source: name a picture, a folder, a video or a camera")
    if found.save_txt and found.out is None:
        parser.error("--save-txt: label files are left in the folder of --out; name one")
    if found.benchmark is not None and found.out is not None:
        parser.error("--benchmark: it leaves no pictures; leave --out away")
    return found


def wanted_classes(words: list[str] | None, names: tuple[str, ...]) -> Integers | None:
    """The indices of classes named by name or number; None where all are wanted."""
    if words is None:
        return None
    numbers = {**{str(i): i for i in range(len(names))}, **{n: i for i, n in enumerate(names)}}
    unknown = [word for word in words if word not in numbers]
    if unknown:
        raise SourceError(
            f"--classes {unknown[0]}: the detector knows "
            f"{', '.join(f'{i} {name}' for i, name in enumerate(names))}."
        )
    return np.array(sorted({numbers[word] for word in words}), np.int64)


def run(arguments: argparse.Namespace) -> None:
    """Loads the detector, and finds, prints and leaves what the flags ask for."""
    source = None
    if arguments.source is not None:
        # The first picture before anything else: a camera that is absent is told at once.
        shots = open_source(arguments.source)
        source = itertools.chain([next(shots)], shots)
    out = None
    if arguments.out is not None:
        out = open_out(arguments.out, arguments.source, has_labels=arguments.save_txt)
    detector = load_detector(
        arguments.bundle, arguments.runtime, arguments.precision, arguments.threads
    )
    detector.iou = arguments.iou
    if arguments.confidence is not None:
        detector.confidence = arguments.confidence
    detector.classes = wanted_classes(arguments.classes, detector.model.classes)
    if arguments.benchmark is not None:
        timed = first(source, arguments.frames or arguments.benchmark) if source else noise()
        found = benchmark(detector, [one.pixels for one in timed], arguments.benchmark)
        print(json.dumps(found) if arguments.json else benchmark_text(found))
        return
    assert source is not None
    model = detector.model
    say(
        f"{model.name}: {model.runtime} {detector.network.version} {model.precision}, "
        f"{detector.threads} thread{'s' if detector.threads > 1 else ''}, input "
        f"{model.width}x{model.height}, boxes from {detector.confidence:.2f} on"
    )
    find(detector, source, out, arguments)


def first(source: Iterable[Shot], count: int) -> list[Shot]:
    """So many pictures of a source, fewer where it has no more."""
    found = []
    for shot in source:
        found.append(shot)
        if len(found) == count:
            break
    return found


def noise() -> list[Shot]:
    """A picture of the usual camera's size, from a seed."""
    pixels = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    return [Shot("noise", pixels)]


def find(
    detector: BundledDetector,
    source: Iterator[Shot],
    out: OutFolder | None,
    arguments: argparse.Namespace,
) -> None:
    """Goes through the pictures, a line each; says at the end what they took."""
    names, times, count = detector.model.classes, [], 0
    try:
        for shot in source:
            found, took = detector.detect(shot.pixels)
            times.append(took)
            count += len(found.scores)
            line = document(shot, found, took, names) if arguments.json else None
            print(json.dumps(line) if line else told(shot, found, took, names), flush=True)
            if out is not None:
                out.save(shot, found, names)
            if len(times) == arguments.frames:
                break
    finally:
        if out is not None:
            out.close()
        if times:
            say(summary(times, count, out))


def summary(times: list[Milliseconds], count: int, out: OutFolder | None) -> str:
    """What all pictures took, the first one apart: it also warms up."""
    later = times[1:] or times
    middle = {
        name: float(np.median([getattr(one, name) for one in later]))
        for name in ("before", "network", "after", "total")
    }
    text = (
        f"{len(times)} picture{'s' if len(times) > 1 else ''}, {count} "
        f"box{'es' if count != 1 else ''}; median "
        f"{middle['before']:.1f} before + {middle['network']:.1f} network + {middle['after']:.1f} "
        f"after, {middle['total']:.1f} ms in all ({1e3 / middle['total']:.1f} frames a second)"
    )
    return text if out is None else f"{text}; left in {out.path}"


def main(words: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")  # what concerns us is told by us
    try:
        run(parsed(words))
    except SourceError as error:
        say(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our lines has gone (`| head`): nobody's mistake.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
