"""The light reference models: published figures, a forward pass, thop, and how they are scaled."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from nas.detector.builder import build_detector, fuse
from nas.space.block import nearest_multiple
from nas.space.blocks import layers, strides
from nas.space.compound import EFFICIENTNETS, compound_spec, level_widths
from nas.space.modules import SpecError
from nas.space.ops import expand, macs, model_graph, params
from nas.space.references import REFERENCES, fits, read_references
from nas.space.search_space import read_space
from nas.space.spec import ModelSpec, dump_spec, parse_spec, read_spec
from tests.detector.test_builder import thop_extras, thop_macs

LIGHT = (
    "v5lite-e", "v5lite-s", "v5lite-c", "v5lite-g",
    "yolov5-efficientnetv2", "yolov5-efficientnetv2-literal",
    "yolov5-mobilenetv3-small", "yolov5-shufflenetv2",
    "nanodet-m", "yolo-fastestv2",
)  # fmt: skip
NAMES = (*LIGHT, *(f"efficientnet-{name}" for name in EFFICIENTNETS))


def reference(name: str) -> ModelSpec:
    return read_spec(REFERENCES / f"{name}.yaml")


@pytest.mark.parametrize(
    ("name", "millions", "gflops"),
    # YOLOv5-Lite's README, batch norms folded: parameters to the last digit that it gives. Its
    # FLOPs count batch norms (e, s, c: 1 to 5 % more); those of g, mostly 3x3, agree.
    [("v5lite-e", 0.78, None), ("v5lite-s", 1.64, None), ("v5lite-g", 5.39, 15.6)],
)
def test_published_figures(name: str, millions: float, gflops: float | None) -> None:
    spec = reference(name)
    fused = fuse(build_detector(spec))
    counted = sum(p.numel() for p in fused.parameters())
    assert counted / 1e6 == pytest.approx(millions, abs=0.005)
    if gflops is not None:
        assert spec.image_size is not None
        assert 2e-9 * macs(model_graph(spec, spec.image_size)) == pytest.approx(gflops, abs=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_counts_and_shapes_are_those_of_the_network(name: str) -> None:
    spec, size = reference(name), 128
    graph, detector = model_graph(spec, size), build_detector(spec)
    fused = fuse(detector)
    # A graph counts what runs: a RepVGG block as one convolution with its bias.
    branches = sum(
        sum(p.numel() for p in module.parameters()) - params(expand(block))
        for layer, module in zip(layers(spec, size), detector.model, strict=True)
        for block in layer.blocks
        if block.module == "RepVGGBlock"
    )
    assert params(graph) == sum(p.numel() for p in detector.parameters()) - branches
    seen: list[tuple[int, ...]] = []
    for module in fused.model[:-1]:
        module.register_forward_hook(lambda m, i, out: seen.append(tuple(out.shape[1:])))
    with torch.no_grad():
        maps = fused.maps(torch.rand(1, 3, size, size))
    assert seen == [(la.channels, la.height, la.width) for la in layers(spec, size)[:-1]]
    made = {op.output: op.shape_out for op in graph.ops}
    assert [tuple(one.shape[1:]) for one in maps] == [tuple(made[t]) for t in graph.outputs]
    assert macs(graph) + thop_extras(graph) == thop_macs(fused, 1, 3, size, size)


@pytest.mark.parametrize("name", NAMES)
def test_a_reference_says_its_size_and_survives_its_own_text(name: str) -> None:
    spec = reference(name)
    assert spec.image_size is not None
    assert parse_spec(dump_spec(spec)) == spec
    found = strides(layers(spec, spec.image_size), spec.image_size)
    expected = {"yolo-fastestv2": (16, 32), "yolov5-efficientnetv2-literal": (16, 32, 64)}
    assert found == expected.get(name, (8, 16, 32))


def test_the_literal_rows_differ_from_the_corrected_ones_in_a_stride_and_two_joins() -> None:
    literal, corrected = (reference(f"yolov5-efficientnetv2{end}") for end in ("-literal", ""))
    pairs = zip(literal.rows, corrected.rows, strict=True)
    assert [i for i, (one, other) in enumerate(pairs) if one != other] == [8, 19]
    assert literal.rows[8].args[2] == 2
    assert corrected.rows[8].args[2] == 1
    with pytest.raises(SpecError, match="maps that are joined are of one size"):
        layers(literal, 288)
    assert fits(corrected, 288)
    assert not fits(literal, 288)
    assert fits(literal, 320)
    space = read_space("fused_mbconv")
    assert "yolov5-efficientnetv2-literal" not in read_references(space, 80)
    assert "yolov5-efficientnetv2" in read_references(space, 80)


@pytest.mark.parametrize("name", EFFICIENTNETS)
def test_efficientnets_in_the_box_are_what_the_builder_builds(name: str) -> None:
    assert reference(f"efficientnet-{name}") == compound_spec(name)


@pytest.mark.parametrize(
    ("name", "classifier"),
    # Parameters of the classifiers, as torchvision states them.
    [
        ("b0", 5_288_548), ("b1", 7_794_184), ("b2", 9_109_994), ("b3", 12_233_232),
        ("b4", 19_341_616), ("b5", 30_389_784), ("b6", 43_040_704), ("b7", 66_347_960),
    ],
)  # fmt: skip
def test_efficientnets_have_their_authors_parameters(name: str, classifier: int) -> None:
    spec = compound_spec(name)
    backbone = layers(spec, 224)[: len(spec.backbone)]
    counted = sum(params(expand(block)) for layer in backbone for block in layer.blocks)
    last = nearest_multiple(1280 * EFFICIENTNETS[name].width)
    counted += (backbone[-1].channels + 2) * last + (last + 1) * 1000
    assert counted == classifier


def test_channels_of_the_levels_are_mmyolos() -> None:
    assert level_widths(EFFICIENTNETS["b0"].width) == (40, 112, 320)
    assert level_widths(EFFICIENTNETS["b3"].width) == (48, 136, 384)
    spec = compound_spec("b3")
    detect = layers(spec, 320)[-1]
    assert [block.channels_in for block in detect.blocks] == [(48,), (136,), (384,)]
    sources = [layers(spec, 320)[row] for row in (6, 10, 14)]
    assert [(s.channels, 320 // s.height) for s in sources] == [(48, 8), (136, 16), (384, 32)]


def test_a_width_is_the_nearest_multiple_unless_that_loses_a_tenth() -> None:
    assert [nearest_multiple(c) for c in (1, 8, 11, 12, 17.6, 100, 84, 90)] == [
        8, 8, 16, 16, 16, 104, 88, 88,
    ]  # fmt: skip
    for channels in range(8, 400):
        found = nearest_multiple(channels)
        assert found % 8 == 0
        assert 0.9 * channels <= found < channels + 8


def test_a_deeper_neck_is_asked_for() -> None:
    three = compound_spec("b0", neck_depth=3)
    assert {row.number for row in three.head if row.module == "C3"} == {3}
    assert replace(three, head=compound_spec("b0").head) == compound_spec("b0")
