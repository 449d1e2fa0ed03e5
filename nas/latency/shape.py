"""What the board model reads of work: amounts, and how well a shape fits the kernels.

The numbers follow what ncnn's ARM kernels do: maps are packed by 4 channels (by 8 in fp16), a
product of matrices is cut into tiles of 8 to 32 output channels that are dealt to the threads,
and a 3x3 convolution of stride 1 runs as Winograd's F(2,3), F(4,3) or F(6,3) (arXiv 1509.09308),
whose tiles pad the map and whose transformed weights are 16, 36 or 64 ninths of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nas.latency.work import KERNELS, Work

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

INT8: Final = " int8"

COMPUTING: Final = (
    *KERNELS,
    *(f"{kind}{INT8}" for kind in ("1x1", "winograd", "dense", "depthwise", "vector")),
)
"""Kinds of computing; int8 knows one of depthwise."""

MOVING: Final = (
    "convolution",
    "depthwise",
    "pool",
    "global pool",
    "reduction",
    "add",
    "activation",
    "exponential",
    "move",
    "upsample",
    "output",
    "detections",
    "convolution int8",
    "depthwise int8",
)
"""Kinds of moving numbers; a scale moves like an add."""

STARTING: Final = ("convolution", "depthwise", "vector", "other")
"""Kinds of call."""

_MATRIX: Final = ("1x1", "winograd", "dense", "vector")
_DEPTHWISE: Final = ("depthwise 3x3", "depthwise")
TILES: Final = (2, 4, 6)
"""Cells of the map that a Winograd tile makes along each side."""


@dataclass(frozen=True, kw_only=True)
class Features:
    """Features of n ops for a number of threads and an arithmetic.

    computing     indices of COMPUTING (its length: none), moving of MOVING, start of STARTING
    family        0 products of matrices, 1 depthwise, 2 the rest
    macs, numbers, transformed, weights    millions; calls a count
    tiles         of winograd ops, for each of TILES: MACs, transformed numbers, weights (millions)
    footprint     binary logarithm of the MB of maps in and out
    imbalance     logarithm of how much longer the busiest thread works than the mean one
    shape         what the efficiency is a function of, (n, 18)
    """

    computing: Indices
    moving: Indices
    start: Indices
    family: Indices
    winograd: Indices
    is_vector: NDArray[np.bool_]
    macs: Array
    numbers: Array
    transformed: Array
    weights: Array
    calls: Array
    tiles: Array
    footprint: Array
    imbalance: Array
    shape: Array


def features(work: Sequence[Work], threads: int, *, is_fp16: bool) -> Features:
    """The features of ops on so many threads; `is_fp16`: the board computes in fp16."""
    families = [_family(op.kind) for op in work]
    amounts = np.array([_amounts(op) for op in work]).reshape(-1, 5)
    winograd = [i for i, op in enumerate(work) if op.kind == "winograd"]
    return Features(
        computing=np.array([_computing(op) for op in work], dtype=np.int64),
        moving=np.array([MOVING.index(_moving(op)) for op in work], dtype=np.int64),
        start=np.array([_start(op) for op in work], dtype=np.int64),
        family=np.array(families, dtype=np.int64),
        winograd=np.array(winograd, dtype=np.int64),
        is_vector=np.array([op.kind == "vector" for op in work], dtype=np.bool_),
        macs=amounts[:, 0],
        numbers=amounts[:, 1],
        transformed=amounts[:, 2],
        weights=amounts[:, 3],
        footprint=amounts[:, 4],
        calls=np.array([_groups(op) for op in work], dtype=np.float64),
        tiles=np.array([_tiles(work[i]) for i in winograd]).reshape(-1, len(TILES), 3),
        imbalance=np.log(np.array([_imbalance(op, threads, is_fp16) for op in work])),
        shape=np.array([_shape(op, is_fp16) for op in work], dtype=np.float64),
    )


def _family(kind: str) -> int:
    return 0 if kind in _MATRIX else 1 if kind in _DEPTHWISE else 2


def _computing(op: Work) -> int:
    if op.kind not in KERNELS:
        return len(COMPUTING)
    if not op.is_int8:
        return COMPUTING.index(op.kind)
    return COMPUTING.index(("depthwise" if op.kind in _DEPTHWISE else op.kind) + INT8)


def _moving(op: Work) -> str:
    if op.kind in KERNELS:
        name = "depthwise" if op.kind in _DEPTHWISE else "convolution"
        return name + INT8 if op.is_int8 else name
    return "add" if op.kind == "scale" else op.kind


def _start(op: Work) -> int:
    if op.kind == "vector":
        return STARTING.index("vector")
    return min(_family(op.kind), 1) if op.kind in KERNELS else STARTING.index("other")


def _groups(op: Work) -> int:
    """How many kernels a grouped convolution is."""
    return op.groups if op.kind in ("1x1", "winograd", "dense") else 1


def _amounts(op: Work) -> tuple[float, float, float, float, float]:
    """Millions of MACs, numbers, transformed numbers and weights, and the footprint."""
    numbers = float(op.numbers_in + op.numbers_out)
    footprint = math.log2(max(4 * numbers, 1)) - 20
    macs, transformed, weights = float(op.macs), 0.0, float(op.weights)
    if op.kind == "winograd":
        macs = weights = 0.0
    elif op.kind == "dense":
        transformed = float(op.height * op.width * op.channels_in * op.cells)
    elif op.kind == "vector":
        macs = weights
    elif op.kind == "pool":
        numbers = op.numbers_out * op.cells * 0.5 + op.numbers_in
    elif op.kind == "move":
        numbers = 2.0 * max(op.numbers_in, op.numbers_out)
    if op.is_int8:
        # A number is a byte; what is read in fp32 and quantised makes up for some of it.
        numbers, transformed, weights = 0.4 * numbers, transformed / 2, weights / 4
        footprint -= 1.3
    return macs / 1e6, numbers / 1e6, transformed / 1e6, weights / 1e6, footprint


def _tiles(op: Work) -> list[tuple[float, float, float]]:
    groups = _groups(op)
    channels = op.channels_in // groups, op.channels_out // groups
    share = 0.5 if op.is_int8 else 1.0
    found = []
    for side in TILES:
        cells = (side + 2) ** 2
        count = math.ceil(op.height / side) * math.ceil(op.width / side) * cells * groups
        macs, numbers = count * channels[0] * channels[1], count * sum(channels)
        weights = op.weights * cells / 9
        found.append((macs / 1e6, share * numbers / 1e6, share * weights / 1e6))
    return found


def _imbalance(op: Work, threads: int, is_fp16: bool) -> float:
    if threads == 1:
        return 1.0
    if op.kind in ("1x1", "winograd", "dense"):
        return _tile_imbalance(op.channels_out // _groups(op), threads)
    packed = 8 if is_fp16 and op.channels_out % 8 == 0 else 4 if op.channels_out % 4 == 0 else 1
    units = max(op.channels_out // packed, 1)
    return math.ceil(units / threads) * threads / units


def _tile_imbalance(channels: int, threads: int) -> float:
    """How much longer than evenly dealt a product of matrices with so many rows takes."""

    def eights(value: int) -> int:
        return 8 * math.ceil(value / 8)

    tile = threads * max(8, eights(math.ceil(channels / math.ceil(channels / 32))))
    tile = min(tile, eights(math.ceil(channels / math.ceil(channels / tile))))
    tile = min(tile, eights(max(1, tile // threads)))
    count = math.ceil(channels / tile)
    return max(1.0, math.ceil(count / threads) * tile * threads / channels)


def _shape(op: Work, is_fp16: bool) -> list[float]:
    """Where a shape stands: logarithms about a usual size, and remainders by the vector width."""
    groups = _groups(op)
    channels_in, channels_out = op.channels_in // groups, op.channels_out // groups
    family = _family(op.kind)
    matrix, depthwise, rest = (float(family == i) for i in range(3))
    wide_in, wide_out = _log(channels_in), _log(channels_out)
    area = (_log(op.height * op.width) - 8) / 3
    strided = float(op.stride == 2)
    has_weights = family < 2
    return [
        matrix * (wide_in - 6.5) / 2,
        matrix * (wide_out - 6.5) / 2,
        matrix * area,
        depthwise * (wide_in - 6.5) / 2,
        depthwise * area,
        rest * (wide_out - 6) / 2,
        rest * area,
        depthwise * strided,
        matrix * strided,
        matrix * (channels_in % 4 != 0),
        matrix * (channels_out % 4 != 0),
        depthwise * (channels_in % 4 != 0),
        rest * (channels_out % 4 != 0),
        float(is_fp16 and has_weights and channels_in % 8 != 0),
        float(is_fp16 and channels_out % 8 != 0),
        _log(op.cells) - 3.2 if op.kind == "depthwise" else 0.0,
        float(op.kind == "scale"),
        float(op.kind == "global pool"),
    ]


def _log(value: float) -> float:
    return math.log2(max(value, 1))
