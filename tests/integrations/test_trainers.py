"""Which tool trains which model YAML, and what the integrations say of one that theirs doesn't."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from nas.integrations import ultralytics, yolov5
from nas.integrations.trainers import require, sentence, trainers
from nas.space.references import reference_files
from nas.space.spec import ModelSpec, SpecError, dump_spec, read_spec
from tests.deploy.detectors import reference_path
from tests.light_heads import model_of

CASES = {
    "yolov5n": ("whole", "under its own head", "backbone"),
    "yolov8n": ("nothing", "whole", "backbone"),
    "yolov3-tiny": ("whole", "under its own head", "backbone"),
}


def shares(spec: ModelSpec) -> tuple[str, ...]:
    found = trainers(spec)
    assert tuple(one.tool for one in found) == ("YOLOv5", "Ultralytics", "MMYOLO")
    assert all((one.share == "whole") == (not one.reason) for one in found)
    return tuple(one.share for one in found)


@pytest.mark.parametrize("name", CASES)
def test_the_references_are_trained_by_the_tools_that_have_their_heads(name: str) -> None:
    assert shares(read_spec(reference_path(name))) == CASES[name]


def test_a_light_head_is_trained_here_and_its_backbone_in_mmyolo() -> None:
    spec = model_of("LightDetect, [nc, None, 2, 8]")
    assert shares(spec) == ("nothing", "nothing", "backbone")
    told = sentence(spec)
    assert told.startswith("trained by nas.train, MMYOLO (backbone alone); not by YOLOv5 (")
    assert "LightDetect, [nc, None, 2, 8] has none" in told
    assert "Ultralytics (it has no LightDetect)" in told


def test_a_backbone_without_a_map_that_mmyolos_neck_reads_is_left_out() -> None:
    spec = model_of("Detect, [nc]")
    short = ModelSpec(
        num_classes=3, backbone=spec.backbone[:4], head=(spec.backbone[4], *spec.head), anchors=()
    )
    assert shares(short) == ("nothing", "whole", "nothing")
    assert "none at 32" in sentence(short)


def test_every_reference_is_trained_by_something() -> None:
    files = reference_files()
    assert len(files) > 20
    for path in files:
        assert "whole" in shares(read_spec(path))
        assert sentence(read_spec(path)).startswith("trained by nas.train, ")


def test_what_a_tool_does_not_train_is_refused_with_what_does() -> None:
    light, free = model_of("LightDetect, [nc]"), model_of("Detect, [nc]")
    with pytest.raises(
        SpecError, match=r"one that Ultralytics trains; .*Train it with nas.train.$"
    ):
        require(light, "Ultralytics", "m.yaml")
    with pytest.raises(SpecError, match=r"nas.train, or with Ultralytics \(nas.integrations\)"):
        require(free, "YOLOv5", "m.yaml")
    require(free, "Ultralytics", "m.yaml")
    require(light, "MMYOLO", "m.yaml")


def document(form: str) -> dict[str, Any]:
    found = yaml.safe_load(dump_spec(model_of(form)))
    assert isinstance(found, dict)
    return found


def test_the_integrations_refuse_before_they_build() -> None:
    """Their packages are never reached: there is none behind `None`."""
    with pytest.raises(SpecError, match="it has no LightDetect"):
        ultralytics.build(None, document("LightDetect, [nc]"), 3)
    with pytest.raises(SpecError, match=r"LightDetect, \[nc\] has none"):
        yolov5.build(None, document("LightDetect, [nc]"), [3])
