"""The latency of any detector from an estimated table, and which table answers for a key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np

from nas.latency.answer import Latency, LatencyKind, LayerTime, WorkKind, part_of, stage_of
from nas.latency.device import Runtime, TableKey
from nas.latency.estimated.corrected import CorrectedTable
from nas.latency.estimated.tables import (
    EstimatedTable,
    block_work,
    is_extrapolated,
    work_ms,
)
from nas.latency.measured.table import measure_remedy
from nas.space.blocks import Block, blocks, layers
from nas.space.image_size import ImageSize
from nas.space.spec import ModelSpec

KINDS: Final[dict[str, WorkKind]] = {
    "1x1": WorkKind.POINTWISE,
    "winograd": WorkKind.DENSE,
    "dense": WorkKind.DENSE,
    "depthwise 5x5": WorkKind.GROUPED,
    "depthwise": WorkKind.GROUPED,
    "depthwise 3x3": WorkKind.GROUPED,
    "activation": WorkKind.ELEMENT_WISE,
    "normalisation": WorkKind.ELEMENT_WISE,
    "exponential": WorkKind.ELEMENT_WISE,
    "add": WorkKind.ELEMENT_WISE,
    "scale": WorkKind.ELEMENT_WISE,
    "move": WorkKind.MOVING,
    "pool": WorkKind.MOVING,
    "upsample": WorkKind.MOVING,
    "vector": WorkKind.SQUEEZE_EXCITE,
    "cell": WorkKind.SQUEEZE_EXCITE,
    "global pool": WorkKind.SQUEEZE_EXCITE,
}
"""Kind of work of an op -> what it is in an answer."""

UNSEEN: Final[dict[str, str]] = {
    "vector": "squeeze-and-excite",
    "scale": "squeeze-and-excite",
    "activation": "hard or leaky activations",
    "1x1": "1x1 convolutions",
    **dict.fromkeys(("winograd", "dense"), "dense convolutions"),
    **dict.fromkeys(("depthwise", "depthwise 3x3", "depthwise 5x5"), "depthwise convolutions (G2)"),
    **dict.fromkeys(("normalisation", "exponential", "add"), "element-wise ops (G4)"),
    **dict.fromkeys(("move", "pool", "upsample"), "concats, pools, upsamples"),
    **dict.fromkeys(("cell", "global pool"), "squeeze-and-excite"),
}
"""Kind of work of an op -> the words for it in a doubt, where no network behind a table has it;
others are told as the table names them."""

UNSEEN_LIMIT: Final = 0.02
"""A detector that spends more of its (guessed) time than this in kinds never seen is doubtful."""

GUESS: Final = 2.0
"""Work of kinds never seen may take a half or twice of what is guessed: an assumption, by which
the interval of a detector that has such work is wider than the errors on networks held out."""

EXTRAPOLATED_LIMIT: Final = 0.1
"""A detector that spends more of its time than this in shapes never seen is doubtful."""


class EstimatedPredictor:
    """A `TableModel` made from an estimated table: every block's time is estimated, none measured.

    Its interval is as wide as the errors of networks that were held out whole on every board, and
    wider by GUESS for work of kinds that none of them has.
    """

    def __init__(
        self,
        table: EstimatedTable,
        title: str = "",
        root: Path | None = None,
        correction: CorrectedTable | None = None,
    ) -> None:
        """`title` is the board's, `root` where its file lies; a correction's table answers."""
        table = table if correction is None else correction.table
        self.key = table.key
        self.kind = LatencyKind.ESTIMATED
        self.table = table
        self.provenance = _provenance(table, title, root, correction)
        self._known: dict[Block, tuple[float, float]] = {}

    def predict(self, spec: ModelSpec, image_size: ImageSize) -> Latency:
        """How long the detector takes on the board (ms), estimated."""
        return self.predict_blocks(blocks(spec, image_size))

    def predict_blocks(self, walk: Sequence[Block]) -> Latency:
        """How long a network of these blocks takes (ms), estimated."""
        times = self._times(walk)
        ms, guessed = sum(ms for ms, _ in times), sum(guess for _, guess in times)
        width = float(np.exp(self.table.heldout.interval_quantile))
        return Latency(
            ms=ms,
            low_ms=(ms - guessed + guessed / GUESS) / width,
            high_ms=(ms - guessed + guessed * GUESS) * width,
            kind=LatencyKind.ESTIMATED,
            measured_share=0.0,
            heldout_mape=self.table.heldout.mape,
        )

    def block_ms(self, walk: Sequence[Block]) -> list[float]:
        """The estimated ms of each block; each distinct block is worked out once."""
        return [ms for ms, _ in self._times(walk)]

    def _times(self, walk: Sequence[Block]) -> list[tuple[float, float]]:
        """The estimated ms of each block, and what of it goes to kinds of work never seen."""
        lacking = [block for block in dict.fromkeys(walk) if block not in self._known]
        by_kind = work_ms(self.table, lacking) if lacking else []
        for block, own in zip(lacking, by_kind, strict=True):
            guessed = sum(ms for kind, ms in own.items() if kind not in self.table.seen)
            self._known[block] = sum(own.values()), guessed
        return [self._known[block] for block in walk]

    def extrapolated_share(self, walk: Sequence[Block]) -> float:
        """The share of the time that goes to blocks with a shape outside of what was seen."""
        times = self.block_ms(walk)
        works = block_work(self.table, walk)
        outside = [any(is_extrapolated(self.table, op) for op in ops) for ops in works]
        lost = sum(ms for ms, is_out in zip(times, outside, strict=True) if is_out)
        return lost / max(sum(times), 1e-12)

    def unseen_shares(self, walk: Sequence[Block]) -> dict[str, float]:
        """Words for kinds of work that no network behind the table has -> share of the time."""
        total = max(sum(self.block_ms(walk)), 1e-12)
        found: dict[str, float] = {}
        for own in work_ms(self.table, walk):
            for kind, ms in own.items():
                if kind not in self.table.seen:
                    words = UNSEEN.get(kind, kind)
                    found[words] = found.get(words, 0.0) + ms / total
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    def doubts(self, walk: Sequence[Block]) -> list[str]:
        """Whether it has work of kinds, or much of its time goes to shapes, that no log has."""
        unseen, found = self.unseen_shares(walk), []
        if sum(unseen.values()) > UNSEEN_LIMIT:
            found.append(
                f"no network behind this table has {', '.join(unseen)}: the "
                f"{sum(unseen.values()):.0%} of the time that go there are a guess, for which the "
                f"interval allows a half to {GUESS:g} times; the error stated does not hold"
            )
        share = self.extrapolated_share(walk)
        if not found and share > EXTRAPOLATED_LIMIT:
            found.append(f"{share:.0%} of its time goes to shapes outside of those in the logs")
        return found

    def parts(self, spec: ModelSpec, image_size: ImageSize) -> tuple[LayerTime, ...]:
        """Each layer's part in the detector's time, in order; they add up to it."""
        walked = layers(spec, image_size)
        found = []
        for layer in walked:
            ms = sum(self.block_ms(layer.blocks))
            split: dict[WorkKind, float] = {}
            for own in work_ms(self.table, layer.blocks):
                for name, part_ms in own.items():
                    kind = KINDS.get(name, WorkKind.OTHER)
                    split[kind] = split.get(kind, 0.0) + part_ms
            stage = stage_of(layer, len(spec.backbone), image_size)
            found.append(part_of(layer, stage, ms, split, is_measured=False))
        return tuple(found)


def _provenance(
    table: EstimatedTable, title: str, root: Path | None, correction: CorrectedTable | None
) -> dict[str, Any]:
    heldout = table.heldout
    remedy = f"nas.profile can't time {table.runtime}"
    if can_be_timed(table.key):
        lead = "a measured table replaces it, and twenty of its blocks correct it"
        remedy = measure_remedy(table.key, root, lead=lead)
    doubts = [
        f"estimated from {table.sources[0]}; of held-out networks of public logs nine of ten were "
        f"within a factor of {np.exp(heldout.interval_quantile):.2f} (MAPE {heldout.mape:.1%})",
        f"public logs have never seen: {'; '.join(table.never_seen)}",
        *table.doubts,
        remedy,
    ]
    if correction is not None:
        doubts[0] += ", without the correction"
        doubts.insert(0, correction_words(correction))
    return {
        "device": table.device,
        "runtime": table.runtime,
        "precision": table.precision,
        "threads": table.threads,
        "board": title or table.device,
        "system": "",
        "runtime_version": "(of its log)",
        "date": table.date,
        "space": "networks of public logs",
        "blocks_measured": correction.blocks if correction else 0,
        "blocks_in_space": 0,
        "heldout_networks": heldout.count,
        "heldout_mape": heldout.mape,
        "interval_coverage": None,
        "noise_floor": None,
        "doubts": doubts,
        "sources": table.sources,
        "networks": sorted(table.networks),
    }


def correction_words(correction: CorrectedTable) -> str:
    """What corrected an estimate, and how far off that is."""
    used = correction.table.corrected_by
    blocks = f"{used} measured blocks"
    if used < correction.blocks:
        blocks = f"{used} of {correction.blocks} measured blocks"
    if correction.before is None or correction.after is None:
        return f"estimated, corrected by {blocks}: too few to tell how far off it is now"
    return (
        f"estimated, corrected by {blocks}: those left out in turn were off by "
        f"{correction.after:.1%} of their time ({correction.before:.1%} before)"
    )


def can_be_timed(key: TableKey) -> bool:
    return key.runtime in get_args(Runtime)
