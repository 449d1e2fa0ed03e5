"""Laws of the search space: it is static, complete, canonical, and names what is wrong in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml

from nas.space.blocks import Block, blocks
from nas.space.ops import macs, model_graph
from nas.space.search_space import SPACES, SpaceError, parse_space, read_space

NAMES = ["fused_mbconv", "tiny", "grid", "shuffle", "compound", "mixed"]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_asked_for_every_network(name: str) -> None:
    space, rng = read_space(name), np.random.default_rng(1)
    asked = {tuple(n for n, _ in space.random(rng).choices) for _ in range(30)}
    assert asked == {tuple(space.options())}


@pytest.mark.parametrize("name", NAMES)
def test_choices_rebuild_the_same_candidate(name: str) -> None:
    space, rng = read_space(name), np.random.default_rng(2)
    for _ in range(30):
        candidate = space.random(rng, num_classes=3)
        assert space.rebuild(dict(candidate.choices), num_classes=3) == candidate


@pytest.mark.parametrize("name", NAMES)
def test_the_list_of_blocks_is_complete(name: str) -> None:
    space, rng = read_space(name), np.random.default_rng(3)
    every = set(space.blocks(5))
    for _ in range(300):
        candidate = space.random(rng, num_classes=5)
        missing = set(blocks(candidate.spec, candidate.image_size)) - every
        assert not missing, next(iter(missing))


def test_the_list_of_blocks_of_the_tiny_space_is_exact() -> None:
    space = read_space("tiny")
    found: set[Block] = set()
    names = {c.digest: c for c in (space.random(np.random.default_rng(s)) for s in range(2000))}
    for candidate in names.values():
        found |= set(blocks(candidate.spec, candidate.image_size))
    assert len(names) == space.size() == 64
    assert found == set(space.blocks())


def test_the_default_space_is_as_large_as_it_says() -> None:
    space, rng = read_space("fused_mbconv"), np.random.default_rng(4)
    assert space.size() >= 10**12
    candidates = [space.random(rng) for _ in range(200)]
    gflops = [2e-9 * macs(model_graph(c.spec, 320)) for c in candidates]
    assert min(gflops) > 0.1
    assert max(gflops) < 3.2
    extremes = [space.build(lambda n, o, end=end: o[end]) for end in (0, -1)]
    low, high = (2e-9 * macs(model_graph(c.spec, 320)) for c in extremes)
    assert low < 0.32
    assert high > 1.5


def test_the_digest_is_blind_to_classes_and_anchors_but_not_to_the_image_size() -> None:
    space = read_space("tiny")
    rng = np.random.default_rng(5)
    candidate = space.random(rng, num_classes=3)
    choices = dict(candidate.choices)
    again = space.rebuild(choices, num_classes=7, anchors=((1, 2), (3, 4), (5, 6)))
    assert again.digest == candidate.digest
    other = 64 if choices["image_size"] == 96 else 96
    assert space.rebuild({**choices, "image_size": other}).digest != candidate.digest


def test_the_space_digest_is_blind_to_layout() -> None:
    text = (SPACES / "tiny.yaml").read_text()
    again = yaml.safe_dump(yaml.safe_load(text))
    assert parse_space(again, "x", "x").digest == read_space("tiny").digest


def test_numbers_come_as_ordinals_and_names_as_categories() -> None:
    for name, options in read_space("fused_mbconv").options().items():
        is_name = all(isinstance(option, str) for option in options)
        assert is_name == (name.split(".")[-1] in ("operator", "kind", "activation", "detect")), (
            name
        )
        if not is_name:
            assert list(options) == sorted(options)


def test_a_foreign_choice_is_refused() -> None:
    space = read_space("tiny")
    with pytest.raises(SpaceError, match=r"image_size: the choice is one of \(64, 96\); got 65"):
        space.rebuild({"image_size": 65})


def _edit(**changes: Any) -> str:
    document = yaml.safe_load((SPACES / "tiny.yaml").read_text())
    for path, value in changes.items():
        *parents, last = path.split("__")
        place: Any = document
        for part in parents:
            place = place[int(part)] if part.isdigit() else place[part]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return yaml.safe_dump(document)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"stagess": 1}, "s.yaml, stagess: the keys here are format, image_size"),
        ({"stages__1__widht": [8]}, "s.yaml, stage 2.widht: the keys here are stride, operator"),
        ({"stages__1__width": []}, "s.yaml, stage 2.width: "),
        ({"stages__1__width": None}, "s.yaml, stage 2.width: field required; got nothing"),
        (
            {"stages__2__depth": [0]},
            "s.yaml, stage 3.depth[0]: input should be greater than or equal to 1; got 0",
        ),
        (
            {"stages__0__width": [12]},
            "s.yaml, stage 1.width[0]: a width is a multiple of 8; got 12",
        ),
        (
            {"stages__0__operator": ["Conv9"]},
            "s.yaml, stage 1.operator[0]: the value is one of DWConvBlock, FusedMBConv, MBConv",
        ),
        ({"stages__0__kernel": [4]}, "s.yaml, stage 1.kernel[0]: a kernel is odd; got 4"),
        ({"stages__0__stride": 1}, "multiply to 32"),
        ({"stages__0__se_ratio": [2]}, "stage 1.se_ratio[0]"),
        ({"image_size": [100]}, "image_size[0]: an image size is a multiple of 32"),
        ({"image_size": [96, 64]}, "image_size: options that are numbers stand in ascending order"),
        ({"image_size": [64, 64]}, "image_size: no option stands twice"),
        ({"head__kind": ["round"]}, "head.kind[0]"),
        ({"format": 2}, "s.yaml, format"),
    ],
)
def test_a_mistake_gets_one_message_with_file_stage_and_field(
    changes: dict[str, Any], expected: str
) -> None:
    with pytest.raises(SpaceError) as caught:
        parse_space(_edit(**changes), "s", "s.yaml")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_space_lists_those_that_are_there() -> None:
    with pytest.raises(SpaceError, match=r"There are: .*fused_mbconv.*, tiny"):
        read_space("nonsense")


@pytest.mark.parametrize("text", ["- 1", "a: [", "x: !!python/name:os.system"])
def test_no_mapping_no_space(text: str) -> None:
    with pytest.raises(SpaceError):
        parse_space(text, "s", "s.yaml")
