"""What predictions need of a latency table, kept in the user's cache (kept.py).

A table keeps every sample, and what a block takes in calm is found from all of them: one to two
seconds for a table of two thousand blocks. What was found is kept, and the cost models fitted to
it. It is made anew wherever it isn't that of the table as it stands (a digest of the table's bytes,
and one of the code that makes it).
"""

from __future__ import annotations

import hashlib
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from nas.documents import Strict
from nas.latency.cache import keep, kept_path, read_kept
from nas.latency.device import TableKey
from nas.latency.measured.cost_model import CostModel, Smoothness, fit_cost_model
from nas.latency.measured.measurement import DRIFT_LIMIT, INTERVAL_LIMIT
from nas.latency.measured.table import Table, read_content, read_table
from nas.space.blocks import Block

FORMAT: Final = 2
"""Version of the file. 1: the first; 2: a cost model for each fit of the table, not one."""

MOST_MODELS: Final = 8
"""So many cost models are kept of a table; each is half a megabyte for two thousand blocks."""


class KeptCostModel(Strict):
    """A cost model of the table's blocks (cost_model.CostModel), and the smoothness it is for."""

    length: float
    noise: float
    error: float
    rates: list[float]
    features: list[list[float]]
    weights: list[float]

    @property
    def smoothness(self) -> Smoothness:
        """What it was fitted with."""
        return Smoothness(length=self.length, noise=self.noise, error=self.error)

    def cost_model(self) -> CostModel:
        """The cost model as it was fitted."""
        return CostModel(
            rates=np.array(self.rates),
            features=np.array(self.features),
            weights=np.array(self.weights),
            smoothness=self.smoothness,
        )


class Condensed(Strict):
    """A table without its samples.

    key, digest  whose it is: the name of its table, and 16 hex digits of that table's bytes
    code         16 hex digits of the code that made it
    environment  of the last session; is_emulated: of any
    row_count    rows of blocks and networks, repetitions counted
    doubtful     how many blocks have doubtful times; damaged: lines that can't be read
    blocks       every measured block, and its time in calm (ms)
    models       one for each smoothness that was asked for, the last one last
    """

    format: Literal[2]
    key: str
    digest: str
    code: str
    environment: dict[str, Any]
    is_emulated: bool
    row_count: int
    doubtful: int
    damaged: list[int]
    blocks: list[tuple[dict[str, Any], float]]
    models: list[KeptCostModel]

    @cached_property
    def block_ms(self) -> dict[Block, float]:
        """Every measured block with its time in calm (ms)."""
        return {Block.from_dict(block): ms for block, ms in self.blocks}

    def cost_model(self, wanted: Smoothness) -> CostModel | None:
        """The cost model of that smoothness, None where another or none is kept."""
        kept = next((model for model in self.models if model.smoothness == wanted), None)
        return None if kept is None else kept.cost_model()


def read_condensed(
    key: TableKey, root: Path | None = None, smoothness: Smoothness | None = None
) -> Condensed:
    """The table of a key, condensed: from the cache, or from the table and then kept.

    With a smoothness the cost model is in it. TableError where the table can't be read.
    """
    content = read_content(key, root)
    digest = _digest(content)
    path = kept_path(key.path(root), "condensed")
    kept = read_kept(path, Condensed)
    if kept is None or (kept.key, kept.digest, kept.code) != (str(key), digest, code_digest()):
        found = condense(read_table(key, root), digest, smoothness)
    elif smoothness is None or kept.cost_model(smoothness) is not None:
        return kept
    else:
        models = [*kept.models, _kept_model(kept.block_ms, smoothness)][-MOST_MODELS:]
        found = kept.model_copy(update={"models": models})
    keep(found, path)
    return found


def condense(whole: Table, digest: str = "", smoothness: Smoothness | None = None) -> Condensed:
    """The table without its samples."""
    steady, block_ms = whole.steadiness(), whole.block_ms()
    doubtful = sum(
        steady.interval(rows) > INTERVAL_LIMIT
        or steady.drift(rows) > DRIFT_LIMIT
        or all(row.is_throttled for row in rows)
        for rows in whole.blocks.values()
    )
    return Condensed(
        format=FORMAT,
        key=str(whole.key),
        digest=digest,
        code=code_digest(),
        environment=whole.environments[-1] if whole.environments else {},
        is_emulated=any(one.get("is_emulated") for one in whole.environments),
        row_count=whole.row_count(),
        doubtful=doubtful,
        damaged=[number for number, _ in whole.damaged],
        blocks=[(block.to_dict(), ms) for block, ms in block_ms.items()],
        models=[] if smoothness is None else [_kept_model(block_ms, smoothness)],
    )


def _kept_model(block_ms: dict[Block, float], smoothness: Smoothness) -> KeptCostModel:
    model = fit_cost_model(list(block_ms), list(block_ms.values()), smoothness)
    return KeptCostModel(
        length=smoothness.length,
        noise=smoothness.noise,
        error=smoothness.error,
        rates=model.rates.tolist(),
        features=model.features.tolist(),
        weights=model.weights.tolist(),
    )


@cache
def code_digest() -> str:
    """16 hex digits of the code of this room and of nas.space, on which the numbers depend."""
    here = Path(__file__).resolve().parent
    files = sorted([*here.rglob("*.py"), *(here.parent / "space").rglob("*.py")])
    return _digest(b"".join(file.read_bytes() for file in files))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
