"""What verifying a front leaves in its run: measured beside predicted, never in one column."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.table import Table

from nas.files import write_whole
from nas.latency.verified.residuals import ResidualCorrection
from nas.report.files import COLUMNS, MEASURED_COLUMNS, MODELS, WAY, csv_text
from nas.report.verified_figure import draw_verification
from nas.study.after.verification import Verification, VerifiedPoint, words_of_verification
from nas.study.after.whole_path import PathTimes, words_of_path
from nas.study.on_disk.pareto_file import FILE, FORMAT


def write_verification(
    found: Verification, folder: Path, path_times: PathTimes | None
) -> dict[str, Any]:
    """Writes it into pareto.json, pareto.csv and pareto.html; models that entered into models/.

    Returns what pareto.json holds under `verification`.
    """
    path = folder / FILE
    document = json.loads(path.read_text(encoding="utf-8"))
    by_digest = {point.row.digest: point for point in found.points}
    for part in ("front", "runners_up"):
        document[part] = [
            _filled(row, by_digest[row["digest"]], found) for row in document.get(part, [])
        ]
    verification = verification_document(found, path_times)
    document = {**document, "format": FORMAT, "verification": verification}
    for point in found.front:
        if point.row.yaml is not None:
            write_whole(folder / MODELS / f"{point.row.name}.yaml", point.row.yaml)
    draw_verification(found, verification["words"], folder / "pareto.html")
    rows = document["front"]
    write_whole(folder / "pareto.csv", csv_text((*COLUMNS, *MEASURED_COLUMNS), rows))
    write_whole(path, json.dumps(document, indent=2) + "\n")
    return verification


def _filled(row: dict[str, Any], point: VerifiedPoint, found: Verification) -> dict[str, Any]:
    """A row of pareto.json with its columns of what was measured."""
    time = point.time
    measured = {
        "measured_ms": None if time is None else _rounded(time.ms),
        "measured_low_ms": None if time is None else _rounded(time.low_ms),
        "measured_high_ms": None if time is None else _rounded(time.high_ms),
        "measured_samples": None if time is None else time.samples,
        "measured_date": None if time is None else time.date,
    }
    corrected: dict[str, Any] = dict.fromkeys(MEASURED_COLUMNS[5:8])
    if found.corrections[point.row.way].is_applied:
        values = (point.corrected.ms, point.corrected.low_ms, point.corrected.high_ms)
        corrected = dict(zip(MEASURED_COLUMNS[5:8], map(_rounded, values), strict=True))
    return {**row, **measured, **corrected, "keeps_limit": _share(point.keeps_limit)}


def verification_document(found: Verification, path_times: PathTimes | None) -> dict[str, Any]:
    """What pareto.json holds under `verification`, and --json prints."""
    errors = found.errors
    corrections = {way: _correction_cells(one) for way, one in found.corrections.items()}
    return {
        "environment": dict(found.environment),
        "limit_ms": found.limit_ms,
        "networks_timed": len(found.measured),
        "mape": _share(sum(map(abs, errors)) / len(errors)),
        "worst": _share(max(map(abs, errors))),
        "over_limit_by_3_percent": len(found.far_over),
        "drift": _share(found.drift),
        "pace": _share(found.pace),
        **(
            {"correction": corrections[None]}
            if None in corrections
            else {"corrections": corrections}
        ),
        "points": [point_document(point) for point in found.points],
        "changes": [{"name": one.name, "way": one.way, "why": one.why} for one in found.changes],
        "front": [
            {
                "name": point.row.name,
                "digest": point.row.digest,
                "model": f"{MODELS}/{point.row.name}.yaml",
                "ms": _rounded(point.ms),
                "kind": point.kind,
                "keeps_limit": _share(point.keeps_limit),
                "score": point.row.score,
                "score_kind": point.row.score_kind,
            }
            for point in found.front
        ],
        "path": None if path_times is None else path_times.model_dump(mode="json"),
        "words": [
            *words_of_verification(found),
            *(words_of_path(path_times) if path_times is not None else ()),
        ],
    }


def _correction_cells(correction: ResidualCorrection) -> dict[str, Any]:
    return {
        "is_applied": correction.is_applied,
        "factor": _share(correction.factor),
        "found": _share(correction.found),
        "interval_width": _share(correction.width),
        "networks": correction.count,
        "left_out_mape_before": _share(correction.before),
        "left_out_mape_after": _share(correction.after),
    }


def point_document(point: VerifiedPoint) -> dict[str, Any]:
    """A point as it was predicted and as it was measured, with the board's state meanwhile."""
    time = point.time
    return {
        "name": point.row.name,
        "digest": point.row.digest,
        "is_on_predicted_front": point.is_on_front,
        **({} if point.row.way is None else {WAY: point.row.way}),
        f"{point.row.latency_kind.value}_ms": point.row.latency_ms,
        "measured_ms": None if time is None else _rounded(time.ms),
        "measured_median_ms": None if time is None else _rounded(time.median_ms),
        "measured_of_each_ring_ms": [] if time is None else [*map(_rounded, time.ring_ms)],
        "error": _share(point.error),
        "samples_that_lost_the_core": None if time is None else _share(time.lost),
        "state": {} if time is None else {name: list(ends) for name, ends in time.state.items()},
        "is_throttled": None if time is None else time.is_throttled,
        "doubts": [] if time is None else list(time.doubts()),
        "failure": point.failure or None,
    }


def verification_table(found: Verification, title: str) -> Table:
    """Predicted beside measured, by rising prediction; a star marks the final front."""
    kind = found.points[0].row.latency_kind.value
    table = Table(
        title=title,
        caption=f"*: on the final front. {kind}: with its 90 % interval; measured: in calm, with"
        " its 95 % interval.",
        title_justify="left",
    )
    table.add_column("model", no_wrap=True)
    has_ways = any(point.row.way is not None for point in found.points)
    if has_ways:
        table.add_column("run as", no_wrap=True)
    for name in (f"{kind} ms", "measured ms", "off by"):
        table.add_column(name, justify="right", no_wrap=True)
    is_corrected = any(one.is_applied for one in found.corrections.values())
    if is_corrected:
        table.add_column("corrected ms", justify="right", no_wrap=True)
    if found.limit_ms is not None:
        table.add_column(f"keeps {found.limit_ms:g} ms", justify="right", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    final = {point.row.digest for point in found.front}
    for point in found.points:
        row, time = point.row, point.time
        cells = [
            f"{'*' if row.digest in final else ' '} {row.name}"
            + ("" if point.is_on_front else " (runner-up)"),
            *([row.way or ""] if has_ways else []),
            f"{_ms(row.latency_ms)} ({_ms(row.latency_low_ms)} - {_ms(row.latency_high_ms)})",
            point.failure[:40] or "not timed"
            if time is None
            else f"{_ms(time.ms)} ({_ms(time.low_ms)} - {_ms(time.high_ms)})",
            "" if point.error is None else f"{point.error:+.1%}",
        ]
        if is_corrected:
            cells.append(_ms(point.corrected.ms))
        if point.keeps_limit is not None:
            cells.append(f"{point.keeps_limit:.0%}")
        table.add_row(*cells, f"{row.score:.4f}")
    return table


def _ms(value: float) -> str:
    return f"{value:.2f}" if value >= 10 else f"{value:.3f}"


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _share(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
