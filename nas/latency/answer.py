"""What a prediction is, and the contracts of whatever makes one.

A study, a report and a command know this, and no predictor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Protocol

from nas.latency.device import TableKey
from nas.space.blocks import Block, Layer
from nas.space.image_size import ImageSize, sides
from nas.space.modules import MODULES
from nas.space.spec import ModelSpec


class LatencyKind(str, Enum):
    """Where a latency comes from. The three never share a column."""

    MEASURED = "measured"
    PREDICTED = "predicted"
    ESTIMATED = "estimated"


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """A latency in ms, with its 90 % interval and where it comes from.

    measured_share  the share of the sum that stands on blocks timed on the board (0 to 1)
    heldout_mape    mean absolute relative error on whole networks never fitted (a fraction)
    way             of several ways to run on the board the one it is of, as the key of a table
                    has it (ncnn-int8-4t); None where there is one way alone
    others          ms on further boards, where a search weighs the latency there as well
    """

    ms: float
    low_ms: float
    high_ms: float
    kind: LatencyKind
    measured_share: float
    heldout_mape: float
    way: str | None = None
    others: tuple[float, ...] = ()

    @property
    def each_ms(self) -> tuple[float, ...]:
        """The latency on every board that a search weighs, this one's first."""
        return (self.ms, *self.others)


HELD_OUT: Final[dict[LatencyKind, str]] = {
    LatencyKind.MEASURED: "nothing: it was timed as a whole",
    LatencyKind.PREDICTED: "whole detectors held out",
    LatencyKind.ESTIMATED: "held-out networks of public logs",
}
"""What `heldout_mape` was found on, in words."""


class LatencyModel(Protocol):
    """What answers how long a detector takes.

    `predict` gives a Latency for every detector that the house can build, for a square image of
    `image_size` pixels (a multiple of the largest stride), the same answer every time.
    """

    def predict(self, spec: ModelSpec, image_size: ImageSize) -> Latency:
        """How long the detector takes."""
        ...


class TableModel(LatencyModel, Protocol):
    """A `LatencyModel` made from a table, which can say where the time goes and what it stands on.

    key         what the table is of
    kind        of all its answers
    provenance  board, runtime, date, error and doubts, for reports
    """

    key: TableKey
    kind: LatencyKind
    provenance: dict[str, Any]

    def parts(self, spec: ModelSpec, image_size: ImageSize) -> tuple[LayerTime, ...]:
        """Each layer's part in the detector's time, in order."""
        ...

    def predict_blocks(self, walk: Sequence[Block]) -> Latency:
        """How long a network of these blocks takes (ms)."""
        ...

    def doubts(self, walk: Sequence[Block]) -> list[str]:
        """Why the answer for such a network is doubtful, beside what holds for the whole table."""
        ...


class WorkKind(Enum):
    """What a network's time goes to. A measured table tells computing from memory; an estimated
    one tells which ops; the words for them are a command's."""

    POINTWISE = "pointwise"
    DENSE = "dense"
    GROUPED = "grouped"
    POINTWISE_COMPUTING = "pointwise_computing"
    DENSE_COMPUTING = "dense_computing"
    GROUPED_COMPUTING = "grouped_computing"
    POINTWISE_MEMORY = "pointwise_memory"
    DENSE_MEMORY = "dense_memory"
    GROUPED_MEMORY = "grouped_memory"
    UNFILLED = "unfilled"
    STARTING = "starting"
    ELEMENT_WISE = "element_wise"
    MOVING = "moving"
    SQUEEZE_EXCITE = "squeeze_excite"
    OTHER = "other"


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerTime:
    """A layer's part in a network's time; the parts add up to its latency.

    stage  where it stands: the backbone by the stride of its output (P1/2, P2/4, ...), neck, head
    kinds  the kinds of work in it and the ms of each, by the cost model
    """

    layer: int
    stage: str
    module: str
    what: str
    ms: float
    is_measured: bool
    kinds: dict[WorkKind, float]


def part_of(
    layer: Layer, stage: str, ms: float, split: dict[WorkKind, float], *, is_measured: bool
) -> LayerTime:
    """A layer's part; `split` is its ms by kind of work."""
    times = f"{len(layer.blocks)} x " if len(layer.blocks) > 1 else ""
    return LayerTime(
        layer=layer.index,
        stage=stage,
        module=layer.row.module,
        what=f"{times}{layer.blocks[0]}",
        ms=ms,
        is_measured=is_measured,
        kinds=split,
    )


def stage_of(layer: Layer, backbone_rows: int, image_size: ImageSize) -> str:
    """Where a layer stands: the backbone by the stride of its output, neck, or head."""
    if layer.index < backbone_rows:
        stride = round(sides(image_size)[0] / layer.height)
        return f"P{stride.bit_length() - 1}/{stride}"
    return "head" if MODULES[layer.row.module].is_head else "neck"
