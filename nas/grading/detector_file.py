"""A detector as a file, opened: what it is, and its boxes for images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nas import NasError
from nas.detector.builder import Detector
from nas.space.anchors import Anchors
from nas.space.image_size import ImageSize
from nas.training.metrics import Predict

FileKind = Literal["checkpoint", "onnx", "ncnn"]


class DetectorFileError(NasError):
    """A file that can't be graded: no detector, damaged, or beyond its runtime."""


@dataclass(frozen=True, kw_only=True)
class DetectorFile:
    """A detector that can be graded."""

    path: Path
    """Its file; of an ncnn pair the `.param`."""
    kind: FileKind
    precision: str
    """fp32, fp16 or int8: how its weights are stored."""
    arithmetic: str
    """What computed, in which numbers: `ONNX Runtime 1.32.0, fp32`."""
    names: tuple[str, ...]
    """The class names."""
    image_size: ImageSize
    """Of the images that it takes; of a checkpoint, of those that it was trained on."""
    strides: tuple[int, ...]
    """Pixels of a cell, for each level; empty where the file holds boxes and doesn't say."""
    anchors: Anchors
    """Pixels; empty where the head has none, or the file holds boxes and doesn't say."""
    predict: Predict
    """Its boxes for images of that size; of a checkpoint, of any multiple of the largest stride."""
    detector: Detector | None = None
    """The network, where there is one to ask for gradients: of a checkpoint."""

    @property
    def has_fixed_size(self) -> bool:
        """Whether it takes images of one size alone."""
        return self.detector is None
