"""What a run leaves for people and programs: pareto.json, the CSVs, the models, the table.

Every file is written whole. `pareto.json` comes last, so that whoever waits for it finds the rest.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from nas.accuracy import AnyProxy, SharedWeightsSettings, ShortTrainingSettings
from nas.emit.footprint import file_bytes, memory_bytes
from nas.files import write_whole
from nas.latency.answer import LatencyKind
from nas.report.limits import (
    LATENCY,
    limit_shares,
    named_limits,
    nearest_limit,
    refused_words,
    within_words,
)
from nas.report.ways import board_words, error_words, precision_of, way_lines
from nas.space.image_size import written
from nas.space.ops import macs, model_graph, params
from nas.space.search_space import Candidate
from nas.space.spec import dump_spec
from nas.study.after.baselines import Baseline
from nas.study.after.beliefs import APART, Belief
from nas.study.after.finalists import Point
from nas.study.findings import Findings
from nas.study.limits import MEGABYTE
from nas.study.on_disk.pareto_file import FORMAT
from nas.study.trial import Outcome

MODELS: Final = "models"
"""The folder of the front's model YAMLs, inside the run's."""

FAILURES: Final = "failures.txt"
"""Why gradings failed, in a run's folder."""

SILENT: Final = 0.02
"""A best mAP50-95 below this says nothing: two seeds of one training differ by as much."""

COLUMNS: Final = (
    "name",
    "digest",
    "model",
    "image_size",
    "latency_ms",
    "latency_low_ms",
    "latency_high_ms",
    "latency_kind",
    "score",
    "score_kind",
    "map50_95",
    "map50",
    "params",
    "macs",
    "file_mb",
    "memory_mb",
    "nearest_limit",
    "nearest_limit_share",
    "believed",
    "believed_low",
    "believed_high",
    "told_apart",
)
"""Of a point in pareto.json and pareto.csv, and of a trial in trials.csv, in this order."""

WAY: Final = "way"
"""The column of the fastest way to run, in a search over several."""

BOARD_COLUMN: Final = "on_"
"""Begins the CSVs' columns of another board's latency."""

MEASURED_COLUMNS: Final = (
    "measured_ms",
    "measured_low_ms",
    "measured_high_ms",
    "measured_samples",
    "measured_date",
    "corrected_ms",
    "corrected_low_ms",
    "corrected_high_ms",
    "keeps_limit",
)
"""Of a point in pareto.json and pareto.csv besides: nas.verify fills them (report/verified.py)."""


def write_report(report: Findings, folder: Path) -> None:
    """Writes models/*.yaml, pareto.csv, trials.csv and pareto.json into a run's folder.

    Where gradings failed failures.txt as well.
    """
    _write_models(report, folder / MODELS)
    unmeasured = dict.fromkeys(MEASURED_COLUMNS)
    front = [
        point_row(point, report, is_on_front=True) | unmeasured for point in report.front.points
    ]
    write_whole(folder / "pareto.csv", csv_text((*COLUMNS, *MEASURED_COLUMNS), front))
    write_whole(folder / "trials.csv", _trials_csv(report))
    if report.ending.failed:
        write_whole(folder / FAILURES, _failures_text(report))
    settings = report.settings
    document = {
        "format": FORMAT,
        "device": settings.latency.device,
        "runtime": settings.latency.runtime,
        "precision": settings.latency.precision,
        "threads": settings.latency.threads,
        "space": settings.space.name,
        "data": settings.data.name,
        "seed": settings.seed,
        "limits": named_limits(settings),
        **({"weighed": list(settings.weighed)} if settings.weighed else {}),
        "trials_finished": len(report.ending.graded),
        "front": front,
        "taught": [taught_row(point, report) for point in report.picks],
        "baselines": [baseline_row(one) for one in report.baselines],
        "core_seconds": {part: round(seconds, 1) for part, seconds in report.spent.items()},
        "runners_up": [
            point_row(point, report, is_on_front=False)
            | unmeasured
            | {"yaml": model_yaml(point, report)}
            for point in report.front.runners_up
        ],
        "verification": None,
    }
    write_whole(folder / "pareto.json", json.dumps(document, indent=2) + "\n")


def point_row(point: Point, report: Findings, *, is_on_front: bool) -> dict[str, Any]:
    """A point by COLUMNS; `model` is the path of its YAML in the run's folder, if it has one."""
    precision = precision_of(point.trial.latency, report.settings)
    nearest = nearest_limit(limit_shares(point.trial, report))
    candidate, latency = point.trial.candidate, point.trial.latency
    graph = model_graph(candidate.spec, candidate.image_size)
    belief = report.beliefs.get(candidate.digest)
    return {
        "name": point.name,
        "digest": candidate.digest,
        "model": f"{MODELS}/{point.name}.yaml" if is_on_front else None,
        "image_size": written(candidate.image_size),
        "latency_ms": latency.ms,
        "latency_low_ms": latency.low_ms,
        "latency_high_ms": latency.high_ms,
        "latency_kind": latency.kind.value,
        "score": point.score,
        "score_kind": point.score_kind,
        "map50_95": point.map50_95,
        "map50": point.map50,
        "params": params(graph),
        "macs": macs(graph),
        "file_mb": round(file_bytes(graph, precision) / MEGABYTE, 4),
        "memory_mb": round(memory_bytes(graph, precision) / MEGABYTE, 2),
        "nearest_limit": None if nearest is None else nearest[0],
        "nearest_limit_share": None if nearest is None else round(nearest[1], 4),
        "believed": None if belief is None else round(belief.mean, 6),
        "believed_low": None if belief is None else round(belief.low, 6),
        "believed_high": None if belief is None else round(belief.high, 6),
        "told_apart": None if belief is None else belief.is_told_apart,
        **({} if latency.way is None else {WAY: latency.way}),
    } | ({"boards": board_cells(candidate, report)} if report.boards else {})


def board_cells(candidate: Candidate, report: Findings) -> dict[str, Any]:
    """What a detector takes on the search's other boards, by their names."""
    found = {}
    for board, model in report.boards.items():
        latency = model.predict(candidate.spec, candidate.image_size)
        found[board] = {
            "latency_ms": latency.ms,
            "latency_low_ms": latency.low_ms,
            "latency_high_ms": latency.high_ms,
            "latency_kind": latency.kind.value,
        }
    return found


def taught_row(point: Point, report: Findings) -> dict[str, Any]:
    """A pick of the front that was taught to the end: what it reached, and its weights' path."""
    score = report.taught[point.trial.candidate.digest].score
    return {
        "name": point.name,
        "weights": f"{MODELS}/{point.name}.pt",
        "kind": score.kind,
        "map50_95": score.map50_95,
        "map50": score.map50,
        "core_seconds": round(score.seconds, 1),
    }


def baseline_row(baseline: Baseline) -> dict[str, Any]:
    """A detector that no search made: its latency, and its score where it was graded."""
    score = baseline.score
    return {
        "name": baseline.name,
        "origin": baseline.origin,
        "latency_ms": baseline.latency.ms,
        "latency_kind": baseline.latency.kind.value,
        "score": None if score is None else score.score,
        **({} if baseline.latency.way is None else {WAY: baseline.latency.way}),
    }


def front_table(report: Findings) -> Table:
    """The front as a table for the terminal, the kind of each latency in its column's head."""
    points = report.front.points
    kinds = [k for k in LatencyKind if any(p.trial.latency.kind is k for p in points)]
    has_map = any(point.map50_95 is not None for point in points)
    table = Table(title=_table_title(report), caption=_table_caption(report), title_justify="left")
    table.add_column("model", no_wrap=True)
    for kind in kinds:
        table.add_column(f"{kind.value} ms", justify="right", no_wrap=True)
    if report.settings.ways:
        table.add_column("fastest as", no_wrap=True)
    for board in report.boards:
        told = {board_cells(p.trial.candidate, report)[board]["latency_kind"] for p in points}
        table.add_column(f"{board}, {' or '.join(sorted(told))} ms", justify="right")
    table.add_column("mAP50-95" if has_map else "score, no mAP", justify="right", no_wrap=True)
    if has_map:
        table.add_column("mAP50", justify="right", no_wrap=True)
    if report.beliefs:
        table.add_column("believed", justify="right", no_wrap=True)
    if report.taught:
        table.add_column("taught", justify="right", no_wrap=True)
    table.add_column("params, M", justify="right", no_wrap=True)
    table.add_column("MACs, M", justify="right", no_wrap=True)
    if report.settings.limits:
        table.add_column("nearest limit", justify="right", no_wrap=True)
    for point in points:
        row = point_row(point, report, is_on_front=True)
        latency = point.trial.latency
        times = [
            _ms_within(latency.ms, latency.low_ms, latency.high_ms) if latency.kind is kind else ""
            for kind in kinds
        ]
        times += [latency.way or ""] if report.settings.ways else []
        times += [
            _ms_within(cells["latency_ms"], cells["latency_low_ms"], cells["latency_high_ms"])
            for cells in row.get("boards", {}).values()
        ]
        grades = [f"{point.score:.4f}"]
        if has_map:
            grades.append("" if point.map50 is None else f"{point.map50:.4f}")
        if report.beliefs:
            grades.append(believed_words(report.beliefs.get(point.trial.candidate.digest)))
        if report.taught:
            taught = report.taught.get(point.trial.candidate.digest)
            grades.append("" if taught is None else f"{taught.score.score:.4f}")
        size = [f"{row['params'] / 1e6:.3f}", f"{row['macs'] / 1e6:.1f}"]
        if report.settings.limits:
            name = "latency" if row["nearest_limit"] == LATENCY else row["nearest_limit"]
            size.append(f"{name} {row['nearest_limit_share']:.0%}")
        table.add_row(point.name, *times, *grades, *size)
    return table


def summary_lines(report: Findings) -> list[str]:
    """What a reader of the front should know beside it, a sentence a line."""
    ending, front = report.ending, report.front
    repeated, refused = ending.count(Outcome.REPEATED), refused_words(report)
    lines = [f"{len(ending.graded)} architectures graded"]
    if refused:
        lines[0] += f", {refused} without training"
    lines[0] += f", {repeated} repeated by the sampler and answered from memory."
    slowest = max((p.trial.latency.high_ms for p in front.points), default=0.0)
    limit_ms = report.settings.max_latency_ms
    if limit_ms is not None and slowest > limit_ms and report.kind is LatencyKind.ESTIMATED:
        lines.append(
            f"The limit was held against the estimate alone: by its 90 % interval, a model of this"
            f" front may take {_ms(slowest)} ms on the board."
        )
    if ending.is_exhausted:
        lines.append(
            f"The search ended before its budget of {report.settings.budget}: the space"
            " has no other architecture" + within_words(report.settings) + " that it could find."
        )
    diverged = sum(bool(t.score and t.score.is_diverged) for t in ending.graded)
    if diverged:
        lines.append(f"{diverged} trainings diverged and score 0.")
    if report.settings.weighed:
        boards = " and ".join([report.settings.latency.device, *report.settings.weighed])
        lines.append(
            f"The front weighs the latency on {boards}: each point is the best of those that are as"
            " fast on every one."
        )
    lines += [*failed_lines(report), *way_lines(report), *belief_lines(report)]
    if front.flattery is not None:
        lines.append(
            f"{front.finalists} finalists were graded again under seeds new to them: the search's"
            f" scores were {abs(front.flattery):.4f} {'above' if front.flattery >= 0 else 'below'}"
            " the new ones on average, and"
            f" {front.finalists - len(front.points)} of them left the front."
        )
    lines += [*silent_lines(report), *taught_lines(report)]
    lines += [*report.prior_words, *report.time_words]
    parts = ", ".join(f"{part} {seconds / 60:.1f}" for part, seconds in report.spent.items())
    if parts:
        lines.append(f"Minutes of one core: {parts}.")
    if front.left_out:
        lines.append(
            f"{front.left_out} more points of the search's own front were not graded again and are"
            " not shown; they are in trials.csv."
        )
    return [*lines, *(f"Latency table: {doubt}" for doubt in report.doubts)]


def believed_words(belief: Belief | None) -> str:
    """What is believed of a score, a ~ before it where noise does not tell it apart."""
    if belief is None:
        return ""
    sign = "~" if belief.is_told_apart is False else ""
    return f"{sign}{belief.mean:.3f} +- {(belief.high - belief.low) / 2:.3f}"


def belief_lines(report: Findings) -> list[str]:
    """How many points of the front stand above the next faster one by more than noise."""
    found = [report.beliefs.get(point.trial.candidate.digest) for point in report.front.points]
    told = [one.is_told_apart for one in found if one is not None and one.better is not None]
    if not told or all(told):
        return []
    return [
        f"Of {len(told)} steps of the front {told.count(False)} may be noise: there the slower"
        f" model (~) is better than the next faster one with less than {APART:.0%} probability, by"
        " all gradings together."
    ]


def failed_lines(report: Findings) -> list[str]:
    """How many gradings failed, by what."""
    kinds = Counter(trial.failure.kind.value for trial in report.ending.failed if trial.failure)
    if not kinds:
        return []
    count = sum(kinds.values())
    parts = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    return [
        f"{count} {'grading' if count == 1 else 'gradings'} failed and count for nothing: {parts}"
        f" ({FAILURES})."
    ]


def _failures_text(report: Findings) -> str:
    """Each failed trial with its choices, reason and traceback."""
    parts = []
    for trial in report.ending.failed:
        assert trial.failure is not None
        parts.append(
            f"trial {trial.number}, {trial.candidate.digest},"
            f" {trial.latency.ms:.3g} ms: {trial.failure.words}\n"
            f"{json.dumps(dict(trial.candidate.choices))}\n{trial.failure.trace}"
        )
    return "\n".join(parts)


def silent_lines(report: Findings) -> list[str]:
    """That the scores are too low to rank by, where they are."""
    scores = [t.score.score for t in report.ending.graded if t.score and t.score.is_map]
    words = silent_words(report.settings.proxy, max(scores)) if scores else None
    return [] if words is None else [words]


def silent_words(proxy: AnyProxy, best: float) -> str | None:
    """That a best mAP50-95 is too low to rank by, and what to do; None where it is not."""
    if not isinstance(proxy, SharedWeightsSettings | ShortTrainingSettings) or best >= SILENT:
        return None
    return (
        f"The best score is {best:.4f}: after {proxy.steps} steps no detector has learnt"
        " enough of this data to be ranked by it. Give --proxy a YAML with"
        f" kind: {proxy.kind} and steps: {4 * proxy.steps}."
    )


def taught_lines(report: Findings) -> list[str]:
    """What the picks of the front have learnt, and how to go on; nothing where none was taught."""
    if not report.taught:
        return []
    count = len(report.taught)
    models = "model of the front was" if count == 1 else "models of the front were"
    kind = next(iter(report.taught.values())).score.kind
    best = max(report.taught.values(), key=lambda one: one.score.score)
    return [
        f"{count} {models} taught to the end ({kind}, validation part): the best reaches"
        f" {best.score.score:.4f}. Their weights lie beside them in {MODELS}/; nas.train MODEL.yaml"
        " --weights MODEL.pt goes on from there."
    ]


def _ms_within(ms: float, low_ms: float, high_ms: float) -> str:
    """A latency with its interval."""
    return f"{_ms(ms)} ({_ms(low_ms)} - {_ms(high_ms)})"


def _ms(value: float) -> str:
    """Milliseconds with as many decimals as can be told apart."""
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _table_title(report: Findings) -> str:
    settings = report.settings
    return f"front of {settings.space.name} on {settings.data.name}, {board_words(settings)}"


def _table_caption(report: Findings) -> str:
    points = report.front.points
    if not points:
        return "no architecture has been graded yet"
    latencies = [point.trial.latency for point in points]
    return (
        f"{latencies[0].kind.value} latency with its 90 % interval, {error_words(latencies)};"
        f" score: {points[0].score_kind}"
    )


def _trials_csv(report: Findings) -> str:
    on_front = {point.trial.number for point in report.front.points}
    choices: dict[str, None] = {}
    rows = []
    for trial in report.ending.graded:
        assert trial.score is not None, "what is graded has a score"
        point = Point(trial=trial)
        own = dict(trial.candidate.choices)
        choices.update(dict.fromkeys(own))
        rows.append(
            {
                "number": trial.number,
                **point_row(point, report, is_on_front=trial.number in on_front),
                "is_diverged": trial.score.is_diverged,
                "seconds": round(trial.score.seconds, 3),
                **own,
            }
        )
    # The space's own `image_size` is the column of that name.
    names = [name for name in choices if name not in COLUMNS]
    return csv_text(("number", *COLUMNS, "is_diverged", "seconds", *names), rows)


def csv_text(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """The rows as a CSV with these columns, header first, behind them `way` and those of `boards`,
    where a row has them."""
    text = io.StringIO()
    flat = [_flat(row) for row in rows]
    boards = dict.fromkeys(
        name for row in flat for name in row if name == WAY or name.startswith(BOARD_COLUMN)
    )
    writer = csv.DictWriter(text, [*columns, *boards], lineterminator="\n", extrasaction="raise")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose other boards, if any, are columns: on_rpi5_latency_ms ..."""
    found = {name: value for name, value in row.items() if name != "boards"}
    for board, cells in row.get("boards", {}).items():
        found |= {f"{BOARD_COLUMN}{board}_{name}": value for name, value in cells.items()}
    return found


def _write_models(report: Findings, folder: Path) -> None:
    """One YAML for each point, weights beside it where it was taught; of points that have left the
    front both go."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {f"{point.name}{end}" for point in report.front.points for end in (".yaml", ".pt")}
    for point in report.front.points:
        write_whole(folder / f"{point.name}.yaml", model_yaml(point, report))
        taught = report.taught.get(point.trial.candidate.digest)
        if taught is not None:
            write_whole(folder / f"{point.name}.pt", taught.weights.read_bytes())
    for path in folder.glob("*ms-*px-*.*"):
        if path.suffix in (".yaml", ".pt") and path.name not in names:
            path.unlink()


def model_yaml(point: Point, report: Findings) -> str:
    """A point's model YAML, under a comment that says where it comes from."""
    candidate, latency = point.trial.candidate, point.trial.latency
    comment = "\n".join(
        [
            f"{report.settings.space.name} for {report.settings.data.name},"
            f" image size {candidate.image_size}, architecture {candidate.digest}",
            f"{latency.kind.value} {latency.ms:.4g} ms ({latency.low_ms:.4g} to"
            f" {latency.high_ms:.4g}) on {board_words(report.settings, latency)}",
            f"score {point.score:.4f}: {point.score_kind}",
        ]
    )
    return dump_spec(replace(candidate.spec, image_size=candidate.image_size), comment)
