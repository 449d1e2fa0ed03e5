"""Heads without anchors as emitted graphs: pnnx's op by op, torch's numbers, int8's operators."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from nas.detector.builder import build_detector
from nas.emit.ncnn import emit_ncnn
from nas.emit.onnx import emit_onnx
from nas.latency.estimated.op_work import graph_work
from nas.latency.measured.campaign import block_job
from nas.latency.measured.cost_model import shape_features, terms
from nas.space.block import Block
from nas.space.blocks import layers
from nas.space.graph import OpKind
from nas.space.ops import expand, model_graph
from tests.emit.param import pnnx_param, read_layers, signature, split_counts
from tests.emit.test_ncnn import Maps, outputs
from tests.emit.test_onnx import (
    computes_what_torch_computes,
    filled,
    fused_operators,
    quantised_by_onnxruntime,
)
from tests.light_heads import FORMS, LIGHT_FORMS, model_of

# torch.jit is deprecated in favour of torch.export, and pnnx still asks for it.
pytestmark = pytest.mark.filterwarnings("ignore")

SIZE = 96
LEVELS = tuple(layers(model_of(form), SIZE)[-1].blocks[0] for form in LIGHT_FORMS)


@pytest.mark.parametrize("form", FORMS)
def test_whole_detectors_equal_pnnx(form: str, tmp_path: Path) -> None:
    spec = model_of(form)
    theirs = pnnx_param(
        tmp_path, Maps(build_detector(spec)).eval(), (torch.rand(1, 3, SIZE, SIZE),)
    )
    ours = emit_ncnn(model_graph(spec, SIZE))
    assert signature(ours) == signature(theirs)
    assert split_counts(ours) == split_counts(theirs)
    clipped = [values for *_, values in read_layers(ours) if values.get("9") == (3.0,)]
    assert clipped
    assert all(values["-23310"] == (2.0, 0.0, 6.0) for values in clipped)
    assert not [kind for kind, *_ in read_layers(ours) if kind in ("Clip", "ReLU")]


@pytest.mark.parametrize("form", FORMS)
def test_onnx_computes_what_torch_computes(form: str) -> None:
    model = computes_what_torch_computes(model_of(form), SIZE)
    assert {node.op_type for node in model.graph.node} >= {"Clip", "Conv", "Concat"}


@pytest.mark.parametrize("form", FORMS)
def test_in_int8_clips_vanish_into_ranges_as_quantize_static_has_it(
    form: str, tmp_path: Path
) -> None:
    graph = model_graph(model_of(form), SIZE)
    model = filled(emit_onnx(graph, "int8"))
    onnx.checker.check_model(model, full_check=True)
    nodes = {node.op_type for node in model.graph.node}
    assert "Clip" not in nodes
    read = {name for node in model.graph.node for name in node.input}
    assert {one.name for one in model.graph.initializer} <= read
    theirs = quantised_by_onnxruntime(filled(emit_onnx(graph)), graph.input_shapes[0], tmp_path)
    assert fused_operators(model, tmp_path) == fused_operators(theirs, tmp_path)


@pytest.mark.parametrize("block", LEVELS, ids=lambda one: one.key())
def test_a_level_is_timed_alone_in_every_form(block: Block) -> None:
    job = block_job(block)
    assert job.has_plain_output
    graph = expand(block)
    x = np.random.default_rng(1).standard_normal(graph.input_shapes[0]).astype(np.float32)
    expected, found = (outputs(graph, precision, x) for precision in ("fp32", "int8"))
    assert expected.shape == (block.channels_out, block.height, block.width)
    # Steps of a fixed scale add up from layer to layer.
    limit = 0.15 * (1 + block.depth)
    assert np.abs(found - expected).mean() < limit * np.abs(expected).mean()


@pytest.mark.parametrize("runtime", ["ncnn", "onnxruntime", "tflite"])
def test_a_relu6_is_no_work_behind_a_convolution_and_a_silu_is(runtime: str) -> None:
    clipped, plain, swish = (
        graph_work(model_graph(model_of("LightDetect, [nc]", activation), SIZE), "fp32", runtime)
        for activation in ("ReLU6", "ReLU", "SiLU")
    )
    assert clipped == plain
    assert len(swish) > len(clipped)


@pytest.mark.parametrize("block", LEVELS, ids=lambda one: one.key())
def test_the_cost_model_reads_every_form(block: Block) -> None:
    features = shape_features([block, *LEVELS])
    assert np.isfinite(features).all()
    assert len(np.unique(features, axis=0)) == len(LEVELS)
    convolutions = sum(op.kind is OpKind.CONVOLUTION for op in expand(block).ops)
    each = 2 if block.operator == "separable" else 1
    assert convolutions == 2 * (each * block.depth + 1)
    assert terms(expand(block))[1] == convolutions
