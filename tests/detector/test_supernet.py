"""Laws of a supernet: a candidate's weights are its own, the same ones wherever they are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nas.detector.builder import Detector, build_detector
from nas.detector.pretrained.load import cut, load_seed
from nas.detector.pretrained.seed import SeedError
from nas.detector.shared import shared_document
from nas.detector.supernet import Supernet, SupernetError
from nas.space.choices import Option
from nas.space.search_space import SearchSpace, parse_space, read_space
from nas.space.spec import ModelSpec

CLASSES = 3


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    """Of the default space, its weights random, no two alike."""
    net = Supernet(read_space("fused_mbconv"), CLASSES)
    generator = torch.Generator().manual_seed(3)
    net.scatter(torch.rand(net.size, generator=generator) + 0.1)
    return net


def drawn(net: Supernet, rng: np.random.Generator) -> ModelSpec:
    def choose(name: str, options: tuple[Option, ...]) -> Option:
        options = net.offered(name, options)
        return options[int(rng.integers(len(options)))]

    return net.adapted(net.space.build(choose).spec)


def read(net: Supernet, spec: ModelSpec) -> dict[str, torch.Tensor]:
    values = net.gathered()
    return {name: values[index] for name, index in net.indices(build_detector(spec)).items()}


def state(detector: Detector) -> dict[str, torch.Tensor]:
    return {
        name: value
        for name, value in detector.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


@pytest.mark.parametrize("seed", range(12))
def test_what_is_cut_is_what_is_trained(supernet: Supernet, seed: int) -> None:
    spec = drawn(supernet, np.random.default_rng(seed))
    names = tuple("abc")
    detector = build_detector(spec)
    report = cut(supernet.seed(names, "net"), detector, names=names, must_fit=True)
    wanted = read(supernet, spec)
    assert wanted.keys() == state(detector).keys()
    for name, value in state(detector).items():
        torch.testing.assert_close(value, wanted[name], rtol=0, atol=0, msg=name)
    assert report.keeps_classes
    assert report.freezable == tuple(range(len(spec.rows)))
    assert report.lines()[2] == "made up: nothing"


def test_faces_are_candidates_that_hold_everything(supernet: Supernet) -> None:
    seen = torch.zeros(supernet.size, dtype=torch.bool)
    for face in supernet.faces:
        own = read(supernet, face.detector.spec)
        for name, value in state(face.detector).items():
            assert torch.equal(own[name], value), name
        for index in supernet.indices(build_detector(face.detector.spec)).values():
            seen[index.flatten()] = True
    assert seen.all()


def test_the_narrower_reads_a_part_of_the_wider(supernet: Supernet) -> None:
    rng = np.random.default_rng(1)
    choices = {}
    for name, options in supernet.space.options().items():
        offered = supernet.offered(name, options)
        choices[name] = offered[int(rng.integers(len(offered)))]
    for name, options in supernet.space.options().items():
        if isinstance(options[0], str) or len(options) == 1 or name == "image_size":
            continue
        if name.endswith(("expand_ratio", "se_ratio")):
            continue  # kinds of their own at 1 and 0
        both = []
        for option in (options[0], options[-1]):
            spec = supernet.space.rebuild({**choices, name: option}).spec
            found = supernet.indices(build_detector(supernet.adapted(spec)))
            both.append(set(torch.cat([index.flatten() for index in found.values()]).tolist()))
        assert both[0] <= both[1], name
        assert both[0] != both[1], name


def test_an_untouched_seed_is_read_as_it_is_where_it_fits() -> None:
    """A supernet begins as the seed: its largest MBConv detector is the seed's own cut."""
    net = Supernet(read_space("fused_mbconv"), CLASSES)
    seed = load_seed("lite2")
    for face in net.faces:
        cut(seed, face.detector, order="ranked", must_fit=True)
    wanted = build_detector(net.faces[0].detector.spec)
    wanted.load_state_dict(net.faces[0].detector.state_dict())
    cut(seed, wanted, order="ranked")
    net.scatter(net.gathered())
    ends = max(row for row, one in enumerate(wanted.spec.rows) if one.module == "FusedMBConv")
    for name, value in state(wanted).items():
        if int(name.split(".")[1]) <= ends:
            assert torch.equal(net.faces[0].detector.state_dict()[name], value), name


def test_its_file_is_read_as_a_seed(supernet: Supernet, tmp_path: Path) -> None:
    names = tuple("abc")
    weights = {name: value.half() for name, value in supernet.named(supernet.gathered()).items()}
    file = tmp_path / "starter.pt"
    torch.save(shared_document(supernet, weights, names), file)
    spec = drawn(supernet, np.random.default_rng(5))
    detector = build_detector(spec)
    cut(load_seed(file), detector, names=names, must_fit=True)
    wanted = read(supernet, spec)
    for name, value in state(detector).items():
        torch.testing.assert_close(value, wanted[name], rtol=1e-3, atol=1e-4)
    # A model that was not drawn from the space has what there is.
    other = build_detector(read_space("tiny").random(np.random.default_rng(0)).spec)
    assert cut(load_seed(file), other).taken

    name = next(iter(weights))
    for wrong, message in (
        ({**weights, name: weights[name][:1]}, "the starter holds its tensor of shape"),
        ({**weights, name: weights[name] * torch.nan}, "weights are finite numbers"),
        ({n: w for n, w in weights.items() if n != name}, "got none"),
    ):
        torch.save(shared_document(supernet, wrong, names), file)
        with pytest.raises(SeedError, match=message) as caught:
            load_seed(file)
        assert name in str(caught.value)
    torch.save({**shared_document(supernet, weights, names), "format": 9}, file)
    with pytest.raises(SeedError, match="has format 1"):
        load_seed(file)


def test_a_space_without_stages_has_no_supernet() -> None:
    with pytest.raises(SupernetError, match="a space of stages"):
        Supernet(read_space("compound"), 3)
    with pytest.raises(SupernetError, match="stage 1: one of its operators is MBConv"):
        Supernet(read_space("shuffle"), 3)


def other_space(change: str, to: str) -> SearchSpace:
    text = Path("search_spaces/fused_mbconv.yaml").read_text()
    assert change in text
    return parse_space(text.replace(change, to), "other", "other.yaml")


@pytest.mark.parametrize(
    ("change", "to"),
    [
        ("operator: [Lite, Conv], ", ""),
        ("operator: [Lite, Conv], ", "operator: [Focus, Conv], "),
        ("  detect: [light, anchors]\n", ""),
        ("kind: [plain, separable]", "kind: [separable]"),
        ("width: [48, 72, 96]", "width: [72]"),
        ("depth: [1, 2]\n", "depth: [1, 3]\n  operator: [C2f, C3]\n  join: [add, concat]\n"),
    ],
)
def test_other_spaces_share_as_well(change: str, to: str) -> None:
    net = Supernet(other_space(change, to), CLASSES)
    net.scatter(torch.rand(net.size, generator=torch.Generator().manual_seed(3)) + 0.1)
    rng = np.random.default_rng(2)
    names = tuple("abc")
    for _ in range(6):
        spec = drawn(net, rng)
        detector = build_detector(spec)
        cut(net.seed(names, "net"), detector, names=names, must_fit=True)
        wanted = read(net, spec)
        assert all(torch.equal(value, wanted[name]) for name, value in state(detector).items())
