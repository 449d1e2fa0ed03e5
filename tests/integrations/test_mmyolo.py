"""The configuration for MMYOLO: read back by mmengine, its backbone built and held against ours."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from nas import export
from nas.deploy.picture import picture
from nas.detector.builder import Detector
from nas.integrations.mmyolo import BASE, MmyoloError, backbone_levels, mmyolo_config
from nas.space.blocks import layers
from nas.space.spec import dump_spec, parse_spec, read_spec
from nas.training.on_disk.checkpoint import make_checkpoint, save_checkpoint
from tests.conftest import absent
from tests.deploy.detectors import REFERENCES, candidate, reference_path
from tests.integrations.mmyolo_package import write_package

ROOT = Path(__file__).resolve().parents[2]

READ_BACK = """
import json, sys, warnings
warnings.simplefilter("ignore")
import torch
from mmengine.config import Config
config = Config.fromfile(sys.argv[1])
from mmyolo.registry import MODELS
backbone = MODELS.build(config.model.backbone)
backbone.init_weights()
backbone.eval()
with torch.no_grad():
    maps = backbone(torch.load(sys.argv[2]))
torch.save(list(maps), sys.argv[3])
print(json.dumps(config.to_dict()["model"], default=str))
"""


@pytest.fixture
def mmengine(tmp_path: Path) -> Path:
    """A folder that stands for an MMYOLO checkout, where mmengine is installed."""
    if find_spec("mmengine") is None:
        absent("mmengine is not installed (see the Makefile)", "NAS_REQUIRE_MMENGINE")
    return write_package(tmp_path / "packages")


def read_back(packages: Path, export: Path) -> tuple[dict[str, object], list[torch.Tensor]]:
    """The model's mapping as mmengine reads it, and what its backbone gives for the picture.

    The export's files are copied beside the configuration that theirs inherits.
    """
    for path in export.iterdir():
        shutil.copy(path, packages / "configs" / "yolov5")
    (config,) = (packages / "configs" / "yolov5").glob("*_mmyolo.py")
    image, maps = packages / "image.pt", packages / "maps.pt"
    torch.save(torch.from_numpy(picture(64)), image)
    done = subprocess.run(
        [sys.executable, "-c", READ_BACK, str(config), str(image), str(maps)],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{packages}"},
        cwd=packages,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), torch.load(maps)


def level_maps(detector: Detector) -> list[torch.Tensor]:
    """What our backbone's rows at strides 8, 16 and 32 give for the picture."""
    wanted = [level.row for level in backbone_levels(detector.spec)]
    seen: dict[int, torch.Tensor] = {}
    for row in wanted:
        detector.model[row].register_forward_hook(
            lambda module, inputs, output, row=row: seen.update({row: output})
        )
    with torch.no_grad():
        detector(torch.from_numpy(picture(64)))
    return [seen[row] for row in wanted]


def test_mmengine_reads_the_configuration_and_builds_our_backbone(
    mmengine: Path, tmp_path: Path
) -> None:
    detector = candidate("fused_mbconv", 1, head_detect="anchors")
    (tmp_path / "found.yaml").write_text(dump_spec(detector.spec))
    save_checkpoint(tmp_path / "best.pt", make_checkpoint(detector, ("a", "b", "c"), 96))
    export.run(
        export.Arguments(
            model=tmp_path / "found.yaml",
            weights=tmp_path / "best.pt",
            format=("mmyolo",),
            run=str(tmp_path / "out"),
        )
    )
    model, maps = read_back(mmengine, tmp_path / "out")
    expected = level_maps(detector)
    channels = [one.shape[1] for one in expected]
    assert [one.shape[-1] for one in expected] == [8, 4, 2]
    assert all(torch.equal(a, b) for a, b in zip(maps, expected, strict=True))

    assert model["type"] == "YOLODetector"
    assert model["neck"] == {
        "type": "YOLOv5PAFPN",
        "deepen_factor": 0.33,
        "widen_factor": 1.0,
        "in_channels": channels,
        "out_channels": channels,
        "num_csp_blocks": 3,
    }
    assert isinstance(model["bbox_head"], dict)
    head = model["bbox_head"]["head_module"]
    assert (head["num_classes"], head["in_channels"], head["widen_factor"]) == (3, channels, 1.0)
    sizes = model["bbox_head"]["prior_generator"]["base_sizes"]
    assert [[value for pair in level for value in pair] for level in sizes] == [
        list(level) for level in detector.spec.anchors
    ]


def test_without_weights_the_backbone_starts_untaught(mmengine: Path, tmp_path: Path) -> None:
    export.run(
        export.Arguments(
            model=reference_path("yolov5n"), format=("mmyolo",), run=str(tmp_path / "out")
        )
    )
    model, maps = read_back(mmengine, tmp_path / "out")
    assert isinstance(model["backbone"], dict)
    assert "init_cfg" not in model["backbone"]
    assert [tuple(one.shape[1:]) for one in maps] == [(64, 8, 8), (128, 4, 4), (256, 2, 2)]


@pytest.mark.parametrize("name", REFERENCES)
def test_the_levels_are_the_last_rows_at_their_strides(name: str) -> None:
    spec = read_spec(reference_path(name))
    walked = layers(spec, 256)[: len(spec.backbone)]
    for level, size in zip(backbone_levels(spec), (32, 16, 8), strict=True):
        assert (walked[level.row].height, walked[level.row].channels) == (size, level.channels)
        assert all(layer.height != size for layer in walked[level.row + 1 :])


def test_the_text_is_python_that_says_only_values() -> None:
    """Where mmengine is not installed this is all that is checked of the text."""
    spec = read_spec(reference_path("yolov5n"))
    tree = ast.parse(mmyolo_config(spec, "a.yaml", "a.pth", "a.yaml"))
    values = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    assert ast.literal_eval(values["_base_"]) == BASE
    assert ast.literal_eval(values["channels"]) == [64, 128, 256]
    calls = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call)}  # type: ignore[attr-defined]
    assert calls == {"dict"}


def test_a_model_without_anchors_takes_those_that_mmyolo_has() -> None:
    text = mmyolo_config(read_spec(reference_path("yolov8n")), "a.yaml", None, "a.yaml")
    assert "[(116, 90), (156, 198), (373, 326)]" in text
    assert "num_base_priors=3" in text


def test_a_backbone_without_the_three_strides_is_refused() -> None:
    text = """
nc: 2
anchors: [[10, 13], [30, 61]]
backbone: [[-1, 1, Conv, [8, 3, 2]], [-1, 1, Conv, [8, 3, 2]], [-1, 1, Conv, [8, 3, 2]],
           [-1, 1, Conv, [8, 3, 2]]]
head: [[[2, 3], 1, Detect, [nc, anchors]]]
"""
    with pytest.raises(MmyoloError, match="none at 32"):
        mmyolo_config(parse_spec(text), "a.yaml", None, "a.yaml")
