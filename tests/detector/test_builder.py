"""The torch network against the walk and the primitive ops, to the last unit."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from nas.detector.builder import Detector, build_detector, fuse
from nas.detector.convolution import DropPath
from nas.detector.light import RepVGGBlock
from nas.detector.modules import build_block
from nas.space.blocks import Block, layers, output_size
from nas.space.ops import Graph, OpKind, expand, macs, model_graph, params
from nas.space.search_space import Candidate, read_space
from nas.space.spec import parse_spec
from tests.blocks_light import LIGHT_BLOCKS
from tests.blocks_yolo import YOLO_BLOCKS
from tests.space.test_spec import SMALL

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # thop compares versions with a deprecated class
    import thop


def candidates(count: int) -> list[Candidate]:
    space, rng = read_space("fused_mbconv"), np.random.default_rng(7)
    return [space.random(rng, num_classes=4) for _ in range(count)]


def thop_extras(graph: Graph) -> int:
    """What thop counts beside convolutions: an op an input and output element of a global pool,
    and one an output element of an upsampling."""
    pooled = [op for op in graph.ops if op.kind is OpKind.GLOBAL_POOL]
    return sum(op.shapes_in[0].elements + op.shape_out.elements for op in pooled) + sum(
        op.shape_out.elements for op in graph.ops if op.kind is OpKind.UPSAMPLE
    )


def thop_macs(model: nn.Module, *shape: int) -> int:
    return int(thop.profile(model, inputs=(torch.rand(*shape),), verbose=False)[0])


@pytest.mark.parametrize("candidate", candidates(4), ids=lambda c: c.digest[:6])
def test_counts_equal_thops_to_the_last_unit(candidate: Candidate) -> None:
    size = candidate.image_size
    graph = model_graph(candidate.spec, size)
    detector = build_detector(candidate.spec)
    assert params(graph) == sum(p.numel() for p in detector.parameters())
    assert macs(graph) + thop_extras(graph) == thop_macs(fuse(detector), 1, 3, size, size)


def test_yolov5s_counts_equal_thops() -> None:
    graph, detector = model_graph(parse_spec(SMALL), 320), build_detector(parse_spec(SMALL))
    assert macs(graph) + thop_extras(graph) == thop_macs(fuse(detector), 1, 3, 320, 320)
    assert params(graph) == sum(p.numel() for p in detector.parameters())


@pytest.mark.parametrize("candidate", candidates(3), ids=lambda c: c.digest[:6])
def test_shapes_of_every_row_equal_a_forward_pass(candidate: Candidate) -> None:
    detector = build_detector(candidate.spec).eval()
    seen: list[tuple[int, ...]] = []
    for module in detector.model:
        module.register_forward_hook(lambda m, i, out: seen.append(tuple(out.shape[1:])))
    with torch.no_grad():
        detector(torch.rand(1, 3, candidate.image_size, candidate.image_size))
    walked = layers(candidate.spec, candidate.image_size)
    assert seen[:-1] == [(la.channels, la.height, la.width) for la in walked[:-1]]
    each = 3 if candidate.spec.anchors else 1
    cells = sum(each * b.height * b.width for b in walked[-1].blocks)
    assert seen[-1] == (cells, 5 + candidate.spec.num_classes)


def varied_blocks() -> Iterator[Block]:
    for module in ("MBConv", "FusedMBConv"):
        for expand_ratio in (1, 1.5, 4):
            for se_ratio in (0, 0.25):
                for stride, c_out in ((1, 16), (2, 24)):
                    yield Block(
                        module=module,
                        channels_in=(16,),
                        channels_out=c_out,
                        height=20,
                        width=12,
                        kernel=5,
                        stride=stride,
                        expand_ratio=expand_ratio,
                        se_ratio=se_ratio,
                        activation="Hardswish",
                    )
    shape = {"channels_in": (16,), "height": 9, "width": 13}
    yield Block(module="Conv", channels_out=8, kernel=6, stride=2, padding=2, **shape)  # type: ignore[arg-type]
    yield Block(module="Conv", channels_out=8, kernel=3, groups=4, **shape)  # type: ignore[arg-type]
    yield Block(module="C3", channels_out=24, depth=2, shortcut=True, **shape)  # type: ignore[arg-type]
    yield Block(module="SPPF", channels_out=24, kernel=5, **shape)  # type: ignore[arg-type]
    yield Block(module="DWConvBlock", channels_out=24, kernel=3, stride=2, **shape)  # type: ignore[arg-type]
    yield Block(module="nn.Upsample", channels_out=16, **shape)  # type: ignore[arg-type]
    yield Block(module="Conv", channels_out=8, kernel=2, padding=1, **shape)  # type: ignore[arg-type]
    yield from YOLO_BLOCKS
    yield from LIGHT_BLOCKS


@pytest.mark.parametrize("block", list(varied_blocks()), ids=str)
def test_each_block_equals_its_primitive_ops(block: Block) -> None:
    module, graph = build_block(block).eval(), expand(block)
    if isinstance(module, RepVGGBlock):
        module.fold_batch_norm()
    x = torch.rand(1, *graph.input_shapes[0])
    with torch.no_grad():
        y = module(x)
    last = graph.ops[-1].shape_out
    assert tuple(y.shape[1:]) == tuple(last)
    assert (last.height, last.width) == output_size(block)
    assert params(graph) == sum(p.numel() for p in module.parameters())
    convolutions = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == sum(op.kind is OpKind.CONVOLUTION for op in graph.ops)


def test_blocks_survive_their_own_text() -> None:
    for block in varied_blocks():
        assert Block.from_dict(block.to_dict()) == block
    assert len({block.key() for block in varied_blocks()}) == len(list(varied_blocks()))


def test_folding_batch_norms_changes_nothing() -> None:
    detector = small_detector()
    x = torch.rand(2, 3, 96, 96)
    detector.train()
    for _ in range(3):
        detector(x)  # moves the running statistics away from 0 and 1
    detector.eval()
    with torch.no_grad():
        assert torch.allclose(detector(x), fuse(detector)(x), rtol=1e-4, atol=1e-4)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fuse(detector).modules())


def small_detector() -> Detector:
    torch.manual_seed(0)
    return build_detector(read_space("tiny").random(np.random.default_rng(0), num_classes=4).spec)


def test_training_and_eval_outputs_agree() -> None:
    detector = small_detector().eval()
    x = torch.rand(2, 3, 96, 96)
    with torch.no_grad():
        decoded = detector(x)
        maps = detector.maps(x)
        detector.head.train()
        logits = detector(x)
        detector.head.eval()
        assert [tuple(m.shape) for m in maps] == [(2, 27, 12, 12), (2, 27, 6, 6), (2, 27, 3, 3)]
        assert torch.equal(detector.head.decode(logits), decoded)


def test_decoding_by_hand() -> None:
    """One cell set by hand: logits 0 give the cell's centre and the anchor itself."""
    head = small_detector().head
    logits = [torch.zeros(1, 3, n, n, 9) for n in (4, 2, 1)]
    decoded = head.decode(logits)[0]
    assert torch.allclose(decoded[:, 4:], torch.full((63, 5), 0.5))
    third = decoded[2 * 16 + 1 * 4 + 3]  # level P3, anchor 2, row 1, column 3
    assert third[:4].tolist() == [8 * 3.5, 8 * 1.5, 33, 23]


def test_a_fresh_head_starts_at_the_prior() -> None:
    detector = small_detector().eval()
    with torch.no_grad():
        decoded = detector(torch.rand(1, 3, 96, 96))
    assert decoded[..., 4].mean() < 0.05
    assert decoded[..., 5:].mean() == pytest.approx(0.6 / 4, abs=0.05)


def test_stochastic_depth_keeps_the_expectation_and_grows_with_depth() -> None:
    torch.manual_seed(0)
    drop = DropPath(0.25).train()
    assert drop(torch.ones(20000, 1, 1, 1)).mean() == pytest.approx(1, abs=0.02)
    assert torch.equal(drop.eval()(torch.ones(3, 1, 1, 1)), torch.ones(3, 1, 1, 1))
    spec = read_space("fused_mbconv").build(lambda name, options: options[-1]).spec
    detector = build_detector(spec, drop_path_rate=0.2)
    residual = [m for m in detector.modules() if getattr(m, "has_residual", False)]
    rates = [m.drop.rate for m in residual]
    assert rates == sorted(rates)
    assert rates[0] > 0
    assert rates[-1] == pytest.approx(0.2)


def test_the_same_seed_builds_the_same_network() -> None:
    first, second = small_detector().state_dict(), small_detector().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_state_dict_names_are_yolov5s() -> None:
    names = set(build_detector(parse_spec(SMALL)).state_dict())
    assert {
        "model.0.conv.weight",
        "model.0.bn.running_mean",
        "model.2.m.0.cv1.conv.weight",
    } <= names
    assert {"model.24.m.0.bias", "model.24.anchors", "model.9.cv2.bn.weight"} <= names


def test_torch_builds_every_module_that_the_space_knows() -> None:
    from nas.detector import modules
    from nas.space.modules import HEADS, MODULES

    assert {*modules._PLAIN, *modules._RESIDUAL, *HEADS} == set(MODULES)
