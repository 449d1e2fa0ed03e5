"""Model YAMLs as users of YOLOv5 and Ultralytics have them mean what they mean there."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nas import NasError
from nas.emit.ncnn import emit_ncnn
from nas.emit.onnx import emit_onnx
from nas.latency.measured.campaign import CLASS_COUNTS, plan
from nas.space.anchors import DEFAULT_ANCHORS
from nas.space.blocks import blocks
from nas.space.modules import SpecError
from nas.space.ops import macs, model_graph, params
from nas.space.references import REFERENCES
from nas.space.search_space import SPACES, SpaceError, parse_space, read_space
from nas.space.spec import (
    dump_spec,
    parse_spec,
    parse_written,
    read_spec,
    with_anchors,
)

PLAIN = """nc: 3
depth_multiple: {depth}
width_multiple: {width}
backbone:
  - [-1, 1, Conv, [20, 6, 2, 2]]
  - [-1, 1, Conv, [58, 3, 2]]
  - [-1, 3, Bottleneck, [58]]
  - [-1, 1, Conv, [116, 3, 2]]
  - [-1, 1, Conv, [232, 3, 2]]
  - [-1, 1, Conv, [464, 3, 2]]
head:
  - [[3, 4, 5], 1, Detect, [nc, anchors]]
"""
MODEL = PLAIN.format(depth=1.0, width=1.0)
SCALES = "scales: {n: [0.33, 0.25, 1024], s: [0.33, 0.5, 1024], m: [0.67, 0.75, 768]}\n"
FREE = SCALES + MODEL.replace("depth_multiple: 1.0\nwidth_multiple: 1.0\n", "").replace(
    "[nc, anchors]", "[nc]"
)


def made_divisible(channels: float) -> int:
    """YOLOv5's make_divisible(c * gw, 8): rounded up to a multiple of 8."""
    return math.ceil(channels / 8) * 8


def widths(text: str, name: str = "") -> list[int]:
    return [row.args[0] for row in parse_spec(text, name=name).backbone]


@pytest.mark.parametrize("width", [0.25, 0.33, 0.5, 0.75, 0.9999, 1.0, 1.0001, 1.25])
@pytest.mark.parametrize("depth", [0.33, 0.67, 1.0, 1.33])
def test_widths_depths_params_and_macs_are_those_of_yolov5s_rule(
    width: float, depth: float
) -> None:
    """Width make_divisible(c * gw, 8), depth max(round(n * gd), 1) for n > 1; a convolution from a
    to b channels has a b k^2 + 2 b parameters and a b k^2 MACs a cell (its batch norm folded)."""
    c = [made_divisible(one * width) for one in (20, 58, 58, 116, 232, 464)]
    repeats = max(round(3 * depth), 1)
    cells = [(320 // stride) ** 2 for stride in (2, 4, 8, 16, 32)]
    convolutions = [(3, c[0], 6, cells[0]), (c[0], c[1], 3, cells[1])]
    convolutions += [(c[1], c[1] // 2, 1, cells[1]), (c[1] // 2, c[1], 3, cells[1])] * repeats
    convolutions += [(c[i], c[i + 1], 3, cells[i]) for i in (2, 3, 4)]
    expected = sum(a * b * k**2 + 2 * b for a, b, k, _ in convolutions)
    expected += sum((a + 1) * 3 * (5 + 3) for a in c[3:])
    expected_macs = sum(a * b * k**2 * n for a, b, k, n in convolutions)
    expected_macs += sum(a * 24 * n for a, n in zip(c[3:], cells[2:], strict=True))
    text = PLAIN.format(depth=depth, width=width)
    assert widths(text) == c
    graph = model_graph(parse_spec(text), 320)
    assert (params(graph), macs(graph)) == (expected, expected_macs)


def test_a_file_of_ours_states_true_widths_and_says_so() -> None:
    assert widths(MODEL) == [24, 64, 64, 120, 232, 464]
    true = [20, 58, 58, 116, 232, 464]
    assert widths("channel_multiple: 1\n" + MODEL) == true
    assert widths("channel_multiple: 4\n" + MODEL) == [20, 60, 60, 116, 232, 464]
    for text in (MODEL, "channel_multiple: 1\n" + MODEL):
        spec = parse_spec(text)
        assert "channel_multiple: 1 " in dump_spec(spec)
        assert parse_spec(dump_spec(spec)) == spec
    old = dump_spec(parse_spec("channel_multiple: 1\n" + MODEL)).splitlines()
    text = "\n".join(line for line in old if not line.startswith("channel_multiple"))
    assert [row.args[0] for row in parse_written(text).backbone] == true
    for wrong in ("0", "1.5", "true", "[8]", "1000"):
        with pytest.raises(SpecError, match="channel_multiple: widths are rounded up"):
            parse_spec(f"channel_multiple: {wrong}\n" + MODEL)


@pytest.mark.parametrize("name", ["nanodet-m", "yolov5-shufflenetv2"])
def test_references_with_widths_of_a_paper_keep_them(name: str) -> None:
    assert any(
        row.args and row.args[0] == 116 for row in read_spec(REFERENCES / f"{name}.yaml").rows
    )


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("nn.LeakyReLU(0.1)", "LeakyReLU"),
        ("LeakyReLU", "LeakyReLU"),
        ("nn.LeakyReLU()", "LeakyReLU(0.01)"),
        ("LeakyReLU()", "LeakyReLU(0.01)"),
        ("torch.nn.LeakyReLU(0.2)", "LeakyReLU(0.2)"),
        ("nn.LeakyReLU(negative_slope=0.2)", "LeakyReLU(0.2)"),
        ("nn.LeakyReLU(0.1, inplace=True)", "LeakyReLU"),
        ("nn.LeakyReLU(0.1, True)", "LeakyReLU"),
        ("nn.LeakyReLU(inplace=True, negative_slope=1e-1)", "LeakyReLU"),
        ("nn.LeakyReLU(0)", "ReLU"),
        ("nn.ReLU()", "ReLU"),
        ("nn.ReLU(inplace=True)", "ReLU"),
        ("nn.ReLU(True)", "ReLU"),
        ("nn.SiLU", "SiLU"),
        ("torch.nn.SiLU()", "SiLU"),
        ("nn.Hardswish()", "Hardswish"),
        ("nn.ReLU6()", "ReLU6"),
        ("torch.nn.ReLU6(inplace=True)", "ReLU6"),
        ("null", "SiLU"),
    ],
)
def test_activations_are_read_as_torch_would_make_them(written: str, name: str) -> None:
    spec = parse_spec(f"activation: {written}\n" + MODEL)
    assert spec.activation == name
    assert parse_spec(dump_spec(spec)) == spec
    row = MODEL.replace("[20, 6, 2, 2]", f"[20, 6, 2, 2, 1, '{written}']")
    if written != "null":
        assert parse_spec(row).backbone[0].args[5] == name
        assert parse_spec(dump_spec(parse_spec(row))) == parse_spec(row)


@pytest.mark.parametrize(
    "written",
    [
        "nn.Mish()", "nn.ReLU6(6)", "nn.GELU()", "nn.PReLU()", "nn.Identity()", "FReLU", "1",
        "true", "[ReLU]", "{a: 1}", "nn.LeakyReLU", "nn.LeakyReLU(2)", "nn.LeakyReLU(-0.1)",
        "nn.ReLU(6)", "nn.LeakyReLU(float('nan'))", "nn.LeakyReLU(1e999)", "nn.LeakyReLU(0.1, 0.2)",
        "''", "nn.", "nn.LeakyReLU(0.1", "nn.LeakyReLU(slope=0.1)", "nn.LeakyReLU(*[0.1])",
        "nn.ReLU()()", "__import__('os').system('x')", "nn.LeakyReLU(0.1, negative_slope=0.1)",
        "lambda: 0",
    ],
)  # fmt: skip
def test_activations_that_cannot_be_built_are_refused_by_name(written: str) -> None:
    document = {"activation": written if written[0] not in "1t[{" else yaml.safe_load(written)}
    with pytest.raises(SpecError) as caught:
        parse_spec(yaml.safe_dump(document) + MODEL, "m.yaml")
    assert str(caught.value).startswith("m.yaml, activation: ")


@pytest.mark.parametrize("slope", [0.01, 0.1, 0.25])
def test_a_slope_reaches_the_emitted_graphs(slope: float) -> None:
    graph = model_graph(parse_spec(f"activation: nn.LeakyReLU({slope})\n" + MODEL), 64)
    assert f"-23310=1,{slope} 9=2" in emit_ncnn(graph)
    import onnx

    model = onnx.ModelProto.FromString(emit_onnx(graph).content)
    alphas = {a.f for node in model.graph.node for a in node.attribute if a.name == "alpha"}
    assert [*alphas] == [pytest.approx(slope)]


@pytest.mark.parametrize(("levels", "count"), [(3, 3), (3, 5), (2, 3), (4, 4), (1, 1)])
def test_a_count_of_anchors_is_so_many_a_level(levels: int, count: int) -> None:
    sources = [2, 3, 4, 5][-levels:]
    text = f"anchors: {count}\n" + MODEL.replace("[[3, 4, 5]", f"[{sources}")
    spec = parse_spec(text)
    assert [len(level) for level in spec.anchors] == [2 * count] * levels
    assert spec.has_open_anchors
    assert parse_spec(dump_spec(spec)) == spec
    assert f"anchors: {count} " in dump_spec(spec)
    heads = [block for block in blocks(spec, 320) if block.module == "Detect"]
    assert [block.channels_out for block in heads] == [count * (5 + 3)] * levels
    areas = [w * h for level in spec.anchors for w, h in zip(level[::2], level[1::2], strict=True)]
    assert min(areas) > 0
    if (levels, count) == (3, 3):
        assert spec.anchors == DEFAULT_ANCHORS
    fitted = with_anchors(spec, spec.anchors)
    assert not fitted.has_open_anchors
    assert parse_spec(dump_spec(fitted)) == fitted


@pytest.mark.parametrize(
    "value",
    ["0", "-3", "3.0", "1000", "true", "auto", "[3]", "[]", "[[]]", "[[1, 2, 3]]", "{a: 1}",
     "[[.inf, 1]]", "[[.nan, 1]]", "[[0, 1]]", "[[1, 1], [1, 1, 2, 2]]", "[[1e30, 2]]", "null",
     "[[true, 1]]", "[['10', 13]]"],
)  # fmt: skip
def test_anchors_that_are_none_get_one_message(value: str) -> None:
    with pytest.raises(SpecError, match=r"m\.yaml, anchors: the anchors are a list for each level"):
        parse_spec(f"anchors: {value}\n" + MODEL, "m.yaml")


@pytest.mark.parametrize(
    ("name", "scale"),
    [("yolov8n", "n"), ("yolov8s", "s"), ("yolo11m", "m"), ("v2s_yolov8n", "n"),
     ("yolov8m-p2", "m"), ("my_yolov5s_2m", "s"), ("drone_run2m", None), ("model", None),
     ("yolov8", None),     ("run3s", None), ("YOLOV8s", None), ("", None)],
)  # fmt: skip
def test_the_scale_is_looked_for_where_ultralytics_does_and_said(
    name: str, scale: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    where = f"{name}-of-this-test.yaml"
    spec = parse_spec(FREE, where, name)
    assert spec.rows == parse_spec(f"scale: {scale or 'n'}\n" + FREE).rows
    told = [record.message for record in caplog.records if record.message.startswith(where)]
    if scale is None:
        assert "scale n of n, s, m is assumed" in told[0]
    elif name not in ("yolov8n", "yolov8s", "yolo11m"):
        assert f"scale {scale} of n, s, m, by its name" in told[0]
    else:
        assert not told


@pytest.mark.parametrize("value", ["[n]", "{n: 1}", "q", "3", "true", ".nan", "''"])
def test_a_scale_that_is_none_of_them_gets_one_message(value: str) -> None:
    with pytest.raises(SpecError, match=r"m\.yaml, scale: the model is one of its scales, n, s, m"):
        parse_spec(f"scale: {value}\n" + FREE, "m.yaml")


def test_a_name_whose_scale_is_not_listed_gets_one_message() -> None:
    with pytest.raises(
        SpecError, match=r"got 'x' in the file's name\. Write one of them, scale: n"
    ):
        parse_spec(FREE, "m.yaml", "yolov8x")


@pytest.mark.parametrize("name", ["yolov8n", "yolov5n"])
def test_a_scaled_space_of_any_head_has_each_block_that_its_detectors_have(name: str) -> None:
    text = (SPACES / "grid.yaml").read_text().replace("yolov5n", name)
    space = parse_space(text, "s", str(SPACES / "s.yaml"))
    found = plan(space, detectors=3)
    place = set(found.blocks)
    for classes in CLASS_COUNTS:
        candidate = space.build(lambda _, options: options[-1], classes)
        assert set(blocks(candidate.spec, candidate.image_size)) <= place
    assert all(usage >= 0 for usage in found.usage)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_models_and_spaces_are_read_in_marked_encodings(
    tmp_path: Path, mark: str, encoding: str
) -> None:
    (tmp_path / "m.yaml").write_bytes((mark + "# ä\n" + MODEL).encode(encoding))
    assert read_spec(tmp_path / "m.yaml") == parse_spec(MODEL)
    (tmp_path / "s.yaml").write_bytes((SPACES / "tiny.yaml").read_text().encode(encoding))
    assert read_space(tmp_path / "s.yaml").digest == read_space("tiny").digest


@pytest.mark.parametrize("text", ["nc: 3\nnc: 4\n", "a: [\n", "- 1\n", "", "{}", "a: &a [*a]\n"])
def test_a_document_that_is_no_model_gets_one_message_at_each_door(text: str) -> None:
    for parse, error in ((parse_spec, SpecError), (parse_space, SpaceError)):
        with pytest.raises(error) as caught:
            parse(text, *(["m.yaml"] if parse is parse_spec else ["m", "m.yaml"]))
        assert str(caught.value).startswith("m.yaml")


DOCUMENTS = [
    yaml.safe_load((REFERENCES / f"{name}.yaml").read_text())
    for name in ("yolov5n", "yolov8n", "v5lite-e", "yolov4-tiny")
]
SPACE_DOCUMENTS = [yaml.safe_load(path.read_text()) for path in sorted(SPACES.glob("*.yaml"))]
VALUES = st.sampled_from(
    [None, True, 0, -1, 1, 2, 7, 10**30, 0.5, -0.1, math.inf, math.nan, 1e308, "", "n", "None",
     "nc", "nn.SiLU()", "nn.LeakyReLU", "Conv", "x" * 300, [], {}, [1], [[1]], {"a": 1}, ["x"],
     [math.nan] * 6, {1: 2}]
)  # fmt: skip
KEYS = st.sampled_from(
    ["scale", "scales", "anchors", "channel_multiple", "max_channels", "activation", "kind", 1]
)


@st.composite
def changed(draw: st.DrawFn, documents: list[Any]) -> str:
    """A document with one to three values changed, removed or added."""
    document = copy.deepcopy(draw(st.sampled_from(documents)))
    for _ in range(draw(st.integers(1, 3))):
        node = document
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(node[key], dict | list) and node[key] and draw(st.integers(0, 4)):
                node = node[key]
                continue
            how = draw(st.integers(0, 3))
            if how == 0:
                del node[key]
            elif how == 1 and isinstance(node, dict):
                node[draw(KEYS)] = copy.deepcopy(draw(VALUES))
            else:
                node[key] = copy.deepcopy(draw(VALUES))
            break
    return yaml.safe_dump(document)


@given(changed(DOCUMENTS))
@settings(max_examples=150, deadline=None)
def test_any_model_is_one_or_gets_one_message(text: str) -> None:
    try:
        spec = parse_spec(text, "m.yaml")
        macs(model_graph(spec, 64))
    except NasError as error:
        told = str(error)
    else:
        told = "m.yaml"
        assert parse_spec(dump_spec(spec)) == spec
    assert told.startswith("m.yaml")
    assert len(told) < 2000


@given(changed(SPACE_DOCUMENTS))
@settings(max_examples=100, deadline=None)
def test_any_space_is_one_or_gets_one_message(text: str) -> None:
    where, told = str(SPACES / "s.yaml"), ""
    try:
        space = parse_space(text, "s", where)
        space.build(lambda _, options: options[-1])
    except NasError as error:
        told = str(error)
    assert told == "" or told.startswith(where)
