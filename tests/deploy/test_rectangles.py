"""At a rectangle too, exported files compute what torch computes, and counts are thop's."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from nas.deploy.check import compare, run_ncnn, run_onnx
from nas.deploy.ncnn import to_ncnn
from nas.deploy.onnx import to_onnx
from nas.deploy.picture import picture
from nas.deploy.weights import random_detector
from nas.detector.builder import build_detector, fuse
from nas.emit.onnx import emit_onnx
from nas.space.blocks import layers
from nas.space.image_size import Rectangle, sides
from nas.space.ops import OpKind, macs, model_graph
from nas.space.search_space import read_space
from nas.space.spec import ModelSpec, read_spec, with_classes

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # thop compares versions with a deprecated class
    import thop

WIDE, TALL = Rectangle(width=128, height=96), Rectangle(width=96, height=160)


def specs() -> dict[str, ModelSpec]:
    """One of each head, and of each space of stages."""
    found = {name: with_classes(read_spec(name), 3) for name in ("yolov5n", "yolov8n", "v5lite-e")}
    rng = np.random.default_rng(2)
    for name in ("fused_mbconv", "shuffle"):
        found[name] = read_space(name).random(rng, num_classes=3).spec
    return found


SPECS = specs()


@pytest.mark.parametrize("size", [WIDE, TALL], ids=str)
@pytest.mark.parametrize("name", SPECS)
def test_files_equal_torch_at_a_rectangle(name: str, size: Rectangle, tmp_path: Path) -> None:
    detector, image = random_detector(SPECS[name], size), picture(size)
    assert image.shape == (1, 3, *sides(size))
    for has_boxes in (True, False):
        content = to_onnx(detector, size, has_boxes=has_boxes, names=("a", "b", "c"))
        compare(detector, "fp32", image, run_onnx(content, image), "it", has_boxes=has_boxes)
        model = onnx.ModelProto.FromString(content)
        told = {one.key: one.value for one in model.metadata_props}
        assert told["imgsz"] == str([*sides(size)]), "height and width, as Ultralytics has it"
    model = to_ncnn(detector, size)
    (tmp_path / "m.param").write_text(model.param)
    (tmp_path / "m.bin").write_bytes(model.bin)
    found = run_ncnn(tmp_path / "m.param", tmp_path / "m.bin", image)
    compare(detector, "fp32", image, found, "it", has_boxes=False)


@pytest.mark.parametrize("name", SPECS)
def test_counts_and_shapes_are_those_of_a_forward_pass(name: str) -> None:
    spec, size = SPECS[name], WIDE
    detector = build_detector(spec).eval()
    seen: list[tuple[int, ...]] = []
    for module in detector.model:
        module.register_forward_hook(lambda m, i, out: seen.append(tuple(out.shape[1:])))
    with torch.no_grad():
        detector(torch.rand(1, 3, *sides(size)))
    walked = layers(spec, size)
    assert seen[:-1] == [(la.channels, la.height, la.width) for la in walked[:-1]]
    graph = model_graph(spec, size)
    beside = sum(
        op.shape_out.elements + (op.shapes_in[0].elements if op.kind is OpKind.GLOBAL_POOL else 0)
        for op in graph.ops
        if op.kind in (OpKind.GLOBAL_POOL, OpKind.UPSAMPLE)
    )
    fused = fuse(build_detector(spec))
    counted = int(thop.profile(fused, inputs=(torch.rand(1, 3, *sides(size)),), verbose=False)[0])
    assert macs(graph) + beside == counted


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_graphs_that_are_timed_take_the_rectangle(precision: str) -> None:
    graph = model_graph(SPECS["fused_mbconv"], WIDE)
    model = onnx.ModelProto.FromString(emit_onnx(graph, precision).content)
    shape = [one.dim_value for one in model.graph.input[0].type.tensor_type.shape.dim]
    assert shape == [1, 3, 96, 128]
