"""Laws of image sizes: there and back, one message a mistake, squares as they always were."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nas.space.blocks import blocks, layers, strides
from nas.space.choices import SpaceError
from nas.space.image_size import (
    ImageSize,
    Rectangle,
    area,
    by_area,
    is_multiple,
    longest,
    nearest,
    of_sides,
    read_image_size,
    scaled,
    side_of,
    sides,
    written,
)
from nas.space.modules import SpecError
from nas.space.ops import macs, model_graph
from nas.space.references import fits, read_references, reference_size
from nas.space.search_space import SPACES, SearchSpace, make_space, read_space
from nas.space.spec import dump_spec, image_size_of, parse_spec
from tests.space.test_spec import SMALL

MULTIPLES = st.integers(1, 256).map(lambda n: 32 * n)
SIZES = st.builds(of_sides, MULTIPLES, MULTIPLES)
WIDE = Rectangle(width=320, height=192)


@given(SIZES)
def test_a_size_is_read_as_it_was_written(size: ImageSize) -> None:
    for form in (written(size), str(size), json.loads(json.dumps(written(size)))):
        assert read_image_size(form, "there") == size
    assert read_image_size(yaml.safe_load(f"size: {size}")["size"], "there") == size
    assert isinstance(written(size), int) == (len({*sides(size)}) == 1)


@given(SIZES, SIZES)
def test_sizes_are_equal_where_their_sides_are(one: ImageSize, two: ImageSize) -> None:
    assert (one == two) == (sides(one) == sides(two)) == (by_area(one) == by_area(two))
    assert len({one, two}) == 1 + (one != two)


def test_the_width_is_said_first_and_arrays_hold_the_height_first() -> None:
    size = read_image_size("320x192", "there")
    assert size == WIDE
    assert (sides(size), str(size), area(size), longest(size)) == (
        (192, 320),
        "320x192",
        61440,
        320,
    )
    assert read_image_size("192x320", "there") == Rectangle(width=192, height=320) != size


def test_a_rectangle_of_equal_sides_is_the_square() -> None:
    assert read_image_size("192x192", "there") == of_sides(192, 192) == 192
    assert (str(192), written(192), side_of(192)) == ("192", 192, 192)
    with pytest.raises(AssertionError):
        Rectangle(width=64, height=64)


@given(SIZES, st.floats(0.1, 1.0))
def test_a_share_of_a_size_has_multiples_of_the_stride_as_its_sides(
    size: ImageSize, share: float
) -> None:
    smaller = scaled(size, share, 32, 32)
    assert is_multiple(smaller, 32)
    for now, before in zip(sides(smaller), sides(size), strict=True):
        assert now <= before
        assert abs(now - before * share) <= 16 or now in (32, before)
    assert scaled(size, 1.0, 32, 32) == size == nearest(size)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("0x192", r"got 0x192"),
        ("320x", r"got '320x'\. Write 320, or 320x192 for width x height"),
        ("320x190", r"got 320x190\. The nearest is 320x192"),
        ("310x200", r"got 310x200\. The nearest is 320x192"),
        ("192X320", r"got '192X320'\. Write 192x320, if 192 is the width"),
        ("192 x 320", r"Write 192x320, if 192 is the width"),
        ("192,320", r"Write 192x320, if 192 is the width"),
        ("\u0663\u0662\u0660", r"Write 320, or 320x192"),
        ("32.5", r"got '32\.5'\. Write 320"),
        (320.0, r"got 320\.0\. Write 320"),
        (True, r"got True"),
        (None, r"got None"),
        ("-64", r"got '-64'"),
        (-64, r"got -64"),
        (0, r"got 0"),
        ("9999999", r"got 9999999"),
        ("320x99999", r"got 320x99999"),
        ("1" * 5000, r"Write 320, or 320x192"),
        (100, r"got 100\. The nearest is 96"),
        ([192, 320], r"got \[192, 320\]\. A list does not say which side is which"),
        ("", r"got ''"),
    ],
)
def test_what_is_no_size_is_met_by_one_message(value: object, told: str) -> None:
    with pytest.raises(SpecError, match=r"there: the image size is a multiple of 32.*" + told):
        read_image_size(value, "there")


def test_a_model_says_a_rectangle_and_a_flag_overrules_it() -> None:
    spec = parse_spec("image_size: 320x192\n" + SMALL)
    assert spec.image_size == WIDE
    assert "\nimage_size: 320x192\n" in dump_spec(spec)
    assert parse_spec(dump_spec(spec)).image_size == WIDE
    assert image_size_of(None, [spec, parse_spec(SMALL)]) == WIDE
    assert image_size_of("256", [spec]) == 256
    square = parse_spec("image_size: 256\n" + SMALL)
    with pytest.raises(SpecError, match=r"different image sizes.*got 320x192, 256"):
        image_size_of(None, [square, spec])
    with pytest.raises(SpecError, match=r"image_size: the image size.*got \[320, 192\]"):
        parse_spec("image_size: [320, 192]\n" + SMALL)


def test_the_walk_goes_over_maps_as_high_and_as_wide_as_the_image() -> None:
    spec = parse_spec(SMALL)
    walked = layers(spec, WIDE)
    assert [(b.height, b.width) for b in walked[-1].blocks] == [(24, 40), (12, 20), (6, 10)]
    assert strides(walked, WIDE) == strides(layers(spec, 320), 320) == (8, 16, 32)
    assert model_graph(spec, WIDE).input_shapes[0].height == 192
    turned = Rectangle(width=192, height=320)
    assert macs(model_graph(spec, WIDE)) == macs(model_graph(spec, turned))
    # Every op of this model works on maps, so that its MACs follow the area.
    assert macs(model_graph(spec, WIDE)) * 320 == macs(model_graph(spec, 320)) * 192
    assert len({*blocks(spec, WIDE)} & {*blocks(spec, turned)}) == 0


def tiny_of(*sizes: object) -> SearchSpace:
    document = yaml.safe_load((SPACES / "tiny.yaml").read_text())
    return make_space({**document, "image_size": list(sizes)}, "s", "s.yaml")


def test_a_space_has_rectangles_among_its_sizes_as_trials_have_them() -> None:
    space = tiny_of(96, "96x64", 64)
    assert space.options()["image_size"] == (64, "96x64", 96), "the fewest pixels come first"
    assert space.digest == tiny_of(64, 96, "96x64").digest != read_space("tiny").digest
    rng = np.random.default_rng(0)
    drawn = [space.random(rng) for _ in range(40)]
    assert {one.image_size for one in drawn} == {64, Rectangle(width=96, height=64), 96}
    known = set(space.blocks())
    for one in drawn:
        assert dict(one.choices)["image_size"] == written(one.image_size)
        choices = json.loads(json.dumps(dict(one.choices)))
        assert space.rebuild(choices).digest == one.digest
        assert set(blocks(one.spec, one.image_size)) <= known


@pytest.mark.parametrize("name", ["tiny", "fused_mbconv", "grid", "compound"])
def test_a_space_of_squares_is_what_it_was(name: str) -> None:
    space = read_space(name)
    sizes = space.options()["image_size"]
    assert all(isinstance(size, int) for size in sizes)
    assert space.random(np.random.default_rng(0)).image_size in sizes


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        (
            (64, "96x60"),
            r"image_size\[1\]: an image size is a multiple of 32.*The nearest is 96x64",
        ),
        ((64, "96X64"), r"image_size\[1\]: .*Write 96x64, if 96 is the width"),
        ((64, [96, 64]), r"image_size\[1\]: .*A list does not say which side is which"),
        ((64, "96x32"), r"image_size\[1\]: .*from 64 to 2048"),
        (("96x64", "96x64"), r"image_size: no option stands twice"),
        ((64, "64x64"), r"image_size: no option stands twice"),
        ((64, 96.0), r"image_size\[1\]: an image size is a multiple of 32"),
    ],
)
def test_what_is_no_size_of_a_space_is_named(sizes: tuple[object, ...], told: str) -> None:
    with pytest.raises(SpaceError, match=told):
        tiny_of(*sizes)


def test_hand_designed_detectors_stand_at_the_middle_size_by_area() -> None:
    space = tiny_of(64, "320x192", 320)
    assert reference_size(space) == WIDE
    for name, one in read_references(space, 3).items():
        assert one.image_size == WIDE, name
        assert fits(one.spec, 320)
    deep = parse_spec(SMALL)
    assert fits(deep, WIDE)
    assert not fits(deep, Rectangle(width=320, height=176))
