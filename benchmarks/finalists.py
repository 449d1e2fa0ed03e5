"""Are a search's finalists better than random candidates of like latency, after longer training?

    python benchmarks/finalists.py runs/NAME --data DATA.yaml --epochs 20

Takes finalists spread over the run's front, and for each a random candidate of the same space
whose predicted latency is within 5 % of it. All are trained alike, at their full image size and by
the proxy's recipe with more augmentation, with anchors fitted to the training part; the last
weights count (nothing is chosen by its score), and they are graded on the test part, or on the
validation part where the data has no test.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
import yaml

from nas.data.dataset import DataConfig
from nas.latency.device import TableKey
from nas.latency.load import load_table_model
from nas.space.anchors import Anchors
from nas.space.image_size import longest
from nas.space.search_space import Candidate, architecture_digest, read_space
from nas.space.spec import dump_spec, parse_written, read_spec, with_anchors
from nas.stats import mape, spearman

LATENCY_TOLERANCE = 0.05


@dataclass(frozen=True, kw_only=True)
class Arguments:
    run: Annotated[Path, tyro.conf.Positional]
    """A finished run's folder."""
    data: str = "shapes"
    """data.yaml, or shapes."""
    epochs: int = 20
    """Of each training."""
    pairs: int = 3
    """Finalists, each with one random candidate."""
    seed: int = 0
    """Of the drawing and the trainings."""
    workers: int = 2
    """Trainings at once, one thread each."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One model to train; `score` is the search's, None for a random candidate."""

    name: str
    model: str
    image_size: int
    latency_ms: float
    score: float | None


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of a job; `score` is the proxy's, the mean of two seeds."""

    job: Job
    score: float
    part: str
    map50_95: float
    map50: float
    seconds: float


def finalists(run: Path, count: int) -> list[Job]:
    """Points of the front at evenly spread places between its first third and its end.

    The fastest third is left out: its points are on the front by their latency alone.
    """
    front = json.loads((run / "pareto.json").read_text())["front"]
    front.sort(key=lambda point: float(point["latency_ms"]))
    places = np.unique(np.linspace(len(front) // 3, len(front) - 1, count).round().astype(int))
    return [
        Job(
            name=str(front[i]["name"]),
            model=dump_spec(read_spec(run / front[i]["model"])),
            image_size=int(front[i]["image_size"]),
            latency_ms=float(front[i]["latency_ms"]),
            score=float(front[i]["score"]),
        )
        for i in places
    ]


def rivals(run: Path, jobs: list[Job], seed: int) -> Iterator[Job]:
    """For each finalist a random candidate of like latency, for the same classes."""
    document = json.loads((run / "pareto.json").read_text())
    space = read_space(str(document["space"]))
    key = TableKey(
        **{name: document[name] for name in ("device", "runtime", "precision", "threads")}
    )
    predictor, rng = load_table_model(key, space=space), np.random.default_rng(seed)
    for job in jobs:
        num_classes = parse_written(job.model).num_classes
        for _ in range(100_000):
            drawn = space.random(rng, num_classes)
            latency_ms = predictor.predict(drawn.spec, drawn.image_size).ms
            if mape([latency_ms], [job.latency_ms]) <= LATENCY_TOLERANCE:
                yield Job(
                    name=f"random {drawn.digest[:6]}",
                    model=dump_spec(drawn.spec),
                    image_size=longest(drawn.image_size),
                    latency_ms=latency_ms,
                    score=None,
                )
                break


def proxy_score(job: Job, run: Path, data: DataConfig, anchors: Anchors) -> float:
    """The score of the run's own proxy for a job, the mean of seeds 0 and 1."""
    from nas.accuracy import build_proxy
    from nas.accuracy.settings import parse_proxy

    settings = yaml.safe_load((run / "settings.yaml").read_text())["proxy"]
    proxy = build_proxy(parse_proxy(settings, str(run)), data)
    spec = with_anchors(parse_written(job.model), anchors)
    candidate = Candidate(
        spec=spec,
        image_size=job.image_size,
        choices=(),
        digest=architecture_digest(spec, job.image_size),
    )
    return float(np.mean([proxy.score(candidate, seed).score for seed in (0, 1)]))


def train_one(job: Job, run: Path, data: str, epochs: int, seed: int) -> Result:
    """Trains and grades one job, on one thread."""
    import torch

    from nas.data.anchors import box_sizes, fit_anchors
    from nas.data.dataset import load_part, read_data
    from nas.detector.builder import build_detector
    from nas.training.augment import AugmentSettings
    from nas.training.loop import train
    from nas.training.metrics import evaluate_detector
    from nas.training.settings import short_settings

    torch.set_num_threads(1)
    start = time.perf_counter()
    config = read_data(data)
    part: Literal["test", "val"] = "test" if "test" in config.parts else "val"
    train_set = load_part(config, "train", job.image_size)
    anchors = fit_anchors(box_sizes(train_set), seed=seed).anchors
    torch.manual_seed(seed)
    detector = build_detector(with_anchors(parse_written(job.model), anchors))
    augment = AugmentSettings(mosaic=0.0, scale=0.25)
    settings = replace(short_settings(), steps=None, epochs=epochs, augment=augment)
    trained = train(detector, train_set, None, settings, seed=seed)
    grades = evaluate_detector(trained.detector, load_part(config, part, job.image_size))
    return Result(
        job=job,
        score=job.score if job.score is not None else proxy_score(job, run, config, anchors),
        part=part,
        map50_95=grades.map50_95,
        map50=grades.map50,
        seconds=time.perf_counter() - start,
    )


def main() -> None:
    arguments = tyro.cli(Arguments, config=(tyro.conf.OmitArgPrefixes,))
    chosen = finalists(arguments.run, arguments.pairs)
    jobs = [
        job
        for pair in zip(chosen, rivals(arguments.run, chosen, arguments.seed), strict=True)
        for job in pair
    ]
    print(
        f"{len(jobs)} trainings of {arguments.epochs} epochs on {arguments.data}, "
        f"seed {arguments.seed}"
    )
    print(
        f"{'model':<28}{'px':>5}{'predicted ms':>14}{'proxy':>8}"
        f"{'mAP50-95':>10}{'mAP50':>8}{'s':>6}"
    )
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        running = [
            pool.submit(
                train_one, job, arguments.run, arguments.data, arguments.epochs, arguments.seed
            )
            for job in jobs
        ]
        results = []
        for future in running:
            result = future.result()
            results.append(result)
            job = result.job
            print(
                f"{job.name:<28}{job.image_size:>5}{job.latency_ms:>14.2f}{result.score:>8.3f}"
                f"{result.map50_95:>10.4f}{result.map50:>8.4f}{result.seconds:>6.0f}",
                flush=True,
            )
    gains = [a.map50_95 - b.map50_95 for a, b in zip(results[::2], results[1::2], strict=True)]
    ranks = spearman([r.score for r in results], [r.map50_95 for r in results])
    print(f"Spearman between proxy and mAP50-95 over the {len(results)}: {ranks:.2f}")
    print(
        f"finalist minus random of like latency, mAP50-95 on {results[0].part}: "
        + ", ".join(f"{gain:+.4f}" for gain in gains)
        + f"; mean {np.mean(gains):+.4f}"
    )


if __name__ == "__main__":
    main()
