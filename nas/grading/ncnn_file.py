"""An ncnn pair, `.param` and `.bin`, run by ncnn with the options that the profiler times it with.

fp32 and int8 keep everything else in single precision; fp16 lets ncnn store and compute in half
precision wherever this processor can.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import ncnn
import numpy as np
from numpy.typing import NDArray

from nas.documents import read_text
from nas.emit.ncnn import MAGIC
from nas.grading.detector_file import DetectorFile, DetectorFileError
from nas.grading.exported import REPORT, entry_of, read_report
from nas.grading.outputs import Array, HeadFacts, boxes_of_outputs, layout_of_shapes
from nas.places import is_file
from nas.space.image_size import ImageSize, sides
from nas.training.metrics import Predict

AGAIN: Final = "Export the model again by nas.export"


def open_ncnn(path: Path) -> DetectorFile:
    """The detector of a `.param`, its `.bin` and the report beside them. DetectorFileError."""
    _check_text(path)
    binary = path.with_suffix(".bin")
    if not is_file(binary):
        raise DetectorFileError(
            str(path), "its weights lie beside it", f"no {binary.name}", "Copy them there"
        )
    report = read_report(path.parent)
    entry = entry_of(report, path)
    if report is None or entry is None:
        raise DetectorFileError(
            str(path),
            f"a {REPORT} beside it tells its classes, anchors and image size, which no .param does",
            "no such file" if report is None else f"one that doesn't name {path.name}",
            "Copy it from the export's folder",
        )
    net = _net(path, binary, entry.precision)
    facts = HeadFacts(
        num_classes=len(report.classes), strides=report.strides, anchors=report.anchors
    )
    return DetectorFile(
        path=path,
        kind="ncnn",
        precision=entry.precision,
        arithmetic=f"ncnn {ncnn.__version__}, {_told(entry.precision)}",
        names=report.classes,
        image_size=report.image_size,
        strides=report.strides,
        anchors=report.anchors,
        predict=_predictor(path, net, facts, report.image_size),
    )


def _told(precision: str) -> str:
    if precision in ("fp16", "bf16"):
        return f"{precision} where this processor has it"
    return "int8, the rest fp32" if precision == "int8" else precision


def _check_text(path: Path) -> None:
    """DetectorFileError unless the file is a `.param` of layers that ncnn has."""
    lines = read_text(path, "a .param", DetectorFileError).splitlines()
    if lines[:1] != [MAGIC]:
        raise DetectorFileError(
            str(path),
            f"a .param is ncnn's text, whose first line is {MAGIC}",
            (lines[0] if lines else "nothing")[:80],
            AGAIN,
        )
    counts = re.fullmatch(r"(\d+) (\d+)", lines[1].strip()) if len(lines) > 1 else None
    layers = [line.split() for line in lines[2:] if line.strip()]
    if counts is None or int(counts[1]) != len(layers):
        said = "no count of layers" if counts is None else f"{len(layers)} of {counts[1]} layers"
        raise DetectorFileError(str(path), "the .param is whole", said, AGAIN)
    for number, words in enumerate(layers, start=3):
        _check_layer(f"{path}:{number}", words)


def _check_layer(where: str, words: list[str]) -> None:
    """`type name inputs outputs blobs... key=value...`"""
    counts = words[2:4]
    if len(counts) < 2 or not all(re.fullmatch(r"\d{1,4}", one) for one in counts):
        raise DetectorFileError(where, "a layer says its inputs and outputs", words[0], AGAIN)
    if len(words) < 4 + int(counts[0]) + int(counts[1]):
        raise DetectorFileError(where, "a layer names its blobs", " ".join(words)[:80], AGAIN)
    if ncnn.layer_to_index(words[0]) < 0:
        raise DetectorFileError(
            where,
            f"ncnn {ncnn.__version__} has every layer of the model",
            f"{words[0]} (layer {words[1]})",
            "Export it without that layer, or install a version that has it",
        )


def _net(path: Path, binary: Path, precision: str) -> Any:
    """The network with its weights; DetectorFileError where ncnn doesn't load them."""
    net = ncnn.Net()
    net.opt.num_threads = 1  # several wait for one another where other work wants the cores
    net.opt.use_vulkan_compute = False
    is_half = precision == "fp16"
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = is_half
    net.opt.use_bf16_packed = net.opt.use_bf16_storage = precision == "bf16"
    if net.load_param(str(path)) != 0 or net.load_model(str(binary)) != 0:
        raise DetectorFileError(
            str(path), f"ncnn loads it with {binary.name}", "an error, printed above", AGAIN
        )
    if net.input_names() != ["in0"]:
        got = ", ".join(net.input_names()) or "none"
        raise DetectorFileError(str(path), "its one input is in0", got, AGAIN)
    return net


def _predictor(path: Path, net: Any, facts: HeadFacts, size: ImageSize) -> Predict:
    """The network as a function of images, one at a time. It is run once here."""
    outputs = sorted(net.output_names(), key=lambda name: (len(name), name))

    def run(image: Array) -> list[Array]:
        extractor = net.create_extractor()
        # A Mat borrows the array's memory; the clone owns its own.
        extractor.input("in0", ncnn.Mat(image).clone())
        found = []
        for name in outputs:
            code, out = extractor.extract(name)
            if code != 0:
                raise DetectorFileError(str(path), f"ncnn computes {name}", f"error {code}", AGAIN)
            found.append(np.array(out, np.float32)[None])
        return found

    shapes = [one.shape for one in run(np.zeros((3, *sides(size)), np.float32))]
    layout = layout_of_shapes(shapes, facts, str(path))

    def predict(images: NDArray[np.uint8]) -> Array:
        pixels = np.ascontiguousarray(images.transpose(0, 3, 1, 2).astype(np.float32) / 255)
        return np.concatenate([boxes_of_outputs(run(one), layout, facts) for one in pixels])

    return predict
