"""Estimated tables: a board that nobody here has touched, from what was published about it.

    latency_tables/<device>/<runtime>-<precision>-<threads>t.estimated.json

A table holds the board's parameters in the shared model (board_model.py), which answer for every
block of every space, and what they stand on: sources, networks, the error on networks that were
held out, and which shapes were never seen. Measured rows never go into such a table or its sums;
a few of them correct its parameters (`corrected`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from nas import stats
from nas.documents import Strict, read_json
from nas.latency.device import Device, TableKey
from nas.latency.estimated.board_model import (
    MODELS,
    PARAMETERS,
    BoardModel,
    Efficiency,
    Sums,
    efficiency_of,
    fit_board,
    group_counts,
    read_board_model,
)
from nas.latency.estimated.features import features
from nas.latency.estimated.op_work import OpWork, graph_work
from nas.latency.estimated.public_log import LogError, LoggedTime, PublicLog
from nas.latency.estimated.units import UNIT_MODELS, UnitTimes, fit_units, own_reach
from nas.latency.measured.table import TableError, write_beside
from nas.space.blocks import Block
from nas.space.ops import expand

Array = NDArray[np.float64]

FORMAT: Final = 2
"""Version of the table's file. 1: the first; 2: of ncnn, a board's parameters in a model whose
computing and moving add up (a runtime's units are what they were)."""

NETWORKS_FORMAT: Final = 1
"""Version of the networks' file. 1: the first."""

FEWEST_NETWORKS: Final = 8
"""Known networks that a log needs. Given so many of a board never seen, the others are predicted
to 5.4 % in the mean, half of them to 4 % (LOG.md)."""

COVERAGE: Final = 0.9
"""What the interval claims."""

ENDING: Final = ".estimated.json"
"""Of the files of estimated tables."""

INT8: Final = "_int8"

RECENT: Final = "FastestDet"
"""A network that benchncnn times since July 2022: a log that has it is of ncnn's recent kernels."""


class FittedNetwork(Strict):
    """A network that the parameters were fitted to: what it took, and what they say (ms)."""

    measured_ms: float
    fitted_ms: float


class HeldOutErrors(Strict):
    """How far networks were off that were held out whole, on every board at once.

    count, runs        how many there are, and on how many runs; mape as a fraction
    interval_quantile  the 90 % quantile of the absolute logarithm of the errors
    """

    count: int
    runs: int
    mape: float
    interval_quantile: float


class EstimatedTable(Strict):
    """An estimated table.

    model              a shared model (board_model.py), or a runtime's units (units.UNIT_MODELS)
    arithmetic         what the board computes fp32 networks in: fp32, or fp16 where it can
    is_recent          whether its ncnn has the kernels of 2023
    parameters         of board_model.PARAMETERS or of the runtime's units, by name
    never_seen         what no network behind it has
    seen               kind of work -> lowest and highest channels in and out, and cells of the map
    corrected_by       how many measured blocks corrected it
    """

    format: Literal[1, 2]
    model: str
    device: str
    runtime: str
    precision: str
    threads: int
    arithmetic: Literal["fp32", "fp16"]
    is_recent: bool = True
    date: str
    sources: list[str]
    networks: dict[str, FittedNetwork]
    parameters: dict[str, float]
    heldout: HeldOutErrors
    never_seen: list[str]
    seen: dict[str, list[int]]
    doubts: list[str]
    corrected_by: int = 0

    @property
    def key(self) -> TableKey:
        """The key that it stands for."""
        return TableKey(
            device=self.device,
            runtime=self.runtime,
            precision=self.precision,
            threads=self.threads,
        )

    def vector(self) -> Array:
        """The parameters in their order, shape (P,)."""
        return np.array(list(self.parameters.values()))


def arithmetic_of(device: Device) -> Literal["fp32", "fp16"]:
    """What benchncnn computes in on the device: fp16 wherever the cores can."""
    precisions = {str(name): found for name, found in device.runtimes.items()}.get("ncnn", [])
    return "fp16" if "fp16" in precisions else "fp32"


def read_networks() -> dict[str, list[OpWork]]:
    """The work of each network that benchncnn times, by name; LogError where the file is broken."""
    path = MODELS / "benchncnn-networks.json"
    try:
        document = json.loads(path.read_bytes())
        assert document["format"] == NETWORKS_FORMAT
        rows = [
            OpWork(**dict(zip(document["fields"], row, strict=True))) for row in document["rows"]
        ]
        return {
            name: [rows[i] for i, count in pairs for _ in range(count)]
            for name, pairs in document["networks"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise LogError(str(path), "the work of benchncnn's networks is there", str(error)) from None


def in_int8(work: Sequence[OpWork]) -> list[OpWork]:
    """The same network with its weights in int8, as benchncnn's `_int8` networks are."""
    return [
        OpWork(**{**{n: getattr(op, n) for n in op.__slots__}, "is_int8": op.weights > 0})
        for op in work
    ]


def as_known_here(log: PublicLog) -> PublicLog:
    """The log with its networks named as they are here, and a note on those that are not known.

    ncnn's names had dashes until 2020 (`mobilenet-ssd`, `squeezenet-int8`), and letters' case is
    nobody's meaning.
    """
    here = {_plain(name): name for name in read_networks()}
    here |= {_plain(name + INT8): name + INT8 for name in here.values()}
    timings: dict[str, LoggedTime] = {}
    damaged = list(log.damaged)
    unknown = []
    for row in log.timings:
        name = here.get(_plain(row.network))
        if name is None:
            unknown.append(f"{row.network} (line {row.line})")
        if name in timings:
            damaged.append((row.line, row.network, f"a second line of {name}"))
            continue
        timings[name or row.network] = replace(row, network=name or row.network)
    notes = list(log.notes)
    if unknown:
        notes.append(f"networks that are not known here are left out: {', '.join(unknown)}")
    return replace(log, timings=tuple(timings.values()), damaged=tuple(damaged), notes=tuple(notes))


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def known_networks(names: Sequence[str]) -> dict[str, list[OpWork]]:
    """The work of those of the named networks that are known, `_int8` ones among them."""
    known = read_networks()
    return {
        name: in_int8(known[name.removesuffix(INT8)]) if name.endswith(INT8) else known[name]
        for name in names
        if name.removesuffix(INT8) in known
    }


def sums_of(networks: Mapping[str, Sequence[OpWork]]) -> tuple[list[OpWork], Array]:
    """The distinct ops of networks, and how often each occurs in each (networks, ops)."""
    place: dict[OpWork, int] = {}
    groups = [[place.setdefault(op, len(place)) for op in work] for work in networks.values()]
    return list(place), group_counts(groups, len(place))


def estimate_from_log(
    key: TableKey, device: Device, log: PublicLog, where: str, date: str
) -> EstimatedTable:
    """The estimated table of a board from its benchncnn log.

    LogError where too few of its networks are known, or the key isn't what the log times.
    """
    arithmetic = arithmetic_of(device)
    _check_precision(key, device)
    log = as_known_here(log)
    ms = {row.network: row.min_ms for row in log.timings}
    networks = known_networks(list(ms))
    if key.precision == "int8" and sum(n.endswith(INT8) for n in networks) < 3:
        _too_few(where, "3 known int8 networks", networks)
    if len(networks) < FEWEST_NETWORKS:
        _too_few(where, f"{FEWEST_NETWORKS} known networks", networks)
    table = fit_table(key, arithmetic, networks, ms, [where], date, is_recent=RECENT in ms)
    return table.model_copy(update={"doubts": list(log.doubts)})


def fit_table(
    key: TableKey,
    arithmetic: Literal["fp32", "fp16"],
    networks: Mapping[str, Sequence[OpWork]],
    ms: Mapping[str, float],
    sources: Sequence[str],
    date: str,
    *,
    is_recent: bool,
) -> EstimatedTable:
    """The table of the board on which these networks took so many ms, however they were timed.

    `is_recent`: in an ncnn with the kernels of 2023.
    """
    model = read_board_model(f"{key.runtime}-{arithmetic}")
    work, counts = sums_of(networks)
    found = features(work, key.threads, is_fp16=arithmetic == "fp16", is_recent=is_recent)
    efficiency = efficiency_of(model, found)
    sums = Sums(counts=counts, ms=np.array([ms[name] for name in networks]))
    prior = model.prior(key.threads, is_recent=is_recent)
    parameters = fit_board(model, efficiency, sums, prior, key.threads)
    fitted = counts @ efficiency.op_ms(parameters)
    return EstimatedTable(
        format=FORMAT,
        model=model.name,
        device=key.device,
        runtime=key.runtime,
        precision=key.precision,
        threads=key.threads,
        arithmetic=arithmetic,
        is_recent=is_recent,
        date=date,
        sources=[*sources, *model.sources],
        networks={
            name: FittedNetwork(measured_ms=ms[name], fitted_ms=round(float(value), 3))
            for name, value in zip(networks, fitted, strict=True)
        },
        parameters=named_parameters(model.parameters, parameters),
        heldout=heldout_errors(model, key),
        never_seen=model.never_seen,
        seen=shapes_seen(work),
        doubts=[],
    )


def _check_precision(key: TableKey, device: Device) -> None:
    arithmetic = arithmetic_of(device)
    offered = (arithmetic, "int8")
    if key.runtime == "ncnn" and key.precision in offered:
        return
    known = {str(name): found for name, found in device.runtimes.items()}.get("ncnn", [])
    both = [name for name in offered if name in known]
    remedy = f"Choose by --runtime ncnn --precision {both[0]}" if both else ""
    raise LogError(
        "--from-log",
        f"benchncnn's log tells of {key.device} ncnn in {' or '.join(offered)} "
        "(it computes in fp16 wherever the cores can)",
        f"{key.runtime} {key.precision}",
        remedy or f"Its device.yaml offers neither: add ncnn: [{', '.join(offered)}] to it",
    )


def _too_few(where: str, needed: str, networks: Mapping[str, object]) -> None:
    raise LogError(
        where,
        f"the log has at least {needed}",
        f"{len(networks)}: {', '.join(networks) or 'none'}",
        "Run the whole of benchncnn",
    )


def named_parameters(names: Sequence[str], parameters: Array) -> dict[str, float]:
    """The parameters by name, as a table keeps them."""
    values = [round(float(value), 5) for value in parameters]
    return dict(zip(names, values, strict=True))


def heldout_errors(model: BoardModel, key: TableKey) -> HeldOutErrors:
    """The errors of networks held out whole, on boards with one thread or with several as here."""
    alike = [
        one
        for one in model.unseen
        if (one.threads > 1) == (key.threads > 1)
        and one.network.endswith(INT8) == (key.precision == "int8")
    ]
    predicted = [one.predicted_ms for one in alike]
    measured = [one.measured_ms for one in alike]
    off = np.log(np.array(predicted) / np.array(measured))
    return HeldOutErrors(
        count=len(alike),
        runs=len({(one.board, one.threads) for one in alike}),
        mape=round(stats.mape(predicted, measured), 4),
        interval_quantile=round(stats.conformal_quantile(off, COVERAGE), 4),
    )


def shapes_seen(work: Sequence[OpWork]) -> dict[str, list[int]]:
    """Kind of work -> lowest and highest channels in and out, and cells of the map."""
    found: dict[str, list[int]] = {}
    for op in work:
        sizes = (op.channels_in, op.channels_out, op.height * op.width)
        low_high = found.setdefault(op.kind, [v for size in sizes for v in (size, size)])
        for i, size in enumerate(sizes):
            low_high[2 * i] = min(low_high[2 * i], size)
            low_high[2 * i + 1] = max(low_high[2 * i + 1], size)
    return found


def is_extrapolated(table: EstimatedTable, op: OpWork) -> bool:
    """Whether an op's kind was never seen, or its shape lies outside of what was."""
    seen = table.seen.get(op.kind)
    if seen is None:
        return True
    sizes = (op.channels_in, op.channels_out, op.height * op.width)
    return any(not seen[2 * i] <= size <= seen[2 * i + 1] for i, size in enumerate(sizes))


def block_work(table: EstimatedTable, blocks: Sequence[Block]) -> list[tuple[OpWork, ...]]:
    """The ops of each block as work in the table's precision and runtime."""
    return [graph_work(expand(block), table.precision, table.runtime) for block in blocks]


def block_ms(table: EstimatedTable, blocks: Sequence[Block]) -> Array:
    """The estimated ms of each block, shape (n,)."""
    times, counts = _of_blocks(table, blocks)
    return np.asarray(counts @ times.op_ms(table.vector()), dtype=np.float64)


def work_ms(table: EstimatedTable, blocks: Sequence[Block]) -> list[dict[str, float]]:
    """The estimated ms of each block by kind of work."""
    named = {str(i): ops for i, ops in enumerate(block_work(table, blocks))}
    work, counts = sums_of(named)
    times, _ = _of_blocks(table, blocks)
    found: list[dict[str, float]] = []
    for row in counts * times.op_ms(table.vector()):
        own: dict[str, float] = {}
        for place in np.flatnonzero(row).tolist():
            kind = work[place].kind
            own[kind] = own.get(kind, 0.0) + float(row[place])
        found.append(own)
    return found


class OpTimes(Protocol):
    """Some ops, as a model of boards or of a runtime sees them."""

    def op_ms(self, parameters: Array) -> Array:
        """ms of each op on a board with these parameters (P,), shape (n,)."""
        ...


def op_times(table: EstimatedTable, work: Sequence[OpWork]) -> OpTimes:
    """The ops as the table's model sees them; TableError where its parameters are others."""
    if table.model in UNIT_MODELS:
        model = UNIT_MODELS[table.model]
        if tuple(table.parameters) != model.parameters:
            raise TableError(
                str(table.key), f"the parameters are those of {model.name}", "others", "Update it"
            )
        return UnitTimes(model, work, table.threads)
    is_fp16 = table.arithmetic == "fp16"
    found = features(work, table.threads, is_fp16=is_fp16, is_recent=table.is_recent)
    return efficiency_of(read_board_model(table.model), found)


def network_ms(table: EstimatedTable, networks: Mapping[str, Sequence[OpWork]]) -> Array:
    """The estimated ms of whole networks by their work, shape (n,)."""
    work, counts = sums_of(networks)
    return np.asarray(counts @ op_times(table, work).op_ms(table.vector()), dtype=np.float64)


def _of_blocks(table: EstimatedTable, blocks: Sequence[Block]) -> tuple[OpTimes, Array]:
    named = {str(i): ops for i, ops in enumerate(block_work(table, blocks))}
    work, counts = sums_of(named)
    return op_times(table, work), counts


def corrected(table: EstimatedTable, measured_ms: Mapping[Block, float]) -> EstimatedTable:
    """The table with its parameters moved towards measured blocks: still an estimate.

    The blocks' times are evidence and go into no sum. Blocks without work (none) are passed over.
    """
    blocks = [block for block in measured_ms if expand(block).ops]
    if not blocks:
        return table
    times, counts = _of_blocks(table, blocks)
    sums = Sums(counts=counts, ms=np.array([measured_ms[block] for block in blocks]))
    if isinstance(times, UnitTimes):
        reach = own_reach(UNIT_MODELS[table.model], freedom=0.5)
        parameters = fit_units(times, sums.counts, sums.ms, table.vector(), reach)
    else:
        assert isinstance(times, Efficiency)
        model = read_board_model(table.model)
        place = table.vector()
        parameters = fit_board(model, times, sums, place, table.threads, freedom=0.5)
    return table.model_copy(
        update={
            "parameters": named_parameters(tuple(table.parameters), parameters),
            "corrected_by": len(blocks),
        }
    )


def estimate_path(key: TableKey, root: Path | None = None) -> Path:
    """Where the estimated table of a key lies: the nearest, or where a new one goes."""
    there = key.files(ENDING, root)
    return there[0] if there else key.new_file(ENDING, root)


def read_estimate(key: TableKey, root: Path | None = None) -> EstimatedTable | None:
    """The estimated table of that key, None where there is none; TableError where it is broken."""
    path = estimate_path(key, root)
    if not path.exists():
        return None
    what = f"an estimated table of format {FORMAT}"
    table = read_json(path, EstimatedTable, what, TableError)
    if table.key != key:
        raise TableError(str(path), f"the table is that of {key}", str(table.key))
    is_of_now = table.format == FORMAT and tuple(table.parameters) == PARAMETERS
    if table.runtime == "ncnn" and not is_of_now:
        rule = "its parameters are those of this version's model"
        raise TableError(str(path), rule, "others", "Make it again from its log")
    return table


def write_estimate(table: EstimatedTable, root: Path | None = None) -> Path:
    """Writes the table, in place of an earlier one there; returns the file.

    root  the folder that it goes to; None: where what a person makes goes (nas.places)
    """
    return write_beside(table.key.new_file(ENDING, root), table.model_dump_json(indent=1) + "\n")
