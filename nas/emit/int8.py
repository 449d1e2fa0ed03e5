"""Which layers of an ncnn graph compute in int8, and by which kernel: the choice that a file holds.

ncnn runs a dense 3x3 convolution of stride 1 in int8 as Winograd F(4,3), on x86 and on ARM cores
without dot products. Its sums are 576 times those of the convolution and must fit 32 bits, so
`ncnn2table` gives such a layer weights of 6 bits. `31=64` in a layer's parameters (its feature
mask) turns Winograd off for that layer, wherever the file runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from nas.space.graph import Graph, Op, OpKind


class Int8Way(str, Enum):
    """How a convolution computes in int8."""

    DIRECT = "direct"
    """Weights of up to 127; a layer that would run as Winograd says that it doesn't."""
    WINOGRAD = "winograd"
    """As Winograd, weights as large as its 32 bit sums allow for any input."""
    WINOGRAD_31 = "winograd 31"
    """As Winograd, weights of up to 31: the rule of ncnn2table."""


Int8Choice = Mapping[int, Int8Way]
"""The output tensor of each convolution that computes in int8 -> how; the others stay float."""

WINOGRAD_KERNEL: Final = 3

WINOGRAD_CHANNELS: Final = 8
"""With so few channels in and out ncnn runs no Winograd."""


def can_be_int8(op: Op) -> bool:
    """Whether an op may compute in int8: a dense or a depthwise convolution of a map.

    A grouped one stays float: ncnn 1.0.20261020 computes NaN there. So do the two of a
    squeeze-and-excite, which read a vector: they cost nothing, and every channel hangs on them.
    """
    return (
        op.kind is OpKind.CONVOLUTION
        and op.groups in (1, op.shape_out.channels)
        and op.shape_out.height * op.shape_out.width > 1
    )


def can_be_winograd(op: Op) -> bool:
    """Whether ncnn would run a convolution as Winograd in int8."""
    return (
        op.kind is OpKind.CONVOLUTION
        and (op.kernel, op.stride, op.groups) == (WINOGRAD_KERNEL, 1, 1)
        and max(op.shapes_in[0].channels, op.shape_out.channels) > WINOGRAD_CHANNELS
    )


def requantised(graph: Graph, choice: Int8Choice, fused: Mapping[int, int]) -> dict[int, int]:
    """The convolutions whose maps stay int8, and the tensor that each leaves so.

    fused  a convolution's output -> the output of the activation that ncnn computes inside it

    That is where int8 convolutions alone read the map.
    """
    readers: dict[int, list[Op]] = {}
    for op in graph.ops:
        for tensor in op.inputs:
            readers.setdefault(tensor, []).append(op)
    found = {}
    for op in graph.ops:
        left = fused.get(op.output, op.output)
        behind = readers.get(left, [])
        if (
            op.output in choice
            and left not in graph.outputs
            and behind
            and all(one.output in choice for one in behind)
        ):
            found[op.output] = left
    return found
