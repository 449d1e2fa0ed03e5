"""What a profile measures: the blocks of a space, whole random detectors, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nas.latency.cost_model import order_of_worth
from nas.latency.device import TableKey
from nas.latency.measurement import DRIFT_LIMIT, Anchor, Measurement, Network, Samples
from nas.latency.pack import Job, Pack, Timing
from nas.latency.runner import Line, Runner
from nas.latency.table import Table, TableWriter
from nas.space.blocks import OUTPUTS_PER_ANCHOR, Block, blocks
from nas.space.ops import expand, macs, model_graph
from nas.space.search_space import Candidate, SearchSpace
from nas.space.spec import dump_spec

CLASS_COUNTS: Final = (1, 4, 20, 80)
"""Numbers of classes for which Detect is timed; between them the cost model answers."""

ANCHOR_PLACES: Final = (0.3, 0.5, 0.7, 0.85, 0.95)
"""The anchors' places among the blocks of a space, as quantiles of MACs."""

WHOLE_ANCHOR: Final = "network anchor"
"""Name of the job of a plan's whole anchor."""

TURNS: Final = 3
"""How often each whole network is timed, minutes apart: their spread is the noise floor."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """All that a profile of one space measures.

    blocks     every distinct block, Detect for each of CLASS_COUNTS
    usage      mean number of times that each occurs in a random candidate, shape (len(blocks),)
    detectors  whole random detectors, spread evenly over the logarithm of their MACs
    anchors    blocks that are timed again in every ring of blocks
    whole_anchor   the detector that is timed again in every ring of detectors
    """

    space: SearchSpace
    blocks: tuple[Block, ...]
    usage: NDArray[np.float64]
    detectors: tuple[Candidate, ...]
    anchors: tuple[Block, ...]
    whole_anchor: Candidate


def plan(space: SearchSpace, detectors: int, seed: int = 0) -> Plan:
    """What to measure for a space, with so many whole detectors; the same seed, the same plan."""
    found = tuple(
        dict.fromkeys(
            with_detect_classes(block, classes)
            for block in space.blocks(CLASS_COUNTS[-1])
            for classes in (CLASS_COUNTS if block.module == "Detect" else CLASS_COUNTS[:1])
        )
    )
    rng = np.random.default_rng(seed)
    drawn = [
        space.random(rng, num_classes=CLASS_COUNTS[i % len(CLASS_COUNTS)])
        for i in range(max(400, 10 * detectors))
    ]
    drawn = list({one.digest: one for one in drawn}.values())
    walked = [blocks(one.spec, one.image_size) for one in drawn]
    place = {block: i for i, block in enumerate(found)}
    usage = np.zeros(len(found))
    for walk in walked:
        for block in walk:
            usage[place[block]] += 1 / len(drawn)
    sizes = np.array([sum(macs(expand(block)) for block in walk) for walk in walked], dtype=float)
    middle = int(np.argsort(sizes)[len(sizes) // 2])
    ordered = sorted(found, key=lambda block: (macs(expand(block)), block.key()))
    return Plan(
        space=space,
        blocks=found,
        usage=usage,
        detectors=tuple(drawn[i] for i in _spread(sizes, detectors)),
        whole_anchor=drawn[middle],
        anchors=tuple(dict.fromkeys(ordered[int(q * (len(ordered) - 1))] for q in ANCHOR_PLACES)),
    )


def with_detect_classes(block: Block, classes: int) -> Block:
    """A Detect for another number of classes (that of a space is for the largest); others as is."""
    if block.module != "Detect":
        return block
    per_level = block.channels_out // (OUTPUTS_PER_ANCHOR + CLASS_COUNTS[-1])
    return replace(block, channels_out=per_level * (OUTPUTS_PER_ANCHOR + classes))


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


def block_job(block: Block) -> Job:
    """The block as a job; its name is its key."""
    return Job(
        name=f"block {block.key()}",
        graph=expand(block),
        has_plain_output=block.module == "Detect",
    )


def network_job(candidate: Candidate, turn: int) -> Job:
    """The whole detector as a job."""
    return Job(
        name=f"network {candidate.digest} {turn}",
        graph=model_graph(candidate.spec, candidate.image_size),
        is_whole=True,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What of a plan is still to be measured, in order of worth."""

    blocks: tuple[Block, ...]
    networks: tuple[tuple[Candidate, int], ...]

    def __len__(self) -> int:
        return len(self.blocks) + len(self.networks)


def order_of_work(plan: Plan, *, is_limited: bool) -> NDArray[np.int64]:
    """Indices of the plan's blocks in the order to time them.

    By worth where time is limited; otherwise at random, so that what drifts over the minutes
    falls on blocks of all kinds.
    """
    if is_limited:
        return order_of_worth(plan.blocks, plan.usage)
    return np.random.default_rng(0).permutation(len(plan.blocks))


def pending(plan: Plan, table: Table, order: NDArray[np.int64]) -> Work:
    """What the table lacks of the plan; blocks in the order given (indices into the plan's)."""
    rng = np.random.default_rng(0)
    turns = [
        (plan.detectors[i], turn)
        for turn in range(TURNS)
        for i in rng.permutation(len(plan.detectors)).tolist()
    ]
    return Work(
        blocks=tuple(
            block
            for block in (plan.blocks[i] for i in order.tolist())
            if block not in table.blocks and f"block {block.key()}" not in table.failures
        ),
        networks=tuple(
            (one, turn)
            for one, turn in turns
            if (one.digest, turn) not in table.networks
            and f"network {one.digest} {turn}" not in table.failures
        ),
    )


def drifted(plan: Plan, table: Table) -> Work:
    """What of the plan was timed once, in a window that drifted: to be done again, worst first.

    Once only: on a machine that is never quiet the second row may be no better. Both count.
    """
    steady = table.steadiness()

    def stray(rows: list[Measurement]) -> float:
        return abs(steady.drift(rows[0])) if len(rows) == 1 else 0.0

    strays = {block: stray(table.blocks[block]) for block in plan.blocks if block in table.blocks}
    again = [block for block, value in strays.items() if value > DRIFT_LIMIT]
    return Work(
        blocks=tuple(sorted(again, key=lambda block: -strays[block])),
        networks=tuple(
            (one, turn)
            for one in plan.detectors
            for turn in range(TURNS)
            if (one.digest, turn) in table.networks
            and stray(table.networks[one.digest, turn]) > DRIFT_LIMIT
        ),
    )


def measure(
    writer: TableWriter,
    runner: Runner,
    plan: Plan,
    work: Work,
    *,
    seed: int,
    seconds: float | None = None,
    timing: Timing | None = None,
) -> Iterator[Measurement]:
    """Measures the work, every row being in the table when it is yielded."""
    key: TableKey = writer.table.key
    jobs = {job.name: job for job in map(block_job, work.blocks)}
    for block in plan.anchors:
        job = block_job(block)
        jobs.setdefault(job.name, replace(job, is_anchor_only=True))
    whole_anchor = replace(
        network_job(plan.whole_anchor, 0), name=WHOLE_ANCHOR, is_anchor_only=True
    )
    networks = {f"network {one.digest} {turn}": (one, turn) for one, turn in work.networks}
    named_blocks = {f"block {block.key()}": block for block in work.blocks}
    pack = Pack(
        key=key,
        jobs=(
            *jobs.values(),
            *(network_job(one, turn) for one, turn in work.networks),
            *([whole_anchor] if networks else []),
        ),
        anchors=tuple(f"block {block.key()}" for block in plan.anchors),
        whole_anchors=(WHOLE_ANCHOR,) if networks else (),
        seed=seed,
        seconds=seconds,
        timing=timing or Timing(),
    )
    session = 0
    for line in runner.run(pack):
        kind = line["line"]
        if kind == "hello":
            session = writer.start_session(line["environment"])
        elif kind == "anchor":
            writer.add_anchor(
                Anchor(
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
                network=_network(networks[name], plan.space) if name in networks else None,
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
    )


def _network(what: tuple[Candidate, int], space: SearchSpace) -> Network:
    candidate, turn = what
    return Network(
        digest=candidate.digest,
        turn=turn,
        image_size=candidate.image_size,
        space=space.digest,
        model=dump_spec(candidate.spec),
    )
