"""Laws of the model YAML: round trip, multiples, and one message for each mistake."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nas.space.blocks import blocks, layers, strides
from nas.space.modules import SpecError
from nas.space.ops import macs, model_graph, params
from nas.space.search_space import read_space
from nas.space.spec import dump_spec, image_size_of, parse_spec, read_spec

YOLOV5 = """
nc: 80
depth_multiple: {depth}
width_multiple: {width}
anchors:
  - [10,13, 16,30, 33,23]
  - [30,61, 62,45, 59,119]
  - [116,90, 156,198, 373,326]
backbone:
  [[-1, 1, Conv, [64, 6, 2, 2]],
   [-1, 1, Conv, [128, 3, 2]],
   [-1, 3, C3, [128]],
   [-1, 1, Conv, [256, 3, 2]],
   [-1, 6, C3, [256]],
   [-1, 1, Conv, [512, 3, 2]],
   [-1, 9, C3, [512]],
   [-1, 1, Conv, [1024, 3, 2]],
   [-1, 3, C3, [1024]],
   [-1, 1, SPPF, [1024, 5]]]
head:
  [[-1, 1, Conv, [512, 1, 1]],
   [-1, 1, nn.Upsample, [None, 2, 'nearest']],
   [[-1, 6], 1, Concat, [1]],
   [-1, 3, C3, [512, False]],
   [-1, 1, Conv, [256, 1, 1]],
   [-1, 1, nn.Upsample, [None, 2, 'nearest']],
   [[-1, 4], 1, Concat, [1]],
   [-1, 3, C3, [256, False]],
   [-1, 1, Conv, [256, 3, 2]],
   [[-1, 14], 1, Concat, [1]],
   [-1, 3, C3, [512, False]],
   [-1, 1, Conv, [512, 3, 2]],
   [[-1, 10], 1, Concat, [1]],
   [-1, 3, C3, [1024, False]],
   [[17, 20, 23], 1, Detect, [nc, anchors]]]
"""


def yolov5(depth: float, width: float) -> str:
    return YOLOV5.format(depth=depth, width=width)


SMALL = yolov5(0.33, 0.5)


@pytest.mark.parametrize(
    ("depth", "width", "parameters"),
    # Parameter counts as YOLOv5 v6.0 itself prints them for n, s, m, l.
    [
        (0.33, 0.25, 1_872_157),
        (0.33, 0.5, 7_235_389),
        (0.67, 0.75, 21_190_557),
        (1.0, 1.0, 46_563_709),
    ],
)
def test_multiples_give_yolov5s_own_counts(depth: float, width: float, parameters: int) -> None:
    graph = model_graph(parse_spec(yolov5(depth, width)), 640)
    assert params(graph) == parameters


def test_yolov5s_macs_at_640() -> None:
    # 16.5 GFLOPs are published for v6.0 (with batch norms counted); convolutions alone: 16.43.
    assert 2 * macs(model_graph(parse_spec(SMALL), 640)) == pytest.approx(16.43e9, rel=1e-3)


def test_round_trip_states_true_widths() -> None:
    spec = parse_spec(SMALL)
    text = dump_spec(spec, comment="two\nlines")
    assert parse_spec(text) == spec
    assert "depth_multiple: 1.0" in text
    assert "[-1, 1, Conv, [32, 6, 2, 2]]" in text


def test_a_model_may_say_its_image_size() -> None:
    spec = parse_spec("image_size: 416\n" + SMALL)
    assert spec.image_size == 416
    assert parse_spec(dump_spec(spec)) == spec
    other = parse_spec("image_size: 320\n" + SMALL)
    silent = parse_spec(SMALL)
    assert image_size_of(None, [spec, silent]) == 416
    assert image_size_of(None, [silent]) == 320
    assert image_size_of(192, [spec, other]) == 192
    with pytest.raises(SpecError, match=r"different image sizes.*320, 416"):
        image_size_of(None, [spec, other])
    with pytest.raises(
        SpecError, match=r"--image-size: the image size is a multiple of 32 up to 8192.*; got 70"
    ):
        image_size_of(70, [spec])
    with pytest.raises(
        SpecError, match=r"image_size: the image size is a multiple of 32 up to 8192.*; got 100"
    ):
        parse_spec("image_size: 100\n" + SMALL)


@pytest.mark.parametrize("name", ["fused_mbconv", "tiny", "grid", "shuffle", "compound", "mixed"])
def test_round_trip_of_random_candidates(name: str) -> None:
    space, rng = read_space(name), np.random.default_rng(0)
    for _ in range(50):
        spec = space.random(rng, num_classes=int(rng.integers(1, 90))).spec
        assert parse_spec(dump_spec(spec)) == spec


def test_max_channels_caps_before_the_multiple() -> None:
    capped = parse_spec("max_channels: 512\n" + SMALL)
    assert max(layer.channels for layer in layers(capped, 640)) == 512  # the concats
    assert max(row.args[0] for row in capped.rows if row.module == "C3") == 256


def test_strides_and_walk() -> None:
    spec = parse_spec(SMALL)
    walked = layers(spec, 320)
    assert strides(walked, 320) == (8, 16, 32)
    assert blocks(spec, 320) == tuple(b for layer in walked for b in layer.blocks)
    assert [b.channels_out for b in walked[-1].blocks] == [255, 255, 255]


def test_names_of_nn_and_activation_are_read() -> None:
    assert parse_spec("activation: nn.ReLU()\n" + SMALL).activation == "ReLU"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("nc: 80", "nc: 0", "nc: the number of classes"),
        ("nc: 80", "classes: 80", "unknown classes"),
        (
            "[128, 3, 2]",
            "[128, 3, 3]",
            "backbone row 1, argument 'stride' of Conv: the stride is 1 or 2",
        ),
        ("[64, 6, 2, 2]", "[64, 6, 2]", "even kernel"),
        ("Conv, [512, 1, 1]", "Convv, [512, 1, 1]", "head row 0: the module is one that is known"),
        ("[-1, 3, C3, [128]]", "[-1, 0, C3, [128]]", "repeats is at least 1"),
        ("[-1, 3, C3, [128]]", "[-1, 3, C3]", "a row is [from, number, module, args]"),
        ("[-1, 3, C3, [128]]", "[-9, 3, C3, [128]]", "'from' names an earlier row"),
        ("[[-1, 6], 1,", "[[-1, 4], 1,", "maps that are joined are of one size"),
        ("[[17, 20, 23]", "[[17, 20]", "one row for each of the 3 levels"),
        ("[[17, 20, 23]", "[[23, 20, 17]", "from the largest map to the smallest"),
        ("[10,13, 16,30, 33,23]", "[10,13, 16,30, 33]", "anchors"),
        ("[10,13, 16,30, 33,23]", "[10,13, 16,30]", "anchors"),
        (
            "Conv, [128, 3, 2]",
            "Conv, ['__import__(\"os\")', 3, 2]",
            "output channels are a whole number",
        ),
        ("nc: 80", "nc: !!python/object/apply:os.getcwd []", "plain YAML (no code, no tags)"),
        (
            "[-1, 1, Conv, [128, 3, 2]]",
            "[-1, 6, Conv, [128, 3, 2]]",
            "keeps its channels and its map size",
        ),
        (
            "[-1, 1, Conv, [128, 3, 2]]",
            "[[-1, -2], 1, Conv, [128, 3, 2]]",
            "'from' names an earlier row",
        ),
        (
            "Detect, [nc, anchors]]",
            "Detect, [nc, anchors]], [-1, 1, Conv, [8]]",
            "and no other, is Detect",
        ),
    ],
)
def test_a_mistake_gets_one_message_with_its_place(old: str, new: str, expected: str) -> None:
    text = SMALL.replace(old, new, 1)
    assert text != SMALL
    with pytest.raises(SpecError) as caught:
        layers(parse_spec(text, "m.yaml"), 320)
    assert expected in str(caught.value)
    assert str(caught.value).startswith("m.yaml")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such file"):
        read_spec(tmp_path / "none.yaml")


def test_an_image_too_small_is_said() -> None:
    with pytest.raises(SpecError, match=r"one size|at least one cell"):
        layers(parse_spec(SMALL), 40)
