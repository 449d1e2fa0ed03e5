"""How far whole detectors are from the sum of their blocks, timed alone and timed in rings.

    python benchmarks/rings.py [--detectors 12] [--runtime ncnn] [--threads 1]

Both ways of timing (on_board/board.py) take turns in one run, on the same detectors, and the
detectors are timed in between. Printed for each way: detector over sum (1 is additive), its
spread, the error after one scalar, and how the ratio goes with weights per millisecond, which is
what a hot cache hides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nas import stats
from nas.latency.device import TableKey
from nas.latency.measured.campaign import block_job, network_job
from nas.latency.measured.measurement import Samples
from nas.latency.reach.pack import Pack, Timing
from nas.latency.reach.runner import LocalRunner
from nas.space.blocks import blocks
from nas.space.ops import expand
from nas.space.search_space import Candidate, read_space
from nas.terminal import command_line

WAYS = {
    "alone": Timing(ring_size=1, ring_warmup_s=0.02, cap_s=0.06),
    "in rings": Timing(cap_s=2.0),
}


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Compare the sum of blocks timed alone and in rings with whole detectors."""

    detectors: int = 12
    """How many random detectors of the default space."""
    runtime: str = "ncnn"
    """ncnn or onnxruntime."""
    threads: int = 1
    """Threads of the runtime."""


def timed(key: TableKey, detectors: list[Candidate], timing: Timing) -> dict[str, float]:
    """Median ms of every block (by its job's name) and of every detector."""
    found = dict.fromkeys(b for one in detectors for b in blocks(one.spec, one.image_size))
    jobs = (
        *(block_job(block, visits=1) for block in found),
        *(network_job(one, visits=1) for one in detectors),
    )
    pack = Pack(key=key, jobs=jobs, gauges=(), seed=0, timing=timing)
    return {
        line["job"]: Samples(
            samples_ms=tuple(line["samples_ms"]),
            preempted=tuple(line["preempted"]),
            cpu_ms=tuple(line["cpu_ms"]),
            overhead_ms=line["overhead_ms"],
        ).median_ms()
        for line in LocalRunner().run(pack)
        if line["line"] == "timing"
    }


def run(arguments: Arguments) -> None:
    """Times four detectors at a time both ways, and prints what comes out."""
    key = TableKey(device="host", runtime=arguments.runtime, threads=arguments.threads)
    space, rng = read_space("fused_mbconv"), np.random.default_rng(0)
    detectors = [space.random(rng) for _ in range(arguments.detectors)]
    sums: dict[str, list[float]] = {way: [] for way in WAYS}
    whole: list[float] = []
    for start in range(0, len(detectors), 4):
        some = detectors[start : start + 4]
        results = {way: timed(key, some, replace(timing)) for way, timing in WAYS.items()}
        for one in some:
            walk = [f"block {b.key()}" for b in blocks(one.spec, one.image_size)]
            name = f"network {one.digest}"
            whole.append(stats.median([result[name] for result in results.values()]))
            for way, result in results.items():
                sums[way].append(sum(result[block] for block in walk))
    weights = [
        sum(op.weights for b in blocks(one.spec, one.image_size) for op in expand(b).ops) / 1e6
        for one in detectors
    ]
    print(f"{len(whole)} detectors of {min(whole):.1f} to {max(whole):.1f} ms, {key}")
    for way, found in sums.items():
        ratio = np.array(whole) / np.array(found)
        scaled = np.array(found) * np.exp(np.log(ratio).mean())
        print(
            f"{way:>9}: detector / sum {ratio.mean():.3f} (from {ratio.min():.3f} to "
            f"{ratio.max():.3f}), after one scalar MAPE {stats.mape(scaled, whole):.1%}, "
            f"correlation with weights per ms "
            f"{np.corrcoef(ratio, np.array(weights) / np.array(found))[0, 1]:+.2f}"
        )


if __name__ == "__main__":
    command_line(Arguments, run)
