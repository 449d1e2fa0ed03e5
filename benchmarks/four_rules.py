"""How much of latency's residual over MACs ShuffleNetV2's four rules explain, on a table.

    python benchmarks/four_rules.py [--device rpi4] [--threads 4] [--models 200]

Random models of the spaces shuffle, mixed and fused_mbconv, a third each. Their latency by the
table is fitted by a line through MACs, in logarithms; what is left is then explained by each rule
alone, by all four, and by what each adds to the other three.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nas.latency.device import TableKey, read_device
from nas.latency.estimated import load_table_model
from nas.latency.four_rules import FourRules, four_rules
from nas.space.ops import macs, model_graph
from nas.space.search_space import read_space

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


def main() -> None:
    """Draws the models, asks the table, prints what explains what."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="rpi4")
    parser.add_argument("--runtime", default="ncnn", choices=["ncnn", "onnxruntime"])
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    read_device(asked.device)
    key = TableKey(
        device=asked.device,
        runtime=asked.runtime,
        precision=asked.precision,
        threads=asked.threads,
    )
    model, rng = load_table_model(key), np.random.default_rng(asked.seed)
    spaces = [read_space(name) for name in SPACES]
    columns, logs, ms = [], [], []
    for turn in range(asked.models):
        candidate = spaces[turn % len(spaces)].random(rng)
        graph = model_graph(candidate.spec, candidate.image_size)
        columns.append(features(four_rules(graph, key.precision, key.runtime)))
        logs.append(np.log(macs(graph)))
        ms.append(model.predict(candidate.spec, candidate.image_size).ms)
    print(f"{key}, {model.kind.value}: {len(ms)} models, {min(ms):.1f} to {max(ms):.1f} ms")
    names = (
        "G1 access of 1x1 convolutions over its bound",
        "G2 share of access by grouped convolutions",
        "G3 number of ops",
        "G4 share of element-wise numbers",
    )
    report(names, np.array(columns), np.array(logs), np.array(ms))


if __name__ == "__main__":
    main()
