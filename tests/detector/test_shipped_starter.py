"""The starter that ships: what it is, and that every candidate of the default space takes it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nas.detector.builder import build_detector
from nas.detector.pretrained.load import cut, load_seed
from nas.detector.pretrained.seed import Seed
from nas.places import STARTER, weights_of
from nas.space.search_space import read_space
from nas.space.spec import parse_spec

FILE = weights_of(STARTER)
SHOWN_ON = ("bccd", "playing-cards", "aquarium")


@pytest.fixture(scope="module")
def seed() -> Seed:
    return load_seed(STARTER)


def test_it_is_small_half_precision_and_finite() -> None:
    assert FILE.stat().st_size <= 12_000_000
    weights = torch.load(FILE, weights_only=True)["weights"]
    large = {value.dtype for value in weights.values() if value.ndim > 1}
    assert large == {torch.float16}
    assert all(bool(torch.isfinite(value.float()).all()) for value in weights.values())


def test_its_text_names_sets_licences_and_none_that_figures_are_given_on() -> None:
    text = FILE.with_suffix(".md").read_text(encoding="utf-8")
    assert text.count("CC BY 4.0 (text in LICENSE)") == 11
    assert "Apache-2.0" in text
    assert "MIT" in text
    assert "## Attribution" in text
    assert max(map(len, text.splitlines())) <= 100
    assert not any(name in text for name in SHOWN_ON)


@pytest.mark.parametrize("number", range(6))
def test_every_candidate_of_the_default_space_takes_backbone_neck_and_head(
    seed: Seed, number: int
) -> None:
    candidate = read_space("fused_mbconv").random(np.random.default_rng(number), 3)
    detector = build_detector(candidate.spec)
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    report = cut(seed, detector)
    assert report.seed == "starter"
    assert report.end == ""
    rows = len(detector.model)
    # The neck's rows were given weights; a head with anchors, and what a separable one has between
    # neck and head, keep their own.
    neck = range(len(candidate.spec.backbone), rows - 1)
    own = [row for row in neck if [*detector.model[row].parameters()]]
    with_weights = [row for row in own if candidate.spec.rows[row].module != "DWConvBlock"]
    assert set(with_weights) <= set(report.taken)
    assert (rows - 1 in report.taken) == (not candidate.spec.anchors)
    first = f"model.{with_weights[0]}."
    after = detector.state_dict()
    assert any(
        not torch.equal(after[name], before[name]) for name in before if name.startswith(first)
    )


def test_the_layer_of_the_classes_stays_its_own(seed: Seed) -> None:
    spec = parse_spec(torch.load(FILE, weights_only=True)["model"])
    torch.manual_seed(0)
    detector = build_detector(spec)
    head = f"model.{len(detector.model) - 1}."
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    cut(seed, detector, names=tuple(f"class {n}" for n in range(spec.num_classes)))
    after = detector.state_dict()
    own = [name for name in before if name.startswith(head) and before[name].ndim]
    of_classes = [name for name in own if len(before[name]) == spec.num_classes]
    assert of_classes
    assert all(torch.equal(before[name], after[name]) for name in of_classes)
    assert any(not torch.equal(before[name], after[name]) for name in own)
