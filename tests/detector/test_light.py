"""The light families' blocks: what is particular to them, against plain formulas and a forward."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from nas.detector.builder import build_detector, fuse
from nas.detector.light import RepVGGBlock, shuffle_channels
from nas.detector.modules import build_block
from nas.space.blocks import Block, layers
from nas.space.modules import SpecError
from nas.space.spec import parse_spec


def moved_norms(module: nn.Module) -> nn.Module:
    """The module with batch norms far from the identity."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -0.5, 0.5)
            nn.init.uniform_(part.running_var, 0.2, 2.0)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.bias, -0.5, 0.5)
    return module


def block(module: str, channels_in: int = 16, channels_out: int = 16, **more: object) -> Block:
    values = {"height": 9, "width": 13, "kernel": 3, **more}
    return Block(module=module, channels_in=(channels_in,), channels_out=channels_out, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("channels_out", "stride", "branches"), [(16, 1, 3), (16, 2, 2), (24, 1, 2)]
)
def test_rep_vgg_is_one_convolution_exactly(channels_out: int, stride: int, branches: int) -> None:
    torch.manual_seed(0)
    one = block("RepVGGBlock", channels_out=channels_out, stride=stride)
    module = moved_norms(build_block(one)).eval()
    assert sum(isinstance(m, nn.BatchNorm2d) for m in module.modules()) == branches
    folded = copy.deepcopy(module)
    assert isinstance(folded, RepVGGBlock)
    folded.fold_batch_norm()
    (convolution,) = [m for m in folded.modules() if isinstance(m, nn.Conv2d)]
    assert convolution.kernel_size == (3, 3)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    x = torch.randn(4, 16, 9, 13)
    with torch.no_grad():
        single = (folded(x) - module(x)).abs().max()
        double = (folded.double()(x.double()) - module.double()(x.double())).abs().max()
    # Only rounding to fp32 is between them: of the arithmetic, and once of the summed weights.
    assert single < 1e-5
    assert double < 2e-6
    before = convolution.weight.clone()
    folded.fold_batch_norm()
    assert torch.equal(convolution.weight, before)


def test_channels_are_dealt_from_both_halves_in_turn() -> None:
    x = torch.arange(6.0).view(1, 6, 1, 1).expand(2, 6, 3, 5)
    assert shuffle_channels(x, 2)[1, :, 0, 0].tolist() == [0, 3, 1, 4, 2, 5]
    assert torch.equal(shuffle_channels(shuffle_channels(x, 2), 3), x)


def test_half_of_a_shuffle_block_passes_as_it_is() -> None:
    module = build_block(block("ShuffleBlock", activation="ReLU")).eval()
    x = torch.randn(2, 16, 9, 13)
    with torch.no_grad():
        y = module(x)
    assert torch.equal(y[:, 0::2], x[:, :8])
    assert (y[:, 1::2] >= 0).all()
    wider = build_block(block("ShuffleBlock", channels_out=24, activation="ReLU")).eval()
    with torch.no_grad():
        assert (wider(x) >= 0).all()


def test_mobilenet_v3s_gate_is_of_the_hidden_channels_and_lc_nets_of_the_input() -> None:
    inverted = build_block(block("InvertedResidual", 24, 24, expand_ratio=3.67, se_ratio=0.25))
    assert inverted.se.reduce.weight.shape[:2] == (24, 88)  # type: ignore[union-attr]
    light = build_block(block("LCBlock", 32, 64, se_ratio=0.25))
    assert light.se.reduce.weight.shape[:2] == (8, 32)  # type: ignore[union-attr]
    for module in (inverted, light):
        assert isinstance(module.se.gate, nn.Hardsigmoid)  # type: ignore[union-attr]
        assert isinstance(module.se.act, nn.ReLU)  # type: ignore[union-attr]


def test_a_dense_drops_in_training_alone() -> None:
    module = build_block(block("Dense", kernel=1, dropout=0.5, activation="ReLU"))
    x = torch.ones(1, 16, 9, 13)
    assert (module.train()(x) == 0).float().mean() > (module.eval()(x) == 0).float().mean()


MODEL = """
nc: 2
activation: LeakyReLU
anchors: [[4, 4], [8, 8]]
backbone:
  - [-1, 1, ConvMaxPool, [16]]                     # /4
  - [-1, 1, ShuffleBlock, [24, 3, 2, ReLU]]        # 1, /8
  - [-1, 2, ShuffleBlock, [24]]                    # 2
  - [-1, 1, LCBlock, [24, 5, 2, 0.25, Hardswish]]  # 3, /16
  - [-1, 1, RepVGGBlock, [24]]                     # 4
head:
  - [-1, 1, Conv, [24, 1, 1, None, 1, ReLU]]       # 5
  - [-1, 1, nn.Upsample, [None, 2, nearest]]       # 6
  - [[-1, 2], 1, Add, []]                          # 7
  - [-1, 1, Dense, [24, 1, 0.1]]                   # 8
  - [[8, 5], 1, Detect, [nc, anchors]]
"""


def test_a_row_has_its_own_activation_or_the_models() -> None:
    spec = parse_spec(MODEL)
    found = [layer.blocks[0].activation for layer in layers(spec, 64)[:6]]
    assert found == ["LeakyReLU", "ReLU", "LeakyReLU", "Hardswish", "LeakyReLU", "ReLU"]
    detector = build_detector(spec)
    kinds = [
        {type(m).__name__ for m in row.modules()} & {"ReLU", "LeakyReLU", "Hardswish"}
        for row in detector.model
    ]
    assert kinds[:6] == [
        {"LeakyReLU"}, {"ReLU"}, {"LeakyReLU"}, {"Hardswish", "ReLU"}, {"LeakyReLU"}, {"ReLU"}
    ]  # fmt: skip


def test_fusing_a_whole_model_changes_nothing() -> None:
    torch.manual_seed(0)
    detector = moved_norms(build_detector(parse_spec(MODEL))).eval()
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(detector(x), fuse(detector)(x), rtol=1e-4, atol=1e-4)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fuse(detector).modules())


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("[24, 3, 2, ReLU]", "[23, 3, 2, ReLU]", "backbone row 1: the channels of a ShuffleBlock"),
        ("[24, 3, 2, ReLU]", "[24, 3, 2, Mish]", "argument 'activation' of ShuffleBlock: the act"),
        ("ConvMaxPool, [16]", "ConvMaxPool, [16, 3, 3]", "the stride is 1 or 2"),
        ("RepVGGBlock, [24]", "RepVGGBlock, [24, 5]", "the kernel is 3; got 5"),
        ("Conv, [24, 1", "Conv, [32, 1", "the maps that are added are two or more of equal chan"),
        ("[[-1, 2], 1, Add", "[[-1, 3], 1, Add", "the maps that are joined are of one size"),
        ("[[-1, 2], 1, Add", "[-1, 1, Add", "two or more of equal channels; got 24"),
        ("Dense, [24, 1, 0.1]", "Dense, [24, 1, 1]", "the dropout is a number from 0 to below 1"),
    ],
)
def test_a_mistake_gets_one_message_with_its_place(old: str, new: str, expected: str) -> None:
    text = MODEL.replace(old, new, 1)
    assert text != MODEL
    with pytest.raises(SpecError) as caught:
        layers(parse_spec(text, "m.yaml"), 64, "m.yaml")
    assert expected in str(caught.value)
    assert str(caught.value).startswith("m.yaml")
