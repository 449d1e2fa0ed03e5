"""What TensorFlow Lite does for an op on an ARM core, as amounts of a dozen units.

In fp32 a convolution is a product of matrices without copied patches (XNNPACK, BSD: tiles of 6
cells by 8 channels), which reads all its weights anew for every few cells: where they do not fit
the cache, each product waits for the memory. In int8 patches are copied first. SiLU is a Sigmoid
and a product; in int8 a table of 256 values makes the Sigmoid. ReLU and ReLU6 are part of the
convolution.
"""

from __future__ import annotations

from typing import Final

from nas.latency.estimated.amounts import CALL, PLAIN_MS, Amount, memory_amount, plain_amounts
from nas.latency.estimated.op_work import OpWork

START_MS: Final[dict[str, float]] = {
    "products": 0.06,
    "products missed": 0.06,
    "patches": 0.05,
    "weights": 0.5,
    "memory": 1.3,
    **PLAIN_MS,
}
"""What a million of each unit (or one call) may take in ms on four cores, roughly: where a fit
starts from."""

INT8_START_MS: Final[dict[str, float]] = {
    **{unit: ms / 2 for unit, ms in START_MS.items()},
    "patches": 0.3,
}
"""The same in int8."""

SPEEDS: Final = (
    ("products",),
    ("patches", "moved", "upsampled"),
    ("exponentials", "elements", "pooled"),
    ("products missed", "weights", "memory"),
    ("convolutions", "other ops"),
)
"""What is faster or slower together on another board."""


def fp32_amounts(op: OpWork, threads: int) -> list[Amount]:
    """What an op needs of each unit in fp32 (per board: the threads are within the costs)."""
    return _amounts(op, 4)


def int8_amounts(op: OpWork, threads: int) -> list[Amount]:
    """The same where weights and maps are bytes."""
    return _amounts(op, 1)


def _amounts(op: OpWork, number_bytes: int) -> list[Amount]:
    if not op.weights:
        return [memory_amount(op, number_bytes), *plain_amounts(op)]
    cells, depth = op.height * op.width, op.weights // op.channels_out
    products = float(-(-op.channels_out // 8) * 8 * (-(-cells // 6) * 6) * depth)
    return [
        memory_amount(op, number_bytes),
        Amount(unit="products", count=products),
        Amount(
            unit="products missed",
            count=products,
            footprint_bytes=number_bytes * op.weights,
        ),
        Amount(unit="patches", count=cells * op.cells * op.channels_in),
        Amount(unit="weights", count=op.weights),
        Amount(unit="convolutions", count=CALL),
    ]
