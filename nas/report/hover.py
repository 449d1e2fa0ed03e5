"""What stands at a point of the figure: latency, score, size and the architecture, as HTML."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

from nas.accuracy import Score
from nas.latency.answer import Latency
from nas.report.ways import way_words
from nas.space.modules import MODULES
from nas.space.ops import macs, model_graph, params
from nas.space.search_space import Candidate
from nas.study.after.baselines import Baseline
from nas.study.after.beliefs import Belief
from nas.study.after.finalists import Point
from nas.study.trial import Trial


def trial_hover(trial: Trial) -> str:
    """Of a graded trial."""
    assert trial.score is not None, "what is drawn was graded"
    lines = [f"<b>trial {trial.number}</b>", *_facts(trial.candidate, trial.latency)]
    lines.append(_score_line(trial.score.score, trial.score.map50))
    return _join([*lines, *map(escape, readable(trial.candidate))])


def point_hover(point: Point, limits: Iterable[str] = (), belief: Belief | None = None) -> str:
    """Of a point of the front; `limits` says how near it is to them, a line each."""
    lines = [f"<b>{point.name}</b>", *_facts(point.trial.candidate, point.trial.latency)]
    lines += limits
    lines.append(_score_line(point.score, point.map50))
    if point.again:
        lines.append("each new seed: " + ", ".join(f"{s.score:.4f}" for s in point.again))
        lines.append(f"in the search: {Point(trial=point.trial).score:.4f}")
    if belief is not None:
        lines.append(
            f"by all gradings: {belief.mean:.4f} ({belief.low:.4f} to {belief.high:.4f}, 90 %)"
        )
    if belief is not None and belief.better is not None:
        lines.append(f"better than the next faster one: {belief.better:.0%} probable")
    return _join([*lines, *map(escape, readable(point.trial.candidate))])


def taught_hover(point: Point, score: Score) -> str:
    """Of a pick of the front that was taught to the end."""
    lines = [f"<b>{point.name}, taught</b>", *_facts(point.trial.candidate, point.trial.latency)]
    lines.append(f"mAP50-95 {score.score:.4f}, mAP50 {score.map50 or 0:.4f}")
    return _join([*lines, escape(score.kind), f"in the search: {point.score:.4f}"])


def baseline_hover(baseline: Baseline) -> str:
    """Of a baseline, graded or not."""
    lines = [f"<b>{escape(baseline.name)}</b>", *_facts(baseline.candidate, baseline.latency)]
    if baseline.score is not None:
        lines.append(_score_line(baseline.score.score, baseline.score.map50))
    return _join([*lines, *map(escape, readable(baseline.candidate))])


def _facts(candidate: Candidate, latency: Latency) -> list[str]:
    graph = model_graph(candidate.spec, candidate.image_size)
    return [
        f"{latency.ms:.3g} ms {latency.kind.value} ({latency.low_ms:.3g} to {latency.high_ms:.3g})",
        *([f"its fastest way: {way_words(latency.way)}"] if latency.way is not None else []),
        f"{params(graph) / 1e6:.3f} M parameters, {macs(graph) / 1e6:.1f} M MACs,"
        f" {candidate.image_size} px",
    ]


def _score_line(score: float, map50: float | None) -> str:
    if map50 is None:
        return f"proxy score {score:.4f} (not a mAP)"
    return f"mAP50-95 {score:.4f}, mAP50 {map50:.4f} (by the proxy)"


def _join(lines: Iterable[str]) -> str:
    return "<br>".join(lines)


def readable(candidate: Candidate) -> list[str]:
    """The architecture in a few lines: image size, stem, each stage, neck and head."""
    groups: dict[str, dict[str, Any]] = {}
    for name, value in candidate.choices:
        place, _, field = name.rpartition(".")
        groups.setdefault(place, {})[field] = value
    lines = []
    for place, fields in groups.items():
        if "operator" in fields and "stage" in place:
            text = _stage(fields)
        else:
            text = ", ".join(
                f"{field.replace('_', ' ')} {value}" for field, value in fields.items()
            )
        lines.append(f"{place}: {text}" if place else text)
    return lines


def _stage(fields: dict[str, Any]) -> str:
    """A stage's operator, width, depth, and those of its choices that this operator has."""
    uses = MODULES[fields["operator"]].stage_choices or ()
    text = f"{fields['operator']} {fields['width']} x{fields['depth']}"
    for field, letter in (("kernel", " k"), ("expand_ratio", " e")):
        if field in uses and field in fields:
            text += f"{letter}{fields[field]:g}"
    if "se_ratio" in uses and fields.get("se_ratio"):
        text += f" SE {fields['se_ratio']:g}"
    return text
