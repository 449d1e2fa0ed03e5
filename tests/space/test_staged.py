"""Laws of what a space of stages may offer: its operators, necks, joins and stems."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml

from nas.space.blocks import blocks, layers, strides
from nas.space.search_space import (
    SPACES,
    Candidate,
    SearchSpace,
    SpaceError,
    parse_space,
    read_space,
)
from nas.space.spec import dump_spec, parse_spec
from nas.space.staged import LEFT_OUT, STAGE_OPERATORS, STEM_STRIDES

BASE = {
    "format": 1,
    "image_size": [64],
    "stem": {"width": [8]},
    "stages": [
        {"stride": 2, "operator": ["MBConv"], "depth": [2], "width": [16]} for _ in range(4)
    ],
    "neck": {"width": [16], "depth": [2]},
    "head": {"width": [24], "kind": ["plain"]},
}


def space_of(**changes: Any) -> SearchSpace:
    return parse_space(yaml.safe_dump({**BASE, **changes}), "s", "s.yaml")


def only(space: SearchSpace) -> Candidate:
    """The one candidate of a space of single options."""
    assert space.size() == 1
    return space.build(lambda name, options: options[0])


def modules(candidate: Candidate) -> list[str]:
    return [row.module for row in candidate.spec.rows]


@pytest.mark.parametrize("operator", STAGE_OPERATORS)
@pytest.mark.parametrize("stride", [1, 2])
def test_every_operator_makes_a_stage_of_any_stride(operator: str, stride: int) -> None:
    stages = [dict(stage) for stage in BASE["stages"]]  # type: ignore[attr-defined]
    stages.insert(2, {"stride": stride, "operator": [operator], "depth": [3], "width": [24]})
    if stride == 2:
        del stages[3]
    candidate = only(space_of(stages=stages))
    walked = layers(candidate.spec, 64)
    assert strides(walked, 64) == (8, 16, 32)
    own = [layer for layer in walked if layer.row.module == operator and layer.channels == 24]
    count = sum(len(layer.blocks) for layer in own)
    depth = sum(layer.blocks[0].depth for layer in own)
    assert (depth if operator in ("C3", "C2f") else count) >= 3
    assert parse_spec(dump_spec(candidate.spec)) == candidate.spec


def test_what_is_left_out_is_not_asked_for_and_as_the_default_says() -> None:
    plain = only(space_of())
    names = dict(plain.choices)
    assert not any(name.endswith(tuple(LEFT_OUT)) and name != "stem.kernel" for name in names)
    stages = [
        {**stage, "kernel": [3], "expand_ratio": [4.0], "se_ratio": [0.0]}  # type: ignore[dict-item]
        for stage in BASE["stages"]  # type: ignore[attr-defined]
    ]
    said = space_of(
        stages=stages,
        stem={"width": [8], "operator": ["Conv"]},
        neck={
            "width": [16], "depth": [2],
            "pooling": ["SPPF"], "join": ["concat"], "operator": ["C3"],
        },
    )  # fmt: skip
    assert only(said).digest == plain.digest
    assert only(said).spec == plain.spec
    assert len(only(said).choices) == len(plain.choices) + 4 * 3 + 4


def test_sums_are_of_equal_widths_and_half_as_wide_as_concatenations() -> None:
    concat, add = (
        only(space_of(neck={"width": [16], "depth": [1], "join": [join]}))
        for join in ("concat", "add")
    )
    assert modules(concat).count("Concat") == modules(add).count("Add") == 4
    assert modules(concat).count("Add") == modules(add).count("Concat") == 0
    # Two 1x1 convolutions bring the backbone's maps to the neck's width.
    assert modules(add).count("Conv") == modules(concat).count("Conv") + 2
    sums = [b for b in blocks(add.spec, 64) if b.module == "Add"]
    assert {(b.channels_in, b.channels_out) for b in sums} == {((16, 16), 16)}


@pytest.mark.parametrize(
    ("pooling", "expected"), [("SPPF", ["SPPF"]), ("SPP", ["SPP"]), ("none", [])]
)
def test_the_pooling_is_there_or_not(pooling: str, expected: list[str]) -> None:
    neck = {"width": [16], "depth": [1], "pool": [7], "pooling": [pooling]}
    candidate = only(space_of(neck=neck))
    found = [row for row in candidate.spec.backbone if row.module.startswith("SPP")]
    assert [row.module for row in found] == expected
    if pooling == "SPP":
        assert found[0].args == (16, (7, 13, 19))


@pytest.mark.parametrize("operator", ["C3", "C2f", "DWConvBlock"])
def test_the_neck_is_made_of_its_operator(operator: str) -> None:
    neck = {"width": [16], "depth": [2], "operator": [operator]}
    candidate = only(space_of(neck=neck))
    head = [row for row in candidate.spec.head if row.module == operator]
    # Two blocks a level and two strided ones; of a C3 the depth is inside.
    assert len(head) == (4 * 2 + 2 if operator == "DWConvBlock" else 4)
    ends = layers(candidate.spec, 64)[-1]
    assert [block.channels_in for block in ends.blocks] == [(24,)] * 3


def test_stem_lite_is_a_convolution_of_twice_the_width_and_a_block_without_expansion() -> None:
    space = space_of(stem={"width": [16, 24], "operator": ["Conv", "Lite"]})
    rows = {}
    for operator in ("Conv", "Lite"):
        chosen = {"stem.operator": operator, "stem.width": 24}
        spec = space.build(lambda name, options, own=chosen: own.get(name, options[0])).spec
        rows[operator] = [(row.module, row.args) for row in spec.backbone]
    assert rows["Lite"][:2] == [("Conv", (48, 3, 2)), ("MBConv", (24, 3, 1, 1, 0))]
    assert rows["Lite"][2:] == rows["Conv"][1:]


@pytest.mark.parametrize("operator", STEM_STRIDES)
def test_the_stem_has_its_stride(operator: str) -> None:
    stride = {"Conv": 2, "Focus": 2, "ConvMaxPool": 4, "Lite": 2}[operator]
    count = 5 - stride.bit_length() + 1
    stem = {"width": [8], "operator": [operator]}
    candidate = only(space_of(stem=stem, stages=BASE["stages"][:count]))  # type: ignore[index]
    assert strides(layers(candidate.spec, 64), 64) == (8, 16, 32)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"stem": {"width": [8], "operator": ["Conv", "ConvMaxPool"]}},
            "s.yaml, stem.operator: the operators of a stem have one stride",
        ),
        ({"stem": {"width": [8], "operator": ["ConvMaxPool"]}}, "4 x 2 x 2 x 2 x 2 = 64"),
        (
            {"neck": {"width": [16], "depth": [1], "join": ["mul"]}},
            "s.yaml, neck.join[0]: input should be 'concat' or 'add'; got 'mul'",
        ),
        (
            {"neck": {"width": [16], "depth": [1], "pooling": []}},
            "s.yaml, neck.pooling: ",
        ),
        (
            {"neck": {"width": [16], "depth": [1], "operators": ["C3"]}},
            "s.yaml, neck.operators: the keys here are width, depth, pool, pooling, join, operator",
        ),
    ],
)
def test_a_mistake_gets_one_message(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(SpaceError) as caught:
        space_of(**changes)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_mixed_space_has_every_operator_stem_pooling_and_join() -> None:
    definition = yaml.safe_load((SPACES / "mixed.yaml").read_text())
    assert {o for stage in definition["stages"] for o in stage["operator"]} == set(STAGE_OPERATORS)
    space, rng = read_space("mixed"), np.random.default_rng(0)
    seen = {module for _ in range(200) for module in modules(space.random(rng))}
    assert seen >= {*STAGE_OPERATORS, "Focus", "SPP", "SPPF", "Concat", "Add", "Detect"}


def test_the_compound_space_holds_the_efficientnets() -> None:
    from nas.space.compound import EFFICIENTNETS, compound_spec

    space = read_space("compound")
    for name in ("b0", "b1", "b2", "b3"):
        one = EFFICIENTNETS[name]
        choices = {"image_size": 320, "model.depth": one.depth, "model.width": one.width}
        spec, expected = space.rebuild(choices).spec, compound_spec(name)
        assert (spec.backbone, spec.head) == (expected.backbone, expected.head)
