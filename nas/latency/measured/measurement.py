"""What was measured: raw samples with the state of the board, and what is computed from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from nas.space.blocks import Block
from nas.space.image_size import ImageSize

DRIFT_LIMIT: Final = 0.03
"""What was never timed nearer to calm than this share is timed again, and doubtful."""

INTERVAL_LIMIT: Final = 0.05
"""A time whose 95 % interval is wider than this share of it is doubtful."""

PREEMPTED_LIMIT: Final = 0.25
"""A row that lost more than this share of its samples to other work is doubtful."""

THROTTLED_NOW: Final = 0xF
"""Bits of the Raspberry Pi's `get_throttled` that speak of the present."""

Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Samples:
    """Times of single runs in ms, all of them.

    preempted    indices of samples during which the kernel gave the core to something else
    cpu_ms       for each of those, how long the thread ran (empty where several threads ran)
    overhead_ms  what calling the runtime costs by itself, measured beside these samples
    beside_ms    of a whole network: for each sample, the geometric mean of what the gauges took
                 right before and after it
    """

    samples_ms: tuple[float, ...]
    preempted: tuple[int, ...] = ()
    cpu_ms: tuple[float, ...] = ()
    overhead_ms: float = 0.0
    beside_ms: tuple[float, ...] = ()

    def kept_ms(self) -> list[float]:
        """The samples that statistics are made of, in ms, ascending.

        The undisturbed ones, where there are ten. On a machine so busy that there are fewer, a
        disturbed sample counts with the time that the thread had the core: what it would have
        taken, but for caches that others emptied meanwhile.
        """
        return sorted(value for value in self.by_round_ms() if value == value)

    def by_round_ms(self) -> list[float]:
        """`kept_ms` in the order in which they were taken, nan for a sample that doesn't count."""
        values = list(self.samples_ms)
        if not self.preempted:
            return values
        is_few = len(values) - len(self.preempted) < 10
        for place, i in enumerate(self.preempted):
            if not is_few:
                values[i] = math.nan
            elif self.cpu_ms:
                values[i] = self.cpu_ms[place]
        return values

    def median_ms(self) -> float:
        """The median of the undisturbed samples less the overhead, in ms (above 0)."""
        kept = self.kept_ms()
        n = len(kept)
        middle = (kept[(n - 1) // 2] + kept[n // 2]) / 2
        # An op cheaper than the spread of the overhead may come out below it.
        return max(middle - self.overhead_ms, middle / 20)

    def interval(self) -> float:
        """Width of the 95 % interval of the median (order statistics), as a share of the median."""
        kept = self.kept_ms()
        n = len(kept)
        reach = 0.98 * math.sqrt(n)
        low = max(0, math.floor((n - 1) / 2 - reach))
        high = min(n - 1, math.ceil((n - 1) / 2 + reach))
        return (kept[high] - kept[low]) / kept[n // 2]


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """One row of a table: a block, or a whole network, timed in one window of one session.

    block       what was timed, where it is a block
    network     what was timed, where it is a whole network
    before, after   the board's clock (MHz), temperature (C), load, throttling bits, stolen seconds
    """

    session: int
    window: int
    samples: Samples
    block: Block | None = None
    network: Network | None = None
    before: Json
    after: Json

    @property
    def subject(self) -> Block | str:
        """What was timed: the block, or the network's digest."""
        if self.block is not None:
            return self.block
        assert self.network is not None, "a row is of a block or a network"
        return self.network.digest

    @property
    def is_throttled(self) -> bool:
        """Whether the board held its clock or voltage back while this was timed."""
        return bool(int(self.after.get("throttled", 0)) & THROTTLED_NOW)

    def doubts(self) -> tuple[str, ...]:
        """Why the row is doubtful and what helps; none where it is sound."""
        found = []
        lost = len(self.samples.preempted) / len(self.samples.samples_ms)
        bits = int(self.after.get("throttled", 0)) & THROTTLED_NOW
        if bits & 1:
            found.append("under-voltage: use the board's own power supply")
        if bits & ~1:
            found.append("throttled: cool the board")
        if lost > PREEMPTED_LIMIT:
            found.append(f"{lost:.0%} of the samples lost the core: stop other work on the board")
        if self.samples.interval() > INTERVAL_LIMIT:
            found.append(
                f"median uncertain by {self.samples.interval():.0%}: stop other work on the board"
            )
        return tuple(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """A whole detector that was timed.

    digest  of the architecture and image size
    space   digest of the search space it was drawn from
    model   its model YAML
    """

    digest: str
    image_size: ImageSize
    space: str
    model: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Gauge:
    """A gauge block's samples in one window, by which drift is seen.

    Tables and packs call it an anchor, as they did before box anchors stood beside it.
    """

    session: int
    window: int
    name: str
    samples: Samples
