"""pareto.html with what was measured drawn into it: a mark a network, a line to its prediction.

The page that a search left stays as it is; a part between two comments is put before its end, and
takes the place of an earlier one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from nas.files import write_whole
from nas.report.figures import INK
from nas.report.ways import way_words
from nas.study.after.verification import Verification, VerifiedPoint

BEGIN: Final = "<!-- verification -->"
END: Final = "<!-- end of verification -->"

MEASURED: Final = "#56b4e9"
"""Another of Okabe and Ito's colours."""


def draw_verification(found: Verification, words: Sequence[str], page: Path) -> None:
    """Draws it into a run's page, the words under it; nothing where the run has no page."""
    if not page.exists():
        return
    text = page.read_text(encoding="utf-8")
    text = re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", "", text, flags=re.DOTALL)
    start, end = text.rsplit("</body>", 1)
    write_whole(page, f"{start}{_part(found, words)}</body>{end}")


def _part(found: Verification, words: Sequence[str]) -> str:
    kind = found.points[0].row.latency_kind.value
    axis = f"latency, ms: {kind}; triangles: measured"
    traces = json.dumps(_traces(found, kind)).replace("</", "<\\/")
    told = "".join(f"<p>{escape(line)}</p>" for line in words)
    return (
        f"{BEGIN}<script>(function(){{document.body.style.overflowX='hidden';"
        "var page=document.querySelector('.plotly-graph-div');"
        f"Plotly.addTraces(page,{traces});"
        f"var log=page.layout.xaxis.type==='log'?' (log)':'';"
        f"Plotly.relayout(page,{{'xaxis.title.text':{json.dumps(axis)}+log}});}})();</script>"
        f"<div style='padding:4px 0 14px'>{told}</div>{END}"
    )


def _traces(found: Verification, kind: str) -> list[dict[str, Any]]:
    """The lines from predicted to measured, the final front, and the marks over them."""
    points = found.measured
    across: list[float | None] = []
    up: list[float | None] = []
    for point in points:
        across += [point.row.latency_ms, point.ms, None]
        up += [point.row.score, point.row.score, None]
    front = [point for point in found.front if point.time is not None]
    return [
        {
            "type": "scatter", "mode": "lines", "x": across, "y": up, "hoverinfo": "skip",
            "name": f"from {kind} to measured", "line": {"color": MEASURED, "width": 2},
            "showlegend": False,
        },
        {
            "type": "scatter", "mode": "lines", "hoverinfo": "skip",
            "x": [point.ms for point in front], "y": [point.row.score for point in front],
            "name": f"final front, measured ({len(front)})",
            "line": {"shape": "hv", "color": INK, "width": 1.5, "dash": "dash"},
        },
        {
            "type": "scatter", "mode": "markers", "name": f"measured ({len(points)})",
            "x": [point.ms for point in points], "y": [point.row.score for point in points],
            "marker": {
                "symbol": "triangle-up", "size": 12, "color": MEASURED,
                "line": {"color": INK, "width": 1},
            },
            "error_x": {
                "type": "data", "symmetric": False, "color": INK, "thickness": 1, "width": 4,
                "array": [p.time.high_ms - p.ms for p in points if p.time],
                "arrayminus": [p.ms - p.time.low_ms for p in points if p.time],
            },
            "hovertext": [_hover(point) for point in points], "hoverinfo": "text",
        },
    ]  # fmt: skip


def _hover(point: VerifiedPoint) -> str:
    time = point.time
    assert time is not None, "what is drawn was timed"
    row = point.row
    lines = [
        f"<b>{escape(row.name)}</b>" + ("" if point.is_on_front else ", a runner-up"),
        f"{time.ms:.4g} ms measured ({time.low_ms:.4g} to {time.high_ms:.4g}, 95 %)",
        f"{row.latency_ms:.4g} ms {row.latency_kind.value}"
        f" ({row.latency_low_ms:.4g} to {row.latency_high_ms:.4g}, 90 %)",
        *([] if row.way is None else [f"run as {way_words(row.way)}"]),
        f"{time.samples} samples in {time.rings} rings",
    ]
    if point.keeps_limit is not None:
        lines.append(f"keeps the limit with probability {point.keeps_limit:.0%}")
    return "<br>".join(lines)
