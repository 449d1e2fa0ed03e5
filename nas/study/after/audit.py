"""An audit: how well a run's score ranked, on its own data, told by teaching some to the end.

Architectures of one band of latency are drawn at random from those that the run graded, and taught
alike. Their order by what they reach is held against their order by the score, and by what costs
nothing: multiply-accumulates, latency, image size. A few are taught under a second seed, so that
the difference which luck alone makes stands beside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from nas import NasError
from nas.accuracy import Score
from nas.accuracy.ranking import Interval, Judgement, judge, make_band
from nas.documents import Strict
from nas.space.image_size import side_of, written
from nas.space.ops import macs, model_graph
from nas.study.candidates import Candidates
from nas.study.on_disk.record import Record
from nas.study.trial import Outcome, Trial

FILE: Final = "audit.json"
"""In the run's folder."""

SCORE: Final = "score"
"""What reports call the run's own score; the others are what it has to beat."""

LEAST: Final = 4
"""Architectures that an order can be told of."""

AGAIN: Final = 4
"""One of so many is taught under a second seed too."""


class AuditFile(Strict):
    """audit.json."""

    format: Literal[1] = 1
    band_ms: tuple[float, float]
    taught_kind: str
    architectures: tuple[dict[str, Any], ...]
    rankings: tuple[dict[str, Any], ...]
    seed_noise: float | None
    words: tuple[str, ...]


class AuditError(NasError):
    """A run, or a band of it, that can't be audited."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Audited:
    """An architecture of an audit: its trial, and what it reached under each seed."""

    trial: Trial
    taught: tuple[Score, ...]

    @property
    def reached(self) -> float:
        """mAP50-95 under the first seed."""
        return self.taught[0].score

    def told(self) -> dict[str, float]:
        """What each way of ranking says of it; more is better."""
        candidate = self.trial.candidate
        assert self.trial.score is not None, "what is audited was graded"
        return {
            SCORE: self.trial.score.score,
            "MACs": float(macs(model_graph(candidate.spec, candidate.image_size))),
            "latency": self.trial.latency.ms,
            "image size": float(side_of(candidate.image_size)),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """What an audit found.

    band_ms     bounds of the latencies
    judgements  the score's first, then its rivals'
    seed_noise  standard deviation between seeds of one architecture (mAP50-95); None where none
                was taught twice
    """

    band_ms: tuple[float, float]
    audited: tuple[Audited, ...]
    judgements: tuple[Judgement, ...]
    seed_noise: float | None


def graded_trials(record: Record, candidates: Candidates) -> list[Trial]:
    """The architectures that a run graded, by number, rebuilt from its record."""
    return [
        Trial(
            number=asked.number,
            candidate=candidates.rebuild(asked.choices),
            latency=asked.latency,
            outcome=asked.outcome,
            score=asked.score,
        )
        for asked in record.asked()
        if asked.outcome is Outcome.GRADED and asked.score is not None
    ]


def choose_band(trials: Sequence[Trial], count: int) -> tuple[float, float]:
    """The narrowest band (ms) that holds 2 `count` of the trials nearest to the best scored one.

    Nearest by the ratio of latencies. The whole of them where they are fewer.
    """
    best = max(trials, key=lambda t: t.score.score if t.score else 0.0)
    ratios = sorted(abs(float(np.log(t.latency.ms / best.latency.ms))) for t in trials)
    reach = ratios[min(2 * count, len(ratios)) - 1]
    inside = [
        t.latency.ms for t in trials if abs(float(np.log(t.latency.ms / best.latency.ms))) <= reach
    ]
    return min(inside), max(inside)


def choose_audited(
    trials: Sequence[Trial], band_ms: tuple[float, float], count: int, seed: int
) -> list[Trial]:
    """`count` trials of a band, drawn at random, by number. AuditError where there are too few."""
    low, high = band_ms
    inside = [t for t in trials if low <= t.latency.ms <= high]
    if len(inside) < LEAST:
        raise AuditError(
            f"--band {low:g} {high:g}",
            f"at least {LEAST} graded architectures are in the band",
            f"{len(inside)} of {len(trials)}",
            "Widen it, or raise the run's --budget",
        )
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(inside), size=min(count, len(inside)), replace=False)
    return [inside[int(place)] for place in sorted(chosen)]


def wanted(audited: Sequence[Trial], seed: int) -> list[tuple[Trial, int]]:
    """Each with the seed that it is taught under; the first quarter of them under the next too."""
    return [(trial, seed) for trial in audited] + [
        (trial, seed + 1) for trial in audited[: max(1, len(audited) // AGAIN)]
    ]


def conclude(
    audited: Sequence[Trial],
    band_ms: tuple[float, float],
    scores: Mapping[tuple[str, int], Score],
    seed: int,
) -> Audit:
    """What follows from what was reached, by (digest, seed).

    An architecture whose teaching failed is left out; AuditError where too few are left.
    """
    found = tuple(
        Audited(
            trial=trial,
            taught=tuple(
                scores[trial.candidate.digest, s]
                for s in (seed, seed + 1)
                if (trial.candidate.digest, s) in scores
            ),
        )
        for trial in audited
        if (trial.candidate.digest, seed) in scores
    )
    if len(found) < LEAST:
        raise AuditError(
            f"{band_ms[0]:.3g} to {band_ms[1]:.3g} ms",
            f"at least {LEAST} architectures are taught to the end",
            f"{len(found)}, of {len(audited)}",
            "The warnings above say why; the same command tries those that are missing again",
        )
    reached = [one.reached for one in found]
    told = [one.told() for one in found]
    band = {name: make_band(reached, [one[name] for one in told]) for name in told[0]}
    gaps = [one.taught[0].score - one.taught[1].score for one in found if len(one.taught) > 1]
    return Audit(
        band_ms=band_ms,
        audited=found,
        judgements=tuple(judge([band])),
        seed_noise=float(np.sqrt(np.mean(np.square(gaps)) / 2)) if gaps else None,
    )


def words(audit: Audit) -> list[str]:
    """The audit in plain sentences."""
    own, *rivals = audit.judgements
    count = len(audit.audited)
    lines = []
    beaten = []
    for rival in rivals:
        gap = own.against[rival.name]
        if gap.high < 0:
            beaten.append(rival.name)
            verdict = "the score chose better"
        elif gap.low > 0:
            verdict = f"{rival.name} chose better"
        else:
            verdict = f"cannot tell which chooses better from {count} architectures"
        lines.append(
            f"Against {rival.name}: {verdict} (its first pick falls short of the best by"
            f" {own.regrets[1].value:.4f}, that of {rival.name} by {rival.regrets[1].value:.4f})."
        )
    if not {"MACs", "image size"} <= set(beaten):
        lines.append(
            "On this data the score was not shown to beat image size and MACs. Prefer the larger"
            " image or model of two points that are close, or grade longer (`steps:` in a YAML for"
            " --proxy)."
        )
    spread = max(one.reached for one in audit.audited) - min(one.reached for one in audit.audited)
    if audit.seed_noise is not None:
        lines.append(
            f"Between seeds one architecture differs by {audit.seed_noise:.4f} (standard"
            f" deviation); between architectures of the band there are {spread:.4f}."
        )
    return lines


def to_file(audit: Audit) -> AuditFile:
    """The audit as it is kept."""
    return AuditFile(
        band_ms=audit.band_ms,
        taught_kind=audit.audited[0].taught[0].kind,
        architectures=tuple(
            {
                "digest": one.trial.candidate.digest,
                "image_size": written(one.trial.candidate.image_size),
                "latency_ms": one.trial.latency.ms,
                "latency_kind": one.trial.latency.kind.value,
                "macs": one.told()["MACs"],
                "score": one.told()[SCORE],
                "taught_map50_95": [score.score for score in one.taught],
            }
            for one in audit.audited
        ),
        rankings=tuple(
            {"name": one.name, "tau": _triple(one.tau), "regret": _triple(one.regrets[1])}
            for one in audit.judgements
        ),
        seed_noise=audit.seed_noise,
        words=tuple(words(audit)),
    )


def _triple(interval: Interval) -> list[float | None]:
    """Value, low and high; None for what is no number, which JSON has no word for."""
    values = (interval.value, interval.low, interval.high)
    return [value if np.isfinite(value) else None for value in values]
