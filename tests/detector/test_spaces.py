"""Random detectors of the wider spaces build, run and count right."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nas.detector.builder import build_detector, fuse
from nas.space.blocks import layers
from nas.space.ops import macs, model_graph
from nas.space.search_space import read_space
from tests.detector.test_builder import thop_extras, thop_macs


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["shuffle", "compound", "mixed"])
def test_counts_and_shapes_are_those_of_the_network(name: str, seed: int) -> None:
    candidate = read_space(name).random(np.random.default_rng(seed), num_classes=4)
    size = 64
    fused = fuse(build_detector(candidate.spec))
    seen: list[tuple[int, ...]] = []
    for module in fused.model[:-1]:
        module.register_forward_hook(lambda m, i, out: seen.append(tuple(out.shape[1:])))
    with torch.no_grad():
        fused.maps(torch.rand(1, 3, size, size))
    walked = layers(candidate.spec, size)
    assert seen == [(la.channels, la.height, la.width) for la in walked[:-1]]
    graph = model_graph(candidate.spec, size)
    assert macs(graph) + thop_extras(graph) == thop_macs(fused, 1, 3, size, size)
    training = build_detector(candidate.spec).train()(torch.rand(2, 3, size, size))
    has_anchors, outputs = bool(candidate.spec.anchors), walked[-1].channels
    assert [tuple(level.shape) for level in training] == [
        (2, 3, n, n, 9) if has_anchors else (2, outputs, n, n) for n in (8, 4, 2)
    ]
