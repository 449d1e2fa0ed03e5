"""The YOLO families' reference models: published figures, a forward pass, thop, multiples."""

from __future__ import annotations

import pytest
import torch
import yaml
from torch import nn

from nas.detector.builder import build_detector, fuse
from nas.detector.modules import build_block
from nas.space.block import Block
from nas.space.blocks import layers
from nas.space.ops import expand, macs, model_graph, params
from nas.space.references import REFERENCES
from nas.space.spec import ModelSpec, dump_spec, parse_spec, read_spec
from tests.blocks_yolo import YOLO_BLOCKS
from tests.detector.test_builder import thop_extras, thop_macs

# Name, pixels, trained parameters, FLOPs in 1e9. YOLOv5's own prints (v5.0, v6.0; parameters to
# the last one); Darknet's files and prints for the two tiny ones, whose parameters are rounded.
PUBLISHED = (
    ("yolov5n", 640, 1_872_157, 4.5),
    ("yolov5s", 640, 7_235_389, 16.5),
    ("yolov5s-v5", 640, 7_276_605, 17.0),
    ("yolov3-tiny", 416, 8.86e6, 5.57),
    ("yolov4-tiny", 416, 6.06e6, 6.91),
    ("yolov8n", 640, 3_157_184, 8.7),
)

# YOLOv8 as it prints itself: trained parameters, FLOPs in 1e9 at 640 px.
YOLOV8 = (
    ("n", 3_157_184, 8.7),
    ("s", 11_166_544, 28.6),
    ("m", 25_902_624, 78.9),
    ("l", 43_691_504, 165.2),
    ("x", 68_229_632, 257.8),
)

# Darknet-53 and YOLOv3's neck in YOLOv5's form.
YOLOV3 = """
nc: 80
backbone:
  - [-1, 1, Conv, [32, 3, 1]]
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, Bottleneck, [64]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 2, Bottleneck, [128]]
  - [-1, 1, Conv, [256, 3, 2]]
  - [-1, 8, Bottleneck, [256]]
  - [-1, 1, Conv, [512, 3, 2]]
  - [-1, 8, Bottleneck, [512]]
  - [-1, 1, Conv, [1024, 3, 2]]
  - [-1, 4, Bottleneck, [1024]]
head:
  - [-1, 1, Bottleneck, [1024, False]]
  - [-1, 1, Conv, [512, 1, 1]]
  - [-1, 1, Conv, [1024, 3, 1]]
  - [-1, 1, Conv, [512, 1, 1]]
  - [-1, 1, Conv, [1024, 3, 1]]
  - [-2, 1, Conv, [256, 1, 1]]
  - [-1, 1, nn.Upsample, [None, 2, nearest]]
  - [[-1, 8], 1, Concat, [1]]
  - [-1, 1, Bottleneck, [512, False]]
  - [-1, 1, Bottleneck, [512, False]]
  - [-1, 1, Conv, [256, 1, 1]]
  - [-1, 1, Conv, [512, 3, 1]]
  - [-2, 1, Conv, [128, 1, 1]]
  - [-1, 1, nn.Upsample, [None, 2, nearest]]
  - [[-1, 6], 1, Concat, [1]]
  - [-1, 1, Bottleneck, [256, False]]
  - [-1, 2, Bottleneck, [256, False]]
  - [[27, 22, 15], 1, Detect, [nc, anchors]]
"""


def reference(name: str) -> ModelSpec:
    return read_spec(REFERENCES / f"{name}.yaml")


@pytest.mark.parametrize(("name", "size", "parameters", "gflops"), PUBLISHED)
def test_published_figures(name: str, size: int, parameters: float, gflops: float) -> None:
    graph = model_graph(reference(name), size)
    if isinstance(parameters, int):
        assert params(graph) == parameters
    assert params(graph) == pytest.approx(parameters, rel=0.01)
    assert 2e-9 * macs(graph) == pytest.approx(gflops, rel=0.01)


@pytest.mark.parametrize(("scale", "parameters", "gflops"), YOLOV8)
def test_every_scale_of_yolov8_from_one_file(scale: str, parameters: int, gflops: float) -> None:
    text = (REFERENCES / "yolov8n.yaml").read_text()
    spec = parse_spec(text, "yolov8.yaml", f"yolov8{scale}")
    assert spec == parse_spec(f"scale: {scale}\n" + text)
    graph = model_graph(spec, 640)
    assert params(graph) == parameters
    assert 2e-9 * macs(graph) == pytest.approx(gflops, rel=0.01)


def test_yolov3_and_its_multiples() -> None:
    graph = model_graph(parse_spec(YOLOV3), 640)
    assert params(graph) == 61_949_149
    assert 2e-9 * macs(graph) == pytest.approx(156.3, rel=0.01)
    scaled = parse_spec("depth_multiple: 0.33\nwidth_multiple: 0.25\n" + YOLOV3)
    rows = [(row.number, row.args[0]) for row in scaled.rows if row.module == "Bottleneck"]
    assert rows[:5] == [(1, 16), (1, 32), (3, 64), (3, 128), (1, 256)]


@pytest.mark.parametrize(
    ("family", "depth", "width", "size", "expected"),
    # Counted by benchmarks/estimates/yolobench_networks.py, which draws them without any YAML.
    [
        ("yolo3", 0.33, 0.25, 160, 296_051_200),
        ("yolo3", 1.0, 1.0, 416, 38_423_277_568),
        ("yolo5", 0.33, 0.75, 416, 10_822_056_960),
        ("yolo5", 0.67, 0.25, 160, 286_425_600),
    ],
)
def test_yolobenchs_variants_are_multiples_under_yolov8s_head(
    family: str, depth: float, width: float, size: int, expected: int
) -> None:
    text = YOLOV3 if family == "yolo3" else (REFERENCES / "yolov5n.yaml").read_text()
    document = yaml.safe_load(text) | {
        "depth_multiple": depth,
        "width_multiple": width,
        "max_channels": 1024,
    }
    document.pop("anchors", None)
    document["head"][-1][-1] = ["nc"]
    assert macs(model_graph(parse_spec(yaml.safe_dump(document)), size)) == expected


@pytest.mark.parametrize("name", [name for name, *_ in PUBLISHED])
def test_counts_and_shapes_are_those_of_the_network(name: str) -> None:
    spec, size = reference(name), 320
    graph, detector = model_graph(spec, size), build_detector(spec)
    assert params(graph) == sum(p.numel() for p in detector.parameters() if p.requires_grad)
    fused = fuse(detector)
    seen: list[tuple[int, ...]] = []
    for module in fused.model[:-1]:
        module.register_forward_hook(lambda m, i, out: seen.append(tuple(out.shape[1:])))
    with torch.no_grad():
        maps = fused.maps(torch.rand(1, 3, size, size))
    assert seen == [(la.channels, la.height, la.width) for la in layers(spec, size)[:-1]]
    made = {op.output: op.shape_out for op in graph.ops}
    assert [tuple(one.shape[1:]) for one in maps] == [tuple(made[t]) for t in graph.outputs]
    assert macs(graph) + thop_extras(graph) == thop_macs(fused, 1, 3, size, size)


@pytest.mark.parametrize("name", [name for name, *_ in PUBLISHED])
def test_a_reference_survives_its_own_text(name: str) -> None:
    spec = reference(name)
    assert parse_spec(dump_spec(spec)) == spec


@pytest.mark.parametrize("block", YOLO_BLOCKS, ids=str)
def test_folding_changes_nothing(block: Block) -> None:
    torch.manual_seed(0)
    module = build_block(block).eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -0.5, 0.5)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
    x = torch.rand(2, *expand(block).input_shapes[0])
    with torch.no_grad():
        expected = module(x)
        for part in module.modules():
            if hasattr(part, "fold_batch_norm"):
                part.fold_batch_norm()
                part.fold_batch_norm()  # a second time is no harm
        assert torch.allclose(module(x), expected, atol=1e-5)


def test_focus_computes_what_a_strided_convolution_computes() -> None:
    """YOLOv5 v6 put a 6x6 convolution of stride 2 in the place of Focus and its 3x3: the same
    sums, the weights of cell (row, column) standing at every second place."""
    torch.manual_seed(0)
    focus = build_block(YOLO_BLOCKS[0]).eval()
    weight = focus.conv.conv.weight
    spread = torch.zeros(16, 3, 6, 6)
    for place, (column, row) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        spread[:, :, row::2, column::2] = weight.data[:, 3 * place : 3 * place + 3]
    x = torch.rand(1, 3, 12, 16)
    with torch.no_grad():
        strided = nn.functional.conv2d(x, spread, stride=2, padding=2)
        assert torch.allclose(focus.conv.act(focus.conv.bn(strided)), focus(x), atol=1e-5)


def test_c2f_computes_what_its_two_halves_compute() -> None:
    """cv1's map is cut in two, both halves and what each bottleneck makes go to cv2 (YOLOv8)."""
    torch.manual_seed(0)
    block = next(one for one in YOLO_BLOCKS if one.module == "C2f" and one.depth == 3)
    module = build_block(block).eval()
    x = torch.rand(1, 24, 12, 16)
    with torch.no_grad():
        maps = list(module.cv1(x).chunk(2, 1))
        for part in module.m:
            maps.append(part(maps[-1]))
        assert torch.equal(module.cv2(torch.cat(maps, 1)), module(x))


def test_an_spp_sees_what_an_sppf_sees() -> None:
    """Max pools of 5, 9 and 13 side by side are three of 5 in a chain (YOLOv5 v6's SPPF)."""
    torch.manual_seed(0)
    spp = next(one for one in YOLO_BLOCKS if one.module == "SPP")
    sppf = Block(**{**spp.to_dict(), "module": "SPPF", "channels_in": spp.channels_in})
    side, chain = build_block(spp).eval(), build_block(sppf).eval()
    chain.load_state_dict(side.state_dict())
    x = torch.rand(1, 32, 12, 16)
    with torch.no_grad():
        assert torch.equal(side(x), chain(x))


def test_yolov3_tinys_last_pool_keeps_the_map() -> None:
    sizes = [(layer.row.module, layer.height) for layer in layers(reference("yolov3-tiny"), 416)]
    assert sizes[10:13] == [("Conv", 13), ("nn.ZeroPad2d", 14), ("nn.MaxPool2d", 13)]
