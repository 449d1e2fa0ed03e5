"""A graph of primitive ops as ncnn `.param` text, as pnnx would write it (without torch or pnnx).

The oracle is pnnx (tests/latency/test_emit_ncnn.py): the same layer types, fused activations and
parameters. What it does, found by converting torch modules with pnnx 20261020:

- ReLU, ReLU6, LeakyReLU and Sigmoid are fused into the convolution before them (`9=`, `10=`);
  SiLU (`Swish`), Hardswish and Hardsigmoid stay layers of their own.
- A global average pool gives a vector, and a 1x1 convolution on that vector is an InnerProduct.
- A blob with several readers goes through a Split.

In int8 each convolution and inner product takes what it reads in one scale and has one for each
of its output channels (`8=`), as ncnn2int8 writes them; what lies between them stays fp32. A file
that is exported says of each layer whether it computes so and how (nas.emit.int8): its map stays
int8 where int8 convolutions alone read it (100 more in `8=`).

The text format is described in ncnn's wiki (param-and-model-file-structure, operators).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from nas.emit.int8 import Int8Choice, Int8Way, can_be_winograd, requantised
from nas.space.modules.activation import kind_of, slope_of
from nas.space.ops import Graph, Op, OpKind

MAGIC: Final = "7767517"

FUSED_ACTIVATIONS: Final[dict[str, str]] = {
    "ReLU": " 9=1",
    "ReLU6": " -23310=2,0.0,6.0 9=3",
    "LeakyReLU": " -23310=1,{slope!r} 9=2",
    "Sigmoid": " 9=4",
}
"""Kind of activation -> what it adds to the convolution or inner product before it."""

LAYER_ACTIVATIONS: Final[dict[str, tuple[str, str]]] = {
    "SiLU": ("Swish", ""),
    "ReLU": ("ReLU", ""),
    "ReLU6": ("Clip", " 0=0.0 1=6.0"),
    "LeakyReLU": ("ReLU", " 0={slope!r}"),
    "Sigmoid": ("Sigmoid", ""),
    "Hardswish": ("HardSwish", " 0=0.166666672 1=0.5"),
    "Hardsigmoid": ("HardSigmoid", " 0=0.166666672 1=0.5"),
}
"""Kind of activation -> ncnn layer type and its parameters, where it stands alone."""


INT8_SCALES: Final[dict[str, str]] = {
    "Convolution": " 8=2",
    "ConvolutionDepthWise": " 8=1",
    "InnerProduct": " 8=2",
}
"""Layer -> the term that says its weights are int8 and its scales follow them."""


REQUANTISED: Final = 100
"""Added to the term where a layer leaves int8."""

NO_WINOGRAD: Final = " 31=64"
"""The bit of a layer's feature mask that turns Winograd off."""


def emit_ncnn(graph: Graph, precision: str = "fp32", choice: Int8Choice | None = None) -> str:
    """The graph as `.param` text; inputs are named in0, in1, ..., outputs out0, out1, ...

    precision  int8 changes the layers with weights; fp16 and bf16 are how a file is run
    choice     in int8: which layers compute so, and how; None: all of them, each from and to fp32,
               as Winograd where ncnn does so
    """
    return _ParamWriter(graph, is_int8=precision == "int8", choice=choice).text()


def fused_activations(graph: Graph) -> dict[int, int]:
    """Each convolution that computes the activation behind it -> that activation's output."""
    readers = Counter(i for op in graph.ops for i in op.inputs)
    readers.update(graph.outputs)
    convolutions = {op.output for op in graph.ops if op.kind is OpKind.CONVOLUTION}
    return {
        op.inputs[0]: op.output
        for op in graph.ops
        if op.inputs[0] in convolutions and readers[op.inputs[0]] == 1 and is_fused(op.activation)
    }


def scale_term(term: str, *, is_requantised: bool) -> str:
    """The term that says a layer's scales: of one that leaves int8, too."""
    if not is_requantised:
        return term
    key, _, value = term.partition("=")
    return f"{key}={int(value) + REQUANTISED}"


class _ParamWriter:
    """A `.param` while it is written: layers in order, and which blob holds which tensor."""

    def __init__(self, graph: Graph, *, is_int8: bool, choice: Int8Choice | None) -> None:
        self.graph = graph
        self.is_int8 = is_int8
        self.choice = choice
        self.requantised = requantised(graph, choice or {}, fused_activations(graph))
        self.layers: list[str] = []
        self.written: set[str] = set()
        self.readers = Counter(i for op in graph.ops for i in op.inputs)
        self.readers.update(graph.outputs)
        self.only_reader = {i: op for op in graph.ops for i in op.inputs if self.readers[i] == 1}
        self.names: dict[int, list[str]] = {}
        self.outputs = {tensor: f"out{i}" for i, tensor in enumerate(graph.outputs)}
        self.vectors: set[int] = set()
        self.fused: set[int] = set()

    def text(self) -> str:
        for i, tensor in enumerate(self.graph.inputs):
            self._layer("Input", [], [f"in{i}"], "")
            self._define(tensor, f"in{i}")
        for op in self.graph.ops:
            if op.output not in self.fused:
                self._op(op)
        for i, tensor in enumerate(self.graph.outputs):
            if f"out{i}" not in self.written:
                self._layer("Noop", [self.names[tensor].pop(0)], [f"out{i}"], "")
        return f"{MAGIC}\n{len(self.layers)} {len(self.written)}\n" + "\n".join(self.layers) + "\n"

    def _op(self, op: Op) -> None:
        kind, parameters = _LAYERS[op.kind](op)
        output = op.output
        if op.kind is OpKind.GLOBAL_POOL:
            self.vectors.add(output)
        elif op.inputs[0] in self.vectors and op.kind is OpKind.CONVOLUTION and op.kernel == 1:
            kind, parameters = _inner_product(op)
            self.vectors.add(output)
        elif op.inputs[0] in self.vectors and op.kind is OpKind.ACTIVATION:
            self.vectors.add(output)
        if op.kind is OpKind.CONVOLUTION:
            follower = self.only_reader.get(output)
            if follower and is_fused(follower.activation):
                parameters += _with_slope(
                    FUSED_ACTIVATIONS[kind_of(follower.activation)], follower.activation
                )
                if output in self.vectors:
                    self.vectors.add(follower.output)
                output = follower.output
                self.fused.add(output)
        if self.is_int8 and kind in INT8_SCALES:
            parameters += self._int8(op, INT8_SCALES[kind])
        outputs = (output, *op.more_outputs)
        names = [self._name(tensor) for tensor in outputs]
        self._layer(kind, [self.names[i].pop(0) for i in op.inputs], names, parameters)
        for tensor, name in zip(outputs, names, strict=True):
            self._define(tensor, name)

    def _int8(self, op: Op, term: str) -> str:
        """What a layer with weights says of its scales and of its kernel."""
        if self.choice is None:
            return term
        if op.output not in self.choice:
            return ""
        is_direct = self.choice[op.output] is Int8Way.DIRECT
        mask = NO_WINOGRAD if is_direct and can_be_winograd(op) else ""
        return scale_term(term, is_requantised=op.output in self.requantised) + mask

    def _name(self, tensor: int) -> str:
        """The blob a tensor is written to: outN where only the caller reads it, else a number."""
        if tensor in self.outputs and self.readers[tensor] == 1:
            return self.outputs[tensor]
        return f"t{tensor}"

    def _define(self, tensor: int, name: str) -> None:
        """Makes `name` readable as often as the tensor is read, through a Split if need be."""
        count = self.readers[tensor]
        if count <= 1:
            self.names[tensor] = [name]
            return
        names = [f"{name}_{i}" for i in range(count)]
        if tensor in self.outputs:
            names[-1] = self.outputs[tensor]
        self._layer("Split", [name], names, "")
        self.names[tensor] = names

    def _layer(self, kind: str, inputs: list[str], outputs: list[str], parameters: str) -> None:
        self.written.update(outputs)
        words = [kind, f"l{len(self.layers)}", str(len(inputs)), str(len(outputs))]
        self.layers.append(" ".join(words + inputs + outputs) + parameters)


def _convolution(op: Op) -> tuple[str, str]:
    parameters = (
        f" 0={op.shape_out.channels} 1={op.kernel} 11={op.kernel} 2=1 12=1"
        f" 3={op.stride} 13={op.stride} 4={op.padding} 14={op.padding} 5=1 6={op.weights}"
    )
    if op.groups == 1:
        return "Convolution", parameters
    return "ConvolutionDepthWise", f"{parameters} 7={op.groups}"


def _inner_product(op: Op) -> tuple[str, str]:
    return "InnerProduct", f" 0={op.shape_out.channels} 1=1 2={op.weights}"


def _max_pool(op: Op) -> tuple[str, str]:
    return "Pooling", (
        f" 0=0 1={op.kernel} 11={op.kernel} 2={op.stride} 12={op.stride}"
        f" 3={op.padding} 13={op.padding} 5=1"
    )


def _slice(op: Op) -> tuple[str, str]:
    """A Crop of axis 0."""
    end = op.start + op.shape_out.channels
    return "Crop", f" -23309=1,{op.start} -23310=1,{end} -23311=1,0"


def _pad(op: Op) -> tuple[str, str]:
    """Top, bottom, left, right; with a constant; 0."""
    return "Padding", f" 0=0 1={op.padding} 2=0 3={op.padding} 4=0 5=0.0"


def _split(op: Op) -> tuple[str, str]:
    """-233 stands for an equal share of the channels."""
    count = len(op.outputs)
    return "Slice", f" -23300={count}{',-233' * count} 1=0"


def is_fused(activation: str) -> bool:
    """Whether ncnn computes an activation inside the convolution before it."""
    return kind_of(activation) in FUSED_ACTIVATIONS


def _with_slope(parameters: str, activation: str) -> str:
    """The parameters with the slope put in, where they speak of one."""
    return parameters.format(slope=slope_of(activation)) if "{" in parameters else parameters


def _activation(op: Op) -> tuple[str, str]:
    layer, parameters = LAYER_ACTIVATIONS[kind_of(op.activation)]
    return layer, _with_slope(parameters, op.activation)


_LAYERS: Final[dict[OpKind, Callable[[Op], tuple[str, str]]]] = {
    OpKind.CONVOLUTION: _convolution,
    OpKind.ACTIVATION: _activation,
    OpKind.ADD: lambda op: ("BinaryOp", " 0=0"),
    OpKind.MULTIPLY: lambda op: ("BinaryOp", " 0=2"),
    OpKind.CONCAT: lambda op: ("Concat", " 0=0"),
    OpKind.MAX_POOL: _max_pool,
    OpKind.GLOBAL_POOL: lambda op: ("Pooling", " 0=1 4=1"),
    OpKind.UPSAMPLE: lambda op: ("Interp", " 0=1 1=2.0 2=2.0 6=0"),
    OpKind.SLICE: _slice,
    OpKind.PAD: _pad,
    OpKind.SPACE_TO_DEPTH: lambda op: ("Reorg", " 0=2 1=0"),
    OpKind.SPLIT: _split,
    OpKind.SHUFFLE: lambda op: ("ShuffleChannel", f" 0={op.groups} 1=0"),
}
