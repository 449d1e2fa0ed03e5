"""Primitive ops: the small form below a block, from which everything that is counted comes.

A block expands into a dozen kinds of op with shapes. MACs, parameters, bytes moved, the ncnn
and ONNX graphs that are timed on a board, and the features of the cost model all read this list.
Batch norms are folded into their convolutions here, as they are on the board. Activations are
ops of their own; an emitter fuses them as its runtime does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple

from nas.space.blocks import Block, layers
from nas.space.spec import ModelSpec


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Op:
    """One primitive op between numbered tensors.

    inputs, output   tensor numbers within its `Graph`
    has_batch_norm   a convolution trained with a batch norm (folded into its bias here)
    activation       of an ACTIVATION: SiLU, ReLU, Hardswish, LeakyReLU, Sigmoid or Hardsigmoid
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
        return 4 * self.shape_out.elements

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


@lru_cache(maxsize=65536)
def expand(block: Block) -> Graph:
    """The block as a graph of its own, its inputs being tensors 0, 1, ..."""
    drawing = _Drawing()
    shapes = tuple(Shape(c, block.height, block.width) for c in block.channels_in)
    inputs = tuple(drawing.input(shape) for shape in shapes)
    output = _EXPAND[block.module](drawing, block, inputs)
    return Graph(inputs=inputs, input_shapes=shapes, ops=tuple(drawing.ops), outputs=(output,))


def model_graph(spec: ModelSpec, image_size: int) -> Graph:
    """The whole detector as one graph, for a square image (pixels); outputs P3, P4, P5 raw maps."""
    drawing = _Drawing()
    shape = Shape(3, image_size, image_size)
    tensors = {-1: drawing.input(shape)}
    outputs: list[int] = []
    for layer in layers(spec, image_size):
        inputs = [tensors[source] for source in layer.inputs]
        if layer.row.module == "Detect":
            outputs = [
                _EXPAND["Detect"](drawing, block, (tensor,))
                for block, tensor in zip(layer.blocks, inputs, strict=True)
            ]
            continue
        for block in layer.blocks:
            inputs = [_EXPAND[block.module](drawing, block, tuple(inputs))]
        tensors[layer.index] = inputs[0]
    return Graph(inputs=(0,), input_shapes=(shape,), ops=tuple(drawing.ops), outputs=tuple(outputs))


class _Drawing:
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
    ) -> int:
        output = self.input(shape)
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

    def max_pool(self, x: int, kernel: int) -> int:
        """A max pool of stride 1 that keeps the map's size."""
        return self._op(OpKind.MAX_POOL, (x,), self.shapes[x], kernel=kernel, padding=kernel // 2)

    def global_pool(self, x: int) -> int:
        return self._op(OpKind.GLOBAL_POOL, (x,), Shape(self.shapes[x].channels, 1, 1))

    def upsample(self, x: int) -> int:
        channels, height, width = self.shapes[x]
        return self._op(OpKind.UPSAMPLE, (x,), Shape(channels, 2 * height, 2 * width))


def _conv(drawing: _Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    return drawing.convolution(
        inputs[0],
        block.channels_out,
        block.kernel,
        block.stride,
        padding=block.padding,
        groups=block.groups,
        activation=block.activation,
    )


def _depthwise_conv_block(drawing: _Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """Depthwise k x k and 1x1, each with batch norm and activation (MobileNet, YOLOv5-Lite)."""
    x = drawing.convolution(
        inputs[0],
        block.channels_in[0],
        block.kernel,
        block.stride,
        groups=block.channels_in[0],
        activation=block.activation,
    )
    return drawing.convolution(x, block.channels_out, activation=block.activation)


def hidden_channels(block: Block) -> int:
    """Channels between expansion and projection of an (Fused-)MBConv."""
    return round(block.channels_in[0] * block.expand_ratio)


def squeeze_channels(block: Block) -> int:
    """Channels inside the SE of an (Fused-)MBConv, of its input channels; 0 where it has none.

    EfficientNet and EfficientNetV2 (arXiv 2104.00298) take the ratio of the block's *input*.
    """
    return max(1, int(block.channels_in[0] * block.se_ratio)) if block.se_ratio else 0


def has_residual(block: Block) -> bool:
    """Whether an (Fused-)MBConv adds its input: stride 1 and equal widths."""
    return block.stride == 1 and block.channels_in[0] == block.channels_out


def _squeeze_excite(drawing: _Drawing, block: Block, x: int) -> int:
    if not block.se_ratio:
        return x
    gate = drawing.global_pool(x)
    gate = drawing.convolution(
        gate, squeeze_channels(block), activation=block.activation, has_batch_norm=False
    )
    gate = drawing.convolution(
        gate, drawing.shapes[x].channels, activation="Sigmoid", has_batch_norm=False
    )
    return drawing.multiply(x, gate)


def _mbconv(drawing: _Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    x, hidden = inputs[0], hidden_channels(block)
    if block.expand_ratio != 1:
        x = drawing.convolution(x, hidden, activation=block.activation)
    x = drawing.convolution(
        x, hidden, block.kernel, block.stride, groups=hidden, activation=block.activation
    )
    x = _squeeze_excite(drawing, block, x)
    x = drawing.convolution(x, block.channels_out)
    return drawing.add(x, inputs[0]) if has_residual(block) else x


def _fused_mbconv(drawing: _Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """k x k expansion, SE, 1x1 projection; at expansion 1 SE, then one k x k with activation."""
    x = inputs[0]
    if block.expand_ratio != 1:
        x = drawing.convolution(
            x, hidden_channels(block), block.kernel, block.stride, activation=block.activation
        )
        x = _squeeze_excite(drawing, block, x)
        x = drawing.convolution(x, block.channels_out)
    else:
        x = _squeeze_excite(drawing, block, x)
        x = drawing.convolution(
            x, block.channels_out, block.kernel, block.stride, activation=block.activation
        )
    return drawing.add(x, inputs[0]) if has_residual(block) else x


def _c3(drawing: _Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """CSP bottleneck with three convolutions: cv1 and its bottlenecks beside cv2, then cv3."""
    hidden, act = block.channels_out // 2, block.activation
    x = drawing.convolution(inputs[0], hidden, activation=act)
    for _ in range(block.depth):
        y = drawing.convolution(x, hidden, activation=act)
        y = drawing.convolution(y, hidden, 3, activation=act)
        x = drawing.add(x, y) if block.shortcut else y
    side = drawing.convolution(inputs[0], hidden, activation=act)
    return drawing.convolution(drawing.concat((x, side)), block.channels_out, activation=act)


def _sppf(drawing: _Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """Fast spatial pyramid pooling: three max pools in a chain stand for 5, 9 and 13."""
    maps = [drawing.convolution(inputs[0], block.channels_in[0] // 2, activation=block.activation)]
    for _ in range(3):
        maps.append(drawing.max_pool(maps[-1], block.kernel))
    return drawing.convolution(
        drawing.concat(tuple(maps)), block.channels_out, activation=block.activation
    )


def _detect(drawing: _Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    return drawing.convolution(inputs[0], block.channels_out, has_batch_norm=False)


_EXPAND: Final[dict[str, Callable[[_Drawing, Block, tuple[int, ...]], int]]] = {
    "Conv": _conv,
    "DWConvBlock": _depthwise_conv_block,
    "FusedMBConv": _fused_mbconv,
    "MBConv": _mbconv,
    "C3": _c3,
    "SPPF": _sppf,
    "nn.Upsample": lambda drawing, block, inputs: drawing.upsample(inputs[0]),
    "Concat": lambda drawing, block, inputs: drawing.concat(inputs),
    "Detect": _detect,
}
