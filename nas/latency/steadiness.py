"""Times brought to the machine's usual state, by the anchors that were timed beside them.

On a machine that others use too, everything in a ring slows down together: memory and caches are
shared. The anchors of the ring show by how much. How far a block's or a network's time follows
its anchors is learnt from the table itself, and that share of the drift is taken off; on a quiet
machine there is next to nothing to take off. Found on a shared 2-core machine at load 3 (LOG.md):
two timings of one detector differed by 6.6 % before and 5.0 % after, and the error of held-out
detectors fell from 5.5 % to 2.7 %.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from nas.latency.measurement import Anchor, Measurement

Place = tuple[int, int]
"""Session and window."""

USUAL: Final = 0.25
"""The quantile of an anchor's times that counts as usual: little else runs, yet no lucky moment."""

UNPROVEN: Final = 0.01
"""Drifts of this size (a share) may be the anchors' own noise: slopes are held back by it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Steadiness:
    """How each window of a table drifted, and how far times follow it.

    drifts   signed share by which the anchors of a window were slower than usual
    slopes   how far blocks, and whole networks, follow: 1 wholly, 0 not at all
    """

    drifts: dict[Place, float]
    block_slope: float
    network_slope: float

    def drift(self, row: Measurement) -> float:
        """The drift of the row's window, a signed share."""
        return self.drifts.get((row.session, row.window), 0.0)

    def ms(self, rows: Sequence[Measurement]) -> float:
        """The time of one thing in ms, steadied, from all its rows: the median over them."""
        return float(np.exp(np.median([self._log_ms(row) for row in rows])))

    def _log_ms(self, row: Measurement) -> float:
        slope = self.block_slope if row.block is not None else self.network_slope
        return float(np.log(row.samples.median_ms()) - slope * np.log1p(self.drift(row)))


def steadiness(anchors: Sequence[Anchor], networks: Iterable[Sequence[Measurement]]) -> Steadiness:
    """The steadiness of a table: its anchors, and the rows of each network that was timed.

    Blocks follow the anchors as each anchor follows the others; networks as the turns of one
    network follow the anchors of their windows.
    """
    found = drifts(anchors)
    logs = _anchor_logs(anchors)
    pairs: list[tuple[list[float], list[float]]] = []
    for name, own in logs.items():
        places = [p for p in own if any(p in logs[other] for other in logs if other != name)]
        others = [
            float(np.median([logs[o][p] for o in logs if o != name and p in logs[o]]))
            for p in places
        ]
        pairs.append((others, [own[p] for p in places]))
    turns = [
        (
            [float(np.log1p(found.get((row.session, row.window), 0.0))) for row in rows],
            [float(np.log(row.samples.median_ms())) for row in rows],
        )
        for rows in networks
    ]
    return Steadiness(drifts=found, block_slope=_slope(pairs), network_slope=_slope(turns))


def drifts(anchors: Sequence[Anchor]) -> dict[Place, float]:
    """(session, window) -> how far its anchors strayed from their usual time, a signed share."""
    ratios: dict[Place, list[float]] = {}
    for own in _anchor_logs(anchors).values():
        for place, value in own.items():
            ratios.setdefault(place, []).append(value)
    return {place: float(np.expm1(np.median(values))) for place, values in ratios.items()}


def _anchor_logs(anchors: Sequence[Anchor]) -> dict[str, dict[Place, float]]:
    """For each anchor, window -> log of its time over its usual time."""
    found: dict[str, dict[Place, float]] = {}
    for anchor in anchors:
        place = (anchor.session, anchor.window)
        found.setdefault(anchor.name, {})[place] = float(np.log(anchor.samples.median_ms()))
    for own in found.values():
        usual = float(np.quantile(list(own.values()), USUAL))
        for place in own:
            own[place] -= usual
    return found


def _slope(groups: Iterable[tuple[list[float], list[float]]]) -> float:
    """How far y follows x within groups, least squares held back as if x had noise: 0 to 1."""
    product = square = 0.0
    count = 0
    for x, y in groups:
        if len(x) < 2:
            continue
        dx, dy = np.array(x) - np.mean(x), np.array(y) - np.mean(y)
        product += float(dx @ dy)
        square += float(dx @ dx)
        count += len(x)
    if not count:
        return 0.0
    return float(np.clip(product / (square + count * UNPROVEN**2), 0.0, 1.0))
