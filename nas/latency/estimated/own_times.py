"""Estimated tables from a person's own figures: a log of benchncnn, a CSV of times, or both.

What was timed with one runtime and thread count is evidence for each of their tables together, as
the networks of a log are: in int8, and in what the cores otherwise compute in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np

from nas import NasError, stats
from nas.latency.device import Device, TableKey, check_key
from nas.latency.estimated.board_model import MODELS
from nas.latency.estimated.op_work import OpWork
from nas.latency.estimated.own_fit import ORT_MODELS, fit_any
from nas.latency.estimated.plausible import check_figures
from nas.latency.estimated.public_log import LogError, PublicLog
from nas.latency.estimated.tables import (
    COVERAGE,
    ENDING,
    FEWEST_NETWORKS,
    RECENT,
    EstimatedTable,
    HeldOutErrors,
    arithmetic_of,
    as_known_here,
    estimate_from_log,
    estimate_path,
    known_networks,
    network_ms,
    read_estimate,
    write_estimate,
)
from nas.latency.estimated.times_csv import TimedModel, TimesFile
from nas.latency.measured.fit_file import read_fits
from nas.latency.measured.table import profile_command, write_beside

FEWEST_INT8: Final = 3
"""Of them in int8, for a table of int8."""

ODD: Final = 2.0
"""A network that the others predict worse than by this factor is named: its row may be wrong."""

TURNS: Final = 12
"""Into so many parts a person's networks are divided, each of which is left out in turn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """Whole networks that one table is fitted to, by name: work, ms, and whose they are alike.

    group  networks that share a model (other sizes of it, its int8 form) count as one
    own    the names of those that a CSV has
    """

    networks: Mapping[str, Sequence[OpWork]]
    ms: Mapping[str, float]
    group: Mapping[str, object]
    own: tuple[str, ...]
    int8: int
    doubts: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many different networks there are."""
        return len({self.group[name] for name in self.networks})


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnTables:
    """The tables that could be made, and for each other key in the files why it couldn't."""

    tables: tuple[EstimatedTable, ...]
    refused: tuple[tuple[TableKey, NasError], ...]


def estimate_from_own(
    device: Device,
    times: TimesFile,
    where: str,
    date: str,
    log: PublicLog | None = None,
    log_key: TableKey | None = None,
) -> OwnTables:
    """A table for the key of a log, and for each in a CSV; `where` names the files.

    Raises what stands in the way of the first where no table can be made at all.
    """
    if log is not None:
        log = as_known_here(log)
    if log is not None and log_key is not None and not times.rows:
        table = estimate_from_log(log_key, device, log, where, date)
        return OwnTables(tables=(_judged(table, device, where),), refused=())
    keys = dict.fromkeys([log_key] if log_key else [])
    keys |= dict.fromkeys(_key(device, row) for row in times.rows)
    tables: list[EstimatedTable] = []
    refused: list[tuple[TableKey, NasError]] = []
    for key in keys:
        try:
            check_key(key, device)
            arithmetic = _arithmetic(key, device, where)
            found = _evidence(key, device, times.rows, log, log_key)
            _check_enough(key, found, where)
            doubts = check_figures(found.networks, found.ms, key, device, where)
            doubts += found.doubts
            table = _table(key, arithmetic, found, where, date)
            tables.append(table.model_copy(update={"doubts": [*doubts, *table.doubts]}))
        except NasError as error:
            refused.append((key, error))
    if not tables:
        if refused:
            raise refused[0][1]
        raise LogError(where, "a row of the CSV can be used", "none")
    return OwnTables(tables=tuple(tables), refused=tuple(refused))


def _judged(table: EstimatedTable, device: Device, where: str) -> EstimatedTable:
    """The table of a log with doubts about its times; LogError where they can't be."""
    ms = {name: one.measured_ms for name, one in table.networks.items()}
    doubts = check_figures(known_networks(list(ms)), ms, table.key, device, where)
    return table.model_copy(update={"doubts": [*doubts, *table.doubts]})


def _key(device: Device, row: TimedModel) -> TableKey:
    return TableKey(
        device=device.name, runtime=row.runtime, precision=row.precision, threads=row.threads
    )


def _arithmetic(key: TableKey, device: Device, where: str) -> Literal["fp32", "fp16"]:
    """What the board computes in beside int8; LogError where no shared model knows it."""
    known = sorted([*(path.stem for path in MODELS.glob("*-fp*.json")), *ORT_MODELS])
    usual = arithmetic_of(device) if key.runtime == "ncnn" else "fp32"
    name = usual if key.precision == "int8" else key.precision
    is_known = f"{key.runtime}-{name}" in known
    is_known &= key.precision != "int8" or key.runtime == "ncnn"
    for arithmetic in ("fp32", "fp16"):
        if name == arithmetic and is_known:
            return arithmetic
    raise LogError(
        where,
        f"boards are known in public logs by which {key.runtime} {key.precision} can be estimated",
        f"known: {', '.join(known)} (and int8 in ncnn)",
        f"Leave those rows out, or measure the board: {profile_command(key)}",
    )


def _evidence(
    key: TableKey,
    device: Device,
    rows: Sequence[TimedModel],
    log: PublicLog | None,
    log_key: TableKey | None,
) -> Evidence:
    """What is known of the board in the key's runtime, on its threads."""
    usual = arithmetic_of(device) if key.runtime == "ncnn" else "fp32"
    together = (usual, "int8") if key.precision in (usual, "int8") else (key.precision,)
    networks: dict[str, Sequence[OpWork]] = {}
    ms: dict[str, float] = {}
    group: dict[str, object] = {}
    is_of_log = log_key is not None and (key.runtime, key.threads) == ("ncnn", log_key.threads)
    if log is not None and is_of_log and len(together) > 1:
        networks |= known_networks([row.network for row in log.timings])
        ms |= {row.network: row.min_ms for row in log.timings}
        group |= {name: name for name in networks}
    own = [
        row
        for row in rows
        if (row.runtime, row.threads) == (key.runtime, key.threads) and row.precision in together
    ]
    for row in own:
        networks[row.name], ms[row.name] = row.work, row.ms
        group[row.name] = (replace(row.spec, image_size=None), row.precision)
    return Evidence(
        networks=networks,
        ms=ms,
        group=group,
        own=tuple(row.name for row in own),
        int8=len({group[n] for n in networks if any(op.is_int8 for op in networks[n])}),
        doubts=log.doubts if log is not None and len(own) < len(networks) else (),
    )


def _check_enough(key: TableKey, found: Evidence, where: str) -> None:
    """LogError where the networks are too few."""
    needed, got = FEWEST_NETWORKS, found.count
    what = f"{needed} different networks of {key} (a model at several sizes counts once)"
    if key.precision == "int8" and found.int8 < FEWEST_INT8:
        needed, got = FEWEST_INT8, found.int8
        what = f"{needed} different networks in int8, for {key}"
    if got < needed:
        raise LogError(where, f"there are at least {what}", str(got), "Time some more of them")


def _table(
    key: TableKey, arithmetic: Literal["fp32", "fp16"], found: Evidence, where: str, date: str
) -> EstimatedTable:
    """The table, its error being the larger one of two: that of public logs, and of one's own."""
    table = fit_any(
        found.networks,
        found.ms,
        key,
        arithmetic=arithmetic,
        # A log says which ncnn it is of; a person's own models are timed with today's.
        is_recent=RECENT in found.ms or len(found.own) == len(found.networks),
        source=where,
        date=date,
    )
    off = errors_in_turn(table, found)
    if off is None:
        return table
    own = heldout_of(off)
    odd = [
        f"{name} took {1 / factor:.2g} times as long as the other networks say"
        for name, factor in off.items()
        if max(factor, 1 / factor) > ODD
    ]
    doubt = (
        f"each of the {own.count} networks of {where} left out in turn was off by {own.mape:.0%}; "
        "what no public log has (below) may be in them"
    )
    is_wider = own.interval_quantile > table.heldout.interval_quantile
    heldout = own if is_wider else table.heldout
    if odd:
        odd = [f"{'; '.join(odd)}: are these rows' image sizes those that were timed?"]
    return table.model_copy(update={"heldout": heldout, "doubts": [*odd, *table.doubts, doubt]})


def errors_in_turn(table: EstimatedTable, found: Evidence) -> dict[str, float] | None:
    """Predicted over measured for a person's own networks, each left out with its like.

    None where there is but one.
    """
    groups = list(dict.fromkeys(found.group[name] for name in found.own))
    if len(groups) < 2:
        return None
    names = list(found.networks)
    place = np.array([groups.index(found.group[n]) if n in found.own else -1 for n in names])
    off = np.full(len(names), np.nan)
    for turn in range(min(TURNS, len(groups))):
        out = [i for i in range(len(names)) if place[i] >= 0 and place[i] % TURNS == turn]
        kept = {name: found.networks[name] for i, name in enumerate(names) if i not in out}
        without = fit_any(
            kept,
            found.ms,
            table.key,
            arithmetic=table.arithmetic,
            is_recent=table.is_recent,
            source=table.sources[0],
            date=table.date,
        )
        left_out = {names[i]: found.networks[names[i]] for i in out}
        off[out] = network_ms(without, left_out) / [found.ms[names[i]] for i in out]
    return {name: float(off[i]) for i, name in enumerate(names) if place[i] >= 0}


def heldout_of(off: Mapping[str, float]) -> HeldOutErrors:
    """The errors of networks that were left out in turn, predicted over measured."""
    values = np.array(list(off.values()))
    return HeldOutErrors(
        count=len(values),
        runs=1,
        mape=round(stats.mape(values, np.ones(len(values))), 4),
        interval_quantile=round(stats.conformal_quantile(np.log(values), COVERAGE), 4),
    )


def keep_before(
    table: EstimatedTable, root: Path | None = None
) -> tuple[EstimatedTable, Path] | None:
    """The other table that answered until now, and where it is kept.

    One that stands in the new one's place is copied, another one stays where it lies. None where
    there is none, or it says the same. Nothing of an earlier table is lost.
    """
    before = read_estimate(table.key, root)
    if before is None or before == table.model_copy(update={"date": before.date}):
        return None
    path = estimate_path(table.key, root)
    if path != table.key.new_file(ENDING, root):
        return before, path
    number = 1
    while (kept := path.with_suffix(f".before-{number}.json")).exists():
        number += 1
    write_beside(kept, path.read_text(encoding="utf-8"))
    return before, kept


def put_in_place(table: EstimatedTable, root: Path | None = None) -> list[str]:
    """Writes a table; lines that say where, and what it replaces."""
    replaced = keep_before(table, root)
    said = [f"written: {write_estimate(table, root)}"]
    if replaced is not None:
        before, kept = replaced
        said.append(
            f"it answers for {table.key} instead of the table of {before.date} "
            f"({before.sources[0]}), which is kept as {kept}"
        )
    if read_fits(table.key, root):
        said.append(f"{table.key} has a measured table, and that goes on answering for it")
    return said


def told_of_estimate(table: EstimatedTable) -> str:
    """What an estimated table stands on and how far off it may be, in lines for the terminal."""
    heldout = table.heldout
    runs = f"{heldout.runs} run{'s' if heldout.runs > 1 else ''} of boards"
    lines = [f"{table.key}: estimated from {len(table.networks)} networks of {table.sources[0]}"]
    width = max(map(len, table.networks))
    lines += [
        f"  {name:{width}} {one.measured_ms:9.2f} ms, fitted {one.fitted_ms:9.2f} ms"
        for name, one in table.networks.items()
    ]
    return "\n".join(
        [
            *lines,
            f"error on networks held out whole ({heldout.count} times, on {runs}): "
            f"MAPE {heldout.mape:.1%}; 90 % of them within a factor of "
            f"{math.exp(heldout.interval_quantile):.2f}",
            *table.doubts,
            f"never seen in public logs: {'; '.join(table.never_seen)}",
        ]
    )
