"""What a detector's ncnn files weigh, and what ncnn holds while it runs one: from the graph alone.

A file is predicted to the byte. In int8 every layer that may compute so is taken to do so;
`nas.export` keeps some in float where accuracy wants it, and its file is larger.

The memory is what ncnn allocates for one image on one thread, beside its own code and the program
around it: the weights as it keeps them, the maps, and what each convolution lays out for itself.

- A map lives from the layer that makes it to the last that reads it. An activation of its own is
  computed in place. ncnn takes maps and layouts from two pools that give nothing back to the system
  (`PoolAllocator` of its allocator.cpp): the first free buffer that is large enough is taken,
  however large. A pool's own peak is what counts, and it is up to twice that of the live maps.
- A dense 3x3 convolution of stride 1 runs as Winograd, whose filters are 64/9 as many numbers
  (F(6,3), up to 32 channels in and out) or four times as many (F(4,3)).
- A convolution copies its padded input, and lays out its columns or tiles; tiles a second time as
  they are multiplied, where their products come afterwards.
- In int8 it makes int8 of a map that is not, and sums of 32 bits before it scales them.

Held against the process's peak resident memory, x86-64, ncnn 1.0.20261020, six detectors of the
default space that took 6 to 55 MB: off by 7 % in the mean in fp32 and in int8, at worst by 13 %
(benchmarks/footprint.py). fp16 and bf16 follow the same rules, unmeasured.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from nas.emit.int8 import Int8Choice, Int8Way, can_be_int8, can_be_winograd, requantised
from nas.emit.ncnn import emit_ncnn, fused_activations
from nas.space.graph import Graph, Op, OpKind

TAG: Final = 4
"""Bytes before a layer's filters: how they are stored."""

STORED: Final[dict[str, int]] = {"fp32": 4, "bf16": 4, "fp16": 2}
"""Precision of a run -> bytes of a weight in its file. ncnn makes bf16 of an fp32 file."""

HELD: Final[dict[str, int]] = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 4}
"""Precision of a run -> bytes of a map's number in memory: in int8 that of a map which not int8
layers alone read."""

SMALL: Final = 32
"""Up to so many channels in and out ncnn takes F(6,3), above it F(4,3)."""

L2: Final = 1 << 20
"""Bytes of the second level cache, by which ncnn cuts its work: those of a Raspberry Pi 4."""

POOLED: Final = 10
"""Free buffers of a pool, from which on it drops one for each that it has to add."""


def file_bytes(graph: Graph, precision: str) -> int:
    """Bytes of the `.param` and the `.bin` together, in the precision of a run."""
    weights = sum(_stored_bytes(op, precision) for op in graph.ops)
    if precision != "int8":
        return len(emit_ncnn(graph)) + weights
    choice = _all_int8(graph)
    # A map that stays int8 has a scale of its own.
    weights += 4 * len(requantised(graph, choice, fused_activations(graph)))
    return len(emit_ncnn(graph, "int8", choice)) + weights


def _all_int8(graph: Graph) -> Int8Choice:
    """Every layer that may compute in int8."""
    return {op.output: Int8Way.WINOGRAD for op in graph.ops if can_be_int8(op)}


def memory_bytes(graph: Graph, precision: str, *, is_x86: bool = False) -> int:
    """Bytes that ncnn allocates at its peak: weights, maps, and layouts of convolutions.

    is_x86   there int8's Winograd keeps its tiles in 32 bits, on ARM in 16
    """
    tile = 4 if is_x86 else 2
    fused = fused_activations(graph)
    left = requantised(graph, _all_int8(graph), fused) if precision == "int8" else {}
    int8_maps = frozenset(left.values())
    weights = sum(_held_bytes(op, precision, tile) for op in graph.ops)
    maps = _map_bytes(graph, precision, fused, int8_maps)
    return weights + maps + _layout_bytes(graph, precision, tile, int8_maps)


class _Pool:
    """ncnn's PoolAllocator, without the memory: `peak` is the most that it ever held, in bytes."""

    def __init__(self) -> None:
        self._free: list[int] = []
        self._held = 0
        self.peak = 0

    def take(self, size: int) -> int:
        """The size of the buffer that is given."""
        for place, buffer in enumerate(self._free):
            if buffer >= size:
                return self._free.pop(place)
        if len(self._free) >= POOLED:
            largest, smallest = max(self._free), min(self._free)
            if largest < size:
                self._drop(smallest)
            elif smallest > size:
                self._drop(largest)
        self._held += size
        self.peak = max(self.peak, self._held)
        return size

    def give(self, buffer: int) -> None:
        """Takes a buffer back."""
        self._free.append(buffer)

    def _drop(self, buffer: int) -> None:
        self._free.remove(buffer)
        self._held -= buffer


def _map_bytes(
    graph: Graph, precision: str, fused: Mapping[int, int], int8_maps: Collection[int]
) -> int:
    """What the maps' pool holds at its peak. The image lies in the program's memory."""
    within = set(fused.values())
    last = {tensor: place for place, op in enumerate(graph.ops) for tensor in op.inputs}
    last |= dict.fromkeys(graph.outputs, len(graph.ops))
    pool, alive = _Pool(), dict[int, int]()
    for place, op in enumerate(graph.ops):
        if op.output in within:
            continue
        made = (fused.get(op.output, op.output), *op.more_outputs)
        source = op.inputs[0]
        if op.kind is OpKind.ACTIVATION and source in alive and last[source] == place:
            alive[op.output] = alive.pop(source)
        else:
            size = op.shape_out.elements * (1 if made[0] in int8_maps else HELD[precision])
            alive |= {tensor: pool.take(size) for tensor in made}
        for tensor in [one for one in alive if last.get(one, -1) <= place]:
            pool.give(alive.pop(tensor))
    return pool.peak


def _layout_bytes(graph: Graph, precision: str, int8_tile: int, int8_maps: Collection[int]) -> int:
    """What the pool of the convolutions' own layouts holds at its peak."""
    pool = _Pool()
    for op in graph.ops:
        kept, brief = _layouts(op, precision, int8_tile, int8_maps)
        taken = [pool.take(size) for size in kept]
        for size in brief:
            pool.give(pool.take(size))
        for buffer in taken:
            pool.give(buffer)
    return pool.peak


def _layouts(
    op: Op, precision: str, int8_tile: int, int8_maps: Collection[int]
) -> tuple[list[int], list[int]]:
    """Bytes of each buffer that a convolution takes for itself.

    First those that it keeps to its end: the input in int8, padded, columns or tiles, sums; then
    those of a moment, one after the other.
    """
    if op.kind is not OpKind.CONVOLUTION:
        return [], []
    is_int8 = precision == "int8" and can_be_int8(op)
    held = 1 if is_int8 else HELD[precision]
    source, made = op.shapes_in[0], op.shape_out
    kept: list[int] = []
    brief: list[int] = []
    if is_int8 and op.inputs[0] not in int8_maps:
        kept.append(source.elements)
    if op.padding:
        padded = (source.height + 2 * op.padding) * (source.width + 2 * op.padding)
        kept.append(source.channels * padded * held)
    if op.groups > 1 or made.height * made.width == 1:
        return kept, brief
    if is_int8:
        kept.append(4 * made.elements)  # sums of 32 bits, before they are scaled
    if can_be_winograd(op):
        numbers, side = (36, 4) if is_int8 else _winograd(op)
        tiles = -(-made.height // side) * -(-made.width // side)
        tile = int8_tile if is_int8 else held
        kept.append(numbers * source.channels * tiles * tile)
        at_once = min(tiles, _tiles_at_once(source.channels, made.channels))
        brief.append(numbers * source.channels * at_once * tile)
        brief.append(numbers * made.channels * at_once * max(tile, 4))
    else:
        kept.append(source.channels * op.kernel**2 * made.height * made.width * held)
    return kept, brief


def _tiles_at_once(channels_in: int, channels_out: int) -> int:
    """Winograd's tiles that are multiplied together: what fits the second level cache with both.

    (`get_optimal_tile_mnk` of ncnn's convolution_3x3_winograd.h, for channels that fit as well.)
    """
    room = L2 // 4 - channels_in * channels_out
    return max(16, room // (channels_in + channels_out))


def _winograd(op: Op) -> tuple[int, int]:
    """Numbers of a tile, and the cells of its side in the output."""
    return (64, 6) if max(op.shapes_in[0].channels, op.shape_out.channels) <= SMALL else (36, 4)


def _held_bytes(op: Op, precision: str, int8_tile: int) -> int:
    """Of one layer's weights in memory; biases, and the scales of int8, are fp32."""
    if op.kind is not OpKind.CONVOLUTION:
        return 0
    is_int8 = precision == "int8" and can_be_int8(op)
    numbers = op.weights
    held = 1 if is_int8 else HELD[precision]
    if can_be_winograd(op):
        tile, held = (36, int8_tile) if is_int8 else (_winograd(op)[0], held)
        numbers = op.weights // op.kernel**2 * tile
    return numbers * held + 4 * op.shape_out.channels * (2 if is_int8 else 1)


def _stored_bytes(op: Op, precision: str) -> int:
    """Of one layer in a `.bin`: tag, filters padded to four bytes, bias; in int8 scales as well."""
    if op.kind is not OpKind.CONVOLUTION:
        return 0
    is_int8 = precision == "int8" and can_be_int8(op)
    filters = op.weights * (1 if is_int8 else STORED.get(precision, 4))
    scales = op.shape_out.channels + 1 if is_int8 else 0
    return TAG + filters + -filters % 4 + 4 * (op.shape_out.channels + scales)
