"""Laws of a starter's file: half as large, read as any seed, and it says where it comes from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from nas.detector.builder import build_detector
from nas.detector.pretrained.load import cut, load_seed
from nas.space.search_space import parse_space, read_space
from nas.training.pretraining.layout import LITE2, starter_spec
from nas.training.pretraining.sets import PretrainError
from nas.training.pretraining.written import Origin, TaughtOn, half, licence_of, save_starter


def origin() -> Origin:
    sets = [
        TaughtOn(name="a", about="a: 3 pictures", licence="MIT", source="A. Author", digest="0")
    ]
    return Origin(
        command="python -m nas.pretrain", date="2026-11-26", seed_weights="lite2", space="tiny",
        image_size=64, steps=3, batch_size=2, seed=0, device="CPU", core_seconds=1.0, seconds=1.0,
        torch="2", recipe={"lr": 0.1}, sets=sets,
    )  # fmt: skip


def test_a_starter_has_the_seeds_backbone_and_the_spaces_widest_neck() -> None:
    space = read_space("fused_mbconv")
    spec = starter_spec(space, 9)
    assert spec.num_classes == 9
    assert not spec.anchors
    widths = [row.args[0] for row in spec.backbone if row.module == "MBConv"]
    assert [w for _, _, _, w in LITE2] == list(dict.fromkeys(widths))[1:]
    neck = [row.args[0] for row in spec.head if row.module == "C3"]
    assert max(neck) == max(space.options()["head.width"])
    seed = load_seed("lite2")
    report = cut(seed, build_detector(spec), must_fit=True)
    assert report.freezable == tuple(range(len(spec.backbone) - 1))


def test_a_space_without_stages_has_no_starter() -> None:
    with pytest.raises(PretrainError, match="a space of stages"):
        starter_spec(read_space("compound"), 3)


def test_it_is_read_as_a_seed_and_candidates_are_cut_from_it(tmp_path: Path) -> None:
    space = read_space("fused_mbconv")
    torch.manual_seed(0)
    detector = build_detector(starter_spec(space, 2)).eval()
    with torch.no_grad():
        for name, value in detector.state_dict().items():
            if name.endswith("running_var"):
                value.mul_(1e-7)
    names = ("a: x", "a: y")
    size = save_starter(tmp_path / "starter.pt", detector, names, 64, origin())
    assert size == (tmp_path / "starter.pt").stat().st_size < 12_000_000
    seed = load_seed(tmp_path / "starter.pt")
    assert seed.starter is not None
    for name, value in seed.starter.detector.state_dict().items():
        own = detector.state_dict()[name]
        torch.testing.assert_close(value.float(), own.float(), rtol=1e-3, atol=1e-6)
    candidate = space.build(lambda _, options: options[0], 2)
    report = cut(seed, build_detector(candidate.spec), names=("x", "y"))
    neck = range(len(candidate.spec.backbone), len(candidate.spec.rows) - 1)
    assert set(neck) <= set(report.taken)
    assert not report.keeps_classes


def test_it_says_what_it_was_made_of(tmp_path: Path) -> None:
    detector = build_detector(starter_spec(read_space("fused_mbconv"), 1))
    save_starter(tmp_path / "s.pt", detector, ("a: x",), 64, origin())
    held = torch.load(tmp_path / "s.pt", weights_only=True)
    assert yaml.safe_load(held["origin"])["sets"][0]["licence"] == "MIT"
    text = (tmp_path / "s.md").read_text()
    for part in ("A. Author", "MIT", "lite2", "python -m nas.pretrain", "lr: 0.1"):
        assert part in text


def test_one_that_would_not_ship_is_refused(tmp_path: Path) -> None:
    space = yaml.safe_load((Path("search_spaces") / "fused_mbconv.yaml").read_text())
    space["neck"]["width"], space["head"]["width"] = [512], [512]
    wide = parse_space(yaml.safe_dump(space), "wide", "wide.yaml")
    with pytest.raises(PretrainError, match="at most 12 MB"):
        save_starter(tmp_path / "s.pt", build_detector(starter_spec(wide, 1)), ("a",), 64, origin())
    assert not list(tmp_path.iterdir())


def test_halves_are_near_and_whole_numbers_and_variances_stay() -> None:
    state = {
        "w": torch.tensor([0.1, -3.0]), "bn.running_var": torch.tensor([1e-9]),
        "n": torch.tensor(7), "big": torch.tensor([1e6]),
    }  # fmt: skip
    found = half(state)
    assert found["w"].dtype == torch.float16
    assert found["bn.running_var"].dtype == found["big"].dtype == torch.float32
    assert found["n"].dtype == torch.int64


def test_licence_and_attribution_are_found(tmp_path: Path) -> None:
    data = tmp_path / "data.yaml"
    data.write_text("names: [a]\n")
    assert licence_of(str(data)) == ("not stated", "not stated")
    (tmp_path / "LICENSE").write_text("MIT License\n\nmore\n")
    assert licence_of(str(data)) == ("MIT License", "not stated")
    (tmp_path / "SOURCE.md").write_text("- Licence: CC BY 4.0\n- Attribution to give: B. Maker\n")
    assert licence_of(str(data)) == ("CC BY 4.0", "B. Maker")
    data.write_text("names: [a]\nlicense: CC0\n")
    (tmp_path / "SOURCE.md").unlink()
    assert licence_of(str(data))[0] == "CC0"
    assert "drawn" in licence_of("drawings")[1]
