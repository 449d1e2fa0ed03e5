"""Laws of a space of one model's multiples: its candidates are that model, scaled."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.space.references import REFERENCES
from nas.space.search_space import SPACES, SpaceError, parse_space, read_space
from nas.space.spec import dump_spec, parse_spec, read_spec, with_classes

GRID = SPACES / "grid.yaml"


@pytest.mark.parametrize(("name", "depth", "width"), [("n", 0.33, 0.25), ("s", 0.33, 0.5)])
def test_the_grid_holds_yolov5s_own_scales(name: str, depth: float, width: float) -> None:
    choices = {"image_size": 320, "model.depth": depth, "model.width": width}
    candidate = read_space("grid").rebuild(choices, num_classes=3)
    assert candidate.spec == with_classes(read_spec(REFERENCES / f"yolov5{name}.yaml"), 3)
    assert candidate.image_size == 320
    assert parse_spec(dump_spec(candidate.spec)) == candidate.spec


def test_each_choice_is_an_architecture_of_its_own() -> None:
    space = read_space("grid")
    digests = {
        space.rebuild({"image_size": size, "model.depth": depth, "model.width": width}).digest
        for size in space.options()["image_size"]
        for depth in space.options()["model.depth"]
        for width in space.options()["model.width"]
    }
    assert len(digests) == space.size()


def test_a_model_of_scales_and_without_anchors_is_scaled_too() -> None:
    text = GRID.read_text().replace("yolov5n", "yolov8n")
    space = parse_space(text, "eight", str(GRID))
    choices = {"image_size": 320, "model.depth": 0.33, "model.width": 0.25}
    candidate = space.rebuild(choices, num_classes=5, anchors=((1, 2), (3, 4), (5, 6)))
    assert candidate.spec == with_classes(read_spec(REFERENCES / "yolov8n.yaml"), 5)
    assert candidate.spec.anchors == ()


def test_the_digest_is_of_the_model_too(tmp_path: Path) -> None:
    model = (REFERENCES / "yolov5n.yaml").read_text()
    digests = []
    for text in (model, model + "# a word\n", model.replace("SPPF, [1024, 5]", "SPPF, [1024, 7]")):
        (tmp_path / "model.yaml").write_text(text)
        space = GRID.read_text().replace("reference/yolov5n.yaml", "model.yaml")
        digests.append(parse_space(space, "s", str(tmp_path / "s.yaml")).digest)
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("reference/yolov5n.yaml", "none.yaml", "grid.yaml, model: the model can be read; got"),
        (
            "reference/yolov5n.yaml",
            "reference/yolov3-tiny.yaml",
            "3 levels of anchors, 3 in each, or none",
        ),
        ("reference/yolov5n.yaml", "[1]", "grid.yaml, model: input should be a valid string"),
        ("[0.33, 0.67]", "[0.67, 0.33]", "grid.yaml, depth: options that are numbers stand"),
        ("[0.33, 0.67]", "[0, 0.33]", "grid.yaml, depth[0]: input should be greater than 0"),
        ("width:", "widths:", "grid.yaml, width: field required"),
        ("format: 1", "format: 1\nstem: {width: [8]}", "grid.yaml, stem: the keys here are format"),
    ],
)
def test_a_mistake_gets_one_message(old: str, new: str, expected: str) -> None:
    text = GRID.read_text()
    assert text.count(old) == 1
    with pytest.raises(SpaceError) as caught:
        parse_space(text.replace(old, new), "grid", str(GRID))
    assert expected in str(caught.value)
