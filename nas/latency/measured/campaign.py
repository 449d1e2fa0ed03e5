"""What a profile measures: the blocks of a space, whole random detectors, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nas.latency.device import TableKey
from nas.latency.measured.cost_model import order_of_worth
from nas.latency.measured.measurement import (
    DRIFT_LIMIT,
    INTERVAL_LIMIT,
    Gauge,
    Measurement,
    Network,
    Samples,
)
from nas.latency.measured.table import Table, TableWriter
from nas.latency.reach.pack import Job, Pack, Timing
from nas.latency.reach.runner import Line, Runner
from nas.space.blocks import Block, blocks
from nas.space.modules import MODULES
from nas.space.ops import expand, macs, model_graph
from nas.space.references import read_references
from nas.space.search_space import Candidate, SearchSpace
from nas.space.spec import dump_spec, with_classes

CLASS_COUNTS: Final = (1, 4, 20, 80)
"""Numbers of classes for which a head is timed; between them the cost model answers."""


def _gauge(module: str, channels_in: int, channels_out: int, side: int, **more: Any) -> Block:
    return Block(
        module=module,
        channels_in=(channels_in,),
        channels_out=channels_out,
        height=side,
        width=side,
        **more,
    )


GAUGES: Final = (
    _gauge("MBConv", 24, 16, 144, kernel=3, stride=2),
    _gauge("FusedMBConv", 32, 72, 36, kernel=3, stride=2, expand_ratio=2),
    _gauge("FusedMBConv", 48, 56, 36, kernel=3, stride=2, expand_ratio=2),
    _gauge("Detect", 256, 68, 9, branches=(64, 64)),
    _gauge("C3", 96, 64, 48, depth=2),
)
"""Blocks that are timed again in every ring of every profile, by which it is seen how calm the
machine is: of several kinds, 3 to 70 million MACs. The same ones for every space, so that all
sessions of a table tell of one calm. (They are those which quantiles of MACs chose for the default
space, so that tables of it that were begun before go on with theirs.)"""

DRAWN: Final = 1000
"""Random candidates by which a plan knows how large a space's are, and what they use."""

VISITS: Final = 3
"""In how many rings each block and network is timed, minutes apart. What a block takes depends on
what else is in its ring, and a network's spread is the noise floor."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Campaign:
    """All that a profile of one space measures.

    blocks     every distinct block, heads for each of CLASS_COUNTS
    usage      mean number of times that each occurs in a random candidate, shape (len(blocks),)
    detectors  whole random detectors, spread evenly over the logarithm of their MACs, and the
               hand-designed ones that are no smaller or larger than the space's
    """

    space: SearchSpace
    blocks: tuple[Block, ...]
    usage: NDArray[np.float64]
    detectors: tuple[Candidate, ...]


def plan(space: SearchSpace, detectors: int, seed: int = 0) -> Campaign:
    """What to measure for a space, with so many whole detectors; the same seed, the same plan."""
    rng = np.random.default_rng(seed)
    drawn = [
        space.random(rng, num_classes=CLASS_COUNTS[i % len(CLASS_COUNTS)])
        for i in range(max(DRAWN, 10 * detectors))
    ]
    drawn = list({one.digest: one for one in drawn}.values())
    walked = [blocks(one.spec, one.image_size) for one in drawn]
    sizes = np.array([_macs(walk) for walk in walked], dtype=float)
    hand_designed = [
        one
        for one in read_references(space, CLASS_COUNTS[-1]).values()
        if sizes.min() <= _macs(blocks(one.spec, one.image_size)) <= sizes.max()
    ]
    found = tuple(
        dict.fromkeys(
            (
                *space.blocks(*CLASS_COUNTS),
                *(
                    block
                    for one in hand_designed
                    for classes in CLASS_COUNTS
                    for block in blocks(with_classes(one.spec, classes), one.image_size)
                ),
            )
        )
    )
    place = {block: i for i, block in enumerate(found)}
    usage = np.zeros(len(found))
    for walk in walked:
        for block in walk:
            usage[place[block]] += 1 / len(drawn)
    return Campaign(
        space=space,
        blocks=found,
        usage=usage,
        detectors=(*(drawn[i] for i in _spread(sizes, detectors)), *hand_designed),
    )


def _macs(walk: Sequence[Block]) -> int:
    return sum(macs(expand(block)) for block in walk)


def _spread(sizes: NDArray[np.float64], count: int) -> list[int]:
    """Indices of `count` values spread evenly over the logarithm, between the 1 % quantiles."""
    logs = np.log(sizes)
    left = list(range(len(logs)))
    low, high = np.quantile(logs, [0.01, 0.99])
    chosen = []
    for target in np.linspace(low, high, min(count, len(left))):
        nearest = min(left, key=lambda i: abs(logs[i] - target))
        left.remove(nearest)
        chosen.append(nearest)
    return chosen


def block_job(block: Block, visits: int = VISITS) -> Job:
    """The block as a job; its name is its key."""
    return Job(
        name=f"block {block.key()}",
        graph=expand(block),
        has_plain_output=MODULES[block.module].is_head,
        visits=visits,
    )


def network_job(candidate: Candidate, visits: int = VISITS) -> Job:
    """The whole detector as a job."""
    return Job(
        name=f"network {candidate.digest}",
        graph=model_graph(candidate.spec, candidate.image_size),
        is_whole=True,
        visits=visits,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Remaining:
    """What of a plan is still to be measured, in order of worth: each with its visits."""

    blocks: tuple[tuple[Block, int], ...]
    networks: tuple[tuple[Candidate, int], ...]

    def __len__(self) -> int:
        return sum(visits for _, visits in (*self.blocks, *self.networks))


def order_of_work(plan: Campaign, *, is_limited: bool) -> NDArray[np.int64]:
    """Indices of the plan's blocks in the order to time them.

    By worth where time is limited; otherwise at random, so that what drifts over the minutes
    falls on blocks of all kinds.
    """
    if is_limited:
        return order_of_worth(plan.blocks, plan.usage)
    return np.random.default_rng(0).permutation(len(plan.blocks))


def pending(plan: Campaign, table: Table, order: NDArray[np.int64]) -> Remaining:
    """What the table lacks of the plan; blocks in the order given (indices into the plan's)."""
    rng = np.random.default_rng(0)
    wanted = [plan.blocks[i] for i in order.tolist()]
    detectors = [plan.detectors[i] for i in rng.permutation(len(plan.detectors)).tolist()]
    return Remaining(
        blocks=tuple(
            (block, visits)
            for block in wanted
            if (visits := VISITS - len(table.blocks.get(block, ()))) > 0
            and f"block {block.key()}" not in table.failures
        ),
        networks=tuple(
            (one, visits)
            for one in detectors
            if (visits := VISITS - len(table.networks.get(one.digest, ()))) > 0
            and f"network {one.digest}" not in table.failures
        ),
    )


def doubtful(plan: Campaign, table: Table) -> Remaining:
    """The rows that are timed once more, the worst first.

    A row whose calmest samples were still slower than calm by DRIFT_LIMIT, or whose interval is
    wider than INTERVAL_LIMIT, is timed once more. If that does not help, it is doubtful: on a
    machine that is never quiet a third row may be no better. All rows count, the surer ones more.
    """
    steady = table.steadiness()

    def doubt(rows: list[Measurement]) -> float:
        """How far beyond the limits, 0 within."""
        if len(rows) != VISITS:
            return 0.0
        worst = max(steady.drift(rows) / DRIFT_LIMIT, steady.interval(rows) / INTERVAL_LIMIT)
        return worst if worst > 1 else 0.0

    blocks = {block: doubt(table.blocks[block]) for block in plan.blocks if block in table.blocks}
    networks = [(one, doubt(table.networks.get(one.digest, []))) for one in plan.detectors]
    return Remaining(
        blocks=tuple(
            (block, 1) for block, worst in sorted(blocks.items(), key=lambda it: -it[1]) if worst
        ),
        networks=tuple((one, 1) for one, worst in networks if worst),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """One turn of a campaign, under way while its rows are drawn.

    is_again  whether what it times was timed before and never in calm
    seconds   time limit; None: none
    """

    remaining: Remaining
    is_again: bool
    seconds: float | None
    rows: Iterator[Measurement]


def turns(
    writer: TableWriter,
    runner: Runner,
    plan: Campaign,
    remaining: Remaining,
    *,
    seconds_left: Callable[[], float | None],
    timing: Timing | None = None,
) -> Iterator[Turn]:
    """What remains of the plan, and then, once more, what was never timed in calm.

    Each turn's rows are to be drawn to their end before the next turn is asked for.
    """
    for again in range(2):
        seconds = seconds_left()
        if not len(remaining) or (seconds is not None and seconds <= 0):
            return
        rows = measure(writer, runner, plan, remaining, seed=again, seconds=seconds, timing=timing)
        yield Turn(remaining=remaining, is_again=bool(again), seconds=seconds, rows=rows)
        remaining = doubtful(plan, writer.table)


def measure(
    writer: TableWriter,
    runner: Runner,
    plan: Campaign,
    work: Remaining,
    *,
    seed: int,
    seconds: float | None = None,
    timing: Timing | None = None,
) -> Iterator[Measurement]:
    """Measures the work, every row being in the table when it is yielded."""
    space = plan.space.digest
    return measure_work(
        writer, runner, space, work, seed=seed, seconds=seconds, timing=timing or Timing()
    )


def measure_work(
    writer: TableWriter,
    runner: Runner,
    space: str,
    work: Remaining,
    *,
    seed: int,
    seconds: float | None = None,
    timing: Timing,
) -> Iterator[Measurement]:
    """As `measure`, of a space that is known by its digest alone."""
    key: TableKey = writer.table.key
    jobs = {job.name: job for job in (block_job(*one) for one in work.blocks)}
    gauges = tuple(f"block {block.key()}" for block in GAUGES)
    for block in GAUGES:
        job = block_job(block, visits=0)
        jobs.setdefault(job.name, job)
    named_blocks = {f"block {block.key()}": block for block, _ in work.blocks}
    networks = {f"network {one.digest}": one for one, _ in work.networks}
    pack = Pack(
        key=key,
        jobs=(*jobs.values(), *(network_job(*one) for one in work.networks)),
        gauges=gauges,
        seed=seed,
        seconds=seconds,
        timing=timing,
    )
    session = 0
    for line in runner.run(pack):
        kind = line["line"]
        if kind == "hello":
            session = writer.start_session(line["environment"], gauges, space)
        elif kind == "anchor":
            writer.add_gauge(
                Gauge(
                    session=session,
                    window=line["window"],
                    name=line["job"],
                    samples=_samples(line),
                )
            )
        elif kind == "failure":
            writer.add_failure(session, line["job"], line["reason"])
        elif kind == "timing":
            name = line["job"]
            row = Measurement(
                session=session,
                window=line["window"],
                samples=_samples(line),
                block=named_blocks.get(name),
                network=_network(networks[name], space) if name in networks else None,
                before=line["before"],
                after=line["after"],
            )
            writer.add(row)
            yield row


def _samples(line: Line) -> Samples:
    return Samples(
        samples_ms=tuple(line["samples_ms"]),
        preempted=tuple(line["preempted"]),
        cpu_ms=tuple(line["cpu_ms"]),
        overhead_ms=line.get("overhead_ms", 0.0),
        beside_ms=tuple(line.get("beside_ms", ())),
    )


def _network(candidate: Candidate, space: str) -> Network:
    return Network(
        digest=candidate.digest,
        image_size=candidate.image_size,
        space=space,
        model=dump_spec(candidate.spec),
    )
