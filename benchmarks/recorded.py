"""Samplers on the default space by replay: a landscape learnt from recorded scores, 16 seeds.

    python benchmarks/recorded.py --datasets ../shared/datasets
    python benchmarks/recorded.py --print

Scores random architectures of the default space, none slower than 100 ms on the estimated
Raspberry Pi 4, by shared weights, and appends each to a CSV at once; what stands there is not done
again. `--print` begins with what the CSV holds: it fits a landscape to the scores, an ensemble of
small networks over the choices themselves (what a surrogate benchmark is: Zela et al. 2022,
NAS-Bench-301), tells its error on architectures held out, and has every sampler search the whole
space on it with the real loop. The landscape shares nothing with the search's own surrogate, which
models amounts of work and not choices. A look costs all samplers the same core-seconds, so equal
looks are equal cost. Reported is the hypervolume of the landscape's values of what was looked at,
over the logarithm of latency, as a share of that of all that any search has looked at.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, get_args

import numpy as np
import optuna
import pool
import tyro
from numpy.typing import NDArray
from rows import append_row, read_rows

from nas.accuracy import Score, SharedWeightsSettings, build_proxy, prepare_proxy
from nas.data.dataset import read_data
from nas.latency.answer import LatencyModel
from nas.latency.device import read_device
from nas.latency.load import load_table_model
from nas.space.search_space import Candidate
from nas.stats import ranks
from nas.study.after.baselines import grid
from nas.study.candidates import Candidates
from nas.study.loop import Search, SearchPlan
from nas.study.on_disk.record import Record
from nas.study.pareto import hypervolume
from nas.study.sampling import SamplerName
from nas.study.workers import Inline
from nas.terminal import command_line

Array = NDArray[np.float64]

SLOWEST_MS: Final = 100.0
"""Of what is recorded, and the searches' limit."""

LOOKS: Final = (50, 100, 200)

PARTS: Final = 5
"""Of the recorded architectures: each is held out in turn, and each network of the ensemble has
not seen one."""

WIDTH, STEPS, RATE, DECAY = 64, 600, 0.005, 0.03
"""Of the ensemble's networks: two hidden layers, AdamW."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Record scores, fit a landscape to them, and let the samplers search it."""

    datasets: Path = Path("../shared/datasets")
    """The folder of the data sets."""
    set: str = "bccd"
    """The data set whose scores are recorded."""
    count: int = 300
    """Architectures to score."""
    weights_seed: int = 1
    """Of the shared weights."""
    seeds: int = 16
    """Searches with each sampler."""
    samplers: tuple[SamplerName, ...] = get_args(SamplerName)
    """Which of them."""
    out: Path = Path("benchmarks/recorded.csv")
    """The CSV that scores are appended to."""
    print: Annotated[bool, tyro.conf.arg(name="print")] = False
    """Score nothing more."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One architecture's score."""

    set: str
    weights_seed: int
    digest: str
    latency_ms: float
    """Estimated."""
    score: float
    error: float | None
    core_s: float
    choices: str
    """JSON: what rebuilds the architecture."""


def main(arguments: Arguments) -> None:
    """Scores what the CSV does not hold yet, then prints the table."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    data = read_data(str(arguments.datasets / arguments.set / "data.yaml"))
    candidates = pool.candidates_of(data)
    key = read_device("rpi4").key("ncnn", "fp32", None)
    model = load_table_model(key, space=candidates.space, num_classes=data.num_classes)
    if not arguments.print:
        record(arguments, candidates, model)
    rows = [
        one
        for one in read_rows(arguments.out, Scored)
        if (one.set, one.weights_seed) == (arguments.set, arguments.weights_seed)
    ]
    show(arguments, rows, candidates, model)


def record(arguments: Arguments, candidates: Candidates, model: LatencyModel) -> None:
    """Scores random architectures by shared weights, on one thread."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    done = {(one.set, one.weights_seed, one.digest) for one in read_rows(arguments.out, Scored)}
    data = read_data(str(arguments.datasets / arguments.set / "data.yaml"))
    settings = SharedWeightsSettings()
    prepared = prepare_proxy(
        settings, data, candidates.space, candidates.build, arguments.weights_seed
    )
    proxy = build_proxy(settings, data, prepared)
    rng = np.random.default_rng([20261127, *arguments.set.encode()])
    count = 0
    while count < arguments.count:
        one = candidates.random(rng)
        latency_ms = model.predict(one.spec, one.image_size).ms
        if latency_ms > SLOWEST_MS:
            continue
        count += 1
        if (arguments.set, arguments.weights_seed, one.digest) in done:
            continue
        begin = time.process_time()
        score = proxy.score(one, arguments.weights_seed)
        row = Scored(
            set=arguments.set,
            weights_seed=arguments.weights_seed,
            digest=one.digest,
            latency_ms=round(latency_ms, 3),
            score=round(score.score, 6),
            error=None if score.error is None else round(score.error, 6),
            core_s=round(time.process_time() - begin, 2),
            choices=json.dumps(dict(one.choices)),
        )
        append_row(arguments.out, row)


class Landscape:
    """A score for any architecture of the space, learnt from recorded ones."""

    kind = "a landscape learnt from recorded scores, not a mAP"

    def __init__(self, candidates: Candidates, rows: Sequence[Scored], noise: float) -> None:
        self._options = candidates.space.options()
        self._noise = noise
        inputs = np.array([self._inputs(json.loads(row.choices)) for row in rows])
        scores = np.array([row.score for row in rows])
        self._centre, self._scale = scores.mean(), scores.std()
        targets = (scores - self._centre) / self._scale
        part = np.random.default_rng(0).permutation(len(rows)) % PARTS
        self._nets = [taught(inputs[part != n], targets[part != n], seed=n) for n in range(PARTS)]
        self.held_out = np.empty(len(rows))
        for n, net in enumerate(self._nets):
            self.held_out[part == n] = self._centre + self._scale * answers(net, inputs[part == n])

    def true_score(self, candidate: Candidate) -> float:
        """The ensemble's mean, not below 0."""
        inputs = self._inputs(dict(candidate.choices))[None]
        mean = np.mean([answers(net, inputs)[0] for net in self._nets])
        return max(float(self._centre + self._scale * mean), 0.0)

    def score(self, candidate: Candidate, seed: int) -> Score:
        """What a search sees: with the noise that a score has by its few pictures."""
        rng = np.random.default_rng([int(candidate.digest, 16), seed])
        noisy = self.true_score(candidate) + self._noise * float(rng.standard_normal())
        return Score(score=max(noisy, 0.0), kind=self.kind, is_map=False, seconds=0.0)

    def _inputs(self, choices: dict[str, object]) -> Array:
        """Numbers by their rank among a choice's options, words one by one."""
        found: list[float] = []
        for name, options in self._options.items():
            if all(isinstance(one, int | float) for one in options):
                place = list(options).index(choices[name])
                found.append(2 * place / max(len(options) - 1, 1) - 1)
            else:
                found += [float(choices[name] == one) for one in options]
        return np.array(found)


def taught(inputs: Array, targets: Array, seed: int) -> object:
    """A network of two hidden layers, fitted to the targets."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Linear(inputs.shape[1], WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(),
        nn.Linear(WIDTH, 1),
    )  # fmt: skip
    given, wanted = (torch.tensor(one, dtype=torch.float32) for one in (inputs, targets))
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for _ in range(STEPS):
        loss = nn.functional.mse_loss(net(given)[:, 0], wanted)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return net


def answers(net: object, inputs: Array) -> Array:
    """What a network says of some architectures, standardised."""
    import torch

    with torch.no_grad():
        found: Array = net(torch.tensor(inputs, dtype=torch.float32))[:, 0].numpy()  # type: ignore[operator]
    return found.astype(np.float64)


def searched(
    landscape: Landscape, candidates: Candidates, model: LatencyModel, sampler: SamplerName,
    seed: int, opening: tuple[Candidate, ...],
) -> list[tuple[float, float]]:  # fmt: skip
    """Latency and true score of each look of one search, in order."""
    with tempfile.TemporaryDirectory() as folder:
        ending = Search(
            candidates=candidates,
            model=model,
            grader=Inline(landscape),
            record=Record(f"journal:{Path(folder) / 'study.log'}", "recorded"),
            plan=SearchPlan(
                sampler=sampler, seed=seed, limit_ms=SLOWEST_MS, in_flight=4, opening=opening
            ),
        ).run(max(LOOKS))
    return [(one.latency.ms, landscape.true_score(one.candidate)) for one in ending.graded]


def show(
    arguments: Arguments, rows: Sequence[Scored], candidates: Candidates, model: LatencyModel
) -> None:
    """Fits the landscape, searches it, and prints what each sampler reaches."""
    import torch

    torch.set_num_threads(1)
    noise = float(np.median([row.error for row in rows if row.error is not None]))
    landscape = Landscape(candidates, rows, noise)
    scores = np.array([row.score for row in rows])
    off = landscape.held_out - scores
    rank = float(np.corrcoef(ranks(landscape.held_out), ranks(scores))[0, 1])
    print(
        f"{len(rows)} architectures of {arguments.set}, {np.mean([r.core_s for r in rows]):.1f}"
        f" core-s each, scores {scores.min():.3f} to {scores.max():.3f}. Landscape, each fifth held"
        f" out: R2 {1 - off.var() / scores.var():.2f}, Spearman {rank:.2f}; noise of a look"
        f" {noise:.3f}.\n"
    )
    plain = [one.candidate for one in grid(candidates, model) if one.latency.ms <= SLOWEST_MS]
    found: dict[str, list[list[tuple[float, float]]]] = {
        name: [
            searched(landscape, candidates, model, name, seed, tuple(plain))
            for seed in range(arguments.seeds)
        ]
        for name in arguments.samplers
    }
    every = [look for own in found.values() for looks in own for look in looks]
    whole = area(every)
    print("| chosen by | " + " | ".join(f"{n} looks" for n in LOOKS) + " |")
    print("|---|" + "---|" * len(LOOKS))
    alone = (
        area(
            [
                (model.predict(one.spec, one.image_size).ms, landscape.true_score(one))
                for one in plain
            ]
        )
        / whole
    )
    print(f"| the grid alone, {len(plain)} looks |" + f" {alone:.3f} |" * len(LOOKS))
    for name, own in found.items():
        cells = []
        for looks in LOOKS:
            shares = [area(one[:looks]) / whole for one in own]
            error = np.std(shares, ddof=1) / math.sqrt(len(shares)) if len(shares) > 1 else math.nan
            cells.append(f"{np.mean(shares):.3f} ({error:.3f})")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def area(looks: Sequence[tuple[float, float]]) -> float:
    """Under the front, over the logarithm of latency."""
    return hypervolume(
        [math.log(ms) for ms, _ in looks], [score for _, score in looks],
        limit_ms=math.log(SLOWEST_MS),
    )  # fmt: skip


if __name__ == "__main__":
    command_line(Arguments, main)
