"""Answers for networks of which a table knows little: other spaces', or nobody's.

The table's cost model answers for blocks that were never timed, and the correction of the fit whose
networks are most alike in size for the network. How far off that is, was measured on this kind of
table itself (LOG.md): one space's blocks and fit predicted the timed networks of another, for
twelve pairs of four spaces, 0.1 to 320 ms. Networks as large as those of the fit were off by 4 to
11 % (MAPE), others the further the larger or smaller they are, up to 72 %. With the widths below
the interval held 90 % or more of each pair's networks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from nas.latency.measured.fit_file import SpaceFit

ALIKE: Final = 0.12
"""Half of the 90 % interval (logarithm) that a network of another space has, if none of it was
timed and it is as large as the fit's networks."""

FURTHER: Final = 0.14
"""So much is added for each factor of e by which it is larger or smaller than those."""

MOST: Final = 1.5
"""A correction is trusted up to this factor where it was not fitted to networks like these."""


def nearest_fit(fits: Sequence[SpaceFit], ms: float) -> SpaceFit:
    """The fit whose networks are most like one of so many ms; of several the most exact."""
    return min(fits, key=lambda fit: (beyond(fit, ms), fit.report.mape))


def beyond(fit: SpaceFit, ms: float) -> float:
    """How far a network of so many ms is beyond those of a fit (logarithm), 0 within."""
    report = fit.report
    return max(math.log(report.fastest_ms / ms), math.log(ms / report.slowest_ms), 0.0)


def extra_width(fit: SpaceFit, ms: float, measured_share: float) -> float:
    """What half of the interval of such a network is wider than by the fit's own (logarithm)."""
    return (1 - measured_share) * (ALIKE + FURTHER * beyond(fit, ms))


def doubt(measured: int, blocks: int, space: str, fit: SpaceFit, remedy: str) -> str:
    """What a space's answers stand on, where the table was not made for it, and what helps."""
    told = f"{measured} of {blocks}"
    known = f"none of this space's blocks were measured: {told}"
    if measured:
        known = f"of {space}'s blocks {told} were measured"
    return (
        f"{known}; the cost model answers for the others, in a wider interval; the error stated is "
        f"that of {fit.space}. {remedy}"
    )
