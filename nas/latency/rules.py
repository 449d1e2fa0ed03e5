"""ShuffleNetV2's four rules (arXiv 1807.11164, section 2) as facts of a model, and their cost.

G1  equal widths: a 1x1 convolution of c1 to c2 channels on h x w cells accesses
    hw (c1 + c2) + c1 c2 numbers, and one of equal widths and as many MACs 2 hw sqrt(c1 c2) + c1 c2
G2  grouped convolutions access more numbers for their MACs
G3  fragmentation: each op is started, however little it computes
G4  element-wise ops compute nothing and move everything
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from nas.latency.answer import LayerTime, TableModel, WorkKind
from nas.latency.estimated.op_work import KERNELS, OpWork, graph_work
from nas.space.blocks import Block
from nas.space.ops import Graph, Op, OpKind

_ELEMENT_WISE_WORK: Final = ("add", "scale", "activation", "exponential")


@dataclass(frozen=True, kw_only=True, slots=True)
class FourRules:
    """What the rules say of a model.

    pointwise_over_bound  numbers accessed by its 1x1 convolutions over the bound of equal widths
    grouped_macs          the share of the MACs that grouped convolutions have
    grouped_access        the share of the numbers accessed by convolutions that they access
    ops                   how many ops the runtime starts
    macs_per_op           MACs for each of them
    element_wise          the share of the numbers moved that element-wise ops move
    """

    pointwise_over_bound: float
    grouped_macs: float
    grouped_access: float
    ops: int
    macs_per_op: float
    element_wise: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleCosts:
    """What the rules cost on a board, by its table (ms).

    unequal_ms       its 1x1 convolutions over the same MACs at equal widths (below 0: they gain)
    grouped_ms       its grouped convolutions over the same MACs at the rate of the others
    starting_ms      starting all convolutions: what so many take that compute next to nothing
    element_wise_ms  element-wise ops
    """

    unequal_ms: float
    grouped_ms: float
    starting_ms: float
    element_wise_ms: float


def four_rules(graph: Graph, precision: str = "fp32", runtime: str = "ncnn") -> FourRules:
    """The facts of a model's graph, as the runtime fuses it."""
    pointwise = [op for op in _convolutions(graph) if _is_pointwise(op)]
    grouped = [op for op in _convolutions(graph) if op.groups > 1]
    work = graph_work(graph, precision, runtime)
    total = sum(op.macs for op in _convolutions(graph))
    accessed = sum(_access(op) for op in _convolutions(graph))
    moved = sum(_moved(one) for one in work)
    still = sum(_moved(one) for one in work if one.kind in _ELEMENT_WISE_WORK)
    return FourRules(
        pointwise_over_bound=_ratio(sum(map(_access, pointwise)), sum(map(_bound, pointwise))),
        grouped_macs=sum(op.macs for op in grouped) / max(total, 1),
        grouped_access=sum(map(_access, grouped)) / max(accessed, 1),
        ops=len(work),
        macs_per_op=total / max(len(work), 1),
        element_wise=still / max(moved, 1),
    )


def rule_costs(graph: Graph, parts: Sequence[LayerTime], model: TableModel) -> RuleCosts:
    """What the table says that the rules cost; each convolution is asked for alone."""
    found = _convolutions(graph)
    times = {op.output: _ms(model, _block(op)) for op in found}
    pointwise = [op for op in found if _is_pointwise(op)]
    grouped = [op for op in found if op.groups > 1]
    others = [op for op in found if op.groups == 1]
    rate = sum(times[op.output] for op in others) / max(sum(op.macs for op in others), 1)
    return RuleCosts(
        unequal_ms=sum(times[op.output] - _equal_ms(model, op) for op in pointwise),
        grouped_ms=sum(times[op.output] - rate * op.macs for op in grouped),
        starting_ms=sum(_ms(model, _smallest(op)) for op in found),
        element_wise_ms=sum(part.kinds.get(WorkKind.ELEMENT_WISE, 0.0) for part in parts),
    )


def _convolutions(graph: Graph) -> list[Op]:
    """Those on maps: an SE's, on one cell, are products of vectors."""
    return [
        op
        for op in graph.ops
        if op.kind is OpKind.CONVOLUTION and op.shapes_in[0].height * op.shapes_in[0].width > 1
    ]


def _is_pointwise(op: Op) -> bool:
    return op.kernel == 1 and op.groups == 1 and op.stride == 1


def _access(op: Op) -> int:
    """Numbers that a convolution reads and writes, its weights among them."""
    return op.shapes_in[0].elements + op.shape_out.elements + op.weights


def _bound(op: Op) -> float:
    cells = op.shape_out.height * op.shape_out.width
    return 2 * cells * math.sqrt(op.weights) + op.weights


def _ratio(value: float, bound: float) -> float:
    return value / bound if bound else 1.0


def _moved(work: OpWork) -> int:
    return work.numbers_in + work.numbers_out + (work.weights if work.kind in KERNELS else 0)


def _block(op: Op, channels_in: int = 0, channels_out: int = 0) -> Block:
    """The convolution alone, without an activation, of its own channels or of others."""
    return Block(
        module="Conv",
        channels_in=(channels_in or op.shapes_in[0].channels,),
        channels_out=channels_out or op.shape_out.channels,
        height=op.shapes_in[0].height,
        width=op.shapes_in[0].width,
        kernel=op.kernel,
        stride=op.stride,
        padding=op.padding,
        groups=op.groups,
        activation="",
    )


def _equal_ms(model: TableModel, op: Op) -> float:
    """What as many MACs at equal widths take, these being a multiple of 4."""
    width = max(4 * round(math.sqrt(op.weights) / 4), 4)
    return _ms(model, _block(op, width, width)) * op.weights / width**2


def _smallest(op: Op) -> Block:
    """A convolution of the same kind on 2 x 2 cells of 4 channels."""
    return Block(
        module="Conv",
        channels_in=(4,),
        channels_out=4,
        height=2,
        width=2,
        kernel=op.kernel,
        padding=op.kernel // 2,
        groups=4 if op.groups > 1 else 1,
        activation="",
    )


def _ms(model: TableModel, block: Block) -> float:
    return model.predict_blocks((block,)).ms
