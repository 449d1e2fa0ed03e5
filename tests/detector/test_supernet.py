"""Laws of a supernet: a candidate's weights are its own, the same ones wherever they are read."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from nas.detector.builder import Detector, build_detector
from nas.detector.faces import OWN, SupernetError, head_kind
from nas.detector.supernet import Supernet
from nas.space.choices import Option
from nas.space.search_space import SearchSpace, parse_space, read_space
from nas.space.spec import ModelSpec

CLASSES = 3


def made(space: SearchSpace) -> Supernet:
    """Its supernet with random weights, no two alike."""
    net = Supernet(space, partial(space.build, num_classes=CLASSES))
    net.scatter(torch.rand(net.size, generator=torch.Generator().manual_seed(3)) + 0.1)
    return net


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    return made(read_space("fused_mbconv"))


def drawn(net: Supernet, rng: np.random.Generator) -> ModelSpec:
    def choose(name: str, options: tuple[Option, ...]) -> Option:
        return options[int(rng.integers(len(options)))]

    return net.build(choose).spec


def state(detector: Detector) -> dict[str, Tensor]:
    return {name: value for name, value in detector.state_dict().items() if not name.endswith(OWN)}


def test_faces_are_candidates_that_hold_everything(supernet: Supernet) -> None:
    values, seen = supernet.gathered(), torch.zeros(supernet.size, dtype=torch.bool)
    for face in supernet.faces:
        indices = supernet.indices(face.candidate.spec)
        for name, value in state(face.detector).items():
            assert torch.equal(values[indices[name]], value), name
            seen[indices[name].flatten()] = True
    assert seen.all()
    kinds = {(len(f.detector.spec.head), head_kind(f.detector.spec)) for f in supernet.faces}
    assert len({kind for _, kind in kinds}) == 2
    assert len(kinds) == 4


@pytest.mark.parametrize("seed", range(6))
def test_a_subnet_is_the_first_part_of_the_largest(supernet: Supernet, seed: int) -> None:
    """By another way than the numbers: first channels, first blocks, the middle of the kernel."""
    spec = drawn(supernet, np.random.default_rng(seed))
    detector, indices = supernet.read(spec, supernet.gathered())
    slots = supernet.named(supernet.gathered())
    starts = {slot.start: name for name, slot in supernet.slots.items()}
    assert indices.keys() == state(detector).keys()
    for name, value in state(detector).items():
        first = int(indices[name].flatten()[0])
        whole = slots[starts[max(start for start in starts if start <= first)]]
        if name.startswith("model.0.") or "project" in name or "expand" in name:
            part = whole[tuple(slice(n) for n in value.shape[:2])]
            cut = (part.shape[-1] - value.shape[-1]) // 2 if value.ndim == 4 else 0
            assert torch.equal(value, part[..., cut:-cut, cut:-cut] if cut else part), name
        assert len(indices[name].unique()) == value.numel(), name


def test_alone_it_computes_what_it_computes_in_the_supernet(supernet: Supernet) -> None:
    """Outputs to the bit, and gradients at the numbers that its weights have."""
    spec = drawn(supernet, np.random.default_rng(4))
    values = (supernet.gathered() - 0.6).requires_grad_()
    detector, indices = supernet.read(spec, values.detach())
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    within = build_detector(spec).train()
    learn = dict(detector.named_parameters())
    read = {name: values[index] for name, index in indices.items() if name in learn}
    wanted = functional_call(within, read, (images,))
    found = detector.train()(images)
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one, other)
    sum(one.square().mean() for one in wanted).backward()
    sum(one.square().mean() for one in found).backward()
    assert values.grad is not None
    rest = values.grad.clone()
    for name, parameter in detector.named_parameters():
        assert parameter.grad is not None
        assert torch.equal(values.grad[indices[name]], parameter.grad), name
        rest[indices[name]] = 0
    assert not rest.any(), "no other weight has a gradient"


def test_reading_leaves_the_weights_and_the_generator_alone(supernet: Supernet) -> None:
    values = supernet.gathered()
    before = values.clone()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    detector, _ = supernet.read(drawn(supernet, np.random.default_rng(0)), values)
    assert torch.equal(torch.rand(1), expected)
    with torch.no_grad():
        for parameter in detector.parameters():
            parameter.zero_()
    assert torch.equal(values, before)


def test_the_narrower_reads_a_part_of_the_wider(supernet: Supernet) -> None:
    rng = np.random.default_rng(1)
    options = supernet.space.options()
    choices = {name: one[int(rng.integers(len(one)))] for name, one in options.items()}
    for name, own in options.items():
        if isinstance(own[0], str) or len(own) == 1 or name == "image_size":
            continue
        if name.endswith(("expand_ratio", "se_ratio")):
            continue  # kinds of their own at 1 and 0
        both = []
        for option in (own[0], own[-1]):
            spec = supernet.space.rebuild({**choices, name: option}, CLASSES).spec
            found = supernet.indices(spec)
            both.append(set(torch.cat([index.flatten() for index in found.values()]).tolist()))
        assert both[0] <= both[1], name
        assert both[0] != both[1], name


def test_one_set_of_weights_serves_all_activations(supernet: Supernet) -> None:
    rng = np.random.default_rng(6)
    options = supernet.space.options()
    choices = {name: one[int(rng.integers(len(one)))] for name, one in options.items()}
    specs = [
        supernet.space.rebuild({**choices, "activation": one}, CLASSES).spec
        for one in options["activation"]
    ]
    first, second = (supernet.indices(spec) for spec in specs)
    assert specs[0] != specs[1]
    assert all(torch.equal(index, second[name]) for name, index in first.items())


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("compound", "a space of stages"),
        ("shuffle", "stage 1: one of its operators is MBConv"),
        ("mixed", "stem.operator: every option is one of Lite, Conv; got Conv, Focus"),
    ],
)
def test_a_space_that_cannot_share_is_told(space: str, message: str) -> None:
    with pytest.raises(SupernetError, match=message):
        made(read_space(space))


def other_space(change: str, to: str) -> SearchSpace:
    text = Path("search_spaces/fused_mbconv.yaml").read_text()
    assert change in text
    return parse_space(text.replace(change, to), "other", "other.yaml")


STAGE_5 = "operator: [MBConv]"


@pytest.mark.parametrize(
    ("change", "to", "message"),
    [
        (STAGE_5, "operator: [C3, C2f]", "other, stage 5: one of its operators is MBConv"),
        (STAGE_5, "operator: [MBConv, C3]", r"stage5\.operator: every option is one of MBConv"),
        (STAGE_5, "operator: [MBConv, InvertedResidual]", "stage5.0.inverted.se"),
        ("depth: [1, 2]\n", "depth: [1]\n  join: [add, concat]\n", "neck.join: there is one"),
        ("width: [80, 112, 160]", "width: [80, 1600]", "share at most"),
    ],
)
def test_what_has_no_weights_is_told(change: str, to: str, message: str) -> None:
    with pytest.raises(SupernetError, match=message):
        made(other_space(change, to))


@pytest.mark.parametrize(
    ("change", "to"),
    [
        ("operator: [Lite, Conv], ", ""),
        ("  detect: [light, anchors]\n", ""),
        ("detect: [light, anchors]", "detect: [decoupled, light]"),
        ("image_size: [192, 288, 384]", "image_size: [384, 480]"),
        ("kind: [plain, separable]", "kind: [separable]"),
        ("depth: [1, 2]\n", "depth: [1, 3]\n  operator: [C2f]\n  join: [add]\n"),
        ("depth: [1, 2]\n", "depth: [1, 3]\n  operator: [DWConvBlock]\n  pooling: [none]\n"),
    ],
)
def test_other_spaces_share_as_well(change: str, to: str) -> None:
    net = made(other_space(change, to))
    rng = np.random.default_rng(2)
    seen = set()
    for _ in range(6):
        spec = drawn(net, rng)
        seen.add(head_kind(spec))
        detector, indices = net.read(spec, net.gathered())
        assert indices.keys() == state(detector).keys()
    assert seen == {head_kind(face.detector.spec) for face in net.faces}


def test_a_detector_of_another_space_is_refused(supernet: Supernet) -> None:
    other = read_space("tiny").random(np.random.default_rng(0), CLASSES).spec
    with pytest.raises(SupernetError, match="the detector is one of fused_mbconv"):
        supernet.indices(other)
