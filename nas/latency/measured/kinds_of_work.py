"""What makes a model slow on a board: a cost model's terms by kind of work.

G1 to G4 are ShuffleNetV2's rules (arXiv 1807.11164, section 2): equal widths keep the memory that
1x1 convolutions access small (G1), grouped convolutions access more of it (G2), many small ops lose
time in starting (G3, fragmentation), and element-wise ops are not free (G4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nas.latency.answer import WorkKind
from nas.latency.measured.cost_model import TERMS, op_terms
from nas.space.blocks import Block
from nas.space.ops import Op, expand

Array = NDArray[np.float64]

MEMORY: Final = ("maps read by convolutions", "maps written by convolutions", "weights read")

MEMORY_OF: Final[dict[str, WorkKind]] = {
    "1x1": WorkKind.POINTWISE_MEMORY,
    "grouped": WorkKind.GROUPED_MEMORY,
    "dense": WorkKind.DENSE_MEMORY,
}

KINDS: Final[dict[str, WorkKind]] = {
    "start": WorkKind.STARTING,
    "convolutions": WorkKind.STARTING,
    "other ops": WorkKind.STARTING,
    "MACs dense": WorkKind.DENSE_COMPUTING,
    "MACs dense, stride 2": WorkKind.DENSE_COMPUTING,
    "MACs 1x1": WorkKind.POINTWISE_COMPUTING,
    "MACs depthwise": WorkKind.GROUPED_COMPUTING,
    "MACs depthwise, stride 2": WorkKind.GROUPED_COMPUTING,
    "MACs on channels not of 16": WorkKind.UNFILLED,
    "MACs on channels not of 8": WorkKind.UNFILLED,
    "activations": WorkKind.ELEMENT_WISE,
    "adds and products": WorkKind.ELEMENT_WISE,
    "concats": WorkKind.MOVING,
    "pools": WorkKind.MOVING,
    "upsamples": WorkKind.MOVING,
}
"""Term of the cost model -> kind of work; the terms of MEMORY go by the convolution that they are
of."""


def shares(rates: Array, blocks: Sequence[Block]) -> dict[WorkKind, float]:
    """The share of each kind of work in the blocks' time by these rates of TERMS; they sum to 1."""
    found: dict[WorkKind, float] = {}
    for block in blocks:
        _add(found, WorkKind.STARTING, float(rates[TERMS.index("start")]))
        for op in expand(block).ops:
            parts = op_terms(op) * rates
            for place in np.flatnonzero(parts):
                _add(found, _kind(TERMS[place], op), float(parts[place]))
    total = max(sum(found.values()), 1e-12)
    return {kind: ms / total for kind, ms in found.items()}


def _add(found: dict[WorkKind, float], kind: WorkKind, ms: float) -> None:
    found[kind] = found.get(kind, 0.0) + ms


def _kind(term: str, op: Op) -> WorkKind:
    if term not in MEMORY:
        return KINDS[term]
    shape = "grouped" if op.groups > 1 else "1x1" if op.kernel == 1 else "dense"
    return MEMORY_OF[shape]
