"""A graph of primitive ops: the small form below a block, and the drawing that makes one.

Batch norms are folded into their convolutions here, as they are on the board. Activations are
ops of their own; an emitter fuses them as its runtime does.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class Shape(NamedTuple):
    """A map without its batch: channels, height and width."""

    channels: int
    height: int
    width: int

    @property
    def elements(self) -> int:
        """How many numbers the map holds."""
        return self.channels * self.height * self.width


class OpKind(str, Enum):
    """The kinds of primitive op."""

    CONVOLUTION = "convolution"
    ACTIVATION = "activation"
    ADD = "add"
    MULTIPLY = "multiply"
    CONCAT = "concat"
    MAX_POOL = "max_pool"
    GLOBAL_POOL = "global_pool"
    UPSAMPLE = "upsample"
    SLICE = "slice"
    PAD = "pad"
    SPACE_TO_DEPTH = "space_to_depth"
    SPLIT = "split"
    SHUFFLE = "shuffle"


@dataclass(frozen=True, kw_only=True, slots=True)
class Op:
    """One primitive op between numbered tensors.

    inputs, output   tensor numbers within its `Graph`
    more_outputs     a SPLIT's second output and on, each of the output's shape
    groups           of a CONVOLUTION, or of the channels that a SHUFFLE interleaves
    has_batch_norm   a convolution trained with a batch norm (folded into its bias here)
    activation       of an ACTIVATION: a name of modules/activation.py, Sigmoid or Hardsigmoid
    padding          of a PAD: cells of zeros on the right and below
    start            of a SLICE: the first channel that it takes
    """

    kind: OpKind
    inputs: tuple[int, ...]
    output: int
    shapes_in: tuple[Shape, ...]
    shape_out: Shape
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    groups: int = 1
    activation: str = ""
    has_batch_norm: bool = False
    start: int = 0
    more_outputs: tuple[int, ...] = ()

    @property
    def outputs(self) -> tuple[int, ...]:
        """Every tensor that the op writes."""
        return (self.output, *self.more_outputs)

    @property
    def elements_out(self) -> int:
        """How many numbers the op writes."""
        return self.shape_out.elements * len(self.outputs)

    @property
    def weights(self) -> int:
        """Convolution weights without the bias (a count)."""
        if self.kind is not OpKind.CONVOLUTION:
            return 0
        per_filter = self.shapes_in[0].channels // self.groups * self.kernel**2
        return per_filter * self.shape_out.channels

    @property
    def params(self) -> int:
        """Trained parameters: weights, and bias or the batch norm's scale and shift."""
        if self.kind is not OpKind.CONVOLUTION:
            return 0
        return self.weights + self.shape_out.channels * (2 if self.has_batch_norm else 1)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of a convolution, bias not counted (as thop counts); else 0."""
        return self.weights * self.shape_out.height * self.shape_out.width

    @property
    def bytes_in(self) -> int:
        """Bytes read from the input maps, fp32."""
        return 4 * sum(shape.elements for shape in self.shapes_in)

    @property
    def bytes_out(self) -> int:
        """Bytes written, fp32."""
        return 4 * self.elements_out

    @property
    def bytes_weight(self) -> int:
        """Bytes of weights and bias read, fp32."""
        return 4 * (self.weights + self.shape_out.channels) if self.weights else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Graph:
    """Ops in an order that runs, with the tensors they read from and leave outside."""

    inputs: tuple[int, ...]
    input_shapes: tuple[Shape, ...]
    ops: tuple[Op, ...]
    outputs: tuple[int, ...]


def macs(graph: Graph) -> int:
    """Multiply-accumulates of all convolutions for one image. FLOPs are twice that."""
    return sum(op.macs for op in graph.ops)


def params(graph: Graph) -> int:
    """Trained parameters (those of the batch norms included, as torch counts them)."""
    return sum(op.params for op in graph.ops)


class Drawing:
    """A graph while it is drawn: tensors are numbered as they come."""

    def __init__(self) -> None:
        self.shapes: list[Shape] = []
        self.ops: list[Op] = []

    def input(self, shape: Shape) -> int:
        self.shapes.append(shape)
        return len(self.shapes) - 1

    def _op(
        self,
        kind: OpKind,
        inputs: tuple[int, ...],
        shape: Shape,
        *,
        kernel: int = 1,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        activation: str = "",
        has_batch_norm: bool = False,
        start: int = 0,
        count: int = 1,
    ) -> int:
        output, *more = (self.input(shape) for _ in range(count))
        self.ops.append(
            Op(
                kind=kind,
                inputs=inputs,
                output=output,
                shapes_in=tuple(self.shapes[i] for i in inputs),
                shape_out=shape,
                kernel=kernel,
                stride=stride,
                padding=padding,
                groups=groups,
                activation=activation,
                has_batch_norm=has_batch_norm,
                start=start,
                more_outputs=tuple(more),
            )
        )
        return output

    def convolution(
        self,
        x: int,
        channels: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        padding: int | None = None,
        groups: int = 1,
        activation: str = "",
        has_batch_norm: bool = True,
    ) -> int:
        """A convolution, its batch norm and its activation ("" for none)."""
        padding = kernel // 2 if padding is None else padding
        _, height, width = self.shapes[x]
        reach = 2 * padding - kernel
        shape = Shape(channels, (height + reach) // stride + 1, (width + reach) // stride + 1)
        y = self._op(
            OpKind.CONVOLUTION,
            (x,),
            shape,
            kernel=kernel,
            stride=stride,
            padding=padding,
            groups=groups,
            has_batch_norm=has_batch_norm,
        )
        return self.activation(y, activation) if activation else y

    def activation(self, x: int, name: str) -> int:
        return self._op(OpKind.ACTIVATION, (x,), self.shapes[x], activation=name)

    def add(self, a: int, b: int) -> int:
        return self._op(OpKind.ADD, (a, b), self.shapes[a])

    def multiply(self, x: int, gate: int) -> int:
        return self._op(OpKind.MULTIPLY, (x, gate), self.shapes[x])

    def concat(self, xs: tuple[int, ...]) -> int:
        first = self.shapes[xs[0]]
        channels = sum(self.shapes[x].channels for x in xs)
        return self._op(OpKind.CONCAT, xs, Shape(channels, first.height, first.width))

    def max_pool(self, x: int, kernel: int, stride: int = 1, padding: int | None = None) -> int:
        """A max pool, padded by half its kernel unless it is said otherwise."""
        padding = kernel // 2 if padding is None else padding
        channels, height, width = self.shapes[x]
        reach = 2 * padding - kernel
        shape = Shape(channels, (height + reach) // stride + 1, (width + reach) // stride + 1)
        return self._op(OpKind.MAX_POOL, (x,), shape, kernel=kernel, stride=stride, padding=padding)

    def split(self, x: int, parts: int) -> tuple[int, ...]:
        """The map in so many parts of equal channels, in order."""
        channels, height, width = self.shapes[x]
        assert channels % parts == 0, (channels, parts)
        first = self._op(OpKind.SPLIT, (x,), Shape(channels // parts, height, width), count=parts)
        return tuple(range(first, first + parts))

    def shuffle(self, x: int, groups: int) -> int:
        """The channels dealt from so many groups in turn (ShuffleNet's channel shuffle)."""
        return self._op(OpKind.SHUFFLE, (x,), self.shapes[x], groups=groups)

    def global_pool(self, x: int) -> int:
        return self._op(OpKind.GLOBAL_POOL, (x,), Shape(self.shapes[x].channels, 1, 1))

    def upsample(self, x: int) -> int:
        channels, height, width = self.shapes[x]
        return self._op(OpKind.UPSAMPLE, (x,), Shape(channels, 2 * height, 2 * width))

    def slice(self, x: int, start: int, channels: int) -> int:
        """So many channels from `start` on."""
        _, height, width = self.shapes[x]
        return self._op(OpKind.SLICE, (x,), Shape(channels, height, width), start=start)

    def pad(self, x: int, padding: int) -> int:
        """So many columns of zeros on the right, and rows below."""
        channels, height, width = self.shapes[x]
        shape = Shape(channels, height + padding, width + padding)
        return self._op(OpKind.PAD, (x,), shape, padding=padding)

    def space_to_depth(self, x: int) -> int:
        """Each 2x2 cells of a channel as four channels, row by row (torch's pixel_unshuffle)."""
        channels, height, width = self.shapes[x]
        shape = Shape(4 * channels, height // 2, width // 2)
        return self._op(OpKind.SPACE_TO_DEPTH, (x,), shape, kernel=2, stride=2)
