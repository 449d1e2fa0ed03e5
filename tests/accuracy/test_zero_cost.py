"""Scores that train nothing: what they count is what they say."""

from __future__ import annotations

import torch
from torch import nn

from nas.accuracy import MacsSettings, build_proxy
from nas.accuracy.naswot import agreements
from nas.space.ops import macs, model_graph
from tests.accuracy.learnable import learnable_data, some_candidates


def test_macs_are_those_of_the_model_at_its_own_size() -> None:
    proxy = build_proxy(MacsSettings(), learnable_data())
    for candidate in some_candidates(3):
        wanted = macs(model_graph(candidate.spec, candidate.image_size)) / 1e9
        assert proxy.score(candidate, 0).score == wanted


def test_agreements_count_the_signs_that_two_images_share() -> None:
    network = nn.Sequential(nn.Flatten(), nn.ReLU(inplace=True))
    images = torch.tensor([[1.0, -1.0, 2.0, -2.0], [1.0, 1.0, 2.0, -2.0], [-1.0, 1.0, -2.0, 2.0]])
    found = agreements(network, images.view(3, 1, 2, 2))
    assert torch.equal(found, torch.tensor([[4.0, 3, 0], [3, 4, 1], [0, 1, 4]]).double())
    # The hooks are gone, and a network without activations agrees in nothing.
    assert not network[1]._forward_pre_hooks
    assert torch.equal(agreements(nn.Flatten(), images), torch.zeros(3, 3).double())
