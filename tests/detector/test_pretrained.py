"""Laws of weights that know pictures: what is cut gives what the seed gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas.detector.builder import Detector, build_detector
from nas.detector.convolution import BN_EPS, Conv, SqueezeExcite
from nas.detector.pretrained.conv import NEW, best_channels, first_channels, placed_kernel
from nas.detector.pretrained.load import cut, load_seed
from nas.detector.pretrained.plan import plan
from nas.detector.pretrained.recalibrate import recalibrate
from nas.detector.pretrained.seed import Seed, SeedConv, SeedError, with_eps, with_input
from nas.detector.pretrained.streams import Order
from nas.places import weights_of
from nas.space.search_space import read_space
from nas.space.spec import ModelSpec, make_row
from tests.detector.seeds import backbone_maps, backbone_spec, forward, lite2_rows, plain_lite

FULL = tuple(range(21))


@pytest.fixture(scope="module")
def lite2() -> Seed:
    return load_seed("lite2")


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    found: dict[str, Tensor] = torch.load(
        weights_of("lite2"), map_location="cpu", weights_only=True
    )
    return found


def picture(size: int = 64) -> Tensor:
    """One smooth picture (1, 3, S, S) in 0..1."""
    noise = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    return nn.functional.avg_pool2d(noise, 5, 1, 2)


def fresh(spec: ModelSpec, number: int = 0) -> Detector:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(number)
        return build_detector(spec).eval()


def near(one: Tensor, two: Tensor, share: float = 1e-4) -> bool:
    return bool((one - two).abs().max() <= share * two.abs().max())


def test_where_nothing_was_cut_the_seed_gives_its_own_features(
    lite2: Seed, weights: dict[str, Tensor]
) -> None:
    rows = lite2_rows()
    detector = fresh(backbone_spec(rows))
    report = cut(lite2, detector)
    assert report.freezable == FULL
    assert not any(row.cut or row.made_up for row in report.rows)
    x = picture()
    # The seed is seen in a mirror: then its padding is ours.
    mirrored = {name: w.flip(-1) if w.ndim == 4 else w for name, w in weights.items()}
    with torch.no_grad():
        wanted = plain_lite(mirrored, (255 * x - 127) / 128)
    for ours, theirs in zip(backbone_maps(detector, x, len(rows)), wanted, strict=True):
        assert near(ours, theirs)
    assert all(
        near(a, b) for a, b in zip(forward(lite2, x)[1:3], (wanted[1], wanted[4]), strict=True)
    )


def test_in_a_mirror_our_padding_is_tensorflows_from_left_to_right(
    lite2: Seed, weights: dict[str, Tensor]
) -> None:
    # Columns that do not differ from top to bottom: only the horizontal padding is seen.
    x = torch.rand(1, 3, 1, 64, generator=torch.Generator().manual_seed(2)).expand(1, 3, 64, 64)
    conv = lite2.stem
    with torch.no_grad():
        ours = forward(replace(lite2, stages=()), x.flip(-1))[0].flip(-1)
        theirs = plain_lite(weights, (255 * x - 127) / 128, same=True)[0]
    assert conv.kernel == 3
    assert near(ours[..., 4, 1:-1], theirs[..., 4, 1:-1])


@pytest.mark.parametrize("order", ["importance", "first"])
def test_cutting_follows_from_seed_and_detector_alone(lite2: Seed, order: Order) -> None:
    spec = read_space("fused_mbconv").build(lambda name, options: options[0]).spec
    one, two = fresh(spec), fresh(spec)
    assert cut(lite2, one, order=order) == cut(lite2, two, order=order)
    own = two.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in one.state_dict().items())
    assert any(not torch.equal(v, own[n]) for n, v in fresh(spec).state_dict().items())


def test_blocks_more_than_the_seed_has_change_nothing_at_first(lite2: Seed) -> None:
    rows = lite2_rows()
    deeper = [*rows[:5], rows[4], rows[4], *rows[5:]]
    short, deep = fresh(backbone_spec(rows)), fresh(backbone_spec(deeper))
    cut(lite2, short)
    report = cut(lite2, deep)
    x = picture()
    assert near(
        backbone_maps(deep, x, len(deeper))[-1], backbone_maps(short, x, len(rows))[-1], 1e-6
    )
    assert [row.row for row in report.rows if "a block more, silent at first" in row.made_up] == [
        5,
        6,
    ]
    assert report.freezable == (0, 1, 2, 3, 4)
    # They live: their last batch norm learns from the first step on.
    deep.train()
    sum(level.sum() for level in deep(picture())).backward()
    norm = deep.model[5].project.bn  # type: ignore[union-attr]
    assert norm.weight.grad is not None
    assert bool((norm.weight.grad != 0).any())  # type: ignore[union-attr]


def test_added_channels_leave_the_seeds_features_and_live(lite2: Seed) -> None:
    rows = lite2_rows()
    # Stages 1 to 3 wider, expansion too, and a gate that the seed does not have.
    wide = [
        replace(row, args=(row.args[0] + 8, *row.args[1:3], 7, 0.25)) if 2 <= i <= 4 else row
        for i, row in enumerate(rows)
    ]
    plain, wider = fresh(backbone_spec(rows)), fresh(backbone_spec(wide))
    cut(lite2, plain)
    report = cut(lite2, wider)
    x = picture()
    ours, theirs = backbone_maps(wider, x, 5)[-1], backbone_maps(plain, x, 5)[-1]
    assert near(ours[:, :24], theirs)
    assert bool((ours[:, 24:].abs().amax((0, 2, 3)) > 0).all())
    assert report.freezable == (0, 1)
    notes = " ".join(note for row in report.rows for note in row.made_up)
    assert "8 channels" in notes
    assert "its SE, open" in notes
    wider.train()
    sum(level.sum() for level in wider(picture())).backward()
    # Every weight that is zero has what it needs to leave it.
    for row in (3, 4):
        for part in ("expand", "project"):
            conv = getattr(wider.model[row], part).conv
            zero = conv.weight == 0
            assert bool(zero.any())
            assert float((conv.weight.grad[zero] != 0).float().mean()) > 0.8
    gate = wider.model[3].se  # type: ignore[union-attr]
    assert isinstance(gate, SqueezeExcite)
    assert isinstance(gate.expand.weight.grad, Tensor)
    assert float(gate.expand.weight.grad.abs().sum()) > 0


def test_a_stages_stream_is_one_set_of_channels(lite2: Seed) -> None:
    rows = lite2_rows()
    narrow = [replace(r, args=(16, *r.args[1:])) if 2 <= i <= 4 else r for i, r in enumerate(rows)]
    detector = fresh(backbone_spec(narrow))
    cut(lite2, detector)
    wanted = [block.project for block in lite2.stages[1].blocks]
    first = detector.model[2].project.bn.weight  # type: ignore[union-attr]
    index = [int((wanted[0].gamma == g).nonzero()[0]) for g in first]  # type: ignore[union-attr]
    assert len(set(index)) == 16
    for row, source in zip((3, 4), wanted[1:], strict=True):
        own = detector.model[row].project.bn.weight  # type: ignore[union-attr]
        assert torch.equal(own, source.gamma[index])


@pytest.mark.parametrize(("expand", "least"), [(6, 0.6), (2, 0.3), (1, 0.2)])
def test_fused_blocks_are_near_what_they_are_composed_of(
    lite2: Seed, expand: int, least: float
) -> None:
    """Their features correlate with the seed's, those of a fresh network do not."""
    rows = lite2_rows()[:5]
    rows += [make_row(-1, 1, "Conv", 16, 3, 2) for _ in range(3)]
    fused = [
        replace(row, module="FusedMBConv", args=(*row.args[:3], expand, 0)) if 2 <= i <= 4 else row
        for i, row in enumerate(rows)
    ]
    plain, composed, other = (fresh(backbone_spec(one)) for one in (rows, fused, fused))
    cut(lite2, plain)
    report = cut(lite2, composed)
    assert "FusedMBConv composed of inverted weights" in report.rows[2].made_up
    x = picture(96)
    recalibrate(composed, [x])
    wanted = backbone_maps(plain, x, 5)[-1]
    alike, by_chance = (_alike(backbone_maps(one, x, 5)[-1], wanted) for one in (composed, other))
    assert alike > least
    assert abs(by_chance) < least / 2


def _alike(one: Tensor, two: Tensor) -> float:
    """The mean correlation of the channels of two maps."""
    a, b = (map_.flatten(2)[0] - map_.flatten(2)[0].mean(1, keepdim=True) for map_ in (one, two))
    return float(nn.functional.cosine_similarity(a, b, dim=1).mean())


@pytest.mark.parametrize(
    ("third", "fourth"),
    [
        ((1, {}), (4, {})),
        ((4, {}), (1, {})),
        ((2, {}), (3, {})),
        ((4, {}), (2, {"module": "FusedMBConv"})),
        ((1, {}), (3, {"kernel": 5})),
        ((3, {}), (1, {"se": 0.25})),
    ],
)
def test_two_stages_of_one_width_are_told_apart(
    lite2: Seed, third: tuple[int, dict[str, Any]], fourth: tuple[int, dict[str, Any]]
) -> None:
    """By what their blocks are, or by the row of one block that a stage begins with."""
    rows = [make_row(-1, 1, "Conv", 32, 3, 2), make_row(-1, 1, "MBConv", 16, 3, 1, 1, 0)]
    rows += [make_row(-1, 1, "MBConv", w, 3, 2, 4, 0) for w in (24, 48)]
    for number, (depth, own) in enumerate((third, fourth)):
        module, kernel, se = own.get("module", "MBConv"), own.get("kernel", 3), own.get("se", 0)
        rows.append(make_row(-1, 1, module, 72, kernel, 2 - number, 4, se))
        if depth > 1:
            rows.append(make_row(-1, depth - 1, module, 72, kernel, 1, 4, se))
    rows.append(make_row(-1, 1, "MBConv", 112, 3, 2, 4, 0))
    planned = plan(backbone_spec(rows), lite2)
    found = {group.stage: len(group.places) for group in planned.groups}
    assert (found[3], found[4]) == (third[0], fourth[0])


def test_what_has_no_counterpart_is_said_and_left(lite2: Seed) -> None:
    spec = read_space("shuffle").build(lambda name, options: options[0]).spec
    detector, untouched = fresh(spec), fresh(spec)
    report = cut(lite2, detector)
    assert report.taken == ()
    assert len(report.lines()) == 1
    assert "nothing was taken from lite2" in report.lines()[0]
    own = untouched.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in detector.state_dict().items())
    with pytest.raises(SeedError, match="backbone"):
        cut(lite2, detector, must_fit=True)


def test_every_detector_of_the_default_space_is_filled_to_the_neck(lite2: Seed) -> None:
    space = read_space("fused_mbconv")
    generator = torch.Generator().manual_seed(0)

    def choose(name: str, options: tuple[object, ...]) -> object:
        return options[int(torch.randint(len(options), (1,), generator=generator))]

    for _ in range(12):
        spec = space.build(choose).spec  # type: ignore[arg-type]
        report = cut(lite2, fresh(spec))
        # All rows of the backbone but its pooling.
        assert report.taken == tuple(range(len(spec.backbone) - 1))
        assert len(report.lines()) == 3


def test_recalibration_measures_what_the_batches_are_and_leaves_the_modes() -> None:
    detector = fresh(read_space("tiny").build(lambda name, options: options[0]).spec)
    batches = [torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(i)) for i in (1, 2)]
    norm = detector.model[0].bn  # type: ignore[union-attr]
    assert isinstance(norm, nn.BatchNorm2d)
    assert recalibrate(detector, iter(batches)) == 2
    conv = detector.model[0].conv  # type: ignore[union-attr]
    with torch.no_grad():
        maps = [conv(batch) for batch in batches]  # type: ignore[operator]
    mean = torch.stack([one.mean((0, 2, 3)) for one in maps]).mean(0)
    var = torch.stack([one.var((0, 2, 3)) for one in maps]).mean(0)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert torch.allclose(norm.running_mean, mean, atol=1e-5)
    assert torch.allclose(norm.running_var, var, atol=1e-5)
    assert (norm.momentum, norm.training, detector.training) == (0.03, False, False)
    assert recalibrate(detector, []) == 0
    assert torch.allclose(norm.running_mean, mean, atol=1e-5)


def test_kernels_are_cropped_and_padded_at_their_centre() -> None:
    five = torch.arange(25.0).view(1, 1, 5, 5)
    three = placed_kernel(five, 3, 1)
    assert torch.equal(three, five[..., 1:4, 1:4])
    padded = placed_kernel(three, 5, 2)
    assert torch.equal(padded[..., 1:4, 1:4], three)
    assert float(padded.abs().sum()) == float(three.abs().sum())
    # YOLOv5's stem: 6 x 6 with padding 2 reads pixels -2 to 3, the seed's -1 to 1.
    assert torch.equal(placed_kernel(three, 6, 2)[..., 1:4, 1:4], three)


@pytest.mark.parametrize(
    "stem", [("Conv", (32, 6, 2, 2)), ("Focus", (32, 3)), ("Conv", (32, 5, 2))]
)
def test_other_stems_of_stride_2_give_what_the_seeds_stem_gives(
    lite2: Seed, stem: tuple[str, tuple[int, ...]]
) -> None:
    rows = [make_row(-1, 1, stem[0], *stem[1]), *lite2_rows()[1:]]
    detector = fresh(backbone_spec(rows))
    cut(lite2, detector)
    x = picture()
    assert near(backbone_maps(detector, x, 1)[0], forward(replace(lite2, stages=()), x)[0])


def test_channels_are_chosen_by_importance_in_their_order() -> None:
    importance = torch.tensor([3.0, 9.0, 1.0, 5.0])
    assert best_channels(2, importance).tolist() == [1, 3]
    assert best_channels(6, importance).tolist() == [0, 1, 2, 3, NEW, NEW]
    assert first_channels(5, 3).tolist() == [0, 1, 2, NEW, NEW]


def test_epsilon_and_input_scale_are_folded_exactly() -> None:
    g = torch.Generator().manual_seed(0)
    raw = SeedConv(
        weight=torch.rand(4, 3, 3, 3, generator=g), gamma=torch.rand(4, generator=g),
        beta=torch.rand(4, generator=g), mean=torch.rand(4, generator=g),
        var=torch.rand(4, generator=g) * 1e-3,
    )  # fmt: skip
    x = torch.rand(1, 3, 8, 8, generator=g)

    def apply(conv: SeedConv, y: Tensor, eps: float) -> Tensor:
        z = nn.functional.conv2d(y, conv.weight)
        return nn.functional.batch_norm(
            z, conv.mean, conv.var, conv.gamma, conv.beta, False, 0, eps
        )

    assert near(apply(with_eps(raw, 1e-5), x, BN_EPS), apply(raw, x, 1e-5))
    scaled = x * torch.tensor([2.0, 3, 4]).view(1, 3, 1, 1) - torch.tensor([1.0, 0, 2]).view(
        1, 3, 1, 1
    )
    folded = with_input(raw, (2, 3, 4), (-1, 0, -2))
    assert near(apply(folded, x, BN_EPS), apply(raw, scaled, BN_EPS))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no weights", "weights holds tensors"),
        (b"PK\x03\x04" + bytes(20_000), "weights holds tensors.* or a part of it"),
        ({"backbone.conv.weight": torch.zeros(1)}, "backbone.conv.weight"),
        ([1, 2], "state dict"),
        ({"conv_stem.weight": torch.zeros(8, 3, 3, 3)}, "blocks.0.0.conv_dw.weight"),
        ({"_conv_stem.weight": torch.zeros(8, 3, 3, 3)}, "_bn0.weight"),
        ({"_conv_stem.weight": torch.zeros(8, 3, 3)}, "_conv_stem.weight"),
    ],
)
def test_files_that_are_no_seed_are_refused_by_name(
    tmp_path: Path, content: object, message: str
) -> None:
    path = tmp_path / "weights.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(SeedError, match=message):
        load_seed(path)
    with pytest.raises(SeedError, match="readable"):
        load_seed(tmp_path / "none.pt")


def test_one_damaged_tensor_is_named(tmp_path: Path, weights: dict[str, Tensor]) -> None:
    name = "_blocks.7._project_conv.weight"
    path = tmp_path / "weights.pth"
    for value, said in (
        (torch.full_like(weights[name], float("nan")), "finite"),
        (weights[name][:, :100], "block 7"),
    ):
        torch.save(weights | {name: value}, path)
        with pytest.raises(SeedError, match=said) as caught:
            load_seed(path)
        assert "7" in str(caught.value)


def test_conv_modules_are_what_the_seed_speaks_of() -> None:
    conv = Conv(3, 4, 3, 2)
    assert isinstance(conv.bn, nn.BatchNorm2d)
    assert conv.bn.eps == BN_EPS
