"""The random numbers that a board puts into emitted graphs: how large they are.

An int8 graph holds scales, which fit weights and maps that only the board draws. What both sides
need stands here, and goes to the board in a pack's header.
"""

from __future__ import annotations

import math
from typing import Final

BIAS_FAN_IN: Final = 200
"""Makes random biases small, whatever they are added to."""

MAP_LIMIT: Final = 4.0
"""The largest number of a random map in int8: of ordinary random numbers few are larger."""

WEIGHT_GAIN: Final = 6.0
"""Uniform weights of up to sqrt(6 / fan_in) have a variance of 2 / fan_in, which keeps a signal's
size from layer to layer (arXiv 1502.01852)."""

TOLD: Final[dict[str, float]] = {
    "bias_fan_in": BIAS_FAN_IN,
    "map_limit": MAP_LIMIT,
    "weight_gain": WEIGHT_GAIN,
}
"""What the header of a pack tells the board."""


def weight_limit(fan_in: int) -> float:
    """The largest random weight where so many inputs are summed."""
    return math.sqrt(WEIGHT_GAIN / max(fan_in, 1))
