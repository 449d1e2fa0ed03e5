"""How well each proxy ranks the pool's architectures, beside what costs nothing.

    python benchmarks/proxies.py --datasets ../shared/datasets --proxies short_training "60 steps"
    python benchmarks/proxies.py --print

Each proxy scores every architecture of benchmarks/pool.csv once, on one thread; a score is appended
to a CSV at once, and what stands there is not done again. What a proxy does once for all of them
(teaching shared weights) is not in the core-seconds of its scores. The table tells tau and regret
inside the bands of latency, all bands together, with bootstrap intervals, of the proxies, of MACs,
latency and image size alone, and of a ridge over the three that is fitted to the other
architectures of the same data set; then for those whose early stages are mostly Fused-MBConv and
mostly MBConv.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import tyro
from numpy.typing import NDArray
from pool import SETS, Result, candidates_of
from rows import append_row, read_rows

from nas import NasError
from nas.accuracy import (
    AnyProxy,
    MacsSettings,
    NaswotSettings,
    SharedWeightsSettings,
    ShortTrainingSettings,
    build_proxy,
    prepare_proxy,
)
from nas.accuracy.ranking import Judgement, judge, make_band
from nas.data.dataset import read_data
from nas.terminal import command_line

PROXIES: Final[dict[str, AnyProxy]] = {
    "short_training": ShortTrainingSettings(),
    "former": ShortTrainingSettings(
        image_scale=1 / 3, steps=90, val_images=None, cpu_bf16=False, pretrained="lite2"
    ),
    "lite2": ShortTrainingSettings(pretrained="lite2"),
    "20 steps": ShortTrainingSettings(steps=20),
    "half size": ShortTrainingSettings(image_scale=1 / 2),
    "60 steps": ShortTrainingSettings(steps=60),
    "120 steps": ShortTrainingSettings(steps=120),
    "own size": ShortTrainingSettings(image_scale=1),
    "own size, 15 steps": ShortTrainingSettings(image_scale=1, steps=15),
    "half size, 60 steps": ShortTrainingSettings(image_scale=1 / 2, steps=60),
    "slower": ShortTrainingSettings(lr=0.004),
    "shared_weights": SharedWeightsSettings(),
    "naswot": NaswotSettings(),
    "macs": MacsSettings(),
}
"""By name; those that are no proxy's are `short_training` but for what they say."""

STAGES: Final = (1, 2, 3, 4)
"""Those that may be of either operator."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Score the pool's architectures by proxies, and print how well they rank."""

    datasets: Path = Path("../shared/datasets")
    """The folder of the data sets."""
    sets: tuple[str, ...] = SETS
    """Data sets by their folder's name."""
    proxies: tuple[str, ...] = ("shared_weights", "short_training", "naswot", "macs")
    """By the names in this file."""
    pool: Path = Path("benchmarks/pool.csv")
    """What the architectures reach."""
    out: Path = Path("benchmarks/proxies.csv")
    """The CSV that scores are appended to."""
    print: Annotated[bool, tyro.conf.arg(name="print")] = False
    """Only print the tables of what the CSV holds."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One architecture's score by one proxy."""

    set: str
    digest: str
    proxy: str
    kind: str
    score: float
    error: float | None
    core_s: float


def main(arguments: Arguments) -> None:
    """Scores what the CSV does not hold yet, then prints the tables."""
    unknown = [name for name in arguments.proxies if name not in PROXIES]
    if unknown:
        raise NasError("--proxies", f"there are {', '.join(PROXIES)}", ", ".join(unknown))
    results = [one for one in read_rows(arguments.pool, Result) if one.seed == 0]
    if not arguments.print:
        score_all(arguments, results)
    show(results, read_rows(arguments.out, Scored))


def score_all(arguments: Arguments, results: Sequence[Result]) -> None:
    """Scores every architecture by every proxy, and writes each score down as it comes."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    done = {(one.set, one.digest, one.proxy) for one in read_rows(arguments.out, Scored)}
    for name in arguments.sets:
        own = [result for result in results if result.set == name]
        data = read_data(str(arguments.datasets / name / "data.yaml"))
        candidates = candidates_of(data) if own else None
        for proxy_name in arguments.proxies:
            wanted = [one for one in own if (name, one.digest, proxy_name) not in done]
            if not wanted:
                continue
            assert candidates is not None
            settings = PROXIES[proxy_name]
            prepared = prepare_proxy(settings, data, candidates.space, candidates.build, 0)
            proxy = build_proxy(settings, data, prepared)
            for one in wanted:
                begin = time.process_time()
                score = proxy.score(candidates.rebuild(json.loads(one.choices)), 0)
                row = Scored(
                    set=name,
                    digest=one.digest,
                    proxy=proxy_name,
                    kind=score.kind,
                    score=round(score.score, 6),
                    error=None if score.error is None else round(score.error, 6),
                    core_s=round(time.process_time() - begin, 2),
                )
                append_row(arguments.out, row)


def show(results: Sequence[Result], scored: Sequence[Scored]) -> None:
    """Prints the three tables."""
    fused = {one.digest: fused_stages(one) for one in results}
    groups = {
        "all architectures": list(results),
        "mostly Fused-MBConv": [one for one in results if fused[one.digest] > len(STAGES) / 2],
        "mostly MBConv": [one for one in results if fused[one.digest] < len(STAGES) / 2],
    }
    for title, own in groups.items():
        shown = own
        names = complete(own, scored)
        if not names:
            continue
        print(f"\n{title}: {len(shown)}, in bands of like latency, 90 % intervals\n")
        print("| ranked by | core-s | tau | regret at 1 | regret at 3 | less than MACs' by |")
        print("|---|---|---|---|---|---|")
        for one in judgements(shown, scored, names):
            cost = [row.core_s for row in scored if row.proxy == one.name]
            seconds = f"{np.mean(cost):.1f}" if cost else "0"
            gap = "" if one.name == "MACs" else str(one.against["MACs"])
            regrets = f"{one.regrets[1]} | {one.regrets[3]}"
            print(f"| {one.name} | {seconds} | {one.tau} | {regrets} | {gap} |")


def complete(results: Sequence[Result], scored: Sequence[Scored]) -> list[str]:
    """Proxies that have scored all of these architectures."""
    there = {(one.set, one.digest, one.proxy) for one in scored}
    return [
        name for name in PROXIES if all((one.set, one.digest, name) in there for one in results)
    ]


def judgements(
    results: Sequence[Result], scored: Sequence[Scored], names: Sequence[str]
) -> list[Judgement]:
    """How each proxy, and each thing that costs nothing, ranks these architectures."""
    scores = {(one.set, one.digest, one.proxy): one.score for one in scored}
    ridge = ridge_scores(results)
    bands = []
    for place in sorted({(one.set, one.band) for one in results}):
        own = [one for one in results if (one.set, one.band) == place]
        reached = [one.val_map50_95 for one in own]
        told: dict[str, list[float]] = {
            name: [scores[one.set, one.digest, name] for one in own] for name in names
        }
        told |= {
            "MACs": [one.gigamacs for one in own],
            "latency": [one.latency_ms for one in own],
            "image size": [float(one.image_size) for one in own],
            "ridge of the three": [ridge[one.set, one.digest] for one in own],
        }
        bands.append({name: make_band(reached, values) for name, values in told.items()})
    return judge([band for band in bands if len(next(iter(band.values())).reached) > 1],
                 picks=(1, 3))  # fmt: skip


def ridge_scores(results: Sequence[Result]) -> dict[tuple[str, str], float]:
    """What a ridge over MACs, latency and image size says of each, fitted to the set's others."""
    found = {}
    for name in {one.set for one in results}:
        own = [one for one in results if one.set == name]
        inputs = np.log([[one.gigamacs, one.latency_ms, one.image_size] for one in own])
        inputs = (inputs - inputs.mean(axis=0)) / np.maximum(inputs.std(axis=0), 1e-9)
        reached = np.array([one.val_map50_95 for one in own])
        for place, one in enumerate(own):
            others = np.arange(len(own)) != place
            found[one.set, one.digest] = _ridge(inputs[others], reached[others], inputs[place])
    return found


def _ridge(inputs: NDArray[Any], reached: NDArray[Any], at: NDArray[Any]) -> float:
    if len(reached) < 2:
        return 0.0
    normal = inputs.T @ inputs + np.eye(inputs.shape[1])
    weights = np.linalg.solve(normal, inputs.T @ (reached - reached.mean()))
    return float(at @ weights + reached.mean())


def fused_stages(result: Result) -> int:
    """Stages of Fused-MBConv, of those that may be of either operator."""
    choices = json.loads(result.choices)
    return sum(choices[f"stage{number}.operator"] == "FusedMBConv" for number in STAGES)


if __name__ == "__main__":
    command_line(Arguments, main)
