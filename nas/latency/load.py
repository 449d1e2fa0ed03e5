"""Which table answers for a key: the measured one, the estimated one, or one corrected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from nas.latency.answer import TableModel
from nas.latency.device import Runtime, TableKey, read_device
from nas.latency.estimated.corrected import read_correction
from nas.latency.estimated.predictor import EstimatedPredictor, can_be_timed
from nas.latency.estimated.tables import estimate_path, read_estimate
from nas.latency.measured.fit_file import read_fits
from nas.latency.measured.predictor import load_predictor
from nas.latency.measured.table import TableError, measure_remedy
from nas.space.blocks import Block
from nas.space.search_space import SearchSpace


def load_table_model(
    key: TableKey,
    root: Path | None = None,
    space: SearchSpace | None = None,
    num_classes: int = 80,
    walk: Sequence[Block] = (),
) -> TableModel:
    """What answers for a key: its measured table where one was fitted, else its estimated one.

    space, walk  what will be asked for (predictor.load_predictor): the space's networks, or one

    A measured table that is not yet enough for a fit corrects the estimated one by its blocks.
    TableError where there is neither.
    """
    table = None if read_fits(key, root) else read_estimate(key, root)
    if table is None:
        if not key.path(root).exists():
            _refuse_other_threads(key, root)
        return load_predictor(key, root, space, num_classes, walk)
    correction = read_correction(table, key, root) if key.path(root).exists() else None
    device = read_device(key.device, root)
    return EstimatedPredictor(table, device.title, root, correction)


def answered_keys(keys: Sequence[TableKey], root: Path | None = None) -> list[TableKey]:
    """Of combinations of runtimes, precisions and thread counts those that a table answers.

    TableError where the first has none, or where a runtime, a precision or a count is in none.
    """
    kept = [key for key in keys if _has_table(key, root)]
    for key in keys:
        values = (key.runtime, key.precision, key.threads)
        told = list(zip(*((k.runtime, k.precision, k.threads) for k in kept), strict=True))
        is_told = bool(told) and all(v in of for v, of in zip(values, told, strict=True))
        if key not in kept and (key == keys[0] or not is_told):
            load_table_model(key, root)  # which says what there is instead
    return kept


def _has_table(key: TableKey, root: Path | None) -> bool:
    is_measured = key.path(root).exists() or read_fits(key, root)
    return bool(is_measured) or read_estimate(key, root) is not None


def _refuse_other_threads(key: TableKey, root: Path | None) -> None:
    """TableError where estimated tables answer for other thread counts, or nothing can be timed."""
    device = read_device(key.device, root)
    counts = device.threads or range(1, (device.cores or 1) + 1)
    there = [t for t in counts if estimate_path(replace(key, threads=t), root).exists()]
    if there:
        raise TableError(
            "--threads",
            f"there is a table of {key}, measured or estimated",
            "none",
            f"The estimated ones are of {' and '.join(map(str, there))} threads"
            + (f". {measure_remedy(key, root, lead='To measure')}" if can_be_timed(key) else ""),
        )
    if not can_be_timed(key):
        raise TableError(
            "--runtime",
            f"nas.profile times {' and '.join(get_args(Runtime))}; another runtime needs an "
            "estimated table",
            f"none of {key}",
        )
