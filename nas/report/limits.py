"""A search's limits in words, and how near to them a detector is."""

from __future__ import annotations

from typing import Final

from nas.report.ways import precision_of
from nas.study.findings import Findings
from nas.study.limits import BOARD, limits_of, number_words
from nas.study.on_disk.run import Settings
from nas.study.trial import Outcome, Trial

LATENCY: Final = "latency_ms"
"""What the limit of latency is called among the others."""


def named_limits(settings: Settings) -> dict[str, float]:
    """Every limit of a run, by the quantity that it is of."""
    latency = {} if settings.max_latency_ms is None else {LATENCY: settings.max_latency_ms}
    return latency | settings.limits


def limit_shares(trial: Trial, report: Findings) -> dict[str, float]:
    """How much of each limit a trial's detector takes (1: all of it), by the quantity."""
    settings = report.settings
    found = {}
    if settings.max_latency_ms is not None:
        found[LATENCY] = trial.latency.ms / settings.max_latency_ms
    sizes = limits_of(settings.limits, precision_of(trial.latency, settings), report.boards)
    return found | sizes.shares(trial.candidate)


def nearest_limit(shares: dict[str, float]) -> tuple[str, float] | None:
    """The limit that a detector is nearest to, and how much of it it takes; None without limits."""
    return max(shares.items(), key=lambda pair: pair[1], default=None)


def limit_words(report: Findings) -> str:
    """The limit of latency, and on which kind of latency it was held."""
    limit = f"{report.settings.max_latency_ms:g} ms"
    return limit if report.kind is None else f"{limit} ({report.kind.value})"


def size_limit_words(settings: Settings) -> list[str]:
    """Each other limit as --limit took it."""
    return [f"{name} <= {number_words(most)}" for name, most in settings.limits.items()]


def refused_words(report: Findings) -> str:
    """How many were refused and over which limits, as the end of a sentence; "" without limits.

    One that is over several counts for each.
    """
    settings = report.settings
    if not named_limits(settings):
        return ""
    refused = [t for t in report.ending.trials if t.outcome is Outcome.REFUSED]
    over_latency = [] if settings.max_latency_ms is None else [limit_words(report)]
    if not settings.limits:
        return f"{len(refused)} refused over {over_latency[0]}"
    shares = [limit_shares(trial, report) for trial in refused]
    words = [*over_latency, *size_limit_words(settings)]
    names = named_limits(settings)
    told = [
        f"{sum(one[name] > 1 for one in shares)} over {word}"
        for name, word in zip(names, words, strict=True)
    ]
    return f"{len(refused)} refused ({', '.join(told)})"


def within_words(settings: Settings) -> str:
    """What stands behind `no other architecture`: within 40 ms and params <= 2e6; "" without."""
    latency = [] if settings.max_latency_ms is None else [f"{settings.max_latency_ms:g} ms"]
    words = [*latency, *size_limit_words(settings)]
    return f" within {' and '.join(words)}" if words else ""


def limit_lines(trial: Trial, report: Findings) -> list[str]:
    """How near a detector is to each limit that is not of latency, a line each.

    Before them its latency on each other board, whether it has a limit or not.
    """
    settings, candidate = report.settings, trial.candidate
    sizes = limits_of(settings.limits, precision_of(trial.latency, settings), report.boards)
    shares = sizes.shares(candidate)
    lines = []
    for board, model in report.boards.items():
        latency = model.predict(candidate.spec, candidate.image_size)
        share = shares.pop(board + BOARD, None)
        told = "" if share is None else f": {share:.0%} of the limit"
        lines.append(f"{board} {latency.ms:.3g} ms {latency.kind.value}{told}")
    return lines + [
        f"{name} {share * settings.limits[name]:.3g}: {share:.0%} of the limit"
        if name.endswith("_mb")
        else f"{name} {share * settings.limits[name] / 1e6:.3g} M: {share:.0%} of the limit"
        for name, share in shares.items()
    ]
