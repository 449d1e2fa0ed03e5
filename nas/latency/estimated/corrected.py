"""An estimated table corrected by the first blocks that were measured, and how much that helped.

A profile that was cut short before whole detectors were timed has no fit of its own. Its blocks
then move the estimate's parameters (estimate.corrected); how far off that is, is seen on blocks
that are left out of it. Found once for a table as it stands, and kept in the user's cache
(kept.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import numpy as np

from nas.documents import Strict
from nas.latency.cache import keep, kept_path, read_kept
from nas.latency.device import TableKey
from nas.latency.estimated.tables import EstimatedTable, block_ms, corrected
from nas.latency.measured.table_cache import read_condensed
from nas.space.blocks import Block
from nas.space.ops import expand

FORMAT: Final = 1
"""Version of the file. 1: the first."""

MOST: Final = 200
"""So many blocks correct, those of all times alike: more take seconds and add nothing."""

FEWEST: Final = 10
"""Blocks by which an error can be told."""

TURNS: Final = 5
"""Parts of the blocks, each left out once."""


class CorrectedTable(Strict):
    """A corrected table.

    digest         16 hex digits of what it was made from
    blocks         how many measured blocks there are; `table.corrected_by` of them were used
    before, after  the error (a share of the time) on blocks that the correction did not see: of the
                   estimate, and of the corrected one; None for too few blocks
    """

    format: Literal[1]
    digest: str
    table: EstimatedTable
    blocks: int
    before: float | None
    after: float | None


def read_correction(
    table: EstimatedTable, key: TableKey, root: Path | None = None
) -> CorrectedTable | None:
    """The table corrected by what was measured under its key; None where that is no block."""
    condensed = read_condensed(key, root)
    if not any(expand(block).ops for block in condensed.block_ms):
        return None
    text = f"{condensed.digest} {condensed.code} {table.model_dump_json()}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    path = kept_path(key.path(root), "corrected")
    kept = read_kept(path, CorrectedTable)
    if kept is not None and kept.digest == digest:
        return kept
    found = correct(table, condensed.block_ms, digest)
    keep(found, path)
    return found


def correct(
    table: EstimatedTable, measured_ms: Mapping[Block, float], digest: str = ""
) -> CorrectedTable:
    """The table corrected by measured blocks, with its error on those left out in turn."""
    worked = [block for block in measured_ms if expand(block).ops]
    worked.sort(key=lambda block: (measured_ms[block], block.key()))
    places = np.unique(np.linspace(0, len(worked) - 1, min(MOST, len(worked))).round().astype(int))
    chosen = [worked[place] for place in places.tolist()]
    before = after = None
    if len(chosen) >= FEWEST:
        left_out = np.zeros(len(chosen))
        for turn in range(TURNS):
            others = {b: measured_ms[b] for i, b in enumerate(chosen) if i % TURNS != turn}
            left_out[turn::TURNS] = block_ms(corrected(table, others), chosen[turn::TURNS])
        true = np.array([measured_ms[block] for block in chosen])
        before = float(np.abs(block_ms(table, chosen) - true).sum() / true.sum())
        after = float(np.abs(left_out - true).sum() / true.sum())
    return CorrectedTable(
        format=FORMAT,
        digest=digest,
        table=corrected(table, {block: measured_ms[block] for block in chosen}),
        blocks=len(worked),
        before=before,
        after=after,
    )
