"""Laws of a starter: neck and head are cut from a detector of ours as the backbone is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from nas.detector.builder import Detector, build_detector
from nas.detector.convolution import Conv
from nas.detector.pretrained.load import cut, load_seed
from nas.detector.pretrained.modules import cut_branch, is_alike
from nas.detector.pretrained.seed import Seed, SeedError
from nas.space.search_space import parse_space
from nas.space.spec import ModelSpec, dump_spec, with_classes

NAMES = ("cat", "dog")


def spec_of(
    *, width: int = 16, neck: int = 16, head: int = 16, depth: int = 1, kind: str = "plain",
    operator: str = "C3", join: str = "concat", anchor_free: bool = False,
    module: str = "MBConv", classes: int = 2, pooling: str = "SPPF",
) -> ModelSpec:  # fmt: skip
    """A staged detector with stem Lite, ReLU."""
    stage = {"stride": 2, "operator": [module], "expand_ratio": [2], "depth": [2]}
    space: dict[str, Any] = {
        "format": 1,
        "image_size": [64],
        "activation": ["ReLU"],
        "stem": {"width": [8], "operator": ["Lite"]},
        "stages": [{**stage, "width": [width + 8 * i]} for i in range(4)],
        "neck": {
            "width": [neck], "depth": [depth], "operator": [operator], "join": [join],
            "pooling": [pooling],
        },
        "head": {"width": [head], "kind": [kind]},
    }  # fmt: skip
    found = parse_space(yaml.safe_dump(space), "s", "s.yaml").build(lambda name, o: o[0]).spec
    if anchor_free:
        last = replace(found.head[-1], args=("nc",))
        found = replace(found, head=(*found.head[:-1], last), anchors=())
    return with_classes(found, classes)


def trained(spec: ModelSpec) -> Detector:
    """A detector whose weights and statistics are nobody's initialisation."""
    torch.manual_seed(3)
    detector = build_detector(spec).train()
    with torch.no_grad():
        for _ in range(3):
            detector(torch.rand(2, 3, 64, 64))
        for parameter in detector.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return detector.eval()


def starter(
    detector: Detector, path: Path, names: tuple[str, ...] = NAMES, half: bool = False
) -> Seed:
    """The seed of a checkpoint with the detector's weights."""
    state = detector.state_dict()
    if half:
        state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    document = {
        "format": 1, "model": dump_spec(detector.spec), "names": list(names), "image_size": 64,
        "weights": state, "map50_95": None, "map50": None, "training": None,
    }  # fmt: skip
    torch.save(document, path)
    return load_seed(path)


def fresh(spec: ModelSpec) -> Detector:
    torch.manual_seed(0)
    return build_detector(spec).eval()


def pictures() -> Tensor:
    return torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"anchor_free": True, "kind": "separable"},
        {"operator": "C2f", "depth": 2},
        {"operator": "DWConvBlock", "depth": 2, "join": "add", "pooling": "none"},
        {"module": "FusedMBConv", "pooling": "SPP"},
    ],
)
def test_a_detector_cut_from_itself_is_itself(form: dict[str, Any], tmp_path: Path) -> None:
    own = trained(spec_of(**form))
    seed = starter(own, tmp_path / "best.pt")
    copy = fresh(own.spec)
    report = cut(seed, copy, names=NAMES)
    assert report.keeps_classes
    assert report.end == ""
    assert len(report.taken) == len(own.spec.rows)
    with torch.no_grad():
        for ours, theirs in zip(copy.maps(pictures()), own.maps(pictures()), strict=True):
            assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("anchor_free", [True, False])
def test_other_classes_keep_their_own_layer(anchor_free: bool, tmp_path: Path) -> None:
    own = trained(spec_of(anchor_free=anchor_free))
    seed = starter(own, tmp_path / "best.pt")
    other = fresh(spec_of(anchor_free=anchor_free, classes=5))
    report = cut(seed, other, names=("a", "b", "c", "d", "e"))
    assert not report.keeps_classes
    assert "a layer of classes" in report.rows[-1].made_up[0]
    same = fresh(own.spec)
    assert not cut(seed, same, names=("x", "y")).keeps_classes
    boxes = 64 if anchor_free else 5
    with torch.no_grad():
        for a, b, c in zip(*(d.maps(pictures()) for d in (other, same, own)), strict=True):
            assert torch.allclose(a[:, :boxes], c[:, :boxes], atol=1e-4)
            assert torch.allclose(b[:, :boxes], c[:, :boxes], atol=1e-4)
            assert not torch.allclose(b[:, boxes : boxes + 2], c[:, boxes : boxes + 2], atol=1e-4)


@pytest.mark.parametrize("operator", ["C3", "C2f", "DWConvBlock"])
def test_a_wider_detector_gives_what_its_starter_gives(operator: str, tmp_path: Path) -> None:
    """Added channels are not read at first, so boxes stay to the last digit."""
    own = trained(spec_of(operator=operator))
    seed = starter(own, tmp_path / "best.pt")
    wide = fresh(spec_of(operator=operator, width=24, neck=24, head=32))
    report = cut(seed, wide, names=NAMES)
    assert len(report.taken) == len(wide.spec.rows)
    with torch.no_grad():
        for ours, theirs in zip(wide.maps(pictures()), own.maps(pictures()), strict=True):
            assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def test_a_narrower_one_is_filled_whole(tmp_path: Path) -> None:
    seed = starter(trained(spec_of(neck=32, head=32, width=24)), tmp_path / "best.pt", half=True)
    narrow = fresh(spec_of(neck=16, head=24, width=16))
    report = cut(seed, narrow, names=NAMES)
    assert report.freezable == tuple(range(len(narrow.spec.rows)))
    assert "16 of 32 channels" in " ".join(note for row in report.rows for note in row.cut)


def test_a_separable_head_passes_on_what_a_plain_starter_gives(tmp_path: Path) -> None:
    own = trained(spec_of())
    seed = starter(own, tmp_path / "best.pt")
    other = fresh(spec_of(kind="separable"))
    report = cut(seed, other, names=NAMES)
    assert report.rows[-1].origin
    made = [row.row for row in report.rows if "a block more that passes its map on" in row.made_up]
    assert len(made) == 3
    with torch.no_grad():
        for ours, theirs in zip(other.maps(pictures()), own.maps(pictures()), strict=True):
            assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def test_under_another_head_the_neck_is_taken_all_the_same(tmp_path: Path) -> None:
    seed = starter(trained(spec_of(anchor_free=True)), tmp_path / "best.pt")
    other = fresh(spec_of())
    report = cut(seed, other, names=NAMES)
    assert report.taken == tuple(range(len(other.spec.rows) - 1))
    assert not report.keeps_classes


def test_a_branch_with_bare_depthwise_convolutions_is_cut() -> None:
    def branch(width: int) -> nn.Sequential:
        depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        return nn.Sequential(depthwise, Conv(8, width, 1), nn.Conv2d(width, 5, 1)).eval()

    torch.manual_seed(0)
    own, wide, dense = branch(6), branch(12), nn.Sequential(Conv(8, 6), nn.Conv2d(6, 5, 1))
    assert is_alike(wide, own)
    assert not is_alike(dense, own)
    cut_branch(wide, own, torch.arange(8), True)
    x = torch.rand(1, 8, 4, 4)
    with torch.no_grad():
        assert torch.allclose(wide(x), own(x), atol=1e-6)


def test_a_starter_of_another_layout_is_refused_or_said(tmp_path: Path) -> None:
    seed = starter(trained(spec_of(operator="C2f")), tmp_path / "best.pt")
    other = fresh(spec_of())
    with pytest.raises(SeedError, match="C3 where the starter has C2f"):
        cut(seed, other, names=NAMES, must_fit=True)
    report = cut(seed, fresh(spec_of()), names=NAMES)
    assert "C3 where the starter has C2f" in report.end
    backbone = len(other.spec.backbone)
    assert set(report.taken) <= set(range(backbone))


def test_a_checkpoint_that_lacks_a_tensor_or_a_staged_backbone_is_refused(tmp_path: Path) -> None:
    own = trained(spec_of())
    path = tmp_path / "best.pt"
    starter(own, path)
    document = torch.load(path, weights_only=True)
    name = next(key for key in document["weights"] if key.startswith("model.3."))
    del document["weights"][name]
    torch.save(document, path)
    with pytest.raises(SeedError, match=name):
        load_seed(path)
    with pytest.raises(SeedError, match="MBConv or FusedMBConv stages"):
        starter(trained(spec_of(module="C3")), path)
