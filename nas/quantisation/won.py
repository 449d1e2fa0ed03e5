"""The milliseconds that each layer wins in int8 on the board that is meant, and by which kernel.

timed      every kind of layer alone, here, float beside int8 with and without Winograd
tables     of the board's fp32 and int8 tables, a row's difference shared out by MACs
MACs       where neither is known: a layer wins as its multiplications do

A layer timed alone takes and leaves fp32 maps: what is saved where a map stays int8 is not in it.
So whole files are timed too (`together`): layers that lose alone may win beside the others.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from nas.deploy.check import Run, ncnn_run
from nas.deploy.int8.ncnn import to_ncnn_int8
from nas.deploy.int8.ranges import Range
from nas.deploy.picture import Array
from nas.deploy.weights import ConvolutionWeights
from nas.emit.int8 import Int8Choice, Int8Way, can_be_int8, can_be_winograd
from nas.emit.ncnn import fused_activations
from nas.latency.device import Device
from nas.latency.load import load_table_model
from nas.latency.measured.table import TableError
from nas.space.blocks import blocks, layers
from nas.space.graph import Graph, Op, OpKind
from nas.space.image_size import ImageSize
from nas.space.ops import expand
from nas.space.spec import ModelSpec

ROUNDS: Final = 12
"""Runs of a layer in each way; of these the median of the quicker half counts."""

WHOLE_ROUNDS: Final = 40
"""Runs of a whole file."""

PER_MAC_MS: Final = 1e-7
"""What a MAC is taken to win where nothing is known: the order matters, not the size."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Won:
    """What a layer wins."""

    way: Int8Way
    ms: float
    """Of its float time; below 0 where int8 is slower."""


@dataclass(frozen=True, kw_only=True)
class WonTable:
    """What each layer that may be int8 wins, by its output tensor."""

    of: Mapping[int, Won]
    told: str
    """How the milliseconds were found."""


def by_timing(graph: Graph) -> WonTable:
    """Each layer timed here in ncnn; layers of equal shape share a figure."""
    fused = fused_activations(graph)
    activations = {op.output: op for op in graph.ops}
    known: dict[tuple[Op, str], Won] = {}
    found = {}
    for op in filter(can_be_int8, graph.ops):
        follower = activations[fused[op.output]].activation if op.output in fused else ""
        key = replace(op, inputs=(0,), output=1), follower
        if key not in known:
            known[key] = _timed(*key)
        found[op.output] = known[key]
    return WonTable(of=found, told="each layer timed alone, here, 1 thread")


def together(
    won: WonTable, run_of: Callable[[Int8Choice], Run], image: Array, ends: frozenset[int]
) -> WonTable:
    """The table, in which layers that lose alone win where the whole file is faster with them.

    run_of  a file with this choice of layers
    ends    layers that aren't asked about
    """
    inner = {tensor: one for tensor, one in won.of.items() if tensor not in ends}
    losers = [tensor for tensor, one in inner.items() if one.ms <= 0]
    if not losers:
        return won
    everything = {tensor: one.way for tensor, one in inner.items()}
    winners = {tensor: way for tensor, way in everything.items() if tensor not in losers}
    without, with_them = interleaved_ms([run_of(winners), run_of(everything)], image, WHOLE_ROUNDS)
    if with_them >= without:
        return won
    share = (without - with_them) / len(losers)
    more = {tensor: replace(won.of[tensor], ms=share) for tensor in losers}
    return WonTable(of={**won.of, **more}, told=f"{won.told}, and whole files by turns")


def by_tables(
    graph: Graph, spec: ModelSpec, image_size: ImageSize, device: Device, runtime: str,
    root: Path | None = None,
) -> WonTable:  # fmt: skip
    """The board's own tables; by MACs where it has none of them."""
    try:
        walk = blocks(spec, image_size)
        fp32, int8 = (
            load_table_model(device.key(runtime, precision), root, walk=walk).parts(
                spec, image_size
            )
            for precision in ("fp32", "int8")
        )
    except TableError:
        return by_macs(graph)
    of: dict[int, Won] = {}
    rows = _rows(graph, spec, image_size)
    for before, after in zip(fp32, int8, strict=True):
        own = [op for op in rows.get(before.layer, ()) if can_be_int8(op)]
        total = sum(op.macs for op in own)
        for op in own:
            of[op.output] = Won(
                way=_usual_way(op), ms=(before.ms - after.ms) * op.macs / max(total, 1)
            )
    return WonTable(
        of=of, told=f"latency tables of {device.name}, fp32 less int8, by MACs in a row"
    )


def by_macs(graph: Graph) -> WonTable:
    """A layer wins as its MACs are many."""
    of = {
        op.output: Won(way=_usual_way(op), ms=op.macs * PER_MAC_MS)
        for op in filter(can_be_int8, graph.ops)
    }
    return WonTable(of=of, told="MACs: no table of the board says milliseconds in int8")


def _usual_way(op: Op) -> Int8Way:
    """As tables time it: ncnn's own choice of kernel."""
    return Int8Way.WINOGRAD if can_be_winograd(op) else Int8Way.DIRECT


def _rows(graph: Graph, spec: ModelSpec, image_size: ImageSize) -> dict[int, Sequence[Op]]:
    """The convolutions of each row of a model, by the row's index."""
    convolutions = iter([op for op in graph.ops if op.kind is OpKind.CONVOLUTION])
    found: dict[int, Sequence[Op]] = {}
    for layer in layers(spec, image_size):
        count = sum(
            op.kind is OpKind.CONVOLUTION for block in layer.blocks for op in expand(block).ops
        )
        found[layer.index] = [next(convolutions) for _ in range(count)]
    return found


def _timed(op: Op, activation: str) -> Won:
    """One layer alone: float, and each int8 way that it may run in."""
    import tempfile

    ways = (Int8Way.DIRECT, Int8Way.WINOGRAD) if can_be_winograd(op) else (Int8Way.DIRECT,)
    ops = [op]
    if activation:
        # Its own tensor numbers: a convolution, and the activation that ncnn computes inside it.
        ops.append(
            Op(
                kind=OpKind.ACTIVATION, inputs=(1,), output=2, shapes_in=(op.shape_out,),
                shape_out=op.shape_out, activation=activation,
            )
        )  # fmt: skip
    graph = Graph(inputs=(0,), input_shapes=op.shapes_in[:1], ops=tuple(ops),
                  outputs=(ops[-1].output,))  # fmt: skip
    generator = np.random.default_rng(0)
    shape = (op.shape_out.channels, op.shapes_in[0].channels // op.groups, op.kernel, op.kernel)
    weights = [
        ConvolutionWeights(
            filters=generator.standard_normal(shape).astype(np.float32) * np.float32(0.1),
            bias=np.zeros(shape[0], np.float32),
        )
    ]
    ranges = {0: Range(low=-3.0, high=3.0)}
    runs: list[Run] = []
    with tempfile.TemporaryDirectory() as place:
        for number, choice in enumerate([{}, *({1: way} for way in ways)]):
            model = to_ncnn_int8(graph, weights, ranges, choice)
            files = [Path(place) / f"{number}.{end}" for end in ("param", "bin")]
            files[0].write_text(model.param, encoding="utf-8")
            files[1].write_bytes(model.bin)
            runs.append(ncnn_run(*files))
    image = generator.standard_normal((1, *op.shapes_in[0])).astype(np.float32)
    fp32, *int8 = interleaved_ms(runs, image, ROUNDS)
    quickest = int(np.argmin(int8))
    return Won(way=ways[quickest], ms=fp32 - int8[quickest])


def interleaved_ms(runs: Sequence[Run], image: np.ndarray, rounds: int) -> list[float]:
    """What each takes (ms), all by turns: the median of the quicker half of its runs.

    Other work on the machine slows single runs, and all of them alike where they take turns.
    """
    samples: list[list[float]] = [[] for _ in runs]
    for run in runs:
        run(image)
    for _ in range(rounds):
        for own, run in zip(samples, runs, strict=True):
            begin = time.perf_counter()
            run(image)
            own.append(1000 * (time.perf_counter() - begin))
    return [statistics.median(sorted(own)[: (len(own) + 1) // 2]) for own in samples]
