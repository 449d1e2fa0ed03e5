"""How a search's detectors run on its board: the one way, or the fastest of several, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from nas.latency.answer import HELD_OUT, Latency
from nas.latency.device import TableKey
from nas.study.findings import Findings
from nas.study.on_disk.run import Settings


def precision_of(latency: Latency, settings: Settings) -> str:
    """The number format that a latency is of."""
    if latency.way is None:
        return settings.latency.precision
    return TableKey.of_stem(settings.latency.device, latency.way).precision


def way_words(way: str) -> str:
    """A way by its table's key, ncnn-int8-4t, in words: ncnn int8, 4 threads."""
    return TableKey.of_stem("", way).way


def board_words(settings: Settings, latency: Latency | None = None) -> str:
    """The board and how detectors run there: rpi4, ncnn fp32, 4 threads.

    latency   of one detector, whose own way is told then, and otherwise all ways of the search
    """
    device = settings.latency.device
    if latency is not None and latency.way is not None:
        return f"{device}, {way_words(latency.way)}"
    if not settings.ways:
        return str(settings.latency.key)
    ways = "; ".join(one.key.way for one in (settings.latency, *settings.ways))
    return f"{device}, each in its fastest way: {ways}"


def error_words(latencies: Iterable[Latency]) -> str:
    """How far such latencies are off on what they never saw, by their ways where these differ."""
    found = {one.way: one for one in latencies}
    first = next(iter(found.values()))
    errors = [
        f"{one.heldout_mape:.1%}" + (f" ({way})" if way is not None and len(found) > 1 else "")
        for way, one in found.items()
    ]
    return f"off by {' and '.join(errors)} (MAPE) on {HELD_OUT[first.kind]}"


def way_lines(report: Findings) -> list[str]:
    """In which way how many of the front are the fastest, and what a score leaves out of int8."""
    latencies = [point.trial.latency for point in report.front.points]
    counts = Counter(latency.way for latency in latencies if latency.way is not None)
    if not counts:
        return []
    told = ", ".join(f"{count} in {way_words(way)}" for way, count in counts.most_common() if way)
    lines = [f"Of the front are the fastest: {told}."]
    if any(precision_of(latency, report.settings) == "int8" for latency in latencies):
        lines.append(
            "Scores are those of fp32: what a model loses in int8 is told, and bounded, by"
            " nas.export MODEL.yaml --weights best.pt --precision int8 --data data.yaml."
        )
    return lines
