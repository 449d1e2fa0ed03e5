"""An ONNX file, run by ONNX Runtime on the CPU.

Ours, YOLOv5's and Ultralytics' say their classes in the file's metadata; ours say strides and
anchors too. What a file lacks is looked up in the report.json beside it.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray

from nas.grading.arithmetic import EXACT_OPTION, saturates, told_int8
from nas.grading.detector_file import DetectorFile, DetectorFileError
from nas.grading.exported import ReportEntry, ReportFacts, entry_of, read_report
from nas.grading.outputs import Array, HeadFacts, boxes_of_outputs, layout_of_shapes
from nas.space.image_size import ImageSize, of_sides, sides
from nas.training.metrics import Predict

INT8_OPS: Final = frozenset(
    {"QuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"}
)

FAILURE: Final = "Give an ONNX file as nas.export leaves it"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Metadata:
    """What an ONNX file says of itself; empty where it doesn't."""

    names: tuple[str, ...]
    strides: tuple[int, ...]
    anchors: tuple[tuple[float, ...], ...]


def open_onnx(path: Path) -> DetectorFile:
    """The detector of an ONNX file. DetectorFileError."""
    report = read_report(path.parent)
    entry = entry_of(report, path)
    model = _read(path)
    precision = _precision(model, entry)
    is_exact_by_option = precision == "int8" and saturates()
    session = _session(path, model, is_exact_by_option=is_exact_by_option)
    said = _metadata(path, session, report if entry else None)
    size, any_batch = _input(path, session)
    facts = HeadFacts(num_classes=len(said.names), strides=said.strides, anchors=said.anchors)
    predict = _predictor(path, session, facts, size, any_batch=any_batch)
    told = told_int8(is_exact_by_option=is_exact_by_option) if precision == "int8" else precision
    return DetectorFile(
        path=path,
        kind="onnx",
        precision=precision,
        arithmetic=f"ONNX Runtime {onnxruntime.__version__}, {told}",
        names=said.names,
        image_size=size,
        strides=said.strides,
        anchors=said.anchors,
        predict=predict,
    )


def _read(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load_model_from_string(path.read_bytes())
    except OSError as error:
        raise DetectorFileError(
            str(path), "the file can be read", error.strerror or str(error), "Correct the path"
        ) from None
    except DecodeError:
        raise DetectorFileError(
            str(path), "the file is a whole ONNX model", "other bytes, or a part of one", FAILURE
        ) from None


def _precision(model: onnx.ModelProto, entry: ReportEntry | None) -> str:
    """How the weights are stored: as the report says, else by what stands in the graph."""
    if entry is not None:
        return entry.precision
    if any(node.op_type in INT8_OPS for node in model.graph.node):
        return "int8"
    half = onnx.TensorProto.FLOAT16
    return "fp16" if any(one.data_type == half for one in model.graph.initializer) else "fp32"


def _session(path: Path, model: onnx.ModelProto, *, is_exact_by_option: bool) -> Any:
    """A session on one core of the CPU; DetectorFileError where ONNX Runtime can't make one."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # several wait for one another on a busy machine
    options.log_severity_level = 4  # what it objects to comes as an exception, too
    if is_exact_by_option:
        options.add_session_config_entry(EXACT_OPTION, "1")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no base class of their own
        raise _refused(path, model, error) from error


def _refused(path: Path, model: onnx.ModelProto, error: Exception) -> DetectorFileError:
    """What ONNX Runtime objects to in a file: an op that it lacks by name and place."""
    text = " ".join(str(error).split())
    lacks = re.search(
        r"(?:Could not find an implementation for|No Op registered for|Fatal error:)"
        r" (?:[\w.]+:)?(\w+)",
        text,
    )
    nodes = [node for node in model.graph.node if lacks and node.op_type == lacks[1]]
    if nodes:
        places = [node.name or f"that gives {node.output[0]}" for node in nodes]
        more = f" and {len(nodes) - 1} more" if len(nodes) > 1 else ""
        return DetectorFileError(
            str(path),
            f"ONNX Runtime {onnxruntime.__version__} has every op of the model",
            f"{nodes[0].op_type} (node {places[0]}{more})",
            "Export it without that op, or install a version that has it",
        )
    got = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    return DetectorFileError(str(path), "ONNX Runtime loads the model", got[:300], FAILURE)


def _metadata(path: Path, session: Any, report: ReportFacts | None) -> _Metadata:
    """Names, strides and anchors by the file itself, else by its report. DetectorFileError."""
    said = dict(session.get_modelmeta().custom_metadata_map)
    names = _names(said.get("names"))
    if not names and report is not None:
        names = report.classes
    if not names:
        raise DetectorFileError(
            str(path),
            "the file's metadata, or the report.json beside it, says its class names",
            f"names: {said['names'][:80]}" if said.get("names") else "no names there",
            "Export it by nas.export, which writes both",
        )
    strides = _numbers(said.get("strides"))
    anchors = _numbers(said.get("anchors"))
    if strides is None and report is not None:
        strides, anchors = report.strides, report.anchors
    return _Metadata(
        names=names,
        strides=tuple(int(one) for one in strides or ()),
        anchors=tuple(tuple(float(one) for one in level) for level in anchors or ()),
    )


def _names(text: str | None) -> tuple[str, ...]:
    """Class names as YOLOv5 and Ultralytics write them, a Python dict or list; none if they don't.

    Literals alone: nothing is evaluated.
    """
    value = _literal(text)
    if isinstance(value, dict) and list(value) == list(range(len(value))):
        value = list(value.values())
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return tuple(value)
    return ()


def _numbers(text: str | None) -> Any:
    value = _literal(text)
    flat = value if isinstance(value, list) else []
    flat = [x for one in flat for x in (one if isinstance(one, list) else [one])]
    is_numbers = all(isinstance(x, int | float) for x in flat)
    return value if isinstance(value, list) and is_numbers else None


def _literal(text: str | None) -> Any:
    try:
        return ast.literal_eval(text or "")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _input(path: Path, session: Any) -> tuple[ImageSize, bool]:
    """The size of the image that the model takes, and whether it takes any number at once.

    DetectorFileError where its input is anything else than images as nas.export's files take them.
    """
    inputs = session.get_inputs()
    shape = list(inputs[0].shape) if len(inputs) == 1 else []
    is_image = len(shape) == 4 and shape[1] == 3 and inputs[0].type == "tensor(float)"
    has_size = is_image and all(isinstance(side, int) for side in shape[2:])
    if has_size and (shape[0] == 1 or not isinstance(shape[0], int)):
        return of_sides(*shape[2:]), shape[0] != 1
    told = ", ".join(f"{one.name} {one.shape} {one.type}" for one in inputs)
    raise DetectorFileError(
        str(path),
        "the input is an image of a fixed size, (1, 3, height, width) in float32",
        told,
        "Export it by nas.export, or elsewhere with a fixed image size and in float32",
    )


def _predictor(
    path: Path, session: Any, facts: HeadFacts, size: ImageSize, *, any_batch: bool
) -> Predict:
    """The session as a function of images. It is run once here, to see what it gives."""
    name = session.get_inputs()[0].name

    def run(pixels: Array) -> list[Array]:
        return [np.asarray(one, np.float32) for one in session.run(None, {name: pixels})]

    try:
        shapes = [one.shape for one in run(np.zeros((1, 3, *sides(size)), np.float32))]
    except Exception as error:  # its errors have no base class of their own
        got = " ".join(str(error).split())[:300]
        raise DetectorFileError(str(path), "ONNX Runtime runs it", got, FAILURE) from error
    layout = layout_of_shapes(shapes, facts, str(path))

    def predict(images: NDArray[np.uint8]) -> Array:
        pixels = images.transpose(0, 3, 1, 2).astype(np.float32) / 255
        if any_batch:
            return boxes_of_outputs(run(pixels), layout, facts)
        one_by_one = [run(pixels[i : i + 1]) for i in range(len(pixels))]
        return np.concatenate([boxes_of_outputs(one, layout, facts) for one in one_by_one])

    return predict
