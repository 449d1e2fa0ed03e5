"""Whole networks of a run, timed on its board: taking turns in rings, as a profile times them.

What was timed is kept in a table of the run's own (`RUN/verified/DEVICE/*.jsonl`, the lines of
nas.latency.measured.table), every row at once: the same command goes on after a kill.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from nas.latency.measured.calm import CALM, Steadiness
from nas.latency.measured.campaign import Remaining, measure_work
from nas.latency.measured.measurement import INTERVAL_LIMIT, PREEMPTED_LIMIT, Measurement
from nas.latency.measured.table import Table, TableWriter
from nas.latency.reach.pack import Timing
from nas.latency.reach.runner import Runner
from nas.space.search_space import Candidate

VISITS: Final = 3
"""In how many rings each network is timed: how far these differ is the drift of the session."""

TIMING: Final = Timing(
    warmup_s=2.0,
    whole_ring_size=16,
    whole_min_samples=30,
    whole_cap_s=12.0,
    is_alone=True,
)
"""Three times a profile's samples, and a front as a rule in one ring."""

NORMAL_95: Final = 1.96


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkTime:
    """What one network takes.

    ms          in calm, from all its rings: the same figure that a table predicts
    low_ms, high_ms   its 95 % interval, from the samples' spread alone
    median_ms   the plain median of the samples in which nobody took the core away
    samples     how many there are, and in how many `rings`; `lost`: the share that lost the core
    ring_ms     in calm, of each ring
    date        of the last session in which it was timed
    state       lowest and highest clock (mhz), temperature (temp_c) and load while it was timed,
                where the board says them
    is_throttled  whether the board held its clock or voltage back meanwhile
    """

    digest: str
    ms: float
    low_ms: float
    high_ms: float
    median_ms: float
    samples: int
    rings: int
    lost: float
    ring_ms: tuple[float, ...]
    date: str
    state: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    is_throttled: bool = False

    @property
    def error(self) -> float:
        """The standard error of the logarithm of `ms`."""
        return float(np.log(self.high_ms / self.low_ms)) / (2 * NORMAL_95)

    def doubts(self) -> tuple[str, ...]:
        """Why the figure is doubtful and what helps; none where it is sound."""
        found = []
        if self.is_throttled:
            found.append("the board was throttled: cool it, and look at its power supply")
        if self.lost > PREEMPTED_LIMIT:
            found.append(f"{self.lost:.0%} of the samples lost the core: stop other work there")
        width = self.high_ms / self.low_ms - 1
        if width > INTERVAL_LIMIT:
            found.append(f"uncertain by {width:.0%}: stop other work there")
        return tuple(found)


def lacking(table: Table, candidates: Sequence[Candidate]) -> Remaining:
    """What is still to be timed of these, each with its rings; what the board refused is not."""
    return Remaining(
        blocks=(),
        networks=tuple(
            (one, rings)
            for one in candidates
            if (rings := VISITS - len(table.networks.get(one.digest, ()))) > 0
            and f"network {one.digest}" not in table.failures
        ),
    )


def time_networks(
    writer: TableWriter,
    runner: Runner,
    space: str,
    work: Remaining,
    timing: Timing = TIMING,
) -> Iterator[Measurement]:
    """Times the work; every row is in the run's table when it is yielded.

    space  the digest of the run's space
    """
    # A seed of their own for those that come later: weights and order are drawn anew.
    seed = len(writer.table.environments)
    return measure_work(writer, runner, space, work, seed=seed, timing=timing)


def read_times(table: Table) -> dict[str, NetworkTime]:
    """What each network of a run's table takes, by architecture digest."""
    steady = table.steadiness()
    return {
        digest: _time(digest, rows, steady, table.environments)
        for digest, rows in table.networks.items()
    }


def _time(
    digest: str,
    rows: Sequence[Measurement],
    steady: Steadiness,
    environments: Sequence[Mapping[str, Any]],
) -> NetworkTime:
    ms = steady.ms(rows)
    half = float(np.exp(steady.interval(rows) / 2))
    count = sum(len(row.samples.samples_ms) for row in rows)
    return NetworkTime(
        digest=digest,
        ms=ms,
        low_ms=ms / half,
        high_ms=ms * half,
        median_ms=float(np.median([value for row in rows for value in row.samples.kept_ms()])),
        samples=count,
        rings=len(rows),
        lost=sum(len(row.samples.preempted) for row in rows) / count,
        ring_ms=tuple(steady.ms([row]) for row in rows),
        date=str(environments[max(row.session for row in rows) - 1].get("date", "")),
        state=_state(rows),
        is_throttled=any(row.is_throttled for row in rows),
    )


def _state(rows: Sequence[Measurement]) -> dict[str, tuple[float, float]]:
    found = {}
    for name in ("mhz", "temp_c", "load"):
        told = [float(one[name]) for row in rows for one in (row.before, row.after) if name in one]
        if told:
            found[name] = (min(told), max(told))
    return found


def session_pace(table: Table, profile: Table) -> float | None:
    """How long the gauges took beside these networks, over what they took beside the profile's.

    Each in its own calm. What is above 1 is the state of the board, and no error of a predictor.
    None where the two had not the same gauges beside networks, and where other work took the core
    from more than PREEMPTED_LIMIT of the samples in either: gauges then say nothing (LOG.md: the
    pace of one session made errors of 12.7 % 7.6 %, of another 5.2 % 13.1 %).
    """
    if max(map(_lost, (table, profile))) > PREEMPTED_LIMIT:
        return None
    gauges = [{*names} for one in (table, profile) for names in one.session_gauges.values()]
    calm = [_calm_beside(one) for one in (table, profile)]
    if None in calm or not gauges or any(names != gauges[0] for names in gauges):
        return None
    now, then = calm
    assert now is not None
    assert then is not None
    return now / then


def _lost(table: Table) -> float:
    """The share of the networks' samples that lost the core."""
    found = [row.samples for rows in table.networks.values() for row in rows]
    count = sum(len(one.samples_ms) for one in found)
    return sum(len(one.preempted) for one in found) / max(count, 1)


def _calm_beside(table: Table) -> float | None:
    found = [ms for rows in table.networks.values() for row in rows for ms in row.samples.beside_ms]
    return float(np.quantile(found, CALM)) if found else None


def session_drift(times: Sequence[NetworkTime]) -> float:
    """How far two rings of one network differ: the standard deviation of the logarithm.

    What samples that were taken together can't tell. 0 where nothing was timed twice.
    """
    squares, freedom = 0.0, 0
    for one in times:
        logs = np.log(one.ring_ms)
        squares += float(((logs - logs.mean()) ** 2).sum())
        freedom += len(logs) - 1
    return float(np.sqrt(squares / freedom)) if freedom else 0.0
