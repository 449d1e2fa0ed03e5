"""Every reference model out of torch: how far each runtime is from it, and how large its files are.

    python benchmarks/exports.py [--image-size 320] [--models yolov5n v5lite-s]

Weights are random (nas.deploy.weights.random_detector), the image is drawn; errors are the largest
differences from torch over all outputs: of the raw maps in logits, of the boxes in pixels and
shares. OpenCV's are those of its DNN module on the ONNX file.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tyro

from nas.deploy.check import compare, run_ncnn, run_onnx
from nas.deploy.ncnn import to_ncnn
from nas.deploy.onnx import to_onnx
from nas.deploy.picture import picture
from nas.deploy.weights import Precision, random_detector
from nas.detector.builder import Detector
from nas.integrations.mmyolo import backbone_levels
from nas.space.image_size import ImageSize
from nas.space.references import reference_files
from nas.space.spec import read_spec


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Print one row for each reference model."""

    image_size: int | None = None
    """Pixels; by default each model's own, else 320."""
    models: tuple[str, ...] = ()
    """Names; by default all."""


def run(arguments: Arguments) -> None:
    """Exports, runs and compares each of them."""
    print("| model | px | ncnn fp16 MB | ONNX boxes | OpenCV boxes | ncnn maps | ncnn maps, fp16 |")
    print("|---|---|---|---|---|---|---|")
    for path in reference_files():
        if arguments.models and path.stem not in arguments.models:
            continue
        spec = read_spec(path)
        size = arguments.image_size or spec.image_size or 320
        detector = random_detector(spec, size)
        with tempfile.TemporaryDirectory() as folder:
            figures = [
                f"{len(to_ncnn(detector, size, 'fp16').bin) / 1e6:.2f}",
                *boxes_errors(detector, size, Path(folder)),
                ncnn_error(detector, size, "fp32", Path(folder)),
                ncnn_error(detector, size, "fp16", Path(folder)),
            ]
        levels = "+".join(str(level.channels) for level in backbone_levels(spec))
        print(f"| {path.stem} (P3-P5 {levels}) | {size} | {' | '.join(figures)} |", flush=True)


def boxes_errors(detector: Detector, size: ImageSize, folder: Path) -> list[str]:
    """Of ONNX Runtime and of OpenCV."""
    file, image = folder / "m.onnx", picture(size)
    file.write_bytes(to_onnx(detector, size))
    net = cv2.dnn.readNetFromONNX(str(file))
    net.setInput(image)
    found = []
    for outputs in (run_onnx(file, image), [np.asarray(net.forward(), np.float32)]):
        one = compare(detector, "fp32", image, outputs, file.name, has_boxes=True)
        found.append(f"{one.max_error:.1e} px of {one.largest:.0f}, {one.max_share_error:.1e}")
    return found


def ncnn_error(detector: Detector, size: ImageSize, precision: Precision, folder: Path) -> str:
    """Of ncnn's maps."""
    model = to_ncnn(detector, size, precision)
    (folder / "m.param").write_text(model.param)
    (folder / "m.bin").write_bytes(model.bin)
    outputs = run_ncnn(folder / "m.param", folder / "m.bin", picture(size))
    one = compare(detector, precision, picture(size), outputs, "m.param", has_boxes=False)
    return f"{one.max_error:.1e} of {one.largest:.1f}"


if __name__ == "__main__":
    run(tyro.cli(Arguments))
