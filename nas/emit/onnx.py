"""A graph of primitive ops as an ONNX model, without its weights.

The weights are initialisers that lie outside the model ("external data"): a board makes them
itself from a seed (`SessionOptions.add_external_initializers`), so that a pack of thousands of
graphs stays small. ONNX Runtime treats them as it treats those in a file.

Ops are those that torch's exporter writes for the same modules: SiLU is Sigmoid and Mul, batch
norms are folded, the upsample is a nearest Resize by scales.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import onnx
from onnx import helper

from nas.emit.numbers import BIAS_FAN_IN
from nas.emit.qdq import CHANNELS_LAST, Pieces, Scales, Weight, quantised
from nas.space.modules.activation import kind_of, slope_of
from nas.space.ops import Graph, Op, OpKind, Shape

OPSET: Final = 17
IR_VERSION: Final = 8
"""Versions that every ONNX Runtime since 1.14 reads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OnnxModel:
    """A serialised model, and its weights in the order of their ops."""

    content: bytes
    weights: tuple[Weight, ...]


def emit_onnx(
    graph: Graph,
    precision: str = "fp32",
    *,
    has_plain_inputs: bool = True,
    has_plain_outputs: bool = True,
    scales: Scales | None = None,
) -> OnnxModel:
    """The graph as a model; inputs are in0, in1, ..., outputs out0, out1, ..., batch 1.

    precision  fp32, or int8 (emit_qdq.py); only then inputs and outputs may be other than fp32:
               uint8 with the channels last, as inside a network
    scales     in int8: of the maps (by `map_names`), and what stays float; None: as it is timed
    """
    pieces, shapes = _pieces(graph)
    inputs = [f"in{i}" for i in range(len(graph.inputs))]
    outputs = [f"out{i}" for i in range(len(graph.outputs))]
    into = out_of = onnx.TensorProto.FLOAT
    order = layout(graph)
    if precision == "int8":
        into = into if has_plain_inputs else onnx.TensorProto.UINT8
        out_of = out_of if has_plain_outputs else onnx.TensorProto.UINT8
        pieces = quantised(
            pieces,
            inputs,
            outputs,
            has_plain_inputs=has_plain_inputs,
            has_plain_outputs=has_plain_outputs,
            order=order,
            scales=scales,
        )
    model = helper.make_model(
        helper.make_graph(
            pieces.nodes,
            "graph",
            [
                _value(name, into, shapes[t], order)
                for name, t in zip(inputs, graph.inputs, strict=True)
            ],
            [
                _value(name, out_of, shapes[t], order)
                for name, t in zip(outputs, graph.outputs, strict=True)
            ],
            [*map(_external, pieces.weights), *pieces.constants],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    return OnnxModel(content=model.SerializeToString(), weights=tuple(pieces.weights))


def map_names(graph: Graph) -> dict[int, str]:
    """Each tensor's name in the model."""
    ends = {tensor: f"out{i}" for i, tensor in enumerate(graph.outputs)}
    found = {tensor: f"in{i}" for i, tensor in enumerate(graph.inputs)}
    for op in graph.ops:
        found.update({tensor: ends.get(tensor, f"t{tensor}") for tensor in op.outputs})
    return found


def _pieces(graph: Graph) -> tuple[Pieces, dict[int, Shape]]:
    """The graph in fp32, and the shape of each tensor."""
    names = map_names(graph)
    shapes = dict(zip(graph.inputs, graph.input_shapes, strict=True))
    constants = [constant for op in graph.ops for constant in _constants(op)]
    pieces = Pieces(constants=[*_shared_constants(graph), *constants])
    for op in graph.ops:
        outputs = [names[tensor] for tensor in op.outputs]
        inputs = [names[tensor] for tensor in op.inputs]
        own = _weights(op)
        inputs += [weight.name for weight in own]
        if op.kind is OpKind.SPLIT:
            pieces.nodes.append(_node("Split", inputs, outputs, axis=1))
        else:
            pieces.nodes += _NODES[op.kind](op, inputs, outputs[0])
        pieces.weights += own
        shapes.update(dict.fromkeys(op.outputs, op.shape_out))
    # An output that is an input, or a second name for another one, passes through an Identity.
    for i, tensor in enumerate(graph.outputs):
        if names[tensor] != f"out{i}":
            pieces.nodes.append(_node("Identity", [names[tensor]], [f"out{i}"]))
    return pieces, shapes


def _node(kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, outputs, **attributes)


def layout(graph: Graph) -> tuple[int, ...] | None:
    """The order of axes in which a quantised part takes and leaves its maps; None: as they are.

    ONNX Runtime turns no max pool round that stands alone, whose maps would be turned twice.
    """
    is_pool = all(op.kind is OpKind.MAX_POOL for op in graph.ops)
    return None if is_pool else CHANNELS_LAST


def _value(
    name: str, kind: int, shape: Shape, order: tuple[int, ...] | None
) -> onnx.ValueInfoProto:
    """A map of the graph's outside: quantised ones have their channels last, if that is asked."""
    sizes = [1, *shape]
    if kind == onnx.TensorProto.UINT8 and order is not None:
        sizes = [sizes[axis] for axis in order]
    return helper.make_tensor_value_info(name, kind, sizes)


def _external(weight: Weight) -> onnx.TensorProto:
    kind, width = _STORED[weight.kind]
    tensor = onnx.TensorProto(
        name=weight.name,
        data_type=kind,
        dims=weight.shape,
        data_location=onnx.TensorProto.EXTERNAL,
    )
    size = str(width * math.prod(weight.shape))
    for key, value in (("location", "board"), ("offset", "0"), ("length", size)):
        tensor.external_data.add(key=key, value=value)
    return tensor


_STORED: Final[dict[str, tuple[int, int]]] = {
    "float": (onnx.TensorProto.FLOAT, 4),
    "int8": (onnx.TensorProto.INT8, 1),
    "int32": (onnx.TensorProto.INT32, 4),
    "scale": (onnx.TensorProto.FLOAT, 4),
}
"""Kind of weight -> its type in ONNX, and the bytes of one number."""


CLIP_LIMITS: Final[dict[str, float]] = {"clip_lowest": 0.0, "clip_highest": 6.0}
"""Names and values of the constants between which a ReLU6 clips."""


def _shared_constants(graph: Graph) -> list[onnx.TensorProto]:
    """What several ops of one kind read: an upsample's scales, the limits of a ReLU6."""
    found = []
    if any(op.kind is OpKind.UPSAMPLE for op in graph.ops):
        scales = [1.0, 1.0, 2.0, 2.0]
        found.append(helper.make_tensor("scales", onnx.TensorProto.FLOAT, [4], scales))
    if any(op.activation == "ReLU6" for op in graph.ops):
        found += [
            helper.make_tensor(name, onnx.TensorProto.FLOAT, [], [value])
            for name, value in CLIP_LIMITS.items()
        ]
    return found


def _constants(op: Op) -> list[onnx.TensorProto]:
    """What an op reads beside its maps: where a slice begins and ends, how far a map is padded."""
    values: dict[str, list[int]] = {}
    if op.kind is OpKind.SLICE:
        values = {"start": [op.start], "end": [op.start + op.shape_out.channels], "axis": [1]}
    elif op.kind is OpKind.PAD:
        values = {"pads": [0, 0, 0, 0, 0, 0, op.padding, op.padding]}
    elif op.kind is OpKind.SPACE_TO_DEPTH:
        channels, height, width = op.shapes_in[0]
        values = {
            "by_twos": [1, channels, height // 2, 2, width // 2, 2],
            "shape": [1, *op.shape_out],
        }
    elif op.kind is OpKind.SHUFFLE:
        channels, *size = op.shape_out
        apart = [1, op.groups, channels // op.groups, *size]
        values = {"apart": apart, "whole": [1, channels, *size]}
    return [
        helper.make_tensor(f"{name}{op.output}", onnx.TensorProto.INT64, [len(value)], value)
        for name, value in values.items()
    ]


def _weights(op: Op) -> list[Weight]:
    if op.kind is not OpKind.CONVOLUTION:
        return []
    channels = op.shape_out.channels
    per_filter = op.shapes_in[0].channels // op.groups
    shape = (channels, per_filter, op.kernel, op.kernel)
    return [
        Weight(name=f"w{op.output}", shape=shape, fan_in=op.weights // channels),
        Weight(name=f"b{op.output}", shape=(channels,), fan_in=BIAS_FAN_IN),
    ]


def _convolution(op: Op, inputs: list[str], output: str) -> list[onnx.NodeProto]:
    return [
        _node(
            "Conv",
            inputs,
            [output],
            kernel_shape=[op.kernel] * 2,
            strides=[op.stride] * 2,
            pads=[op.padding] * 4,
            group=op.groups,
        )
    ]


def _activation(op: Op, inputs: list[str], output: str) -> list[onnx.NodeProto]:
    if op.activation == "SiLU":
        gate = f"{output}_gate"
        return [
            _node("Sigmoid", inputs, [gate]),
            _node("Mul", [*inputs, gate], [output]),
        ]
    if kind_of(op.activation) == "LeakyReLU":
        return [_node("LeakyRelu", inputs, [output], alpha=slope_of(op.activation))]
    kind, attributes = {
        "ReLU": ("Relu", {}),
        "ReLU6": ("Clip", {}),
        "Hardswish": ("HardSwish", {}),
        "Sigmoid": ("Sigmoid", {}),
        "Hardsigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    }[op.activation]
    limits = CLIP_LIMITS if kind == "Clip" else {}
    return [_node(kind, [*inputs, *limits], [output], **attributes)]


def _max_pool(op: Op, inputs: list[str], output: str) -> list[onnx.NodeProto]:
    sizes = {"kernel_shape": [op.kernel] * 2, "strides": [op.stride] * 2}
    return [_node("MaxPool", inputs, [output], **sizes, pads=[op.padding] * 4)]


def _upsample(op: Op, inputs: list[str], output: str) -> list[onnx.NodeProto]:
    return [
        _node(
            "Resize",
            [*inputs, "", "scales"],
            [output],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
    ]


def _slice(op: Op, inputs: list[str], output: str) -> list[onnx.NodeProto]:
    places = [f"{name}{op.output}" for name in ("start", "end", "axis")]
    return [_node("Slice", [*inputs, *places], [output])]


def _pad(op: Op, inputs: list[str], output: str) -> list[onnx.NodeProto]:
    return [_node("Pad", [*inputs, f"pads{op.output}"], [output], mode="constant")]


def _space_to_depth(op: Op, inputs: list[str], output: str) -> list[onnx.NodeProto]:
    cells, turned = f"{output}_cells", f"{output}_turned"
    return [
        _node("Reshape", [*inputs, f"by_twos{op.output}"], [cells]),
        _node("Transpose", [cells], [turned], perm=[0, 1, 3, 5, 2, 4]),
        _node("Reshape", [turned, f"shape{op.output}"], [output]),
    ]


def _shuffle(op: Op, inputs: list[str], output: str) -> list[onnx.NodeProto]:
    apart, turned = f"{output}_apart", f"{output}_turned"
    return [
        _node("Reshape", [*inputs, f"apart{op.output}"], [apart]),
        _node("Transpose", [apart], [turned], perm=(0, 2, 1, 3, 4)),
        _node("Reshape", [turned, f"whole{op.output}"], [output]),
    ]


def _plain(kind: str, **attributes: int) -> Callable[[Op, list[str], str], list[onnx.NodeProto]]:
    def node(op: Op, inputs: list[str], output: str) -> list[onnx.NodeProto]:
        return [_node(kind, inputs, [output], **attributes)]

    return node


_NODES: Final[dict[OpKind, Callable[[Op, list[str], str], list[onnx.NodeProto]]]] = {
    OpKind.CONVOLUTION: _convolution,
    OpKind.ACTIVATION: _activation,
    OpKind.ADD: _plain("Add"),
    OpKind.MULTIPLY: _plain("Mul"),
    OpKind.CONCAT: _plain("Concat", axis=1),
    OpKind.MAX_POOL: _max_pool,
    OpKind.GLOBAL_POOL: _plain("GlobalAveragePool"),
    OpKind.UPSAMPLE: _upsample,
    OpKind.SLICE: _slice,
    OpKind.PAD: _pad,
    OpKind.SPACE_TO_DEPTH: _space_to_depth,
    OpKind.SHUFFLE: _shuffle,
}
