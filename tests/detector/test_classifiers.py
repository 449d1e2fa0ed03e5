"""Laws of seeds from timm's and torchvision's state dicts, by recorded names and shapes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nas.detector.builder import Detector, build_detector
from nas.detector.pretrained.load import cut, load_seed
from nas.detector.pretrained.seed import Seed, SeedError
from nas.space.spec import Row, make_row
from tests.detector.classifier_names import (
    B0,
    MOBILENET_V2,
    MOBILENET_V3_SMALL,
    V2_TINY,
    State,
    timm,
    torchvision,
    torchvision_mobilenet_v2,
)
from tests.detector.seeds import backbone_maps, backbone_spec, forward

CASES = {
    "timm B0": (timm(B0, 32), "v1"),
    "torchvision B0": (torchvision(B0, 32, False), "v1"),
    "timm V2": (timm(V2_TINY, 24), "v2"),
    "torchvision V2": (torchvision(V2_TINY, 24, False), "v2"),
    "timm MobileNetV2": (timm(MOBILENET_V2, 32), "m2"),
    "torchvision MobileNetV2": (torchvision_mobilenet_v2(), "m2"),
    "timm MobileNetV3": (timm(MOBILENET_V3_SMALL, 16), "m3"),
    "torchvision MobileNetV3": (torchvision(MOBILENET_V3_SMALL, 16, True), "m3"),
}
TABLES = {"v1": B0, "v2": V2_TINY, "m2": MOBILENET_V2, "m3": MOBILENET_V3_SMALL}
STRIDES = {"v1": (1, 2, 2, 2, 1, 2, 1), "v2": (1, 2, 2, 2, 1, 2), "m2": (1, 2, 2, 2, 1, 2, 1),
           "m3": (2, 2, 2, 1, 2)}  # fmt: skip


def seed_of(state: State, folder: Path) -> Seed:
    path = folder / "weights.pth"
    torch.save(state, path)
    return load_seed(path)


def rows_of(seed: Seed, family: str) -> list[Row]:
    """A detector's rows with the seed's own geometry."""
    rows = [make_row(-1, 1, "Conv", len(seed.stem.weight), 3, 2)]
    for row, stride in zip(TABLES[family], STRIDES[family], strict=True):
        module = {"cn": "FusedMBConv", "er": "FusedMBConv"}.get(row.kind, "MBConv")
        for number in range(row.depth):
            own = stride if number == 0 else 1
            rows.append(
                make_row(-1, 1, module, row.width, row.kernel, own, row.expand, row.squeeze)
            )
    return rows


def fresh(rows: list[Row], activation: str) -> Detector:
    torch.manual_seed(0)
    return build_detector(backbone_spec(rows, activation)).eval()


@pytest.mark.parametrize("name", CASES)
def test_a_networks_stages_are_read_from_its_names(name: str, tmp_path: Path) -> None:
    state, family = CASES[name]
    seed = seed_of(state, tmp_path)
    table = TABLES[family]
    assert [stage.width for stage in seed.stages] == [row.width for row in table]
    assert [len(stage.blocks) for stage in seed.stages] == [row.depth for row in table]
    assert tuple(stage.stride for stage in seed.stages) == STRIDES[family]
    kinds = {"ds": "depthwise", "ir": "inverted", "er": "fused", "cn": "dense"}
    assert [stage.blocks[0].kind for stage in seed.stages] == [kinds[row.kind] for row in table]
    gates = [stage.blocks[0].gate is not None for stage in seed.stages]
    assert gates == [row.squeeze > 0 for row in table]


@pytest.mark.parametrize("name", ["torchvision B0", "timm V2", "torchvision MobileNetV2"])
def test_its_own_geometry_is_filled_whole_and_gives_its_features(name: str, tmp_path: Path) -> None:
    state, family = CASES[name]
    seed = seed_of(state, tmp_path)
    rows = rows_of(seed, family)
    detector = fresh(rows, seed.stem_activation)
    report = cut(seed, detector)
    assert report.freezable == tuple(range(len(rows)))
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    ends = [0]
    for row in TABLES[family]:
        ends.append(ends[-1] + row.depth)
    maps = backbone_maps(detector, x, len(rows))
    for end, wanted in zip(ends, forward(seed, x), strict=True):
        assert torch.allclose(maps[end], wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()))


def test_a_fused_networks_blocks_become_depthwise_ones(tmp_path: Path) -> None:
    seed = seed_of(CASES["timm V2"][0], tmp_path)
    rows = [
        make_row(-1, 1, "MBConv", *row.args)
        if row.module == "FusedMBConv" and row.args[3] == 4
        else row
        for row in rows_of(seed, "v2")
    ]
    report = cut(seed, fresh(rows, "SiLU"))
    assert set(range(len(rows))) <= set(report.taken)
    notes = {note for row in report.rows for note in row.made_up}
    assert notes == {"MBConv composed of fused weights"}


def test_prefixes_and_wrappings_are_taken_off(tmp_path: Path) -> None:
    state = CASES["timm B0"][0]
    plain = seed_of(state, tmp_path)
    wrapped = seed_of(
        {"state_dict": {f"module.{k}": v for k, v in state.items()}},  # type: ignore[dict-item]
        tmp_path,
    )
    assert torch.equal(plain.stem.weight, wrapped.stem.weight)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("timm B0", {"blocks.2.1.bn2.running_var": None}, "blocks.2.1.bn2.running_var"),
        ("timm B0", {"blocks.2.0.conv_dw.weight": torch.zeros(9, 1, 3, 3)}, "blocks.2.0.bn2"),
        ("torchvision B0", {"features.2.0.block.0.0.weight": torch.zeros(96, 9, 1, 1)}, "block 1"),
        ("timm V2", {"conv_stem.weight": torch.zeros(24, 3, 3, 3).long()}, "conv_stem.weight"),
        ("timm B0", {"blocks.1.0.se.conv_expand.weight": torch.zeros(3, 3, 1, 1)}, "conv_expand"),
    ],
)
def test_another_networks_tensor_is_named(
    name: str, change: State, message: str, tmp_path: Path
) -> None:
    state = {k: v for k, v in (CASES[name][0] | change).items() if v is not None}
    with pytest.raises(SeedError, match=message):
        seed_of(state, tmp_path)


def test_a_network_of_other_stages_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SeedError, match="widths in a row"):
        seed_of(timm(B0[:4], 32), tmp_path)
