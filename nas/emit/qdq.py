"""An ONNX graph in int8: every map between a QuantizeLinear and a DequantizeLinear (QDQ).

The oracle is ONNX Runtime's own `quantize_static` for uint8 maps and int8 weights, channel by
channel: once ONNX Runtime has fused both graphs they hold the same operators
(tests/latency/test_emit_onnx.py). Its default, int8 maps, is left half fused on x86 by
ONNX Runtime 1.32: a detector took 21.6 ms in it, 10.8 ms in fp32, 9.0 ms in this form (LOG.md). So:

- each node's output is quantised; what only moves numbers (HANDS_ON_ITS_SCALE) hands on the scale
  of its input;
- a Relu or a Clip behind a convolution is left to the clipping of the convolution's QuantizeLinear
  (a range that is calibrated behind a ReLU6 ends at 6 or before);
- convolutions have int8 weights, one scale for each channel, and int32 biases.

A file that is exported has the scales of its own maps (`Scales`) and may leave convolutions float:
what hands on or only changes a float map stays float with them, and an int8 map is made of it where
an int8 node reads it.

ONNX Runtime runs quantised convolutions on maps with the channels last, and a whole network stays
in that layout. A part of one takes and leaves its maps so: the transpositions that stand at its
ends cancel those that ONNX Runtime puts around its convolutions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import onnx
from onnx import TensorProto, helper

from nas.emit.numbers import MAP_LIMIT, weight_limit

CHANNELS_FIRST, CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)

HANDS_ON_ITS_SCALE: Final = ("MaxPool", "Resize", "Slice", "Pad", "Reshape", "Transpose", "Split")

CLIPS: Final = ("Relu", "Clip")
"""What a range of uint8 whose least number is 0 does by itself."""

MIDDLE, LOWEST = "middle", "lowest"
"""Names of the zero points: 128, and that of maps without negative numbers, 0."""

MAP_SCALE: Final = MAP_LIMIT / 127
"""Scale of a map of ordinary random numbers. Those of two maps differ a little, as in a real
network: some kernels take a shortcut where scales are equal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Weight:
    """A weight that the board makes: its name, shape, and how many inputs are summed with it.

    kind  float: random numbers; int8, int32: the same in units of `step`; scale: `step` itself
    """

    name: str
    shape: tuple[int, ...]
    fan_in: int
    kind: str = "float"
    step: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Scales:
    """What a file that is exported says of its maps, by their names.

    ranges  the least and the largest number of each
    floats  the outputs of the convolutions that stay float
    """

    ranges: Mapping[str, tuple[float, float]]
    floats: frozenset[str] = frozenset()


LEAST_SCALE: Final = 1e-12
"""Of a map of zeros."""


@dataclass(kw_only=True)
class Pieces:
    """What an ONNX graph is made of: nodes that run in order, the board's weights, constants."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[Weight] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)


def quantised(
    pieces: Pieces,
    inputs: Sequence[str],
    outputs: Sequence[str],
    *,
    has_plain_inputs: bool,
    has_plain_outputs: bool,
    order: tuple[int, ...] | None = CHANNELS_LAST,
    scales: Scales | None = None,
) -> Pieces:
    """The pieces of an fp32 graph in int8, under the same names of inputs and outputs.

    scales  of its maps, and what stays float; None: those of a graph that is only timed

    has_plain_inputs, has_plain_outputs  these are fp32, as those of a whole network; otherwise
    uint8, as a part of a network takes and leaves them, their axes in `order`.
    """
    writer = _QdqWriter(pieces, frozenset(outputs), has_plain_outputs, order, scales)
    for name in inputs:
        writer.input(name, is_plain=has_plain_inputs)
    for node in pieces.nodes:
        writer.node(node)
    read = {name for node in writer.found.nodes for name in node.input}
    # The limits of a Clip that vanished: ONNX Runtime warns of what nothing reads.
    writer.found.constants = [one for one in writer.found.constants if one.name in read]
    return writer.found


class _QdqWriter:
    """An int8 graph while it is written: a map `x` is `x_q` in uint8 and `x_f` made from that."""

    def __init__(
        self,
        pieces: Pieces,
        ends: frozenset[str],
        has_plain_outputs: bool,
        order: tuple[int, ...] | None,
        scales: Scales | None,
    ) -> None:
        self.scales = scales
        self.plain: set[str] = set()
        self.ends = ends
        self.is_turned = order is not None
        self.has_plain_outputs = has_plain_outputs
        self.readers = Counter(name for node in pieces.nodes for name in node.input)
        self.readers.update(ends)
        self.floats = self._float_convolutions(pieces.nodes)
        self.relus = self._clipped_relus(pieces.nodes)
        self.weights = {weight.name: weight for weight in pieces.weights}
        self.map_scales: dict[str, tuple[str, str]] = {}
        self.values: dict[str, float] = {}
        self.found = Pieces(constants=list(pieces.constants))
        self._constant(MIDDLE, TensorProto.UINT8, 128)
        self._constant(LOWEST, TensorProto.UINT8, 0)

    def _clipped_relus(self, nodes: Sequence[onnx.NodeProto]) -> dict[str, str]:
        """A convolution's output -> the output of the Relu or Clip that alone reads it."""
        convolutions = {node.output[0] for node in nodes if node.op_type == "Conv"} - self.floats
        return {
            node.input[0]: node.output[0]
            for node in nodes
            if node.op_type in CLIPS
            and node.input[0] in convolutions
            and self.readers[node.input[0]] == 1
        }

    def _float_convolutions(self, nodes: Sequence[onnx.NodeProto]) -> set[str]:
        """The outputs of the nodes that are float whatever they read."""
        found = set(() if self.scales is None else self.scales.floats)
        pooled = {
            node.input[0] for node in nodes if node.op_type == "Conv" and node.output[0] in found
        }
        # The mean of a map that a float convolution reads needs no 8 bits either.
        means = {node.output[0] for node in nodes if node.op_type == "GlobalAveragePool"}
        return found | (means & pooled)

    def _is_float(self, node: onnx.NodeProto, maps: Sequence[str]) -> bool:
        if node.op_type == "Conv":
            return node.output[0] in self.floats
        return node.output[0] in self.floats or all(one in self.plain for one in maps)

    def input(self, name: str, *, is_plain: bool) -> None:
        """Makes an input of the graph readable."""
        if is_plain and self.scales is not None:
            self.plain.add(name)
            return
        self._give_scale(name, MIDDLE)
        if is_plain:
            self._node("QuantizeLinear", [name, *self.map_scales[name]], f"{name}_q")
        elif self.is_turned:
            self._node("Transpose", [name], f"{name}_q", perm=CHANNELS_FIRST)
        else:
            self._node("Identity", [name], f"{name}_q")
        self._make_readable(name, f"{name}_q")

    def node(self, node: onnx.NodeProto) -> None:
        """Adds a node that reads and writes quantised maps."""
        if node.op_type in CLIPS and node.input[0] in self.relus:
            # Its convolution has written its output already.
            return
        maps = [one for one in node.input if one in self.map_scales or one in self.plain]
        if self._is_float(node, maps):
            self._float_node(node)
            return
        for name in maps:
            self._quantise_plain(name)
        names = [self.relus.get(one, one) for one in node.output]
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.ClearField("input")
        copy.input.extend(
            self._quantised_weight(self.weights[one], node)
            if one in self.weights
            # What is no map is a constant of the node, such as a Resize's scales.
            else self._float_name(one)
            if one in self.map_scales
            else one
            for one in node.input
        )
        copy.ClearField("output")
        copy.output.extend(f"{name}_raw" for name in names)
        self.found.nodes.append(copy)
        for name in names:
            if node.op_type in HANDS_ON_ITS_SCALE:
                self.map_scales[name] = self.map_scales[node.input[0]]
                self.values[name] = self.values[node.input[0]]
            else:
                self._give_scale(name, LOWEST if name not in node.output else MIDDLE)
            self._quantise(name)

    def _float_node(self, node: onnx.NodeProto) -> None:
        """Adds a node that reads and writes float maps; of an int8 one it reads what that means."""
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.ClearField("input")
        copy.input.extend(
            self._float_name(one) if one in self.map_scales and one not in self.plain else one
            for one in node.input
        )
        self.found.nodes.append(copy)
        if node.op_type == "Conv" and node.output[0] not in self.ends:
            # ONNX Runtime (1.32) makes a float convolution between a DequantizeLinear and a
            # QuantizeLinear an int8 one as it loads the file. A LeakyRelu that changes nothing
            # stands in its way, and costs nothing: it is computed inside the convolution.
            copy.output[0] = f"{node.output[0]}_kept"
            self._node("LeakyRelu", copy.output, node.output[0], alpha=1.0)
        self.found.weights += [self.weights[one] for one in node.input if one in self.weights]
        self.plain.update(node.output)

    def _quantise_plain(self, name: str) -> None:
        """Makes a float map readable in int8, once."""
        if name not in self.plain or name in self.map_scales:
            return
        self._give_scale(name, MIDDLE)
        self._node("QuantizeLinear", [name, *self.map_scales[name]], f"{name}_q")
        self._node("DequantizeLinear", [f"{name}_q", *self.map_scales[name]], f"{name}_f")

    def _quantise(self, name: str) -> None:
        """Makes what a node wrote as NAME_raw a quantised map, readable and, at an end, left."""
        self._node("QuantizeLinear", [f"{name}_raw", *self.map_scales[name]], f"{name}_q")
        stays = name in self.ends and not self.has_plain_outputs
        if stays:
            kind = {"perm": CHANNELS_LAST} if self.is_turned else {}
            self._node("Transpose" if kind else "Identity", [f"{name}_q"], name, **kind)
        if self.readers[name] > stays:
            self._make_readable(name, f"{name}_q")

    def _make_readable(self, name: str, source: str) -> None:
        self._node("DequantizeLinear", [source, *self.map_scales[name]], self._float_name(name))

    def _float_name(self, name: str) -> str:
        if name in self.plain:
            return f"{name}_f"
        return name if name in self.ends and self.has_plain_outputs else f"{name}_f"

    def _quantised_weight(self, weight: Weight, node: onnx.NodeProto) -> str:
        """What a convolution reads for a weight or, on the product of two scales, its bias."""
        is_bias = weight.name != node.input[1]
        step = weight_limit(self.weights[node.input[1]].fan_in) / 127
        step *= self.values[node.input[0]] if is_bias else 1
        name, kind = weight.name, "int32" if is_bias else "int8"
        scale = replace(
            weight, name=f"{name}_scale", shape=weight.shape[:1], kind="scale", step=step
        )
        self.found.weights += [replace(weight, kind=kind, step=step), scale]
        zeros = helper.make_tensor(
            f"{name}_zero",
            TensorProto.INT32 if is_bias else TensorProto.INT8,
            scale.shape,
            bytes((4 if is_bias else 1) * scale.shape[0]),
            raw=True,
        )
        self.found.constants.append(zeros)
        self._node("DequantizeLinear", [name, scale.name, zeros.name], f"{name}_f", axis=0)
        return f"{name}_f"

    def _give_scale(self, name: str, zero_point: str) -> None:
        if self.scales is not None:
            low, high = self.scales.ranges[name]
            self.values[name] = max((high - low) / 255, LEAST_SCALE)
            zero_point = f"{name}_zero"
            self._constant(zero_point, TensorProto.UINT8, round(-low / self.values[name]))
            self._constant(f"{name}_scale", TensorProto.FLOAT, self.values[name])
            self.map_scales[name] = (f"{name}_scale", zero_point)
            return
        self.values[name] = MAP_SCALE * (1 + 0.01 * (len(self.map_scales) % 10))
        self._constant(f"{name}_scale", TensorProto.FLOAT, self.values[name])
        self.map_scales[name] = (f"{name}_scale", zero_point)

    def _constant(self, name: str, kind: int, value: float) -> None:
        self.found.constants.append(helper.make_tensor(name, kind, [], [value]))

    def _node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        self.found.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
