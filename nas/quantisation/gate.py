"""An int8 file, from the pictures to the verdict; refused where it isn't worth its loss."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nas import NasError
from nas.data.images import ImageSet
from nas.deploy.check import Run
from nas.deploy.int8.calibration import Calibration, calibrate
from nas.deploy.report import Int8Facts, Int8Layer, Int8Speed
from nas.deploy.weights import convolution_weights
from nas.detector.builder import Detector
from nas.emit.int8 import Int8Choice
from nas.grading.outputs import HeadFacts
from nas.latency.device import Device
from nas.quantisation.choice import LOOKED_AT, Chosen, Judge, choose, last_of_head, stem
from nas.quantisation.files import (
    Int8Source,
    NcnnFiles,
    OnnxFiles,
    RuntimeFiles,
    predictor,
    to_image,
)
from nas.quantisation.pictures import Pictures
from nas.quantisation.speed import estimated, timed_here, told_speed
from nas.quantisation.won import WonTable, by_macs, by_tables, by_timing, together
from nas.space.graph import Graph, OpKind
from nas.space.image_size import ImageSize
from nas.space.ops import model_graph
from nas.terminal import Milestones
from nas.training.metrics import evaluate


class Int8Error(NasError):
    """An int8 file that loses too much, or is no faster."""


@dataclass(frozen=True, kw_only=True)
class Int8File:
    """A file that is worth its loss."""

    contents: dict[str, bytes]
    """By the end of each file's name."""
    facts: Int8Facts


@dataclass(frozen=True, kw_only=True)
class Quantiser:
    """Makes int8 files of one detector."""

    source: Int8Source
    part: ImageSet
    """The validation images."""
    part_told: str
    """Which these are, for reports."""
    pictures_told: str
    device: Device
    max_drop: float
    """mAP50-95 that a file may lose."""
    tell: Callable[[str], None]

    def ncnn(self) -> Int8File:
        """An ncnn pair."""
        graph = self.source.graph
        with tempfile.TemporaryDirectory(prefix="nas-int8-") as folder:
            files = NcnnFiles(self.source, Path(folder))
            if not self.is_here:
                return self._file(files, self._by_tables("ncnn"))
            image = to_image(self.part.images[0])
            ends = stem(graph) | last_of_head(graph)
            return self._file(files, together(by_timing(graph), files.run_int8, image, ends))

    def onnx(self, *, has_boxes: bool) -> Int8File:
        """An ONNX file."""
        graph = self.source.graph
        won = by_macs(graph) if self.is_here else self._by_tables("onnxruntime")
        return self._file(OnnxFiles(self.source, has_boxes=has_boxes), won)

    @property
    def is_here(self) -> bool:
        """Whether the device that is meant is this machine."""
        return self.device.kind == "board" and self.device.is_here()

    def _by_tables(self, runtime: str) -> WonTable:
        one = self.source
        return by_tables(one.graph, one.detector.spec, one.image_size, self.device, runtime)

    def _file(self, files: RuntimeFiles, won: WonTable) -> Int8File:
        judge = Judge(
            files=files, grade=self._grade, tell=lambda text: self.tell(f"{files.runtime}: {text}")
        )
        chosen = choose(
            self.source.graph, won, judge, self.part.spread(LOOKED_AT).images, self.max_drop
        )
        speed = self._speed(files, chosen, won)
        check_worth(files.runtime, chosen, speed, self.max_drop, self.part_told)
        return Int8File(
            contents=files.contents(chosen.choice),
            facts=Int8Facts(
                map50_95=chosen.map50_95,
                fp32_map50_95=chosen.fp32_map50_95,
                part=self.part_told,
                images=len(self.part),
                arithmetic=files.arithmetic,
                ranges=files.method,
                calibration=self.pictures_told,
                calibration_pictures=self.source.calibration.pictures,
                calibration_digest=self.source.calibration.digest,
                layers=layers_of(self.source.graph, chosen.choice),
                won=won.told,
                tried=tuple(f"{one.what}: {one.map50_95:.4f}" for one in chosen.tried),
                speed=speed,
            ),
        )

    def _grade(self, run: Run) -> float:
        detector = self.source.detector
        facts = HeadFacts(
            num_classes=detector.head.num_classes,
            strides=tuple(detector.head.strides),
            anchors=detector.spec.anchors,
        )
        return evaluate(predictor(run, facts), self.part).map50_95

    def _speed(self, files: RuntimeFiles, chosen: Chosen, won: WonTable) -> Int8Speed:
        if self.is_here:
            image = to_image(self.part.images[0])
            return timed_here(files.run_fp32(), files.run_int8(chosen.choice), image)
        one = self.source
        return estimated(
            one.detector.spec, one.image_size, self.device, files.runtime, chosen.choice, won
        )


def check_worth(
    runtime: str, chosen: Chosen, speed: Int8Speed, max_drop: float, part_told: str
) -> None:
    """Int8Error where a file loses more than `max_drop`, or is known to be no faster."""
    where = f"--precision int8 ({runtime})"
    figures = (
        f"mAP50-95 {chosen.fp32_map50_95:.4f} in fp32, {chosen.map50_95:.4f} in int8 "
        f"({part_told}); {told_speed(speed)}"
    )
    if not chosen.choice or (speed.is_decided and not speed.is_faster):
        raise Int8Error(
            where,
            f"a file called int8 is faster than the fp32 one on {speed.where}",
            figures,
            "Leave int8 out for this runtime, or name another --device. Nothing was written",
        )
    if chosen.lost > max_drop:
        raise Int8Error(
            where,
            f"a file called int8 loses at most {100 * max_drop:g} points of mAP50-95",
            figures,
            "Allow more by --max-map-drop, give more or other pictures by --calib, or leave "
            "int8 out. Nothing was written",
        )


def layers_of(graph: Graph, choice: Int8Choice) -> tuple[Int8Layer, ...]:
    """What each convolution computes in, in the graph's order."""
    return tuple(
        Int8Layer(
            tensor=op.output,
            what=f"{op.kernel}x{op.kernel}{'' if op.groups == 1 else ' depthwise'}"
            f"{'' if op.stride == 1 else f' stride {op.stride}'}, "
            f"{op.shapes_in[0].channels} to {op.shape_out.channels} at "
            f"{op.shape_out.height}x{op.shape_out.width}",
            computes=choice[op.output].value if op.output in choice else "float",
        )
        for op in graph.ops
        if op.kind is OpKind.CONVOLUTION
    )


def prepared(
    detector: Detector, image_size: ImageSize, names: tuple[str, ...], pictures: Pictures
) -> Int8Source:
    """What int8 files of a detector are made from: its maps' ranges are seen on the pictures."""
    graph = model_graph(detector.spec, image_size)
    weights = convolution_weights(detector, graph)
    milestones = Milestones("calibration pictures", len(pictures.images))
    calibration: Calibration = calibrate(graph, weights, pictures.images, milestones.reach)
    return Int8Source(
        detector=detector, graph=graph, weights=weights, calibration=calibration, names=names
    )
