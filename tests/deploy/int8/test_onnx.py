"""Int8 ONNX files: what is chosen computes in 8 bits, as whole numbers say; the rest is float."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from nas.deploy.check import onnx_run, run_onnx
from nas.deploy.int8.calibration import calibrate
from nas.deploy.int8.onnx import to_onnx_int8
from nas.deploy.onnx import to_onnx
from nas.deploy.picture import picture
from nas.deploy.weights import convolution_weights
from nas.detector.builder import Detector
from nas.emit.int8 import can_be_int8
from nas.grading.arithmetic import EXACT_OPTION
from nas.space.ops import OpKind, model_graph
from tests.deploy.detectors import SIZE, candidate, reference, small

EXACT = {EXACT_OPTION: "1"}


def pictures(count: int = 8) -> np.ndarray:
    drawn = [picture(SIZE, seed)[0].transpose(1, 2, 0) for seed in range(count)]
    return (np.stack(drawn) * 255).round().astype(np.uint8)


def quantised(detector: Detector, floats: int = 0) -> tuple[bytes, int, int]:
    """The model with all layers in int8 but the last so many; how many are int8, and float."""
    graph = model_graph(detector.spec, SIZE)
    weights = convolution_weights(detector, graph)
    seen = calibrate(graph, weights, pictures(), lambda _: None)
    all_of = [op.output for op in graph.ops if can_be_int8(op)]
    chosen = frozenset(all_of[: len(all_of) - floats])
    ranges = seen.ranges("min-max", is_symmetric=False)
    content = to_onnx_int8(detector, graph, weights, ranges, chosen, has_boxes=False)
    count = sum(op.kind is OpKind.CONVOLUTION for op in graph.ops)
    return content, len(chosen), count - len(chosen)


def operators(content: bytes, folder: Path) -> Counter[str]:
    """What ONNX Runtime makes of a model."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "fused.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(folder / "fused.onnx").graph.node)


@pytest.mark.parametrize("floats", [0, 1, 5])
@pytest.mark.parametrize(
    "make",
    [small, partial(candidate, "fused_mbconv", 1), partial(reference, "yolov8n")],
    ids=["tiny", "fused_mbconv", "yolov8n"],
)
def test_the_chosen_layers_and_no_others_are_fused_to_int8(
    make: Callable[[], Detector], floats: int, tmp_path: Path
) -> None:
    content, in_int8, in_float = quantised(make(), floats)
    found = operators(content, tmp_path)
    assert found["QLinearConv"] == in_int8
    assert found["Conv"] + found["FusedConv"] == in_float


@pytest.mark.parametrize("name", ["yolov8n", "yolov5n"])
def test_an_int8_model_is_near_fp32(name: str) -> None:
    detector = reference(name)
    content, _, _ = quantised(detector, floats=6)
    image = pictures(1)[0].transpose(2, 0, 1)[None].astype(np.float32) / 255
    right = run_onnx(to_onnx(detector, SIZE, has_boxes=False), image)
    for ours, theirs in zip(onnx_run(content, EXACT)(image), right, strict=True):
        error = np.sqrt(np.mean((ours - theirs) ** 2))
        assert error < 0.5 * np.std(theirs)  # an untaught network spreads every error


def test_maps_and_filters_are_what_whole_numbers_say() -> None:
    """The first layer, by numpy: sums of bytes, scaled, rounded to the next byte."""
    detector = small()
    content, _, _ = quantised(detector)
    model = onnx.ModelProto.FromString(content)
    numbers = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    filters = first.input[1].removesuffix("_f")
    made = {node.output[0]: node for node in model.graph.node}
    scale, zero = (numbers[name] for name in made[first.input[0]].input[1:3])
    image = pictures(1)[0].transpose(2, 0, 1)[None].astype(np.float32) / 255
    stored = np.clip(np.rint(image / scale) + zero, 0, 255) - zero
    attributes = {one.name: onnx.helper.get_attribute_value(one) for one in first.attribute}
    padding, stride = attributes["pads"][0], attributes["strides"][0]
    kernel = attributes["kernel_shape"][0]
    padded = np.pad(stored, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), (2, 3))
    windows = windows[0, :, ::stride, ::stride]
    sums = np.einsum("chwij,ocij->ohw", windows, numbers[filters].astype(np.float64))
    bias = first.input[2].removesuffix("_f")
    sums += numbers[bias].astype(np.float64)[:, None, None]
    step = numbers[f"{filters}_scale"].astype(np.float64)[:, None, None] * float(scale)
    assert np.allclose(numbers[f"{bias}_scale"], step[:, 0, 0], rtol=1e-6)
    following = next(node for node in model.graph.node if first.output[0] in node.input)
    assert following.op_type == "QuantizeLinear"
    out_scale, out_zero = (numbers[name] for name in following.input[1:3])
    expected = np.clip(np.rint(sums * step / out_scale) + out_zero, 0, 255)
    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    del asked.graph.output[:]
    asked.graph.output.append(
        onnx.helper.make_tensor_value_info(following.output[0], onnx.TensorProto.UINT8, None)
    )
    (found,) = onnx_run(asked.SerializeToString(), EXACT)(image)
    # Where a sum falls on a half, the order of fp32 products decides.
    assert np.abs(found[0] - expected).max() <= 1
    assert (found[0] == expected).mean() > 0.999


def test_a_bias_beyond_int32_keeps_its_value() -> None:
    from nas.deploy.int8.onnx import _numbers
    from nas.deploy.weights import ConvolutionWeights

    tiny = ConvolutionWeights(
        filters=np.full((1, 1, 1, 1), 1e-9, np.float32), bias=np.full(1, 3.0, np.float32)
    )
    found = _numbers(4, tiny, 0.01)
    assert found["b4"][0] * found["b4_scale"][0] == pytest.approx(3.0, rel=1e-5)
