"""An architecture as numbers that carry from space to space: what a surrogate learns over.

They are counted from the work of its ops (nas.latency.estimated.op_work), the form that our own
graphs and networks known by a log alone have in common. Amounts are logarithms; what an
architecture is made of stands as shares, so that it is told apart from how large it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nas.latency.estimated.op_work import OpWork, graph_work
from nas.space.block import Block
from nas.space.ops import expand

Array = NDArray[np.float64]

POINTWISE: Final = ("1x1", "vector", "cell")
DEPTHWISE: Final = ("depthwise 3x3", "depthwise 5x5", "depthwise")

LEVELS: Final = (2, 4, 8, 16, 32)
"""Pixels of the image on each side of a cell of a level's maps."""

FINEST: Final = 8
"""Pixels of a cell of a head's finest level: an object's cells are counted there."""

LARGE_CELLS: Final = 25
"""Weights of a 5x5 kernel for each pair of channels."""


class _Amount(IntEnum):
    """Where an amount stands; the depth, channels and MACs of each level come after these."""

    MACS = 0
    WEIGHTS = 1
    POINTWISE = 2
    DEPTHWISE = 3
    LARGE = 4
    GATES = 5
    EXPONENTIAL = 6
    WRITTEN = 7


NAMES: Final = (
    "log image side",
    "log object side",
    "log object cells",
    "log latency",
    "log macs",
    "log weights",
    "pointwise share",
    "depthwise share",
    "5x5 share",
    "gates",
    "exponential share",
    *(f"log depth at {level}" for level in LEVELS),
    *(f"log width at {level}" for level in LEVELS),
    *(f"macs share at {level}" for level in LEVELS),
)
"""What the numbers are, in their order."""


def amounts(work: Sequence[OpWork], image: tuple[int, int]) -> Array:
    """What ops amount to in an image of this height and width: numbers that add up over parts."""
    side = math.sqrt(image[0] * image[1])
    found = np.zeros(len(_Amount) + 3 * len(LEVELS))
    for op in work:
        if not op.weights:
            found[_Amount.GATES] += op.kind == "scale"
            found[_Amount.EXPONENTIAL] += op.numbers_out if op.kind == "exponential" else 0
            continue
        macs, log_cell = op.macs, math.log(side) - 0.5 * math.log(op.height * op.width)
        found[_Amount.MACS] += macs
        found[_Amount.WEIGHTS] += op.weights
        found[_Amount.POINTWISE] += macs if op.kind in POINTWISE else 0
        found[_Amount.DEPTHWISE] += macs if op.kind in DEPTHWISE else 0
        found[_Amount.LARGE] += macs if op.cells == LARGE_CELLS else 0
        found[_Amount.WRITTEN] += op.numbers_out
        level = min(range(len(LEVELS)), key=lambda i: abs(math.log(LEVELS[i]) - log_cell))
        own = found[len(_Amount) + 3 * level :]
        own[0] += 1
        own[1] += op.channels_out
        own[2] += macs
    return found


@lru_cache(maxsize=65536)
def block_amounts(block: Block, image: tuple[int, int]) -> Array:
    """The amounts of a block."""
    return amounts(graph_work(expand(block)), image)


def describe(total: Array, image: tuple[int, int], latency_ms: float, object_share: float) -> Array:
    """The numbers NAMES (len(NAMES),) of an architecture at an image size.

    total         its amounts
    image         height and width in pixels
    object_share  the median side of the data's objects, as a share of the image's side
    """
    side = math.sqrt(image[0] * image[1])
    macs, written = total[_Amount.MACS], total[_Amount.WRITTEN]
    depths, channels, level_macs = total[len(_Amount) :].reshape(len(LEVELS), 3).T
    return np.concatenate(
        [
            [
                math.log(side),
                math.log(object_share * side),
                2 * math.log1p(object_share * side / FINEST),
                math.log(latency_ms),
                math.log(macs),
                math.log(total[_Amount.WEIGHTS]),
                total[_Amount.POINTWISE] / macs,
                total[_Amount.DEPTHWISE] / macs,
                total[_Amount.LARGE] / macs,
                math.log1p(total[_Amount.GATES]),
                total[_Amount.EXPONENTIAL] / written,
            ],
            np.log1p(depths),
            np.log(np.maximum(channels / np.maximum(depths, 1), 1)),
            level_macs / macs,
        ]
    )
