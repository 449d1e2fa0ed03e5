"""ncnn's int8 layers in whole numbers, by numpy alone: what its own run is held against.

A layer is read from the `.param` and the `.bin`, not from what wrote them.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

LAYERS = ("Convolution", "ConvolutionDepthWise", "InnerProduct")


@dataclass(frozen=True)
class Stored:
    """A layer with weights, as the files have it; scales are empty where it is float."""

    kind: str
    name: str
    bottom: str
    top: str
    values: dict[str, str]
    filters: NDArray[np.int8] | Array
    bias: Array
    weight_scales: Array
    bottom_scale: np.float32
    top_scale: np.float32

    @property
    def is_int8(self) -> bool:
        return "8" in self.values

    @property
    def groups(self) -> int:
        return int(self.values.get("7", 1))


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def numbers(self, count: int, kind: str) -> NDArray[np.generic]:
        found = np.frombuffer(self.data, kind, count, self.at).copy()
        self.at += found.nbytes
        return found


def read_layers(param: str, binary: bytes) -> list[Stored]:
    """Every layer with weights; the `.bin` is read to its last byte."""
    reader, found = _Reader(binary), []
    for line in param.splitlines()[2:]:
        words = line.split()
        if words[0] not in LAYERS:
            continue
        values = dict(word.split("=", 1) for word in words[4:] if "=" in word)
        outputs = int(values["0"])
        count = int(values["2" if words[0] == "InnerProduct" else "6"])
        groups = int(values.get("7", 1))
        (tag,) = struct.unpack("<I", reader.numbers(4, "u1").tobytes())
        assert tag == (0x000D4B38 if "8" in values else 0)
        filters = reader.numbers(count, "i1" if tag else "<f4")
        if tag:
            reader.at += -reader.at % 4
        bias = reader.numbers(outputs, "<f4")
        scales = [reader.numbers(0, "<f4")] * 3
        if tag:
            rows = groups if words[0] == "ConvolutionDepthWise" else outputs
            has_top = int(values["8"]) > 100
            scales = [reader.numbers(n, "<f4") for n in (rows, 1, int(has_top))]
        kernel = int(values.get("1", 1)) if words[0] != "InnerProduct" else 1
        found.append(
            Stored(
                kind=words[0],
                name=words[1],
                bottom=words[4],
                top=words[5],
                values=values,
                filters=filters.reshape(outputs, -1, kernel, kernel),
                bias=bias,
                weight_scales=scales[0],
                bottom_scale=scales[1][0] if tag else np.float32(0),
                top_scale=scales[2][0] if len(scales[2]) else np.float32(0),
            )
        )
    assert reader.at == len(binary)
    return found


def quantise(values: Array, scale: np.float32) -> NDArray[np.int64]:
    """Scaled, a half away from 0, cut to -127..127."""
    scaled = (values * scale).astype(np.float32)
    away = np.trunc((scaled + np.copysign(np.float32(0.5), scaled)).astype(np.float32))
    return np.clip(away, -127, 127).astype(np.int64)


def whole_sums(layer: Stored, x: NDArray[np.int64]) -> NDArray[np.int64]:
    """The convolution (1, c, h, w) of whole numbers."""
    kernel, stride = layer.filters.shape[2], int(layer.values.get("3", 1))
    padding = int(layer.values.get("4", 0))
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), (2, 3))
    windows = windows[0, :, ::stride, ::stride]
    outputs, per_group = layer.filters.shape[:2]
    share = outputs // layer.groups
    found = [
        np.einsum(
            "chwij,ocij->ohw",
            windows[g * per_group : (g + 1) * per_group],
            layer.filters[g * share : (g + 1) * share].astype(np.int64),
        )
        for g in range(layer.groups)
    ]
    return np.concatenate(found)[None]


def activation(layer: Stored, values: Array) -> Array:
    """What the layer computes after its sums."""
    kind = layer.values.get("9", "0")
    if kind == "0":
        return values
    if kind == "1":
        return np.maximum(values, 0)
    numbers = [np.float32(one) for one in layer.values["-23310"].split(",")[1:]]
    if kind == "2":
        return np.where(values > 0, values, values * numbers[0]).astype(np.float32)
    assert kind == "3"
    return np.clip(values, *numbers)


def run_layer(layer: Stored, bottom: Array, *, is_whole: bool = False) -> tuple[Array, Array]:
    """What the layer leaves; of one that stays int8, its whole numbers.

    Twice: with one rounding after the sum was scaled and the bias added (a fused multiply and add,
    as vectors have it), and with two (as single numbers may have it).

    bottom  the map that it reads, or (is_whole) the whole numbers of one that is int8
    """
    x = bottom.astype(np.int64) if is_whole else quantise(bottom, layer.bottom_scale)
    sums = whole_sums(layer, x).astype(np.float32)
    share = layer.filters.shape[0] // len(layer.weight_scales)
    scale = np.repeat(layer.weight_scales, share)[None, :, None, None]
    step = (np.float32(1) / (layer.bottom_scale * scale)).astype(np.float32)
    bias = layer.bias[None, :, None, None]
    fused = (sums.astype(np.float64) * step + bias).astype(np.float32)
    found = []
    for values in (fused, sums * step + bias):
        values = activation(layer, values)
        if int(layer.values["8"]) > 100:
            values = quantise(values, layer.top_scale).astype(np.float32)
        found.append(values)
    return found[0], found[1]


def fits_winograd(layer: Stored) -> bool:
    """Whether no input can make the sums of ncnn's Winograd leave 32 bits."""
    sums = np.abs(layer.filters.astype(np.int64)).reshape(len(layer.filters), -1).sum(1)
    return bool(sums.max() * 127 * 576 < 2**31) and math.isfinite(float(sums.max()))
