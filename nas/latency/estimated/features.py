"""What the board model reads of work: amounts, and how well a shape fits the kernels.

The numbers follow what the source of ncnn's ARM kernels says (Tencent/ncnn, BSD-3-Clause, layers of
May 2022 and of June 2023): maps are packed by 4 channels (by 8 in fp16), a product of matrices is
cut into tiles of 8 to 32 output channels that are dealt to the threads, and a 3x3 convolution of
stride 1 runs as Winograd's F(2,3), F(4,3) or F(6,3) (arXiv 1509.09308), whose tiles pad the map and
whose transformed weights are 16, 36 or 64 ninths of the weights. The kernels were rewritten between
June 2022 and March 2023; work is `is_recent` where it runs on those.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nas.latency.estimated.op_work import KERNELS, OpWork

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

INT8: Final = " int8"

FUNCTIONS: Final = ("exponential", "normalisation")
"""Kinds that compute much for each number, though they have no weights."""

COMPUTING: Final = (
    *KERNELS,
    *FUNCTIONS,
    *(f"{kind}{INT8}" for kind in ("1x1", "winograd", "dense", "depthwise", "vector")),
)
"""Kinds of computing; int8 knows one of depthwise and one of vectors."""

MOVING: Final = (
    "convolution",
    "depthwise",
    "pool",
    "global pool",
    "reduction",
    "add",
    "activation",
    "move",
    "upsample",
    "output",
    "detections",
    "convolution int8",
    "depthwise int8",
)
"""Kinds of moving numbers; a scale moves like an add."""

STARTING: Final = ("convolution", "depthwise", "vector", "cell", "other")
"""Kinds of call."""

_VECTORS: Final = ("vector", "cell")
_PRODUCTS: Final = ("1x1", "winograd", "dense")
_MATRIX: Final = (*_PRODUCTS, *_VECTORS)
_DEPTHWISE: Final = ("depthwise 3x3", "depthwise 5x5", "depthwise")


@dataclass(frozen=True, kw_only=True)
class Features:
    """Features of n ops for a number of threads and an arithmetic.

    computing     indices of COMPUTING (its length: none), moving of MOVING, start of STARTING
    family        0 products of matrices, 1 depthwise, 2 the rest
    macs, numbers, transformed, weights, traffic    millions; calls a count
    footprint     binary logarithm of the MB of maps in and out
    imbalance     logarithm of how much longer the busiest thread works than the mean one
    shape         what the efficiency is a function of, (n, SHAPES)
    """

    computing: Indices
    moving: Indices
    start: Indices
    family: Indices
    macs: Array
    numbers: Array
    transformed: Array
    weights: Array
    traffic: Array
    calls: Array
    footprint: Array
    imbalance: Array
    shape: Array


def features(work: Sequence[OpWork], threads: int, *, is_fp16: bool, is_recent: bool) -> Features:
    """The features of ops on so many threads; `is_fp16`: the board computes in fp16; `is_recent`:
    with ncnn's kernels since March 2023."""
    families = [_family(op.kind) for op in work]
    amounts = np.array([_amounts(op, threads, is_recent=is_recent) for op in work]).reshape(-1, 6)
    return Features(
        computing=np.array([_computing(op) for op in work], dtype=np.int64),
        moving=np.array([MOVING.index(_moving(op)) for op in work], dtype=np.int64),
        start=np.array([_start(op) for op in work], dtype=np.int64),
        family=np.array(families, dtype=np.int64),
        macs=amounts[:, 0],
        numbers=amounts[:, 1],
        transformed=amounts[:, 2],
        weights=amounts[:, 3],
        traffic=amounts[:, 4],
        footprint=amounts[:, 5],
        calls=np.array([_groups(op) for op in work], dtype=np.float64),
        imbalance=np.log(np.array([_imbalance(op, threads, is_fp16) for op in work])),
        shape=np.array([_shape(op, is_fp16) for op in work], dtype=np.float64),
    )


def _family(kind: str) -> int:
    return 0 if kind in _MATRIX else 1 if kind in _DEPTHWISE else 2


def _computing(op: OpWork) -> int:
    if op.kind not in (*KERNELS, *FUNCTIONS):
        return len(COMPUTING)
    if not op.is_int8:
        return COMPUTING.index(op.kind)
    kind = "depthwise" if op.kind in _DEPTHWISE else "vector" if op.kind == "cell" else op.kind
    return COMPUTING.index(kind + INT8)


def _moving(op: OpWork) -> str:
    if op.kind in KERNELS:
        name = "depthwise" if op.kind in _DEPTHWISE else "convolution"
        return name + INT8 if op.is_int8 else name
    return _MOVES_LIKE.get(op.kind, op.kind)


_MOVES_LIKE: Final = {
    "scale": "add",
    "exponential": "activation",
    "normalisation": "activation",
}


_MAPPED: Final = (*_PRODUCTS, *_DEPTHWISE)
_IN_PLACE: Final = ("activation", "exponential")


def _start(op: OpWork) -> int:
    if op.kind in _VECTORS:
        return STARTING.index(op.kind)
    return min(_family(op.kind), 1) if op.kind in KERNELS else STARTING.index("other")


def _groups(op: OpWork) -> int:
    """How many kernels a grouped convolution is."""
    return op.groups if op.kind in ("1x1", "winograd", "dense") else 1


def _amounts(op: OpWork, threads: int, *, is_recent: bool) -> tuple[float, ...]:
    """Millions of MACs, numbers, transformed numbers, weights and traffic, and the footprint."""
    numbers = float(op.numbers_in + op.numbers_out)
    footprint = math.log2(max(4 * numbers / _groups(op), 1)) - 20
    if op.kind in _IN_PLACE:
        footprint -= 1
    macs, transformed, weights = float(op.macs), 0.0, float(op.weights)
    if op.kind == "winograd":
        macs, transformed, weights = _winograd(op, is_recent=is_recent)
    elif op.kind == "dense":
        transformed = float(op.height * op.width * op.channels_in * op.cells)
        transformed *= _packing(op, threads, is_recent=is_recent)
    elif op.kind == "1x1":
        transformed = float(op.height * op.width * op.channels_in)
        transformed *= _packing(op, threads, is_recent=is_recent)
    elif op.kind in _VECTORS:
        macs = weights
        # Since June 2022 an inner product keeps its weights in fp16.
        weights *= 0.5 if is_recent and op.kind == "vector" else 1.0
    elif op.kind in FUNCTIONS:
        macs = float(op.numbers_out)
    elif op.kind == "pool":
        numbers = op.numbers_out * op.cells * 0.5 + op.numbers_in
    elif op.kind == "move":
        numbers = 2.0 * max(op.numbers_in, op.numbers_out)
    if op.kind in _PRODUCTS:
        weights *= 1 + _columns(op, is_recent=is_recent) / _PANEL
    traffic = _traffic(op, transformed)
    if op.is_int8:
        # A number is a byte; what is read in fp32 and quantised makes up for some of it.
        numbers, transformed, weights = 0.4 * numbers, transformed / 2, weights / 4
        traffic, footprint = 0.4 * traffic, footprint - 1.3
    return macs / 1e6, numbers / 1e6, transformed / 1e6, weights / 1e6, traffic / 1e6, footprint


def _traffic(op: OpWork, transformed: float) -> float:
    """Numbers that go to memory and back where the caches are too small for the maps.

    A convolution copies the map that it pads, writes and reads what it transforms, and goes over
    its output once more for the activation.
    """
    numbers = float(op.numbers_in + op.numbers_out)
    if op.kind not in _MAPPED:
        return numbers
    padded = 2.0 * op.numbers_in if op.cells > 1 else 0.0
    return numbers + padded + 2.0 * op.numbers_out + 2.0 * transformed


def _packing(op: OpWork, threads: int, *, is_recent: bool) -> float:
    """How much longer than evenly dealt the columns of a product of matrices take to be packed.

    Since March 2023 ncnn deals them by tiles that fill the second cache; before, evenly.
    """
    if threads == 1 or not is_recent or op.is_int8:
        return 1.0
    depth = op.channels_in // _groups(op) * op.cells
    columns = op.height * op.width
    tile = max(_CACHE // max(depth, 1) - 16, 4)
    tiles = math.ceil(columns / tile)
    return math.ceil(tiles / threads) * threads / tiles


_PANEL: Final = 256
"""Columns of a product of matrices for which its weights are read once more."""


def _columns(op: OpWork, *, is_recent: bool) -> int:
    """Columns of a product of matrices: cells of the map, or Winograd's tiles of it."""
    side = _tile(op, is_recent=is_recent) if op.kind == "winograd" else 1
    return math.ceil(op.height / side) * math.ceil(op.width / side)


_CACHE: Final = 131072
"""Numbers that a second cache of 512 KB holds."""


def _tile(op: OpWork, *, is_recent: bool) -> int:
    """Cells of the map that a Winograd tile makes along each side, as ncnn chooses.

    Since March 2023 by channels, before by the side of the padded map; in int8 always 4.
    """
    if op.is_int8:
        return 4
    groups = _groups(op)
    if is_recent:
        channels = op.channels_in // groups, op.channels_out // groups
        return 6 if max(channels) <= 128 else 4 if min(channels) >= 8 else 2

    def is_small(side: int) -> bool:
        return side <= 10 or 15 <= side <= 18 or side in (21, 22)

    return 4 if is_small(op.height + 2) and is_small(op.width + 2) else 6


def _winograd(op: OpWork, *, is_recent: bool) -> tuple[float, float, float]:
    """MACs, transformed numbers and weights of a convolution in Winograd's form."""
    side, groups = _tile(op, is_recent=is_recent), _groups(op)
    cells = (side + 2) ** 2
    count = math.ceil(op.height / side) * math.ceil(op.width / side) * cells
    macs = count * op.channels_in * op.channels_out / groups
    numbers = count * (op.channels_in + op.channels_out)
    return macs, (0.5 if op.is_int8 else 1.0) * numbers, op.weights * cells / 9


def _imbalance(op: OpWork, threads: int, is_fp16: bool) -> float:
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


SHAPES: Final = 20
"""How many numbers say where a shape stands."""


def _shape(op: OpWork, is_fp16: bool) -> list[float]:
    """Where a shape stands: logarithms about a usual size, and remainders by the vector width."""
    groups = _groups(op)
    channels_in, channels_out = op.channels_in // groups, op.channels_out // groups
    family = _family(op.kind)
    _, depthwise, rest = (float(family == i) for i in range(3))
    matrix = float(op.kind in _PRODUCTS)
    mover = float(op.kind in ("pool", "move", "upsample", "global pool", "reduction"))
    wide_in, wide_out = _log(channels_in), _log(channels_out)
    area = (_log(op.height * op.width) - 8) / 3
    columns = (_log(op.height * op.width / (16 if op.kind == "winograd" else 1)) - 8) / 3
    strided = float(op.stride == 2)
    has_weights = family < 2
    return [
        matrix * (wide_in - 6.5) / 2,
        matrix * (wide_out - 6.5) / 2,
        matrix * columns,
        depthwise * (wide_in - 6.5) / 2,
        depthwise * area,
        mover * (wide_out - 6) / 2,
        mover * area,
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
        # It copies patches; an image's own convolution reads channels that are not packed.
        float(op.kind == "dense"),
        float(op.kind == "dense" and channels_in <= 3),
    ]


def _log(value: float) -> float:
    return math.log2(max(value, 1))
