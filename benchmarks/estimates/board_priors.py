"""What is expected of the shared board model (estimated/board_model.py) before any log is read.

START: units of one thread on a usual board. The ratios between them come from elsewhere than the
logs: what the source of ncnn's kernels does for each number, and op_costs.py, which
times ops by themselves (SiLU takes as long as 12 to 25 multiply-accumulates of a 1x1 convolution, a
comparison of boxes as long as one or two scores looked at, a 7x7 depthwise kernel adds into one
register and so waits for each sum, int8 quantises its maps and brings its sums of 32 bits back in
passes of their own). The spreads were chosen by the evidence of a fit and by errors on other
boards than the Raspberry Pi 4.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nas.latency.estimated.board_model import PARAMETERS
from nas.latency.estimated.features import COMPUTING, FUNCTIONS, INT8, MOVING, STARTING

Array = NDArray[np.float64]

START: Final[dict[str, float]] = {
    **{f"compute {kind}": 0.15 for kind in COMPUTING},
    "compute depthwise": 0.9,
    "compute exponential": 3.7,
    "compute normalisation": 10.0,
    **{f"move {kind}": 0.5 for kind in MOVING},
    "move convolution int8": 2.0,
    "move reduction": 4.0,
    "move detections": 3.0,
    "transform": 0.3,
    "weights": 0.5,
    "memory": 0.15,
    **{f"start {kind}": 0.01 for kind in STARTING},
    "cache": 1.0,
}
"""Where the mean of all boards is looked for: ms for a million MACs or numbers, or a call; MB."""


START_FP16: Final[dict[str, float]] = {
    **START,
    "compute normalisation": 20.0,
    "move reduction": 8.0,
    "move detections": 6.0,
    "move output": 1.0,
}
"""The same where the board computes in fp16: beside its kernels, what stays in fp32 is slower."""


def _each(usual: float, **others: float) -> Array:
    """A value for each of PARAMETERS: by its first word, by its name, or the usual one."""
    named = {name.replace("_", " "): value for name, value in others.items()}
    return np.array([named.get(n, named.get(n.split()[0], usual)) for n in PARAMETERS])


IS_INT8: Final = np.array([name.endswith(INT8) for name in PARAMETERS])
"""Parameters of int8's own kernels."""

MEAN: Final = np.where(IS_INT8, 0.35, _each(0.11, compute_exponential=0.1))
"""Spread of the mean of all boards around START, in logarithms like all that follow."""

THREADS: Final = _each(
    0.0, weights=0.5, memory=0.5, move=0.3, start=1.2, move_exponential=0.0, move_detections=1.2
)
"""What four threads do to a unit beside making the whole faster: calls and what suppresses boxes
gain nothing from them, memory little."""

THREADS_SPREAD: Final = _each(0.4, compute=0.15, compute_exponential=0.1, move_reduction=0.8)

RECENT_SPREAD: Final = _each(0.25, compute_exponential=0.6)
"""How far ncnn's recent kernels differ from the older ones; those of SiLU and Sigmoid were written
anew in June 2022."""

OWN: Final = np.where(
    IS_INT8,
    0.25,
    _each(0.12, transform=0.6, weights=0.6, memory=0.6, cache=0.5, compute_exponential=0.3),
)
"""How far a board differs from the others in one parameter alone."""

_KINDS: Final = [name.split()[0] for name in PARAMETERS]
DIRECTIONS: Final = np.array(
    [
        [0.3 * (kind in ("move", "transform", "weights", "memory")) for kind in _KINDS],
        [0.4 * (kind == "start") for kind in _KINDS],
        (0.3 * IS_INT8).tolist(),
        [0.2 * name.startswith("compute depthwise") for name in PARAMETERS],
    ]
)
"""How boards differ in several at once: memory, starting, int8, depthwise kernels."""

SHARING: Final = np.array(
    [0.5 * (kind in ("move", "transform", "weights", "memory")) for kind in _KINDS]
)
"""How boards differ in what four threads gain of memory: as much as the spread of THREADS."""

assert set(START) == set(PARAMETERS)
assert set(FUNCTIONS) <= set(COMPUTING)
