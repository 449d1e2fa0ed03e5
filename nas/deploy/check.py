"""Exported files run by their own runtimes, and how far their outputs are from torch's.

Two questions, kept apart. *Is the file right?* It is compared with torch computing with the
weights as the file stores them, part by part (nas.deploy.parts); more than rounding means a wrong
file, and nothing is exported.
*What did storing cost?* It is compared with torch as it was trained; that is what is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from nas import NasError
from nas.deploy.decode import in_layout, layout_of
from nas.deploy.parts import OutputPart, box_parts, map_parts
from nas.deploy.picture import Array
from nas.deploy.weights import Precision, as_stored
from nas.detector.builder import Detector
from nas.space.image_size import ImageSize, of_sides


class WrongFileError(NasError):
    """A file whose outputs are not the network's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """How far a file's outputs are from torch's on one image."""

    max_error: float
    """Against the network as trained, in the output's own units: logits, or pixels and shares."""
    max_share_error: float | None
    """Of the probabilities alone, where the output holds boxes."""
    largest: float
    """The largest value that torch gives there."""


Run = Callable[[Array], list[Array]]
"""An image (1, 3, H, W) -> the outputs of a file."""


def run_onnx(content: bytes | Path, image: Array) -> list[Array]:
    """What ONNX Runtime gives for the image (1, 3, H, W), on one thread of the CPU."""
    return onnx_run(content)(image)


def onnx_run(content: bytes | Path, settings: Mapping[str, str] | None = None) -> Run:
    """An ONNX file in ONNX Runtime, on one thread of the CPU.

    settings  of its session, by name
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    for name, value in (settings or {}).items():
        options.add_session_config_entry(name, value)
    source = str(content) if isinstance(content, Path) else content
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(image: Array) -> list[Array]:
        return [np.asarray(one, np.float32) for one in session.run(None, {name: image})]

    return run


def run_ncnn(param: Path, binary: Path, image: Array) -> list[Array]:
    """The maps (1, channels, height, width) that ncnn gives, computed in fp32 on one thread."""
    return ncnn_run(param, binary)(image)


def ncnn_run(param: Path, binary: Path) -> Run:
    """An ncnn pair in ncnn, on one thread; what is not int8 computes in fp32."""
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    if net.load_param(str(param)) != 0 or net.load_model(str(binary)) != 0:
        raise WrongFileError(str(param), "ncnn loads the file", "an error, printed above")
    names = sorted(net.output_names(), key=lambda text: int(text.removeprefix("out")))

    def run(image: Array) -> list[Array]:
        extractor = net.create_extractor()
        # A Mat borrows the array's memory; the clone owns its own.
        extractor.input("in0", ncnn.Mat(np.ascontiguousarray(image[0])).clone())
        found = []
        for name in names:
            code, out = extractor.extract(name)
            if code != 0:
                raise WrongFileError(str(param), f"ncnn computes {name}", f"error {code}")
            found.append(np.array(out, np.float32)[None])
        return found

    return run


def compare(
    detector: Detector,
    precision: Precision,
    image: Array,
    outputs: list[Array],
    where: str,
    *,
    has_boxes: bool,
) -> Comparison:
    """How far `outputs` are from torch's; WrongFileError where it is more than rounding."""
    trained = _torch_outputs(detector, image, has_boxes=has_boxes)
    stored = _torch_outputs(as_stored(detector, precision), image, has_boxes=has_boxes)
    shapes = [one.shape for one in outputs]
    if shapes != [one.shape for one in stored]:
        raise WrongFileError(where, f"the outputs are {[one.shape for one in stored]}", f"{shapes}")
    size = of_sides(*image.shape[2:])
    worst = max(_parts(detector, outputs, stored, size, has_boxes), key=_excess)
    if not worst.excess <= 1:
        off, allowed = worst.worst
        raise WrongFileError(
            where,
            f"the outputs equal torch's, its {worst.name} within {allowed:.2g}",
            f"{off:.2g} off",
            "This is our fault: please report it with the model YAML",
        )
    largest = max(float(np.abs(one).max()) for one in stored)
    shares = None
    if has_boxes:
        scores = np.s_[..., 4:] if layout_of(detector) == "yolov5" else np.s_[:, 4:]
        shares = _max_difference([outputs[0][scores]], [trained[0][scores]])
    return Comparison(
        max_error=_max_difference(outputs, trained), max_share_error=shares, largest=largest
    )


def _parts(
    detector: Detector,
    ours: list[Array],
    torchs: list[Array],
    image_size: ImageSize,
    has_boxes: bool,
) -> Iterator[OutputPart]:
    pairs = [
        tuple(np.asarray(one, np.float64) for one in pair)
        for pair in zip(ours, torchs, strict=True)
    ]
    if has_boxes:
        yield from box_parts(detector, image_size, *pairs[0])
        return
    for level, pair in enumerate(pairs):
        yield from map_parts(detector, level, *pair)


def _excess(part: OutputPart) -> float:
    """For the worst of all: what is no number is worse than any."""
    return part.excess if np.isfinite(part.excess) else np.inf


def _torch_outputs(detector: Detector, image: Array, *, has_boxes: bool) -> list[Array]:
    detector.eval()
    with torch.no_grad():
        x = torch.from_numpy(image)
        boxes = in_layout(detector(x), layout_of(detector))
        found = [boxes] if has_boxes else detector.maps(x)
    return [one.numpy() for one in found]


def _max_difference(ours: list[Array], theirs: list[Array]) -> float:
    """The largest difference; NaN where a value is none."""
    pairs = zip(ours, theirs, strict=True)
    return float(np.max([np.abs(a.astype(np.float64) - b).max() for a, b in pairs]))
