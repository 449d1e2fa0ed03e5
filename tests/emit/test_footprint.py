"""What is predicted of files and memory, against real files and against ncnn's own process."""

from __future__ import annotations

import platform

import numpy as np
import pytest
from footprint import some, taken_bytes, written

from nas.deploy.int8.ncnn import to_ncnn_int8
from nas.deploy.int8.ranges import Range
from nas.deploy.ncnn import to_ncnn
from nas.deploy.weights import Precision, convolution_weights, random_detector
from nas.emit.footprint import file_bytes, memory_bytes
from nas.emit.int8 import Int8Way, can_be_int8
from nas.space.graph import Drawing, Graph, Shape
from nas.space.ops import OpKind, model_graph
from nas.space.search_space import read_space

TOLERANCE = 0.3
"""Of memory: 13 % was the largest error of six; the rest is for another build of ncnn."""


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("space", ["fused_mbconv", "shuffle"])
def test_a_file_is_as_large_as_predicted(space: str, precision: Precision) -> None:
    for candidate in some(read_space(space), 4):
        model = to_ncnn(random_detector(candidate.spec, 64), 64, precision)
        graph = model_graph(candidate.spec, 64)
        assert file_bytes(graph, precision) == len(model.param) + len(model.bin)


def test_a_file_all_in_int8_is_as_large_as_predicted() -> None:
    for candidate in some(read_space("fused_mbconv"), 3):
        graph = model_graph(candidate.spec, 64)
        weights = convolution_weights(random_detector(candidate.spec, 64), graph)
        chosen = {op.output: Int8Way.WINOGRAD_31 for op in graph.ops if can_be_int8(op)}
        ranges = {
            op.inputs[0]: Range(low=-1.0, high=1.0)
            for op in graph.ops
            if op.kind is OpKind.CONVOLUTION
        }
        model = to_ncnn_int8(graph, weights, ranges, chosen)
        assert file_bytes(graph, "int8") == len(model.param) + len(model.bin)
        assert file_bytes(graph, "int8") < 0.4 * file_bytes(graph, "fp32")


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_memory_is_near_what_ncnn_takes(precision: str) -> None:
    predicted, taken = [], []
    is_x86 = platform.machine() == "x86_64"
    for candidate in some(read_space("fused_mbconv"), 4):
        graph = model_graph(candidate.spec, candidate.image_size)
        model = written(candidate, graph, precision)
        predicted.append(memory_bytes(graph, precision, is_x86=is_x86))
        taken.append(taken_bytes(graph, model.param, model.bin))
    assert predicted == pytest.approx(taken, rel=TOLERANCE)
    assert np.argsort(predicted).tolist() == np.argsort(taken).tolist()


def drawn(drawing: Drawing, image: int, *outputs: int) -> Graph:
    return Graph(
        inputs=(image,),
        input_shapes=(drawing.shapes[image],),
        ops=tuple(drawing.ops),
        outputs=outputs,
    )


def test_a_map_lives_to_its_last_reader() -> None:
    """Pools: 8 channels of 16x16 fp32 are 8192 bytes, and they are free again behind `once`."""

    def pooled(*, is_read_late: bool) -> int:
        drawing = Drawing()
        image = drawing.input(Shape(8, 16, 16))
        first = drawing.max_pool(image, 3)
        second = drawing.max_pool(first, 3)
        third = drawing.max_pool(second, 3)
        last = drawing.add(third, first if is_read_late else third)
        return memory_bytes(drawn(drawing, image, last), "fp32")

    # first and second, third in the place of first, last in that of second.
    assert pooled(is_read_late=False) == 2 * 8192
    # first is still read: third needs a buffer of its own, last takes that of second.
    assert pooled(is_read_late=True) == 3 * 8192


def test_an_activation_of_its_own_takes_no_buffer_and_half_precision_half() -> None:
    drawing = Drawing()
    image = drawing.input(Shape(8, 16, 16))
    pooled = drawing.max_pool(image, 3)
    graph = drawn(drawing, image, drawing.activation(pooled, "SiLU"))
    assert memory_bytes(graph, "fp32") == 8192
    assert memory_bytes(graph, "fp16") == memory_bytes(graph, "bf16") == 4096


def test_a_convolution_lays_out_its_columns_or_tiles() -> None:
    def of(kernel: int, stride: int, channels: int) -> int:
        drawing = Drawing()
        image = drawing.input(Shape(channels, 12, 12))
        made = drawing.convolution(image, channels, kernel, stride)
        return memory_bytes(drawn(drawing, image, made), "fp32")

    cells = 12 * 12
    # 1x1: weights and bias, the map, the columns.
    assert of(1, 1, 16) == 4 * (16 * 16 + 16 + 16 * cells + 16 * cells)
    # 3x3, stride 2: nine weights, 6x6 cells out, the padded input, nine columns.
    assert of(3, 2, 16) == 4 * (9 * 16 * 16 + 16 + 16 * 36 + 16 * 14 * 14 + 9 * 16 * 36)
    # Winograd: 64 numbers a filter and a tile of 6x6; 36 and 4x4 above 32 channels. The tiles lie
    # there twice: once as they are multiplied, where their products come afterwards.
    assert of(3, 1, 16) == 4 * (64 * 16 * 16 + 16 + 16 * cells + 16 * 14 * 14 + 2 * 64 * 16 * 4)
    assert of(3, 1, 64) == 4 * (36 * 64 * 64 + 64 + 64 * cells + 64 * 14 * 14 + 2 * 36 * 64 * 9)


def test_int8_keeps_sums_of_32_bits_and_maps_of_8() -> None:
    """Two 1x1 convolutions of 16 channels: the map between them is int8, the last one's fp32."""
    drawing = Drawing()
    image = drawing.input(Shape(16, 12, 12))
    first = drawing.activation(drawing.convolution(image, 16, 1, 1), "ReLU")
    last = drawing.convolution(first, 16, 1, 1)
    cells = 16 * 12 * 12
    weights = 2 * (16 * 16 + 2 * 4 * 16)
    maps = cells + 4 * cells
    # The image in int8, sums, columns of int8; the second reads int8 as it is.
    layouts = cells + 4 * cells + cells
    graph = drawn(drawing, image, last)
    assert memory_bytes(graph, "int8") == weights + maps + layouts
    # A 3x3 of stride 1 holds 36 numbers of 16 bits a filter and tile, on x86 of 32.
    drawing = Drawing()
    image = drawing.input(Shape(16, 12, 12))
    graph = drawn(drawing, image, drawing.convolution(image, 16, 3, 1))
    more = memory_bytes(graph, "int8", is_x86=True) - memory_bytes(graph, "int8")
    # The tiles take as much on both: of 16 bits they leave no room for products of 32.
    assert more == 2 * 36 * 16 * 16
