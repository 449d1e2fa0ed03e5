"""The work of one op on a board: one form for our own graphs and for networks known by a log.

A public log names networks that were never built here. What is known of them, and what is known
of a block, is brought into the same rows: which kind of kernel runs, on which shape, how many
numbers it reads and writes, how many weights. The board model (board_model.py) reads nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from nas.emit.ncnn import is_fused
from nas.space.ops import Graph, Op, OpKind

KERNELS: Final = (
    "1x1",
    "winograd",
    "dense",
    "depthwise 3x3",
    "depthwise 5x5",
    "depthwise",
    "vector",
    "cell",
)
"""Kinds of work with weights, as ncnn has kernels for them. `winograd`: 3x3 of stride 1; `vector`:
an inner product; `cell`: a convolution of a map of one cell that was left as such. A grouped
convolution that is not depthwise runs as so many small ones."""

MOVES: Final = (
    "pool",
    "global pool",
    "reduction",
    "add",
    "scale",
    "activation",
    "exponential",
    "normalisation",
    "move",
    "upsample",
    "output",
    "detections",
)
"""Kinds of work without weights. `add`: two maps element by element; `scale`: a map by a number for
each channel; `exponential`: SiLU and Sigmoid;
`normalisation`: over neighbouring channels (LRN); `move`: concat, slice, shuffle, permute, padding;
`reduction`: a global pool that the runtime does number by number; `output`: a softmax, or boxes of
cells; `detections`: what sorts and suppresses boxes, on one thread."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OpWork:
    """One op as work.

    kind          of KERNELS or MOVES
    height, width of the output map, in cells
    cells         of the kernel: 9 for 3x3
    numbers_in    read from maps (a count); numbers_out written; weights of the kernel
    is_int8       whether its kernel computes in int8
    """

    kind: str
    channels_in: int
    channels_out: int
    height: int
    width: int
    cells: int = 1
    stride: int = 1
    groups: int = 1
    numbers_in: int = 0
    numbers_out: int = 0
    weights: int = 0
    is_int8: bool = False

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the kernel, computed directly."""
        return self.weights * self.height * self.width


def graph_work(graph: Graph, precision: str = "fp32", runtime: str = "ncnn") -> tuple[OpWork, ...]:
    """The work of a graph's ops, in order; what the runtime fuses into a convolution is left out.

    In int8 the ops with weights compute in it, and what lies between them in fp32.
    """
    readers: dict[int, list[Op]] = {}
    for op in graph.ops:
        for tensor in op.inputs:
            readers.setdefault(tensor, []).append(op)
    fused = {
        id(readers[op.output][0])
        for op in graph.ops
        if op.kind is OpKind.CONVOLUTION
        and len(readers.get(op.output, ())) == 1
        and op.output not in graph.outputs
        and is_fused(readers[op.output][0].activation)
    }
    found: list[OpWork] = []
    for op in graph.ops:
        if id(op) not in fused:
            found += _op_work(op, runtime, is_int8=precision == "int8")
    return tuple(found)


def _op_work(op: Op, runtime: str, *, is_int8: bool) -> list[OpWork]:
    kind = _kernel(op, runtime) if op.kind is OpKind.CONVOLUTION else _MOVES[op.kind]
    if op.activation in ("SiLU", "Sigmoid"):
        kind = "exponential"
    work = OpWork(
        kind=kind,
        channels_in=op.shapes_in[0].channels,
        channels_out=op.shape_out.channels,
        height=op.shape_out.height,
        width=op.shape_out.width,
        cells=op.kernel**2,
        stride=op.stride,
        groups=op.groups,
        numbers_in=sum(shape.elements for shape in op.shapes_in),
        numbers_out=op.elements_out,
        weights=op.weights,
        is_int8=is_int8 and op.kind is OpKind.CONVOLUTION,
    )
    if op.activation == "SiLU" and runtime == "tflite":
        # There it is a Sigmoid and a product of two maps; ONNX Runtime makes one op of the two.
        return [work, _product(work)]
    return [work]


def _product(work: OpWork) -> OpWork:
    return OpWork(
        kind="add",
        channels_in=work.channels_in,
        channels_out=work.channels_out,
        height=work.height,
        width=work.width,
        numbers_in=2 * work.numbers_in,
        numbers_out=work.numbers_out,
    )


def _kernel(op: Op, runtime: str) -> str:
    """Which of KERNELS a convolution runs on."""
    channels_in, channels_out = op.shapes_in[0].channels, op.shape_out.channels
    if op.groups == channels_in == channels_out and op.groups > 1:
        return {3: "depthwise 3x3", 5: "depthwise 5x5"}.get(op.kernel, "depthwise")
    if op.shapes_in[0].height * op.shapes_in[0].width == 1:
        return "vector"
    if op.kernel == 1:
        return "1x1"
    is_winograd = runtime == "ncnn" and op.kernel == 3 and op.stride == 1
    return (
        "winograd" if is_winograd and max(channels_in, channels_out) // op.groups >= 8 else "dense"
    )


_MOVES: Final[dict[OpKind, str]] = {
    OpKind.ACTIVATION: "activation",
    OpKind.ADD: "add",
    OpKind.MULTIPLY: "scale",
    OpKind.CONCAT: "move",
    OpKind.MAX_POOL: "pool",
    OpKind.GLOBAL_POOL: "global pool",
    OpKind.UPSAMPLE: "upsample",
    OpKind.SLICE: "move",
    OpKind.PAD: "move",
    OpKind.SPACE_TO_DEPTH: "move",
    OpKind.SPLIT: "move",
    OpKind.SHUFFLE: "move",
}
