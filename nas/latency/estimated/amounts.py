"""Amounts of work: how much of a unit an op needs, and what all runtimes do alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from nas.latency.estimated.op_work import OpWork


@dataclass(frozen=True, kw_only=True, slots=True)
class Amount:
    """So much of a unit (a count).

    footprint_bytes  what must lie in the caches for it to cost nothing; 0: it always counts
    """

    unit: str
    count: float
    footprint_bytes: float = 0.0


CALL: Final = 1e6
"""One call: costs are those of a million of a unit, calls excepted."""

PLAIN_MS: Final[dict[str, float]] = {
    "exponentials": 1.5,
    "elements": 0.7,
    "moved": 0.7,
    "pooled": 0.2,
    "upsampled": 0.7,
    "convolutions": 0.02,
    "other ops": 0.01,
}
"""What a million of these units (or one call) may take in ms, roughly, in any runtime in fp32."""

_UNITS: Final[dict[str, str]] = {
    "exponential": "exponentials",
    "move": "moved",
    "output": "moved",
    "detections": "moved",
    "pool": "pooled",
    "global pool": "pooled",
    "reduction": "pooled",
    "upsample": "upsampled",
}
"""Kind of work without weights -> its unit; any other kind is work on elements."""


def memory_amount(op: OpWork, number_bytes: int) -> Amount:
    """The maps that an op reads and writes."""
    moved = op.numbers_in + op.numbers_out
    return Amount(unit="memory", count=moved, footprint_bytes=number_bytes * moved)


def plain_amounts(op: OpWork) -> list[Amount]:
    """What an op without weights needs, beside the memory."""
    numbers = op.numbers_in if op.kind in ("global pool", "reduction") else op.numbers_out
    count = numbers * (op.cells if op.kind == "pool" else 1)
    return [
        Amount(unit=_UNITS.get(op.kind, "elements"), count=count),
        Amount(unit="other ops", count=CALL),
    ]
