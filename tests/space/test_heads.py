"""Laws of the heads without anchors: their rows, their blocks, and a space's choice of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nas.latency.measured.campaign import CLASS_COUNTS, plan
from nas.space.block import Block
from nas.space.blocks import blocks, layers
from nas.space.modules import HEADS, SpecError
from nas.space.ops import expand, macs
from nas.space.pan import enough_bins
from nas.space.references import REFERENCES
from nas.space.search_space import read_space
from nas.space.spec import dump_spec, parse_spec, read_spec, with_classes
from tests.light_heads import FORMS, model_of, model_text
from tests.space.test_staged import BASE, only, space_of


@pytest.mark.parametrize("form", FORMS)
def test_a_models_yaml_comes_back_as_it_was(form: str) -> None:
    spec = model_of(form)
    assert parse_spec(dump_spec(spec)) == spec
    assert (spec.anchors, spec.activation) == ((), "ReLU6")
    for block in layers(spec, 64)[-1].blocks:
        assert block.module in HEADS
        assert Block.from_dict(block.to_dict()) == block
        assert block.channels_out == 4 * block.bins + 3


def test_what_is_left_out_of_a_light_head_is_as_the_table_says() -> None:
    assert layers(model_of("LightDetect, [nc]"), 64)[-1].blocks == (
        layers(model_of("LightDetect, [nc, 16, 1, 16, 3, dense]"), 64)[-1].blocks
    )


def test_yolov8s_blocks_keep_the_keys_that_tables_know() -> None:
    spec = read_spec(REFERENCES / "yolov8n.yaml")
    keys = {block.key() for block in layers(spec, 64)[-1].blocks}
    assert (
        '{"branches":[64,80],"channels_in":[64],"channels_out":144,"height":8,"module":"Detect",'
        '"width":8}'
    ) in keys
    assert all("bins" not in block.to_dict() for block in blocks(spec, 64))


@pytest.mark.parametrize("args", ["nc, 16, 0", "nc, None, 0, 16, 5", "nc, None, 0, 8, 3, dense"])
def test_a_head_of_depth_0_says_nothing_of_branches(args: str) -> None:
    with pytest.raises(SpecError, match=r"of depth 0 is a 1x1.*\[nc, None, 0, bins\]"):
        layers(model_of(f"LightDetect, [{args}]"), 64)


def test_heads_that_differ_in_one_argument_are_different_blocks() -> None:
    keys = {layers(model_of(form), 64)[-1].blocks[0].key() for form in FORMS}
    assert len(keys) == len(FORMS)


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ("LightDetect, [nc, 4]", "argument 'width' of LightDetect: the width of the branches"),
        ("LightDetect, [nc, 16, 5]", "argument 'depth' of LightDetect: the depth"),
        ("LightDetect, [nc, 16, 1, 2]", "a distance is 1 number, or a distribution over 4 to 32"),
        ("LightDetect, [nc, 16, 1, true]", "a distance is 1 number"),
        ("LightDetect, [nc, 16, 1, 16, 4]", "argument 'kernel' of LightDetect"),
        ("LightDetect, [80]", "the number of classes is the name nc"),
        ("LightDetect, [nc, 16, 1, 16, 3, C3]", "the branches are made of one of dense, separable"),
        ("LightDetect, [nc, 16, 1, 16, 3, dense, 1]", "LightDetect takes at most 6 arguments"),
        ("LightDetect, []", "LightDetect needs its argument 'classes'"),
    ],
)
def test_a_wrong_light_head_gets_one_message(form: str, told: str) -> None:
    with pytest.raises(SpecError) as caught:
        model_of(form)
    assert told in str(caught.value)
    assert "head row 3" in str(caught.value)


def test_a_light_head_has_no_anchors_and_stands_once_and_last() -> None:
    text = model_text("LightDetect, [nc]")
    anchors = "anchors: [[1,2], [3,4], [5,6]]\n"
    with pytest.raises(SpecError, match=r"LightDetect \[nc\], states none"):
        parse_spec(anchors + text)
    with pytest.raises(SpecError, match="is not repeated"):
        layers(parse_spec(text.replace("1, LightDetect", "2, LightDetect")), 64)
    with pytest.raises(SpecError, match="the last row, and no other, is Detect or LightDetect"):
        layers(parse_spec(text + "  - [[5, 6, 7], 1, Detect, [nc]]\n"), 64)


@pytest.mark.parametrize("detect", ["anchors", "decoupled", "light"])
def test_a_space_ends_its_detectors_as_it_says(detect: str) -> None:
    head = {"width": [24], "kind": ["plain", "separable"], "detect": [detect]}
    space = space_of(head=head)
    for kind in ("plain", "separable"):
        choices = {name: values[0] for name, values in space.options().items()}
        candidate = space.rebuild({**choices, "head.kind": kind}, 5)
        last = layers(candidate.spec, 64)[-1]
        assert last.row.module == ("LightDetect" if detect == "light" else "Detect")
        assert bool(candidate.spec.anchors) == (detect == "anchors")
        assert [block.channels_in for block in last.blocks] == [(24,)] * 3
        before = [row.module for row in candidate.spec.rows[-4:-1]]
        assert (before == ["DWConvBlock"] * 3) == (kind == "separable")
        assert parse_spec(dump_spec(candidate.spec)) == candidate.spec


def test_a_space_that_says_nothing_of_it_has_yolov5s_head_and_the_digest_it_had() -> None:
    said: dict[str, Any] = {**BASE["head"], "detect": ["anchors"]}  # type: ignore[dict-item]
    assert only(space_of(head=said)).spec == only(space_of()).spec
    assert only(space_of(head=said)).digest == only(space_of()).digest
    # As before there was this choice.
    assert read_space("shuffle").digest == "ee4b30f7a908ccf9"
    assert read_space("tiny").digest == "29c36bded26f2f63"


def test_a_light_head_of_a_space_reaches_an_images_edges() -> None:
    assert [enough_bins(size) for size in (64, 448, 480, 960, 992, 1984)] == [8, 8, 16, 16, 32, 32]


def test_a_head_with_anchors_light_and_decoupled_cost_in_that_order() -> None:
    costs = []
    for detect in ("anchors", "light", "decoupled"):
        head = {"width": [48], "kind": ["plain"], "detect": [detect]}
        spec = with_classes(only(space_of(head=head)).spec, 3)
        costs.append(sum(macs(expand(block)) for block in layers(spec, 64)[-1].blocks))
    assert costs == sorted(costs)
    assert costs[1] < costs[2] / 2


@pytest.mark.parametrize("detect", ["decoupled", "light"])
def test_a_profile_times_heads_for_every_count_of_classes(detect: str) -> None:
    head = {"width": [16, 24], "kind": ["plain"], "detect": ["anchors", detect]}
    space = space_of(head=head)
    timed = set(plan(space, 4).blocks)
    rng = np.random.default_rng(0)
    for classes in CLASS_COUNTS:
        for _ in range(10):
            candidate = space.random(rng, num_classes=classes)
            assert set(blocks(candidate.spec, candidate.image_size)) <= timed


def test_the_space_of_every_operator_offers_every_head() -> None:
    assert set(read_space("mixed").options()["head.detect"]) == {"anchors", "decoupled", "light"}
    assert set(read_space("fused_mbconv").options()["head.detect"]) == {"anchors", "light"}


def test_relu6_is_read_as_yolov5_writes_it_too() -> None:
    text = model_text("Detect, [nc]").replace("activation: ReLU6", "activation: nn.ReLU6()")
    spec = parse_spec(text)
    assert spec == model_of("Detect, [nc]")
    assert {b.activation for b in blocks(spec, 64)} == {"ReLU6"}
    own = replace(spec, activation="SiLU")
    assert {b.activation for b in blocks(own, 64)} == {"SiLU"}
