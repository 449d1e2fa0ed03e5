"""How much of latency's residual over MACs ShuffleNetV2's four rules explain.

    python benchmarks/four_rules.py --device rpi4 --threads 4    # by a table
    python benchmarks/four_rules.py --device host --measure      # the models timed here, some 5 min

Random models of the spaces shuffle, mixed and fused_mbconv, a third each. Their latency is fitted
by a line through MACs, in logarithms; what is left is then explained by each rule alone, by all
four, and by what each adds to the other three.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import tyro
from numpy.typing import NDArray

from nas import stats
from nas.latency.device import TableKey, read_device
from nas.latency.load import load_table_model
from nas.latency.measured.campaign import network_job
from nas.latency.measured.measurement import Samples
from nas.latency.reach.pack import Pack
from nas.latency.reach.runner import LocalRunner
from nas.latency.rules import FourRules, four_rules
from nas.space.ops import macs, model_graph
from nas.space.search_space import Candidate, read_space

Array = NDArray[np.float64]

SPACES: Final = ("shuffle", "mixed", "fused_mbconv")


def features(rules: FourRules) -> list[float]:
    """A number for each rule that grows as it is broken."""
    return [
        float(np.log(rules.pointwise_over_bound)),
        rules.grouped_access,
        float(np.log(rules.ops)),
        rules.element_wise,
    ]


def explained(columns: Array, residual: Array) -> float:
    """The share of the residual's variance that a linear form of the columns explains, adjusted."""
    count, width = (int(size) for size in columns.shape)
    design = np.column_stack([np.ones(count), columns])
    left = residual - design @ np.linalg.lstsq(design, residual, rcond=None)[0]
    share = float((left**2).sum() / ((residual - residual.mean()) ** 2).sum())
    return 1.0 - share * (count - 1) / (count - width - 1)


def report(names: Sequence[str], columns: Array, logs: Array, ms: Array) -> None:
    """Prints the table of one set of models; `logs` are those of the MACs."""
    design = np.column_stack([np.ones(len(logs)), logs])
    weights = np.linalg.lstsq(design, np.log(ms), rcond=None)[0]
    residual = np.log(ms) - design @ weights
    off = float(np.mean(np.abs(np.exp(-residual) - 1)))
    print(f"line through MACs: ms ~ MACs^{weights[1]:.2f}, off by {off:.1%} (MAPE)")
    print("| rule | alone | beside the other three |\n|---|---|---|")
    whole = explained(columns, residual)
    for place, name in enumerate(names):
        alone = explained(columns[:, [place]], residual)
        others = explained(np.delete(columns, place, axis=1), residual)
        print(f"| {name} | {alone:.0%} | {whole - others:+.0%} |")
    print(f"| all four | {whole:.0%} | |")


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Ask what the four rules explain."""

    device: str = "rpi4"
    """Whose table answers; with --measure `host`."""
    runtime: Literal["ncnn", "onnxruntime"] = "ncnn"
    """The runtime."""
    precision: str = "fp32"
    """Its number format."""
    threads: int | None = None
    """Its threads (default: the device's own)."""
    models: int = 200
    """How many random models."""
    seed: int = 0
    """Of their draw."""
    measure: bool = False
    """Time every model here, as a whole, instead of asking a table."""


def measured(key: TableKey, drawn: Sequence[Candidate], seed: int) -> list[float]:
    """Median ms of each model over its two turns, in random order."""
    jobs = tuple(
        {one.digest: network_job(one, visits=2) for one in drawn}.values(),
    )
    samples: dict[str, list[float]] = {}
    for line in LocalRunner().run(Pack(key=key, jobs=jobs, gauges=(), seed=seed)):
        if line["line"] == "timing":
            found = Samples(
                samples_ms=tuple(line["samples_ms"]),
                preempted=tuple(line["preempted"]),
                cpu_ms=tuple(line["cpu_ms"]),
                overhead_ms=line["overhead_ms"],
            )
            samples.setdefault(line["job"], []).append(found.median_ms())
    turns = np.array([samples[job.name] for job in jobs])
    apart = np.abs(turns[:, 0] / turns[:, 1] - 1)
    print(f"two turns of one model differ by {np.mean(apart):.1%} (median {np.median(apart):.1%})")
    names = [network_job(one, visits=2).name for one in drawn]
    return [stats.median(samples[name]) for name in names]


def main(arguments: Arguments) -> None:
    """Draws the models, times them or asks the table, prints what explains what."""
    device = read_device(arguments.device)
    key = device.key(arguments.runtime, arguments.precision, arguments.threads)
    rng = np.random.default_rng(arguments.seed)
    spaces = [read_space(name) for name in SPACES]
    drawn = [spaces[turn % len(spaces)].random(rng) for turn in range(arguments.models)]
    graphs = [model_graph(one.spec, one.image_size) for one in drawn]
    if arguments.measure:
        kind, ms = "measured", measured(key, drawn, arguments.seed)
    else:
        model = load_table_model(key)
        kind = model.kind.value
        ms = [model.predict(one.spec, one.image_size).ms for one in drawn]
    print(f"{key}, {kind}: {len(ms)} models, {min(ms):.1f} to {max(ms):.1f} ms")
    names = (
        "G1 access of 1x1 convolutions over its bound",
        "G2 share of access by grouped convolutions",
        "G3 number of ops",
        "G4 share of element-wise numbers",
    )
    columns = [features(four_rules(graph, key.precision, key.runtime)) for graph in graphs]
    logs = [float(np.log(macs(graph))) for graph in graphs]
    report(names, np.array(columns), np.array(logs), np.array(ms))


if __name__ == "__main__":
    main(tyro.cli(Arguments))
