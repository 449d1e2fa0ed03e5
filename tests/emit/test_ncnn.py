"""What we emit is what pnnx makes of the torch module, and ncnn computes what torch computes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nas.detector.builder import Detector, build_detector, fuse
from nas.emit.ncnn import emit_ncnn
from nas.emit.numbers import MAP_LIMIT, TOLD, weight_limit
from nas.latency.on_board.board import _ncnn_weights
from nas.space.blocks import Block
from nas.space.ops import Graph, Op, OpKind, Shape, expand, model_graph
from nas.space.references import REFERENCES
from nas.space.search_space import read_space
from nas.space.spec import read_spec
from tests.blocks_light import LIGHT_BLOCKS
from tests.blocks_yolo import YOLO_BLOCKS, build_for_board
from tests.emit.param import pnnx_param, read_layers, signature, split_counts

# torch.jit is deprecated in favour of torch.export, and pnnx still asks for it.
pytestmark = pytest.mark.filterwarnings("ignore")


def block(module: str, channels_in: int, channels_out: int, **more: object) -> Block:
    values = {"height": 12, "width": 12, **more}
    return Block(module=module, channels_in=(channels_in,), channels_out=channels_out, **values)  # type: ignore[arg-type]


BLOCKS = (
    block("Conv", 3, 16, kernel=3, stride=2),
    block("Conv", 16, 24, kernel=6, stride=2, padding=2, activation="ReLU"),
    block("Conv", 16, 24, kernel=3, groups=4, activation="LeakyReLU"),
    block("Conv", 16, 24, activation="Hardswish"),
    block("DWConvBlock", 16, 24, kernel=3, stride=2, activation="ReLU"),
    block("DWConvBlock", 24, 24, kernel=5),
    block("FusedMBConv", 16, 16, kernel=3, expand_ratio=4, se_ratio=0.25),
    block("FusedMBConv", 16, 16, kernel=3, expand_ratio=1, se_ratio=0.25, activation="ReLU"),
    block("FusedMBConv", 16, 24, kernel=3, stride=2, expand_ratio=2),
    block("MBConv", 16, 16, kernel=3, expand_ratio=4, se_ratio=0.25),
    block("MBConv", 16, 24, kernel=5, stride=2, expand_ratio=1, activation="Hardswish"),
    block("MBConv", 24, 24, kernel=3, expand_ratio=6, se_ratio=0.25, activation="LeakyReLU"),
    block("C3", 24, 32, depth=2, shortcut=True),
    block("C3", 24, 32, depth=1, shortcut=False, activation="ReLU"),
    block("SPPF", 32, 32, kernel=5),
    block("Conv", 16, 24, kernel=3, activation="ReLU6"),
    block("FusedMBConv", 16, 16, kernel=3, expand_ratio=4, activation="ReLU6"),
    block("MBConv", 24, 24, kernel=5, expand_ratio=4, se_ratio=0.25, activation="ReLU6"),
    block("C3", 24, 32, depth=1, shortcut=True, activation="ReLU6"),
    block("nn.Upsample", 16, 16),
    *YOLO_BLOCKS,
    *LIGHT_BLOCKS,
)


class Side(nn.Module):
    """Blocks side by side, each with an input of its own and a max pool behind it.

    The pools are there because pnnx loses sums that a network returns directly.
    """

    def __init__(self, modules: list[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(modules)

    def forward(self, *maps: Tensor) -> list[Tensor]:
        outputs = [module(x) for module, x in zip(self.blocks, maps, strict=True)]
        return [nn.functional.max_pool2d(x, 3, 1, 1) for x in outputs]


class Maps(nn.Module):
    """A detector as it runs on a board: the raw maps of its levels."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.detector.maps(x)


def side_by_side(graphs: list[Graph]) -> Graph:
    """One graph with the inputs first, the graphs' tensors after them, and the pools."""
    inputs = len(graphs)
    ops: list[Op] = []
    outputs: list[int] = []
    offset = inputs
    for i, graph in enumerate(graphs):
        place = {0: i}
        for op in graph.ops:
            for tensor in op.outputs:
                place[tensor] = offset
                offset += 1
            ops.append(
                replace(
                    op,
                    inputs=tuple(place[t] for t in op.inputs),
                    output=place[op.output],
                    more_outputs=tuple(place[t] for t in op.more_outputs),
                )
            )
        (end,) = graph.outputs
        shape = graph.ops[-1].shape_out
        ops.append(
            Op(
                kind=OpKind.MAX_POOL,
                inputs=(place[end],),
                output=offset,
                shapes_in=(shape,),
                shape_out=shape,
                kernel=3,
                padding=1,
            )
        )
        outputs.append(offset)
        offset += 1
    shapes = tuple(graph.input_shapes[0] for graph in graphs)
    return Graph(
        inputs=tuple(range(inputs)), input_shapes=shapes, ops=tuple(ops), outputs=tuple(outputs)
    )


def test_blocks_equal_pnnx(tmp_path: Path) -> None:
    side = Side([build_for_board(one) for one in BLOCKS]).eval()
    inputs = tuple(torch.rand(1, *expand(one).input_shapes[0]) for one in BLOCKS)
    theirs = pnnx_param(tmp_path, side, inputs)
    ours = emit_ncnn(side_by_side([expand(one) for one in BLOCKS]))
    assert signature(ours) == signature(theirs)
    assert split_counts(ours) == split_counts(theirs)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_whole_detectors_equal_pnnx(seed: int, tmp_path: Path) -> None:
    candidate = read_space("fused_mbconv").random(np.random.default_rng(seed), num_classes=4)
    size = candidate.image_size
    maps = Maps(build_detector(candidate.spec)).eval()
    theirs = pnnx_param(tmp_path, maps, (torch.rand(1, 3, size, size),))
    ours = emit_ncnn(model_graph(candidate.spec, size))
    assert signature(ours) == signature(theirs)
    assert split_counts(ours) == split_counts(theirs)


@pytest.mark.parametrize(
    "name",
    [
        "yolov5n", "yolov5s-v5", "yolov3-tiny", "yolov4-tiny", "yolov8n",
        "v5lite-e", "v5lite-c", "v5lite-g", "yolov5-mobilenetv3-small", "nanodet-m",
    ],
)  # fmt: skip
def test_the_references_equal_pnnx(name: str, tmp_path: Path) -> None:
    spec = read_spec(REFERENCES / f"{name}.yaml")
    maps = Maps(fuse(build_detector(spec))).eval()
    theirs = pnnx_param(tmp_path, maps, (torch.rand(1, 3, 96, 96),))
    ours = emit_ncnn(model_graph(spec, 96))
    assert signature(ours) == signature(theirs)
    assert split_counts(ours) == split_counts(theirs)


@pytest.mark.parametrize("one", BLOCKS, ids=str)
def test_ncnn_gives_the_shapes_of_the_walk(one: Block) -> None:
    import ncnn

    graph = expand(one)
    net = ncnn.Net()
    net.opt.num_threads = 1
    assert net.load_param_mem(emit_ncnn(graph)) == 0
    net.load_model(ncnn.DataReaderFromEmpty())
    extractor = net.create_extractor()
    extractor.input("in0", ncnn.Mat(np.ones(graph.input_shapes[0], np.float32)).clone())
    failed, out = extractor.extract("out0")
    assert failed == 0
    assert Shape(out.c, out.h, out.w) == graph.ops[-1].shape_out


def test_an_output_that_is_read_further_on_is_still_an_output() -> None:
    graph = expand(block("Conv", 8, 8, kernel=3))
    convolution, activation = graph.ops
    both = Graph(
        inputs=graph.inputs,
        input_shapes=graph.input_shapes,
        ops=graph.ops,
        outputs=(convolution.output, activation.output),
    )
    layers = read_layers(emit_ncnn(both))
    written = [name for _, _, outputs, _ in layers for name in outputs]
    assert {"out0", "out1"} <= set(written)
    assert [kind for kind, *_ in layers] == ["Input", "Convolution", "Split", "Swish"]


def test_weights_are_as_many_as_the_graph_has() -> None:
    graph = expand(block("MBConv", 16, 16, kernel=3, expand_ratio=4, se_ratio=0.25))
    layers = sum(op.weights > 0 for op in graph.ops)
    written = _ncnn_weights(emit_ncnn(graph), np.random.default_rng(0), TOLD)
    assert len(written) == sum(op.bytes_weight for op in graph.ops) + 4 * layers


def outputs(graph: Graph, precision: str, x: np.ndarray) -> np.ndarray:
    """What ncnn makes of a graph with the board's weights."""
    import ncnn

    text = emit_ncnn(graph, precision)
    weights = _ncnn_weights(text, np.random.default_rng(0), TOLD)
    net = ncnn.Net()
    net.opt.num_threads = 1
    assert net.load_param_mem(text) == 0
    net.load_model_mem(weights)
    extractor = net.create_extractor()
    extractor.input("in0", ncnn.Mat(x).clone())
    failed, out = extractor.extract("out0")
    assert failed == 0
    return np.array(out)


@pytest.mark.parametrize("one", BLOCKS, ids=str)
def test_int8_is_near_fp32(one: Block) -> None:
    graph = expand(one)
    x = np.random.default_rng(1).standard_normal(graph.input_shapes[0]).astype(np.float32)
    expected, found = (outputs(graph, precision, x) for precision in ("fp32", "int8"))
    # Deeper blocks shrink their maps, of which a step of 1/32 is a larger part.
    limit = 0.25 if one.module in ("C3", "SPPF", "SPP", "C2f", "Bottleneck") else 0.03
    assert np.abs(found - expected).mean() < limit * np.abs(expected).mean()


@pytest.mark.parametrize("groups", [1, 4, 16])
def test_int8_is_what_integers_give(groups: int) -> None:
    graph = expand(block("Conv", 16, 16, groups=groups, activation="ReLU"))
    (convolution, _) = graph.ops
    x = np.random.default_rng(1).standard_normal(graph.input_shapes[0]).astype(np.float32)
    generator = np.random.default_rng(0)
    fan_in = 16 // groups
    step, map_step = weight_limit(fan_in) / 127, MAP_LIMIT / 127
    # As board.py draws them: all weights, then all biases.
    weights = (generator.random(convolution.weights, dtype=np.float32) * 2 - 1) * weight_limit(
        fan_in
    )
    biases = (generator.random(16, dtype=np.float32) * 2 - 1) * weight_limit(200)
    w = np.rint(weights / step).clip(-127, 127).reshape(groups, 16 // groups, fan_in)
    q = np.rint(x / map_step).clip(-127, 127).reshape(groups, fan_in, -1)
    y = (w @ q).reshape(x.shape) * step * map_step + biases[:, None, None]
    assert np.allclose(outputs(graph, "int8", x), np.maximum(y, 0), atol=1e-3)


def test_int8_weights_take_the_room_that_ncnn_reads() -> None:
    graph = expand(block("MBConv", 18, 18, kernel=3, expand_ratio=4, se_ratio=0.25))
    with_weights = [op for op in graph.ops if op.weights]
    written = _ncnn_weights(emit_ncnn(graph, "int8"), np.random.default_rng(0), TOLD)
    padded = sum(op.weights + -op.weights % 4 for op in with_weights)
    # A flag, the input's scale; a bias and a scale for each output channel.
    rest = sum(4 * (2 + 2 * op.shape_out.channels) for op in with_weights)
    assert len(written) == padded + rest
