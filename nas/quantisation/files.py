"""A choice of layers as a file of one runtime: its contents, and the same file run here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import ncnn
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from nas.deploy.check import Run, ncnn_run, onnx_run
from nas.deploy.int8.calibration import Calibration
from nas.deploy.int8.ncnn import to_ncnn_int8
from nas.deploy.int8.onnx import to_onnx_int8
from nas.deploy.int8.ranges import RangeMethod
from nas.deploy.ncnn import to_ncnn
from nas.deploy.onnx import to_onnx
from nas.deploy.weights import ConvolutionWeights
from nas.detector.builder import Detector
from nas.emit.int8 import Int8Choice
from nas.emit.onnx import map_names
from nas.grading.arithmetic import EXACT_OPTION, saturates, told_int8
from nas.grading.outputs import HeadFacts, boxes_of_outputs
from nas.space.image_size import ImageSize, of_sides
from nas.space.ops import Graph
from nas.training.metrics import Predict

METHODS: Final[Mapping[str, RangeMethod]] = {"ncnn": "percentile", "onnxruntime": "percentile"}
"""How each runtime's ranges are found: what lost least on nine detectors (docs/int8.md)."""


@dataclass(frozen=True, kw_only=True)
class Int8Source:
    """What every file of a detector is made from."""

    detector: Detector
    graph: Graph
    weights: tuple[ConvolutionWeights, ...]
    calibration: Calibration
    names: tuple[str, ...]
    """The class names."""

    @property
    def image_size(self) -> ImageSize:
        """The size of the images."""
        shape = self.graph.input_shapes[0]
        return of_sides(shape.height, shape.width)


class RuntimeFiles(Protocol):
    """Files of one runtime. `contents` are those of an int8 file, by the end of each one's name;
    `run_fp32` and `run_int8` compute here, on one thread, what they compute."""

    runtime: str
    method: RangeMethod
    arithmetic: str

    def contents(self, choice: Int8Choice) -> dict[str, bytes]: ...

    def run_fp32(self) -> Run: ...

    def run_int8(self, choice: Int8Choice) -> Run: ...


class NcnnFiles:
    """`.param` and `.bin`."""

    runtime = "ncnn"

    def __init__(self, source: Int8Source, folder: Path, method: RangeMethod | None = None) -> None:
        """`folder`: where files lie while they are run."""
        self.method = method or METHODS[self.runtime]
        self.arithmetic = f"ncnn {ncnn.__version__}, int8, the rest fp32"
        self._source, self._folder = source, folder
        found = source.calibration.ranges(self.method, is_symmetric=True)
        names = map_names(source.graph)
        self._ranges = {tensor: found[name] for tensor, name in names.items() if name in found}

    def contents(self, choice: Int8Choice) -> dict[str, bytes]:
        model = to_ncnn_int8(self._source.graph, self._source.weights, self._ranges, choice)
        return {".ncnn.param": model.param.encode(), ".ncnn.bin": model.bin}

    def run_fp32(self) -> Run:
        model = to_ncnn(self._source.detector, self._source.image_size)
        return self._run({".ncnn.param": model.param.encode(), ".ncnn.bin": model.bin})

    def run_int8(self, choice: Int8Choice) -> Run:
        return self._run(self.contents(choice))

    def _run(self, contents: dict[str, bytes]) -> Run:
        for ending, content in contents.items():
            (self._folder / f"tried{ending}").write_bytes(content)
        return ncnn_run(self._folder / "tried.ncnn.param", self._folder / "tried.ncnn.bin")


class OnnxFiles:
    """One `.onnx`. It is tried with raw maps, whatever the file holds."""

    runtime = "onnxruntime"

    def __init__(
        self, source: Int8Source, *, has_boxes: bool, method: RangeMethod | None = None
    ) -> None:
        self.method = method or METHODS[self.runtime]
        self._settings = {EXACT_OPTION: "1"} if saturates() else {}
        told = told_int8(is_exact_by_option=bool(self._settings))
        self.arithmetic = f"ONNX Runtime {onnxruntime.__version__}, {told}"
        self._source, self._has_boxes = source, has_boxes
        self._ranges = source.calibration.ranges(self.method, is_symmetric=False)

    def contents(self, choice: Int8Choice) -> dict[str, bytes]:
        return {".onnx": self._content(choice, has_boxes=self._has_boxes)}

    def run_fp32(self) -> Run:
        one = self._source
        return onnx_run(to_onnx(one.detector, one.image_size, has_boxes=False))

    def run_int8(self, choice: Int8Choice) -> Run:
        return onnx_run(self._content(choice, has_boxes=False), self._settings)

    def _content(self, choice: Int8Choice, *, has_boxes: bool) -> bytes:
        one = self._source
        return to_onnx_int8(
            one.detector,
            one.graph,
            one.weights,
            self._ranges,
            frozenset(choice),
            has_boxes=has_boxes,
            names=one.names,
        )


def to_image(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A picture (H, W, 3) as files take it, (1, 3, H, W) in 0..1."""
    planes = np.ascontiguousarray(picture.transpose(2, 0, 1)[None])
    found: NDArray[np.float32] = planes.astype(np.float32) / np.float32(255)
    return found


def predictor(run: Run, facts: HeadFacts) -> Predict:
    """A file of raw maps as a function of images."""

    def predict(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.concatenate(
            [boxes_of_outputs(run(to_image(one)), "maps", facts) for one in images]
        )

    return predict
