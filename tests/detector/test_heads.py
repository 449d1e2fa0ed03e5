"""Heads without anchors in torch against the walk, the primitive ops and decoding by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from nas.detector.anchor_free import FRESH_DISTANCE, AnchorFreeDetect
from nas.detector.builder import Detector, build_detector, fuse
from nas.space.blocks import layers
from nas.space.ops import macs, model_graph, params
from tests.detector.test_builder import thop_extras, thop_macs
from tests.light_heads import FORMS, LIGHT_FORMS, model_of

SIZE = 96


def built(form: str, activation: str = "ReLU6") -> Detector:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_detector(model_of(form, activation))


def head_of(form: str) -> AnchorFreeDetect:
    head = built(form).head
    assert isinstance(head, AnchorFreeDetect)
    return head


@pytest.mark.parametrize("form", FORMS)
def test_counts_equal_thops_and_shapes_a_forward_passes(form: str) -> None:
    detector = built(form)
    graph = model_graph(detector.spec, SIZE)
    assert params(graph) == sum(p.numel() for p in detector.parameters())
    fused = fuse(detector)
    assert macs(graph) + thop_extras(graph) == thop_macs(fused, 1, 3, SIZE, SIZE)
    with torch.no_grad():
        maps = fused.maps(torch.rand(2, 3, SIZE, SIZE))
    walked = layers(detector.spec, SIZE)[-1].blocks
    assert [tuple(one.shape[1:]) for one in maps] == [
        (block.channels_out, block.height, block.width) for block in walked
    ]


def test_relu6_clips_at_six() -> None:
    activations = [m for m in built("LightDetect, [nc]").modules() if isinstance(m, nn.ReLU6)]
    # Stem, three MBConvs and SE, a FusedMBConv, three rows before the head, and six branches.
    assert len(activations) == 1 + 3 * 2 + 1 + 1 + 4 + 6
    values = torch.tensor([-1.0, 3.0, 7.0])
    assert activations[0](values).tolist() == [0, 3, 6]


@pytest.mark.parametrize("form", LIGHT_FORMS)
def test_a_fresh_heads_boxes_reach_about_two_cells_to_each_side(form: str) -> None:
    head = head_of(form).eval()
    features = [
        torch.zeros(1, block.channels_in[0], n, n)
        for block, n in zip(layers(model_of(form), SIZE)[-1].blocks, (12, 6, 3), strict=True)
    ]
    with torch.no_grad():
        decoded = head(features)
    sizes = torch.cat([torch.full((n * n,), 8.0 * 12 / n) for n in (12, 6, 3)])
    reach = decoded[0, :, 2] / 2 / sizes
    expected = {1: FRESH_DISTANCE, 4: 0.98, 8: 1.71, 16: 2.01}[head.bins]
    assert torch.allclose(reach, torch.full_like(reach, expected), atol=0.1)


def test_plain_distances_decode_by_hand() -> None:
    """Softplus of 0 is ln 2: that many cells to each side of a cell's centre."""
    head = head_of("LightDetect, [nc, None, 1, 1]")
    raw = [torch.zeros(1, 7, n, n) for n in (4, 2, 1)]
    raw[0][0, 0, 0, 2] = 100.0  # its left side lies 100 cells away
    decoded = head.decode(raw)[0]
    side = 2 * 8 * math.log(2)
    assert decoded[0].tolist() == pytest.approx([4, 4, side, side, 1, 0.5, 0.5, 0.5])
    left, right = 20 - 100 * 8, 20 + 8 * math.log(2)
    assert decoded[2, :4].tolist() == pytest.approx(
        [(left + right) / 2, 4, right - left, side], rel=1e-5
    )


@pytest.mark.parametrize("bins", [4, 8])
def test_fewer_bins_decode_by_hand(bins: int) -> None:
    head = head_of(f"LightDetect, [nc, None, 1, {bins}]")
    decoded = head.decode([torch.zeros(1, 4 * bins + 3, n, n) for n in (4, 2, 1)])[0]
    side = (bins - 1) * 16
    assert decoded[16 + 2].tolist() == pytest.approx([8, 24, side, side, 1, 0.5, 0.5, 0.5])


def test_both_branches_of_every_level_have_their_own_weights() -> None:
    head = head_of("LightDetect, [nc, 24, 2, 8, 5, separable]")
    assert len(head.cv2) == len(head.cv3) == 3
    shapes = [tuple(w.shape) for w in head.cv2[0].parameters() if w.dim() == 4]
    assert shapes == [(16, 1, 5, 5), (24, 16, 1, 1), (24, 1, 5, 5), (24, 24, 1, 1), (32, 24, 1, 1)]
    last = [w for w in head.cv3[2].parameters() if w.dim() == 4][-1]
    assert tuple(last.shape) == (3, 24, 1, 1)
    (dense, *_) = head_of("LightDetect, [nc, 24]").cv2[0].parameters()
    assert tuple(dense.shape) == (24, 16, 3, 3)
