"""What one would do with a board's log alone: the errors that the shared model has to beat.

Both predict a network from the other float networks of the same log, relative errors weighed
alike: MACs times one number, and non-negative least squares over a dozen amounts (MACs by kind of
kernel, numbers moved, weights, ops).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from board_fit import Array, Runs
from scipy.optimize import nnls

from nas.latency.estimated.op_work import KERNELS, OpWork

INT8: Final = "_int8"


def baselines(runs: Runs, names: list[str], judged: Callable[[str], bool]) -> list[str]:
    """Lines with the errors on a Raspberry Pi 4 and on all boards, at one thread and at four."""
    floats = [i for i, name in enumerate(names) if not name.endswith(INT8)]
    by_kind = runs.counts @ np.array([_amounts(op) for op in runs.work])
    by_macs = by_kind[:, : len(KERNELS)].sum(axis=1, keepdims=True)
    lines = []
    for title, amounts in (("MACs times a number", by_macs), ("least squares", by_kind)):
        for board in ("Raspberry Pi 4", ""):
            for threads in (1, 4):
                rows = [
                    row
                    for row, other in enumerate(runs.boards)
                    if board in other and runs.threads[row] == threads
                ]
                found = [_left_out(runs, row, amounts, floats, names, judged) for row in rows]
                if found:
                    off = np.concatenate(found)
                    lines.append(
                        f"that board's log alone, {title}, {board or 'all boards'}, {threads} "
                        f"threads: MAPE {off.mean():.1%}, median {np.median(off):.1%}, "
                        f"{np.mean(off <= 0.1):.0%} within 10 %"
                    )
    return lines


def _left_out(
    runs: Runs,
    row: int,
    amounts: Array,
    floats: list[int],
    names: list[str],
    judged: Callable[[str], bool],
) -> Array:
    """Absolute relative errors of the judged networks of a run, each left out in turn."""
    there = [i for i in floats if runs.is_known[row, i]]
    off = []
    for held in there:
        if not judged(names[held]):
            continue
        others = [i for i in there if i != held]
        ms = runs.ms[row, others]
        costs, _ = nnls(amounts[others] / ms[:, None], np.ones(len(others)))
        off.append(abs(float(amounts[held] @ costs) / float(runs.ms[row, held]) - 1))
    return np.array(off)


def _amounts(op: OpWork) -> list[float]:
    """MACs by kind of kernel, numbers moved with and without a kernel, weights, and one op."""
    macs = [float(op.macs * (op.kind == kind)) for kind in KERNELS]
    numbers = float(op.numbers_in + op.numbers_out)
    is_kernel = op.kind in KERNELS
    return [*macs, numbers * is_kernel, numbers * (not is_kernel), float(op.weights), 1.0]
