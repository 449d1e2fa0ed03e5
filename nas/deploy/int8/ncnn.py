"""A detector as ncnn files of which some layers compute in int8.

Such a layer holds in the `.bin`: the tag 0x000D4B38, the filters as int8 padded to four bytes, the
bias in fp32, a scale for each output channel, the scale of the map that it reads, and the scale of
the map that it leaves where that stays int8. A number times its scale, rounded half away from 0 and
cut to -127..127, is what is stored.

ncnn's wheels have no `ncnn2table` and no `ncnn2int8`: this writes what those two leave, and
tests hold every number of it against ncnn's own run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nas.deploy.int8.ranges import Range
from nas.deploy.ncnn import TAGS, NcnnModel
from nas.deploy.weights import ConvolutionWeights
from nas.emit.int8 import Int8Choice, Int8Way, can_be_int8, can_be_winograd, requantised
from nas.emit.ncnn import emit_ncnn, fused_activations
from nas.space.ops import Graph, Op, OpKind

INT8_TAG: Final = 0x000D4B38
"""What ncnn reads before int8 filters."""

LARGEST: Final = 127
"""Of an int8 number; -128 is not used."""

LARGEST_6_BITS: Final = 31
"""Of a weight by ncnn2table's rule for Winograd."""

WINOGRAD_GAIN: Final = 576
"""How many times the convolution's sum ncnn's Winograd F(4,3) holds in 32 bits."""

WINOGRAD_SUM: Final = (2**31 - 1) // WINOGRAD_GAIN // LARGEST
"""The sum of a filter's weights without their signs up to which no input overflows that."""

LEAST_STEP: Final = 1e-12
"""What a filter or a map of zeros is divided by instead of 0."""

Numbers = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Int8Filters:
    """One convolution's filters in int8."""

    filters: NDArray[np.int8]
    """(channels out, channels in / groups, kernel, kernel)."""
    scales: Numbers
    """(channels out,): stored = weight * scale."""


def to_ncnn_int8(
    graph: Graph,
    weights: Sequence[ConvolutionWeights],
    ranges: Mapping[int, Range],
    choice: Int8Choice,
) -> NcnnModel:
    """The model of a graph whose chosen convolutions compute in int8.

    weights  of each convolution of the graph, in its order
    ranges   of every map that a chosen convolution reads, by its tensor
    """
    left = requantised(graph, choice, fused_activations(graph))
    convolutions = [op for op in graph.ops if op.kind is OpKind.CONVOLUTION]
    parts: list[bytes] = []
    for op, own in zip(convolutions, weights, strict=True):
        if op.output not in choice:
            parts.append(TAGS["fp32"].to_bytes(4, "little") + own.filters.tobytes())
            parts.append(own.bias.tobytes())
            continue
        assert can_be_int8(op), op
        quantised = quantise_filters(op, own.filters, choice[op.output])
        stored = quantised.filters.tobytes()
        scales = [quantised.scales, map_scale(ranges[op.inputs[0]])]
        if op.output in left:
            scales.append(map_scale(ranges[left[op.output]]))
        parts += [
            INT8_TAG.to_bytes(4, "little") + stored + bytes(-len(stored) % 4),
            own.bias.tobytes(),
            *(np.asarray(one, np.float32).tobytes() for one in scales),
        ]
    return NcnnModel(param=emit_ncnn(graph, "int8", choice), bin=b"".join(parts))


def map_scale(found: Range) -> float:
    """What a map's numbers are multiplied by, stored in fp32."""
    return LARGEST / max(found.largest, LEAST_STEP)


def quantise_filters(op: Op, filters: Numbers, way: Int8Way) -> Int8Filters:
    """The filters in int8, each with a scale of its own."""
    flat = filters.reshape(len(filters), -1).astype(np.float64)
    absmax = np.abs(flat).max(axis=1)
    is_winograd = way is not Int8Way.DIRECT and can_be_winograd(op)
    largest = LARGEST_6_BITS if is_winograd and way is Int8Way.WINOGRAD_31 else LARGEST
    scales = np.where(absmax > LEAST_STEP, largest / np.maximum(absmax, LEAST_STEP), 1.0)
    if is_winograd and way is Int8Way.WINOGRAD:
        # Rounding adds up to a half to each weight.
        room = WINOGRAD_SUM - flat.shape[1] / 2
        scales = np.minimum(scales, room / np.maximum(np.abs(flat).sum(axis=1), LEAST_STEP))
    scales = scales.astype(np.float32)
    products = flat.astype(np.float32) * scales[:, None]
    stored = np.clip(half_away(products), -largest, largest).astype(np.int8)
    return Int8Filters(filters=stored.reshape(filters.shape), scales=scales)


def half_away(values: Numbers) -> Numbers:
    """Rounded as ncnn rounds: a half goes away from 0."""
    found: Numbers = np.trunc(values + np.copysign(np.float32(0.5), values))
    return found
