"""An int8 layer that is written is computed by ncnn to the last bit as whole numbers say."""

from __future__ import annotations

import platform
from itertools import pairwise
from pathlib import Path

import ncnn
import numpy as np
import pytest
from numpy.typing import NDArray

from nas.deploy.int8.ncnn import WINOGRAD_SUM, quantise_filters, to_ncnn_int8
from nas.deploy.int8.ranges import Range
from nas.deploy.ncnn import NcnnModel
from nas.deploy.picture import picture
from nas.deploy.weights import ConvolutionWeights, convolution_weights
from nas.emit.int8 import Int8Way, can_be_int8, can_be_winograd, requantised
from nas.emit.ncnn import emit_ncnn, fused_activations
from nas.space.graph import Drawing, Graph, OpKind, Shape
from nas.space.ops import model_graph
from tests.deploy.detectors import SIZE, small
from tests.deploy.int8.reference import Array, Stored, fits_winograd, read_layers, run_layer

SIDE = 13
"""Pixels of a map: no multiple of a vector or of a Winograd tile."""

UNIT = 2.0**-11
"""How far x86's approximate reciprocal lets a depthwise convolution be off, of its value."""


class Net:
    """A model in ncnn, whose every blob can be asked for."""

    def __init__(self, model: NcnnModel, folder: Path) -> None:
        (folder / "m.param").write_text(model.param)
        (folder / "m.bin").write_bytes(model.bin)
        self.net = ncnn.Net()
        self.net.opt.num_threads = 1
        self.net.opt.use_fp16_packed = self.net.opt.use_fp16_storage = False
        self.net.opt.use_fp16_arithmetic = False
        assert self.net.load_param(str(folder / "m.param")) == 0
        assert self.net.load_model(str(folder / "m.bin")) == 0

    def blob(self, name: str, image: Array) -> NDArray[np.generic]:
        extractor = self.net.create_extractor()
        extractor.input("in0", ncnn.Mat(np.ascontiguousarray(image[0])).clone())
        code, found = extractor.extract(name)
        assert code == 0
        return np.array(found)[None]


def chain(*layers: dict[str, int | str], channels: int = 16) -> Graph:
    """Convolutions one behind the other."""
    drawing = Drawing()
    shape = Shape(channels, SIDE, SIDE)
    x = drawing.input(shape)
    for layer in layers:
        x = drawing.convolution(x, **layer)  # type: ignore[arg-type]
    return Graph(inputs=(0,), input_shapes=(shape,), ops=tuple(drawing.ops), outputs=(x,))


def weights_of(graph: Graph, seed: int = 0) -> list[ConvolutionWeights]:
    generator = np.random.default_rng(seed)
    found = []
    for op in graph.ops:
        if op.kind is OpKind.CONVOLUTION:
            shape = (op.shape_out.channels, op.shapes_in[0].channels // op.groups, op.kernel)
            filters = generator.standard_normal((*shape, op.kernel)) * 0.2
            # Channels as unlike each other as those of a trained network.
            filters *= 2.0 ** generator.uniform(-3, 3, (shape[0], 1, 1, 1))
            bias = generator.standard_normal(shape[0])
            found.append(
                ConvolutionWeights(filters=filters.astype(np.float32), bias=bias.astype(np.float32))
            )
    return found


def all_of(graph: Graph, way: Int8Way) -> dict[int, Int8Way]:
    return {op.output: way for op in graph.ops if op.kind is OpKind.CONVOLUTION}


def ranges_of(graph: Graph) -> dict[int, Range]:
    """A little narrower than random maps are, so that some numbers are cut."""
    tensors = {0, *(op.output for op in graph.ops)}
    return {tensor: Range(low=-2.5 - 0.1 * tensor, high=2.0) for tensor in tensors}


def image_of(channels: int) -> Array:
    shape = (1, channels, SIDE, SIDE)
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


def whole_blobs(param: str) -> set[str]:
    """The blobs that hold whole numbers: what a layer leaves in int8, and its Split."""
    found: set[str] = set()
    for line in param.splitlines()[2:]:
        words = line.split()
        is_left = any(word.startswith(("8=10", "8=11")) for word in words)
        if is_left or (words[0] == "Split" and words[4] in found):
            found.update(words[5 : 4 + int(words[2]) + int(words[3])])
    return found


def held_against_ncnn(model: NcnnModel, image: Array, folder: Path) -> list[Stored]:
    """Every int8 layer of the model, each held against ncnn's run of the whole.

    What ncnn gives a layer to read is what the reference reads.
    """
    net, whole = Net(model, folder), whole_blobs(model.param)
    layers = [one for one in read_layers(model.param, model.bin) if one.is_int8]
    for layer in layers:
        bottom = net.blob(layer.bottom, image).astype(np.float32)
        fused, apart = run_layer(layer, bottom, is_whole=layer.bottom in whole)
        theirs = net.blob(layer.top, image).astype(np.float32)
        is_approximate = layer.kind == "ConvolutionDepthWise" and fused.shape[1] % 8 == 0
        if not is_approximate or platform.machine() != "x86_64":
            assert ((theirs == fused) | (theirs == apart)).all(), layer
        elif layer.top in whole:
            assert np.abs(fused - theirs).max() <= 1, layer
        else:
            assert np.abs(fused - theirs).max() <= UNIT * np.abs(fused).max(), layer
    return layers


LAYERS: list[tuple[int, dict[str, int | str]]] = [
    (16, {"channels": 32, "kernel": 3}),
    (13, {"channels": 7, "kernel": 3}),
    (64, {"channels": 24, "kernel": 3}),
    (160, {"channels": 16, "kernel": 3}),
    (3, {"channels": 8, "kernel": 3}),
    (16, {"channels": 20, "kernel": 3, "stride": 2}),
    (16, {"channels": 32, "kernel": 3, "activation": "ReLU"}),
    (16, {"channels": 32, "kernel": 3, "activation": "LeakyReLU"}),
    (16, {"channels": 32, "kernel": 3, "activation": "SiLU"}),
    (24, {"channels": 17, "activation": "ReLU6"}),
    (32, {"channels": 48}),
    (6, {"channels": 6, "kernel": 3, "groups": 6}),
    (6, {"channels": 6, "kernel": 5, "groups": 6, "stride": 2, "activation": "ReLU"}),
    (16, {"channels": 16, "kernel": 3, "groups": 16, "activation": "ReLU6"}),
    (16, {"channels": 16, "kernel": 5, "groups": 16, "stride": 2}),
]


@pytest.mark.parametrize("way", list(Int8Way))
@pytest.mark.parametrize(("channels", "layer"), LAYERS, ids=str)
def test_a_layer_alone_is_ncnns_own_to_the_bit(
    channels: int, layer: dict[str, int | str], way: Int8Way, tmp_path: Path
) -> None:
    graph = chain(layer, channels=channels)
    model = to_ncnn_int8(graph, weights_of(graph), ranges_of(graph), all_of(graph, way))
    (stored,) = held_against_ncnn(model, image_of(channels), tmp_path)
    is_winograd = way is not Int8Way.DIRECT and can_be_winograd(graph.ops[0])
    assert stored.values["8"] == ("1" if stored.kind == "ConvolutionDepthWise" else "2")
    assert ("31" in stored.values) == (can_be_winograd(graph.ops[0]) and not is_winograd)
    if is_winograd and way is Int8Way.WINOGRAD:
        assert fits_winograd(stored)


@pytest.mark.parametrize("way", list(Int8Way))
def test_maps_between_int8_convolutions_stay_int8(way: Int8Way, tmp_path: Path) -> None:
    graph = chain(
        {"channels": 32, "kernel": 3, "activation": "ReLU"},
        {"channels": 32, "kernel": 3, "groups": 32, "activation": "ReLU6"},
        {"channels": 24},
        {"channels": 24, "kernel": 3, "activation": "SiLU"},
        {"channels": 12},
    )
    model = to_ncnn_int8(graph, weights_of(graph), ranges_of(graph), all_of(graph, way))
    layers = held_against_ncnn(model, image_of(16), tmp_path)
    # A SiLU is a layer of its own in ncnn, and takes fp32.
    assert [one.values["8"] for one in layers] == ["102", "101", "102", "2", "2"]
    for one, following in pairwise(layers):
        if int(one.values["8"]) > 100:
            assert one.top_scale == following.bottom_scale


def test_a_map_with_several_int8_readers_stays_int8(tmp_path: Path) -> None:
    drawing = Drawing()
    shape = Shape(16, SIDE, SIDE)
    x = drawing.convolution(drawing.input(shape), 16, 3, activation="ReLU")
    branches = tuple(drawing.convolution(x, 8, kernel) for kernel in (1, 3))
    drawing.concat(branches)
    graph = Graph(
        inputs=(0,),
        input_shapes=(shape,),
        ops=tuple(drawing.ops),
        outputs=(len(drawing.shapes) - 1,),
    )
    choice = all_of(graph, Int8Way.DIRECT)
    model = to_ncnn_int8(graph, weights_of(graph), ranges_of(graph), choice)
    layers = held_against_ncnn(model, image_of(16), tmp_path)
    assert [one.values["8"] for one in layers] == ["102", "2", "2"]
    assert "Split" in model.param
    # One float reader, and the map is fp32 again.
    fewer = {tensor: way for tensor, way in choice.items() if tensor != branches[1]}
    assert not requantised(graph, fewer, fused_activations(graph))


@pytest.mark.parametrize("way", list(Int8Way))
def test_each_layer_of_a_detector_is_ncnns_own(way: Int8Way, tmp_path: Path) -> None:
    detector = small()
    graph = model_graph(detector.spec, SIZE)
    inner = {op.output: way for op in graph.ops if can_be_int8(op)}
    ranges = {tensor: Range(low=-4.0, high=4.0) for tensor in range(10_000)}
    model = to_ncnn_int8(graph, convolution_weights(detector, graph), ranges, inner)
    layers = held_against_ncnn(model, picture(SIZE), tmp_path)
    assert len(layers) == len(inner)


def test_six_bits_are_neither_needed_nor_enough_for_winograd(tmp_path: Path) -> None:
    """ncnn2table's rule: sums of few channels fit without it, those of 256 may not with it."""
    graph = chain({"channels": 8, "kernel": 3}, channels=256)
    even = [
        ConvolutionWeights(
            filters=np.ones((8, 256, 3, 3), np.float32), bias=np.zeros(8, np.float32)
        )
    ]
    image = np.full((1, 256, SIDE, SIDE), 3, np.float32)
    found = {}
    for way in Int8Way:
        model = to_ncnn_int8(graph, even, ranges_of(graph), all_of(graph, way))
        (layer,) = read_layers(model.param, model.bin)
        values = Net(model, tmp_path).blob(layer.top, image)
        found[way] = np.array_equal(values, run_layer(layer, image)[0]), int(layer.filters.max())
    assert found[Int8Way.DIRECT] == (True, 127)
    assert found[Int8Way.WINOGRAD] == (True, 12)
    assert found[Int8Way.WINOGRAD_31] == (False, 31)
    few = chain({"channels": 8, "kernel": 3}, channels=20)
    filters = quantise_filters(few.ops[0], np.ones((8, 20, 3, 3), np.float32), Int8Way.WINOGRAD)
    assert filters.filters.max() == 127
    assert WINOGRAD_SUM >= 127 * 9 * 20


def test_grouped_convolutions_stay_float() -> None:
    """ncnn (1.0.20261020) computes NaN of one that is no depthwise convolution."""
    graph = chain({"channels": 32, "kernel": 3, "groups": 2})
    assert not can_be_int8(graph.ops[0])
    with pytest.raises(AssertionError):
        to_ncnn_int8(graph, weights_of(graph), ranges_of(graph), all_of(graph, Int8Way.DIRECT))


def test_filters_of_zeros_give_their_bias(tmp_path: Path) -> None:
    graph = chain({"channels": 8, "kernel": 3}, channels=16)
    nothing = [
        ConvolutionWeights(
            filters=np.zeros((8, 16, 3, 3), np.float32), bias=np.arange(8, dtype=np.float32)
        )
    ]
    model = to_ncnn_int8(graph, nothing, ranges_of(graph), all_of(graph, Int8Way.DIRECT))
    found = Net(model, tmp_path).blob("out0", image_of(16))
    assert np.array_equal(found[0, :, 0, 0], np.arange(8))


def test_a_file_that_is_timed_is_written_as_before() -> None:
    graph = chain({"channels": 32, "kernel": 3, "activation": "ReLU"}, {"channels": 24})
    timed = emit_ncnn(graph, "int8")
    assert timed.count(" 8=2") == 2
    assert "31=" not in timed
    # No layer is chosen: an fp32 file.
    assert emit_ncnn(graph, "int8", {}) == emit_ncnn(graph)
