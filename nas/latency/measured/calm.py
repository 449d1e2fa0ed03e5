"""What blocks and networks take in calm, from samples taken while others used the machine too.

On a shared machine everything slows down together, for tens of milliseconds or for minutes:
caches, memory and clock are shared. How far it is from calm at a moment is told by what was timed
beside it: for a block the others of its round (rounds of a ring take some 10 ms), for a network
the gauges right before and after each sample. So each row is a line through its samples, their
logarithm over that of the state, and what it takes in calm is the line's height where the state
is calm. How steeply a row follows the state is learnt from its own samples (a block that lives in
memory follows more than one that computes), held towards the usual.

Found on such a machine (LOG.md): two timings of one block, minutes apart, differed by 11 % as
medians and by 5 % so; samples of one network spread by 6.5 % and by 4 %. On a machine that is calm
throughout there is nothing to take off, and the height of the line is the mean of the samples
(without outliers: Huber 1964).

Sessions of one space that had other gauges (a runtime may object to one) are each brought to their
own calm first, and then onto one scale by the blocks and gauges that they share. Those of another
space keep their own calm: in rings of small blocks a gauge finds its weights in a nearer cache. One
took 0.66 ms among the blocks of `tiny` and 0.81 ms among those of the default space (LOG.md), which
would have told that the default space was never timed in calm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nas.latency.measured.measurement import Gauge, Measurement
from nas.space.blocks import Block

Array = NDArray[np.float64]

Place = tuple[int, int]
"""Session and window."""

CALM: Final = 0.15
"""The quantile of a session's states that counts as calm: little else runs, yet no lucky moment."""

USUAL_SLOPE: Final = (1.0, 0.3)
NETWORK_SLOPE: Final = (1.0, 0.2)
"""How steeply a block, and a network, follows the state: mean and spread, before its own samples
are seen. (A common slope learnt from all networks came out at 0.5 to 0.8, since ten runs of gauges
tell a state with an error of their own; held-out errors were lowest with 1, see LOG.md.)"""

SHARED_ENOUGH: Final = 1.0
"""So many shared things move one group of sessions half of the way to another: a thing timed twice
differs by some 5 % (LOG.md), and what two sessions call calm differs as much."""

FLOOR: Final = 0.003
"""A standard error that no timing goes below (logarithms): a graph loaded anew differs so far."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Calm:
    """What a row takes in calm.

    log_ms  natural logarithm of ms; error: its standard error
    drift   how far the calmest tenth of its samples was from calm (logarithm)
    """

    log_ms: float
    error: float
    drift: float


class Steadiness:
    """The calm times of a table's rows."""

    def __init__(self, rows: dict[tuple[Place, Block | str], Calm]) -> None:
        self._rows = rows

    def calm(self, row: Measurement) -> Calm:
        """What the row takes in calm."""
        return self._rows[(row.session, row.window), row.subject]

    def ms(self, rows: Sequence[Measurement]) -> float:
        """What one thing takes in calm (ms), from all its rows, the surer ones counting more."""
        found = [self.calm(row) for row in rows]
        weights = [one.error**-2 for one in found]
        logs = [one.log_ms for one in found]
        return float(np.exp(np.average(logs, weights=weights)))

    def interval(self, rows: Sequence[Measurement]) -> float:
        """Width of the 95 % interval of `ms`, as a share of it."""
        return 2 * 1.96 * float(sum(self.calm(row).error ** -2 for row in rows) ** -0.5)

    def drift(self, rows: Sequence[Measurement]) -> float:
        """How far the calmest moments of the calmest of the rows were from calm, a share."""
        return float(np.expm1(min(self.calm(row).drift for row in rows)))


def steadiness(
    gauges: Sequence[Gauge],
    rows: Iterable[Measurement],
    named: Mapping[int, Sequence[str]] | None = None,
    spaces: Mapping[int, str] | None = None,
) -> Steadiness:
    """The calm times of rows; `gauges` are those of the windows that blocks were timed in.

    named   session -> its gauges' names, for sessions without a window of blocks; of old tables
            nobody knows them
    spaces  session -> the digest of its space; of old tables its whole networks tell it
    """
    windows: dict[Place, list[Measurement]] = {}
    networks: list[Measurement] = []
    for row in rows:
        if row.block is None:
            networks.append(row)
        else:
            windows.setdefault((row.session, row.window), []).append(row)
    beside: dict[Place, dict[str, Gauge]] = {}
    for gauge in gauges:
        beside.setdefault((gauge.session, gauge.window), {})[gauge.name] = gauge
    names = _names(beside, named or {})
    told = {row.session: row.network.space for row in networks if row.network is not None}
    told |= spaces or {}
    # Of a session that tells nothing, cut off early, it is the table's space, if that has but one.
    usual = next(iter(told.values())) if len(set(told.values())) == 1 else ""
    settings = {
        session: Setting(told.get(session, usual), names.get(session))
        for session in {*names, *told, *(session for session, _ in windows)}
    }
    groups = [
        _group(own, {at: windows[at] for at in windows if settings[at[0]] == own}, beside)
        for own in dict.fromkeys(settings[at[0]] for at in windows)
    ]
    for space in dict.fromkeys(group.setting.space for group in groups):
        _join([group for group in groups if group.setting.space == space])
    found = {key: calm for group in groups for key, calm in _blocks(group).items()}
    offsets = {group.setting: group.offset for group in groups}
    return Steadiness({**found, **_networks(networks, settings, offsets)})


Names = tuple[str, ...]
"""The names of a session's gauges."""


class Setting(NamedTuple):
    """What sessions have in common that may tell of one calm: their space and their gauges."""

    space: str
    names: Names | None


def _names(
    beside: Mapping[Place, Iterable[str]], named: Mapping[int, Sequence[str]]
) -> dict[int, Names]:
    """Session -> its gauges: those that were timed in it, else those that it names."""
    found: dict[int, set[str]] = {}
    for (session, _), own in beside.items():
        found.setdefault(session, set()).update(own)
    told = {session: tuple(sorted(own)) for session, own in found.items()}
    return {session: tuple(sorted(own)) for session, own in named.items()} | told


@dataclass(kw_only=True)
class _Group:
    """The windows of all sessions of one setting, the blocks and gauges in them.

    x, state   logarithms of the blocks' times (windows, rounds, blocks), and how far each round was
               from calm (windows, rounds)
    bases      what each gauge takes in calm (log ms), and `bottom` the states of the gauges alone
    offset     how far this group's own calm was from that of the whole table
    """

    setting: Setting
    windows: dict[Place, list[Measurement]]
    x: Array
    state: Array
    bases: Array
    bottom: Array
    offset: float = 0.0

    def heights(self) -> dict[Block | str, float]:
        """What each block and gauge takes in this group's own calm (log ms)."""
        found: dict[Block | str, list[float]] = {}
        height, _, _ = lines(self.state, self.x)
        for own, rows in zip(height, self.windows.values(), strict=True):
            for value, row in zip(own, rows, strict=False):
                found.setdefault(row.subject, []).append(float(value))
        known = {subject: float(np.mean(values)) for subject, values in found.items()}
        return known | dict(zip(self.setting.names or (), self.bases.tolist(), strict=True))


def _group(
    setting: Setting,
    windows: dict[Place, list[Measurement]],
    beside: Mapping[Place, Mapping[str, Gauge]],
) -> _Group:
    """The windows of sessions of this setting, each filled up with nan to the longest."""
    names = setting.names
    x = _logs([[row.samples.by_round_ms() for row in own] for own in windows.values()])
    known = _logs(
        [
            [own[name].samples.by_round_ms() if name in own else [] for name in names or ()]
            for own in (beside.get(place, {}) for place in windows)
        ],
        rounds=x.shape[1],
    )
    state, bases, bottom = _states(x, known)
    return _Group(setting=setting, windows=windows, x=x, state=state, bases=bases, bottom=bottom)


def _join(groups: Sequence[_Group]) -> None:
    """Brings the groups' states onto one scale, and its zero to where all of them were calm.

    The largest group first, then always the one that shares most with those placed: by the median
    difference of what they share, held back where that is little. A group that shares nothing
    keeps its own calm.
    """
    if len(groups) < 2:
        return
    left = sorted(groups, key=lambda group: -len(group.windows))
    known: dict[Block | str, float] = {}
    heights = {id(group): group.heights() for group in left}
    while left:
        group = max(left, key=lambda one: len(known.keys() & heights[id(one)].keys()))
        left.remove(group)
        own = heights[id(group)]
        shared = known.keys() & own.keys()
        if shared:
            away = float(np.median([own[thing] - known[thing] for thing in shared]))
            group.offset = away * len(shared) / (len(shared) + SHARED_ENOUGH)
        known = {thing: ms - group.offset for thing, ms in own.items()} | known
    calm = float(np.quantile(np.concatenate([one.bottom + one.offset for one in groups]), CALM))
    for group in groups:
        group.offset -= calm
        group.state = group.state + group.offset


def _blocks(group: _Group) -> dict[tuple[Place, Block | str], Calm]:
    """The calm times of a group's blocks."""
    height, _, error = lines(group.state, group.x)
    drift, middle = _quantile(group.state, 0.1), _quantile(group.state, 0.5)
    return {
        (place, row.subject): Calm(
            log_ms=_less_overhead(height[w, i], row.samples.overhead_ms * np.exp(-middle[w])),
            error=float(error[w, i]),
            drift=float(drift[w]),
        )
        for w, (place, own) in enumerate(group.windows.items())
        for i, row in enumerate(own)
    }


def _less_overhead(log_ms: float, overhead_ms: float) -> float:
    """An op cheaper than the spread of the overhead may come out below it: it keeps a twentieth."""
    ms = float(np.exp(log_ms))
    return float(np.log(max(ms - overhead_ms, ms / 20)))


def _states(x: Array, gauges: Array) -> tuple[Array, Array, Array]:
    """The state of each round, (windows, rounds), 0 in calm, nan where nothing ran: one factor.

    The gauges (windows, rounds, gauges), whose lines hold for all windows, say where calm is; the
    blocks x of the ring, many more, say how the rounds differ. By turns: lines for the blocks, then
    the rounds' states. A window without gauges starts as calm. With it what the gauges take in
    calm, shape (gauges,), and the states that they alone tell, shape (n,).
    """
    is_round = ~np.isnan(x).all(axis=2)
    if gauges.shape[2] == 0 or np.isnan(gauges).all():
        state = np.where(is_round, 0.0, np.nan)
        return state, np.full(gauges.shape[2], np.nan), state[is_round]
    base, slopes = _gauge_lines(gauges.reshape(-1, gauges.shape[2]))
    gauges = (gauges - base) / slopes
    state = _mean(gauges, slopes**2)
    bottom = state[is_round & ~np.isnan(gauges).all(axis=2)]
    state = np.where(is_round, state, np.nan)
    for _ in range(2):
        height, slope, _ = lines(state, x)
        told = np.concatenate([(x - height[:, None]) / slope[:, None], gauges], axis=2)
        weights = np.concatenate([slope, np.broadcast_to(slopes, (len(x), len(slopes)))], axis=1)
        away = np.abs(told - _quantile(told, 0.5)[..., None])
        limit = 1.5 * 1.4826 * _quantile(away.swapaxes(1, 2), 0.5)[:, None] + 1e-6
        state = np.where(is_round, _mean(told, weights[:, None] ** 2 * _huber(away, limit)), np.nan)
    return state, base, bottom


def _gauge_lines(x: Array) -> tuple[Array, Array]:
    """Height in calm and slope of each gauge, x being (rounds, gauges); the slopes' mean is 1.

    A round tells by the gauges that it has: a sample that lost the core is nan.
    """
    x = x[~np.isnan(x).all(axis=1)]
    base = np.array([_quantile(column, CALM) for column in x.T])
    slopes = np.ones(x.shape[1])
    for _ in range(5):
        state = _mean((x - base) / slopes, slopes**2)
        base, slopes, _ = lines(state, x, (1.0, 10.0))
        scale = float(slopes.mean())
        slopes = slopes / scale
        base = base + slopes * float(np.quantile(state, CALM)) * scale
    return base, slopes


def _networks(
    rows: Sequence[Measurement],
    settings: Mapping[int, Setting],
    offsets: Mapping[Setting, float],
) -> dict[tuple[Place, Block | str], Calm]:
    """Whole networks: each sample has its own state, the gauges beside it.

    Where gauges are calm beside networks is found anew for each setting, since they find other
    caches there than in a ring. offsets: how far each setting's calm was from that of the table.
    """
    beside = [np.log(row.samples.beside_ms) for row in rows]
    only = next(iter(offsets)) if len(offsets) == 1 else None
    # A session that doesn't say its gauges, in a table of several settings, stands for itself.
    sets: list[Setting | int] = [
        settings[row.session] if settings[row.session].names else only or row.session
        for row in rows
    ]
    calm: dict[Setting | int, float] = {}
    for own in dict.fromkeys(sets):
        states = np.concatenate([one for one, at in zip(beside, sets, strict=True) if at == own])
        offset = 0.0 if isinstance(own, int) else offsets.get(own, 0.0)
        calm[own] = (float(np.quantile(states, CALM)) if len(states) else 0.0) - offset
    return {
        ((row.session, row.window), row.subject): _network(row, state - calm[own])
        for row, state, own in zip(rows, beside, sets, strict=True)
    }


def _network(row: Measurement, state: Array) -> Calm:
    """What a network takes in calm, `state` being how far each sample was from it, if known."""
    if not len(state):
        state = np.zeros(len(row.samples.samples_ms))
    x = np.log(np.array(row.samples.by_round_ms()))
    height, _, error = lines(state, x[:, None], NETWORK_SLOPE)
    overhead = row.samples.overhead_ms * float(np.exp(-np.median(state)))
    return Calm(
        log_ms=_less_overhead(float(height[0]), overhead),
        error=float(error[0]),
        drift=float(np.quantile(state, 0.1)),
    )


def _logs(tables: Sequence[Sequence[Sequence[float]]], rounds: int = 0) -> Array:
    """Logarithms of times, (tables, rounds, columns), filled up with nan; or so many rounds."""
    rounds = rounds or max((len(column) for table in tables for column in table), default=0)
    found = np.full((len(tables), rounds, max(map(len, tables), default=0)), np.nan)
    for table, place in zip(tables, found, strict=True):
        for i, column in enumerate(table):
            place[: len(column), i] = column[:rounds]
    return np.asarray(np.log(found), dtype=np.float64)


def lines(
    state: Array, x: Array, usual: tuple[float, float] = USUAL_SLOPE
) -> tuple[Array, Array, Array]:
    """Lines through the columns of x (..., n, m) over the state (..., n), outliers held back.

    Gives the heights where the state is 0, the slopes, and the heights' standard errors, shape
    (..., m) each. A slope is held towards `usual` (mean, spread) as far as the samples leave it
    open; x and state may hold nan.
    """
    z = np.nan_to_num(state)[..., None]
    known = ~np.isnan(x)
    x = np.where(known, x, 0.0)
    weights = known.astype(np.float64)
    noise = np.full((*x.shape[:-2], x.shape[-1]), 0.05)
    for _ in range(4):
        total = np.maximum(weights.sum(axis=-2), 1e-12)
        z_mean, x_mean = (weights * z).sum(axis=-2) / total, (weights * x).sum(axis=-2) / total
        away = z - z_mean[..., None, :]
        held = (noise / usual[1]) ** 2
        square = (weights * away**2).sum(axis=-2) + held
        product = (weights * away * (x - x_mean[..., None, :])).sum(axis=-2)
        slope: Array = (product + held * usual[0]) / square
        height: Array = x_mean - slope * z_mean
        rest = np.abs(x - height[..., None, :] - slope[..., None, :] * z)
        middle = _quantile(np.where(known, rest, np.nan).swapaxes(-1, -2), 0.5)
        noise = 1.4826 * np.nan_to_num(middle) + 1e-4
        weights = known * _huber(rest, 1.5 * noise[..., None, :])
    error: Array = np.sqrt(noise**2 / total + (z_mean * noise) ** 2 / square + FLOOR**2)
    return height, slope, error


def _huber(away: Array, limit: Array) -> Array:
    """Weights by how far away something is: 1 up to the limit, then less; 1 for nan."""
    return np.asarray(limit / np.fmax(away, limit), dtype=np.float64)


def _quantile(values: Array, q: float) -> Array:
    """A quantile over the last axis, nan left out (and for nothing else): by sorting, which is
    many times faster than numpy's nanquantile."""
    ordered = np.sort(values, axis=-1)
    count = (~np.isnan(ordered)).sum(axis=-1)
    place = np.maximum(q * (count - 1), 0)
    low = np.floor(place).astype(int)[..., None]
    high = np.ceil(place).astype(int)[..., None]
    below = np.take_along_axis(ordered, low, axis=-1)[..., 0]
    above = np.take_along_axis(ordered, high, axis=-1)[..., 0]
    return np.asarray(below + (above - below) * (place - low[..., 0]), dtype=np.float64)


def _mean(values: Array, weights: Array) -> Array:
    """The weighted mean over the last axis, values that are nan left out."""
    weights = np.where(np.isnan(values), 0.0, weights)
    total = np.maximum(weights.sum(axis=-1), 1e-12)
    return np.asarray((weights * np.nan_to_num(values)).sum(axis=-1) / total, dtype=np.float64)
