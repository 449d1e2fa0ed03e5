"""The ONNX graphs are valid, and compute what the torch modules and the ncnn graphs compute."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from nas.detector.builder import build_detector, fuse
from nas.detector.modules import build_block
from nas.emit.numbers import TOLD
from nas.emit.onnx import OnnxModel, emit_onnx
from nas.latency.device import TableKey
from nas.latency.measured.campaign import network_job
from nas.latency.on_board import board
from nas.latency.reach.pack import Pack, Timing
from nas.latency.reach.runner import LocalRunner
from nas.space.blocks import Block
from nas.space.ops import Graph, OpKind, Shape, expand, model_graph
from nas.space.references import REFERENCES
from nas.space.search_space import read_space
from nas.space.spec import ModelSpec, read_spec
from tests.emit.test_ncnn import BLOCKS, Maps


def with_weights(model: OnnxModel, values: list[np.ndarray]) -> onnx.ModelProto:
    """The model with these weights inside, in the order of its ops."""
    found = onnx.load_from_string(model.content)
    inside = {
        weight.name: onnx.numpy_helper.from_array(value.reshape(weight.shape), weight.name)
        for weight, value in zip(model.weights, values, strict=True)
    }
    for tensor in found.graph.initializer:
        if tensor.name in inside:
            tensor.CopyFrom(inside[tensor.name])
    return found


def weights_as_run(module: nn.Module, x: torch.Tensor) -> list[np.ndarray]:
    """Weight and bias of each convolution in the order in which they ran."""
    found: list[np.ndarray] = []

    def record(layer: nn.Conv2d, *_: object) -> None:
        assert layer.bias is not None
        found.extend((layer.weight.detach().numpy(), layer.bias.detach().numpy()))

    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(record)
    with torch.no_grad():
        module(x)
    return found


def computes_what_torch_computes(spec: ModelSpec, size: int) -> onnx.ModelProto:
    """Holds a detector's ONNX graph in ONNX Runtime against torch, at an image size in pixels."""
    import onnxruntime

    torch.manual_seed(0)
    maps = Maps(fuse(build_detector(spec)))
    x = torch.rand(1, 3, size, size)
    model = with_weights(emit_onnx(model_graph(spec, size)), weights_as_run(maps, x))
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    with torch.no_grad():
        expected = maps(x)
    for found, wanted in zip(session.run(None, {"in0": x.numpy()}), expected, strict=True):
        assert np.abs(found - wanted.numpy()).max() < 1e-4
    return model


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_onnx_computes_what_torch_computes(block: Block) -> None:
    import onnxruntime

    torch.manual_seed(0)
    module = build_block(block).eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -0.5, 0.5)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
    x = torch.rand(1, *expand(block).input_shapes[0])
    with torch.no_grad():
        expected = module(x).numpy()
    for part in list(module.modules()):
        if hasattr(part, "fold_batch_norm"):
            part.fold_batch_norm()
    model = with_weights(emit_onnx(expand(block)), weights_as_run(module, x))
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"in0": x.numpy()})
    assert found.shape == expected.shape
    assert np.allclose(found, expected, atol=1e-4)


def test_a_whole_model_is_valid() -> None:
    candidate = read_space("fused_mbconv").random(np.random.default_rng(0))
    model = emit_onnx(model_graph(candidate.spec, candidate.image_size))
    values = [np.zeros(weight.shape, np.float32) for weight in model.weights]
    onnx.checker.check_model(with_weights(model, values), full_check=True)
    assert len(model.content) < 100_000


@pytest.mark.parametrize("name", ["yolov5n", "yolov5s-v5", "yolov3-tiny", "yolov4-tiny", "yolov8n"])
def test_the_yolo_references_compute_what_torch_computes(name: str) -> None:
    """Maps of ordinary numbers, of which the largest error is stated."""
    computes_what_torch_computes(read_spec(REFERENCES / f"{name}.yaml"), 96)


def test_an_empty_graph_hands_its_inputs_on() -> None:
    graph = Graph(inputs=(0,), input_shapes=(Shape(1, 1, 1),), ops=(), outputs=(0, 0))
    model = onnx.load_from_string(emit_onnx(graph).content)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Identity", "Identity"]


def test_both_runtimes_compute_the_same_from_the_same_seed() -> None:
    candidate = read_space("tiny").random(np.random.default_rng(1), num_classes=3)
    job = network_job(candidate, visits=1)
    quick = Timing(warmup_s=0.0, whole_min_samples=2, whole_cap_s=0.0)
    results = []
    for runtime in board.RUNTIMES:
        key = TableKey(device="host", runtime=runtime)
        pack = Pack(key=key, jobs=(job,), gauges=(), seed=0, timing=quick)
        (timing,) = [x for x in LocalRunner().run(pack) if x["line"] == "timing"]
        results.append(np.array(timing["results"]))
        assert results[-1].shape == (3, 2)
        assert (results[-1][:, 1] > 1e-3).all(), "outputs of an ordinary size"
    assert np.allclose(results[0], results[1], rtol=1e-3, atol=1e-4)


def filled(model: OnnxModel) -> onnx.ModelProto:
    """The model with the board's weights inside."""
    generator = np.random.default_rng(0)
    return with_weights(
        model,
        [
            board._onnx_weight([w.name, w.shape, w.fan_in, w.kind, w.step], generator, TOLD)
            for w in model.weights
        ],
    )


def fused_operators(model: onnx.ModelProto, folder: Path) -> Counter[str]:
    """The operators that ONNX Runtime makes of a model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "fused.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return Counter(node.op_type for node in onnx.load(folder / "fused.onnx").graph.node)


def quantised_by_onnxruntime(model: onnx.ModelProto, shape: Shape, folder: Path) -> onnx.ModelProto:
    """What ONNX Runtime's own tool makes of an fp32 model."""
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # has no stubs
        def __init__(self) -> None:
            rng = np.random.default_rng(0)
            self.images = iter(rng.standard_normal((2, 1, *shape)).astype(np.float32))

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.images, None)
            return None if image is None else {"in0": image}

    onnx.save(model, folder / "fp32.onnx")
    quantization.quantize_static(
        folder / "fp32.onnx",
        folder / "int8.onnx",
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
    )
    return onnx.load(folder / "int8.onnx")


# Its tool leaves what it cannot quantise, or has nothing to quantise in, in fp32 at a graph's end.
QUANTISED = [
    one
    for one in BLOCKS
    if one.module not in ("nn.Upsample", "nn.MaxPool2d", "RouteGroup")
    and expand(one).ops[-1].activation != "Hardswish"
]


@pytest.mark.parametrize("block", QUANTISED, ids=str)
def test_int8_has_the_operators_of_quantize_static(block: Block, tmp_path: Path) -> None:
    graph = expand(block)
    model = filled(emit_onnx(graph, "int8"))
    onnx.checker.check_model(model, full_check=True)
    theirs = quantised_by_onnxruntime(filled(emit_onnx(graph)), graph.input_shapes[0], tmp_path)
    assert fused_operators(model, tmp_path) == fused_operators(theirs, tmp_path)


def test_a_whole_int8_model_has_the_operators_of_quantize_static(tmp_path: Path) -> None:
    candidate = read_space("fused_mbconv").random(np.random.default_rng(0), num_classes=4)
    graph = model_graph(candidate.spec, candidate.image_size)
    found = fused_operators(filled(emit_onnx(graph, "int8")), tmp_path)
    theirs = quantised_by_onnxruntime(filled(emit_onnx(graph)), graph.input_shapes[0], tmp_path)
    assert found == fused_operators(theirs, tmp_path)
    assert found["QLinearConv"] == sum(op.weights > 0 for op in graph.ops)
    assert found["Conv"] == 0


@pytest.mark.parametrize("name", ["yolov5n", "yolov5s-v5", "yolov3-tiny", "yolov4-tiny", "yolov8n"])
def test_the_yolo_references_in_int8_have_the_operators_of_quantize_static(
    name: str, tmp_path: Path
) -> None:
    graph = model_graph(read_spec(REFERENCES / f"{name}.yaml"), 96)
    found = fused_operators(filled(emit_onnx(graph, "int8")), tmp_path)
    theirs = quantised_by_onnxruntime(filled(emit_onnx(graph)), graph.input_shapes[0], tmp_path)
    assert found == fused_operators(theirs, tmp_path)
    assert found["Conv"] == 0


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_part_in_int8_is_near_fp32(block: Block) -> None:
    import onnxruntime

    graph = expand(block)
    x = np.random.default_rng(1).standard_normal((1, *graph.input_shapes[0])).astype(np.float32)
    expected, found = (
        onnxruntime.InferenceSession(
            filled(emit_onnx(graph, precision)).SerializeToString(),
            providers=["CPUExecutionProvider"],
        ).run(None, {"in0": x})[0]
        for precision in ("fp32", "int8")
    )
    limit = 0.4 if block.module in ("C3", "SPPF", "SPP", "C2f") else 0.1
    assert np.abs(found - expected).mean() < limit * np.abs(expected).mean()


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_part_in_int8_stays_in_the_layout_of_a_network(block: Block, tmp_path: Path) -> None:
    part = emit_onnx(expand(block), "int8", has_plain_inputs=False, has_plain_outputs=False)
    model = filled(part)
    onnx.checker.check_model(model, full_check=True)
    (result,) = model.graph.output
    assert result.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    found = fused_operators(model, tmp_path)
    # A Focus turns its cells into channels by one, as it does behind an image, and puts them last.
    # A shuffle deals channels that lie apart: it has a Transpose of its own and up to three around.
    ops = expand(block).ops
    shuffles = sum(op.kind is OpKind.SHUFFLE for op in ops)
    least, most = (shuffles, 4 * shuffles) if shuffles else [2 * (block.module == "Focus")] * 2
    assert least <= found["Transpose"] <= most
    # What ONNX Runtime cannot run in int8 is read and written as numbers; else nothing is.
    if block.module != "nn.ZeroPad2d" and not any(op.activation.startswith("Hard") for op in ops):
        assert found["DequantizeLinear"] == found["QuantizeLinear"] == 0
