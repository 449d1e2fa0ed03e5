"""What each exported file is worth: its mAP on validation images, its latency on a board."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from nas import NasError
from nas.data.dataset import DataConfig, load_part
from nas.data.images import ImageSet
from nas.deploy.report import Exported, FileGrade, FileLatency, GradedOn
from nas.grading.boxes.curves import curves
from nas.grading.boxes.matching import match
from nas.grading.opening import open_detectors
from nas.latency.device import Device, TableKey
from nas.latency.load import load_table_model
from nas.latency.measured.table import TableError
from nas.space.blocks import blocks
from nas.space.image_size import ImageSize
from nas.space.spec import ModelSpec
from nas.training.metrics import ANY_AREA, detect, grade, precision_table

RUNTIMES: Mapping[str, str] = {"onnx": "onnxruntime", "ncnn": "ncnn"}
"""Format of a file -> what runs it."""


@dataclass(frozen=True, kw_only=True)
class Worth:
    """Says what files are worth, all on the same images and for the same board."""

    spec: ModelSpec
    image_size: ImageSize
    part: ImageSet
    device: Device
    threads: int | None = None
    """Of the runtime on the board; None: the device's own count."""
    root: Path | None = None
    """A folder of latency tables that alone is looked in (nas.latency.device)."""

    def of(self, exported: tuple[Exported, ...], folder: Path) -> tuple[Exported, ...]:
        """The same models with their grades and latencies.

        folder  holds their files and a report.json that names them
        """
        return tuple(
            replace(one, grade=self.grade(folder / runnable), latency=self.latency(one))
            if (runnable := _runnable(one)) is not None
            else one
            for one in exported
        )

    def grade(self, file: Path) -> FileGrade:
        """The mAP of a detector's file, run by its own runtime here."""
        (detector,) = open_detectors(file)
        found = list(detect(detector.predict, self.part))
        grades = grade(found, self.part)
        precision = precision_table(found, self.part, (ANY_AREA,))[0, :, :, 0]
        read = curves(precision, match(found, self.part), self.part.names)
        return FileGrade(
            map50_95=grades.map50_95,
            map50=grades.map50,
            confidence=read.best_confidence,
            arithmetic=detector.arithmetic,
        )

    def latency(self, one: Exported) -> FileLatency:
        """What the board's table says of a model, or why it says nothing."""
        runtime = RUNTIMES[one.format]
        computes, told = one.precision, ""
        if one.precision == "fp16" and not self._has(runtime, "fp16"):
            computes, told = "fp32", "stored in half precision, computed in fp32"
        key = self.device.key(runtime, computes, self.threads)
        if not self._has(runtime, computes):
            cores = f"{self.device.title} has no table of {runtime} {computes}"
            return _unknown(key, f"{cores}: its cores do not compute so, or nobody timed it")
        try:
            model = load_table_model(key, self.root, walk=blocks(self.spec, self.image_size))
            found = model.predict(self.spec, self.image_size)
        except TableError as error:
            return _unknown(key, str(error))
        share = 1.0
        speed = None if one.int8 is None else one.int8.speed
        if speed is not None and speed.int8_ms is not None and speed.where == str(key):
            # Layers that stay float are no part of the table's answer, but of the file's own.
            share = speed.int8_ms / found.ms
            told = "with the layers that stay in float"
        return FileLatency(
            device=key.device,
            runtime=key.runtime,
            precision=key.precision,
            threads=key.threads,
            ms=share * found.ms,
            low_ms=share * found.low_ms,
            high_ms=share * found.high_ms,
            kind=found.kind.value,
            heldout_mape=found.heldout_mape,
            told=told,
        )

    def _has(self, runtime: str, precision: str) -> bool:
        return precision in {
            one for name, own in self.device.runtimes.items() if name == runtime for one in own
        }


def _runnable(one: Exported) -> str | None:
    """The file of a model that a runtime is given; None where nothing runs alone."""
    return one.files[0] if one.format in RUNTIMES else None


def _unknown(key: TableKey, why: str) -> FileLatency:
    return FileLatency(
        device=key.device,
        runtime=key.runtime,
        precision=key.precision,
        threads=key.threads,
        told=why,
    )


def graded_part(
    data: DataConfig, names: tuple[str, ...], image_size: ImageSize
) -> tuple[ImageSet, GradedOn]:
    """The validation images, and what is said of them. NasError where the classes are others."""
    if names != data.names:
        raise NasError(
            "--data",
            f"the data set has the classes that the weights were taught: {', '.join(names)}",
            f"{', '.join(data.names)} ({data.name})",
            "Name the data set that the weights were trained on",
        )
    part = load_part(data, "val", image_size)
    return part, GradedOn(
        data=data.name,
        data_digest=data.digest,
        part="val",
        images=len(part),
        objects=len(part.boxes),
    )
