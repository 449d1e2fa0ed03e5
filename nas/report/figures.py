"""pareto.html: the search as one interactive page that needs no network.

Every graded architecture, the front as the step it is, the limit, the baselines; the architecture
on hover. The page says which kind of latency and of score it shows, and how far off they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from textwrap import wrap
from typing import Any, Final

import plotly.graph_objects as go

from nas.files import write_whole
from nas.latency.answer import Latency
from nas.report.hover import baseline_hover, point_hover, taught_hover, trial_hover
from nas.report.limits import limit_lines, limit_words, refused_words, size_limit_words
from nas.report.ways import board_words, error_words
from nas.study.after.finalists import plain_front
from nas.study.findings import Findings

INK: Final = "#24303d"
TRIAL: Final = "#8a97a6"
FRONT: Final = "#d55e00"
GRID: Final = "#0072b2"
REFERENCE: Final = "#009e73"
TAUGHT: Final = "#b8860b"
DIVERGED: Final = "#cc79a7"
"""Okabe and Ito's colours, told apart by the colour-blind too; and every kind has its own mark."""

LINE: Final = 22
"""Pixels of a line under the figure."""

LEAST: Final = 620
"""Pixels that the figure has at least under its title: in less the legend meets the axis."""

WIDE: Final = 180
"""Characters in a line under the title."""

LOG_FROM: Final = 6.0
"""The axis of latency is logarithmic where the slowest takes so many times the fastest."""


def write_figure(report: Findings, path: Path) -> None:
    """Writes the page, with plotly's own code in it (some 5 MB)."""
    figure = pareto_figure(report)
    page: str = figure.to_html(
        include_plotlyjs=True,
        full_html=True,
        config={"displaylogo": False, "responsive": True, "toImageButtonOptions": {"scale": 2}},
        default_height=f"max(100vh - {LINE * len(report.doubts)}px, {LEAST + _top(report)}px)",
    )
    title = f"{report.settings.space.name} on {report.settings.data.name}"
    head = (
        f"<head><title>{escape(title)}</title><style>body{{margin:0;overflow-x:hidden}}"
        f"p{{margin:0 14px;font:13px/{LINE}px system-ui,sans-serif;color:#52606f}}</style>"
        '<meta name="viewport" content="width=device-width">'
    )
    doubts = "".join(f"<p>latency table: {escape(doubt)}</p>" for doubt in report.doubts)
    page = page.replace("<head>", head, 1)
    # The last one: plotly's own code has the word, too.
    start, end = page.rsplit("</body>", 1)
    write_whole(path, f"{start}{doubts}</body>{end}")


def pareto_figure(report: Findings) -> go.Figure:
    """The figure: score over latency (ms)."""
    figure = go.Figure()
    _add_trials(figure, report)
    _add_baselines(figure, report)
    _add_front(figure, report)
    _add_taught(figure, report)
    figure.update_layout(_layout(report))
    _add_limit(figure, report)
    if not report.ending.graded:
        figure.add_annotation(
            text="no architecture has been graded yet",
            xref="paper",
            yref="paper",
            x=0.5,
            y=0.5,
            showarrow=False,
            font={"size": 18, "color": INK},
        )
    return figure


def _add_limit(figure: go.Figure, report: Findings) -> None:
    limit_ms = report.settings.max_latency_ms
    if limit_ms is None:
        return
    figure.add_shape(
        type="line",
        x0=limit_ms,
        x1=limit_ms,
        y0=0,
        y1=1,
        yref="paper",
        line={"color": INK, "width": 1.5, "dash": "dash"},
    )
    figure.add_annotation(
        # Unlike a shape's, an annotation's place on a logarithmic axis is the logarithm.
        x=math.log10(limit_ms) if _is_log(report) else limit_ms,
        y=1,
        yref="paper",
        text=f"limit {limit_words(report)}",
        xanchor="center",
        yanchor="bottom",
        showarrow=False,
        font={"color": INK, "size": 12},
    )


def _add_trials(figure: go.Figure, report: Findings) -> None:
    on_front = {point.trial.number for point in report.front.points}
    graded = [t for t in report.ending.graded if t.number not in on_front]
    kinds = [
        ("graded", [t for t in graded if t.score and not t.score.is_diverged], "circle", TRIAL),
        (
            "diverged, scored 0",
            [t for t in graded if t.score and t.score.is_diverged],
            "x",
            DIVERGED,
        ),
    ]
    for name, trials, symbol, colour in kinds:
        if trials:
            figure.add_trace(
                go.Scatter(
                    x=[t.latency.ms for t in trials],
                    y=[t.score.score for t in trials if t.score],
                    mode="markers",
                    name=f"{name} ({len(trials)})",
                    marker={"symbol": symbol, "size": 7, "color": colour, "opacity": 0.65},
                    hovertext=[trial_hover(t) for t in trials],
                    hoverinfo="text",
                )
            )


def _add_front(figure: go.Figure, report: Findings) -> None:
    own = plain_front(report.ending.graded).points
    if report.front.finalists:
        figure.add_trace(
            go.Scatter(
                x=[point.trial.latency.ms for point in own],
                y=[point.score for point in own],
                # Of several boards there is no line: one as slow here may be faster elsewhere.
                mode="markers" if report.settings.weighed else "lines",
                name=f"the search's own front ({len(own)}), one seed",
                marker={"symbol": "circle-open", "size": 10, "color": TRIAL},
                line={"shape": "hv", "color": TRIAL, "width": 1.5, "dash": "dot"},
                hoverinfo="skip",
            )
        )
    points = report.front.points
    if not points:
        return
    latencies = [p.trial.latency for p in points]
    believed = [report.beliefs.get(p.trial.candidate.digest) for p in points]
    noisy = [belief is not None and belief.is_told_apart is False for belief in believed]
    again = len(points[0].again)
    seeds = f"{again} new seeds" if again > 1 else "1 new seed"
    figure.add_trace(
        go.Scatter(
            x=[latency.ms for latency in latencies],
            y=[point.score for point in points],
            mode="markers" if report.settings.weighed else "lines+markers",
            name=f"front ({len(points)})"
            + (f", finalists by the mean of {seeds}" if again else "")
            + ("; hollow: noise does not tell it from the next faster one" if any(noisy) else ""),
            # At any latency the best is the last point before it: a step, never a slope.
            line={"shape": "hv", "color": FRONT, "width": 2},
            marker={
                "size": 11,
                "color": ["white" if is_noise else FRONT for is_noise in noisy],
                "line": {
                    "color": [FRONT if is_noise else "white" for is_noise in noisy],
                    "width": [2.5 if is_noise else 1 for is_noise in noisy],
                },
            },
            error_x=_intervals(latencies),
            hovertext=[
                point_hover(point, limit_lines(point.trial, report), belief)
                for point, belief in zip(points, believed, strict=True)
            ],
            hoverinfo="text",
        )
    )
    known = [(p, b) for p, b in zip(points, believed, strict=True) if b is not None]
    if known:
        figure.add_trace(
            go.Scatter(
                x=[p.trial.latency.ms for p, _ in known],
                y=[b.mean for _, b in known],
                mode="markers",
                name="what all gradings together say of it, with 90 %",
                marker={"symbol": "line-ew", "size": 12, "line": {"color": INK, "width": 2}},
                error_y={
                    "type": "data",
                    "array": [b.high - b.mean for _, b in known],
                    "color": INK,
                    "thickness": 1,
                    "width": 3,
                },
                hoverinfo="skip",
            )
        )


def _add_taught(figure: go.Figure, report: Findings) -> None:
    """What the picks reach when they are taught to the end, above what their short training did."""
    picks = report.picks
    if not picks or any(point.map50_95 is None for point in picks):
        return  # a score that is no mAP has another axis
    scores = [report.taught[point.trial.candidate.digest].score for point in picks]
    figure.add_trace(
        go.Scatter(
            x=[point.trial.latency.ms for point in picks],
            y=[score.score for score in scores],
            mode="markers",
            name=f"picks of the front, taught to the end ({len(picks)})",
            marker={
                "symbol": "star", "size": 15, "color": TAUGHT,
                "line": {"color": "white", "width": 1},
            },
            hovertext=[
                taught_hover(point, score) for point, score in zip(picks, scores, strict=True)
            ],
            hoverinfo="text",
        )
    )  # fmt: skip


def _add_baselines(figure: go.Figure, report: Findings) -> None:
    for origin, symbol, colour in (
        ("grid", "diamond", GRID),
        ("hand-designed", "square", REFERENCE),
    ):
        graded = [b for b in report.baselines if b.origin == origin and b.score is not None]
        rest = [b for b in report.baselines if b.origin == origin and b.score is None]
        if graded:
            figure.add_trace(
                go.Scatter(
                    x=[b.latency.ms for b in graded],
                    y=[b.score.score for b in graded if b.score],
                    mode="markers" if origin == "grid" else "markers+text",
                    name=f"baseline: {_origin(origin)} ({len(graded)})",
                    text=[b.name.split(",")[0] for b in graded],
                    textposition=[_side(b.latency.ms, report) for b in graded],
                    textfont={"size": 11, "color": colour},
                    marker={
                        "symbol": symbol,
                        "size": 10,
                        "color": colour,
                        "line": {"color": "white", "width": 1},
                    },
                    hovertext=[baseline_hover(b) for b in graded],
                    hoverinfo="text",
                )
            )
        if rest and report.ending.graded:
            lowest = min(t.score.score for t in report.ending.graded if t.score)
            figure.add_trace(
                go.Scatter(
                    x=[b.latency.ms for b in rest],
                    y=[lowest] * len(rest),
                    mode="markers",
                    name=f"baseline: {_origin(origin)}, latency only ({len(rest)})",
                    marker={"symbol": f"{symbol}-open", "size": 9, "color": colour},
                    hovertext=[baseline_hover(b) for b in rest],
                    hoverinfo="text",
                    visible="legendonly",
                )
            )


def _origin(origin: str) -> str:
    return "plain width/depth/size grid" if origin == "grid" else origin


def _intervals(latencies: Sequence[Latency]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [latency.high_ms - latency.ms for latency in latencies],
        "arrayminus": [latency.ms - latency.low_ms for latency in latencies],
        "color": FRONT,
        "thickness": 1,
        "width": 3,
    }


def _layout(report: Findings) -> dict[str, Any]:
    is_log = _is_log(report)
    has_map = any(t.score and t.score.is_map for t in report.ending.graded)
    kinds = sorted({t.latency.kind.value for t in report.ending.graded}) or ["no"]
    axis = {"gridcolor": "#e6eaef", "zeroline": False, "linecolor": "#b5bfca", "ticks": "outside"}
    ticks: dict[str, Any] = {"rangemode": "tozero"}
    if is_log:
        places = _log_ticks(_times(report))
        ticks = {"type": "log", "tickvals": places, "ticktext": [f"{p:g}" for p in places]}
    return {
        "template": "plotly_white",
        "font": {"family": "system-ui, sans-serif", "size": 14, "color": INK},
        "title": {
            "text": _title(report),
            "x": 0.01,
            "xanchor": "left",
            "y": 1,
            "yanchor": "top",
            "pad": {"t": 28},
        },
        "margin": {"l": 80, "r": 30, "t": _top(report), "b": 70},
        "xaxis": {
            **axis,
            **ticks,
            "title": f"{' and '.join(kinds)} latency, ms" + (" (log)" if is_log else ""),
        },
        "yaxis": {
            **axis,
            "title": _score_title(report) if has_map else "proxy score (not a mAP)",
        },
        # Under the axis: a pick that was taught may stand anywhere above the front.
        "legend": {"orientation": "h", "x": 0, "y": -0.16, "xanchor": "left", "yanchor": "top"},
        "hoverlabel": {"align": "left", "bgcolor": "white", "font": {"size": 12, "color": INK}},
        "hovermode": "closest",
    }


def _top(report: Findings) -> int:
    """Pixels above the axes: a line of the title is 26 high, whatever its letters."""
    return 56 + 26 * _title(report).count("<br>")


def _score_title(report: Findings) -> str:
    stars = " (stars: taught)" if report.taught else ", validation images"
    return f"mAP50-95 by the proxy{stars}"


def _times(report: Findings) -> list[float]:
    """Every latency that has a place in the figure, in ms."""
    times = [t.latency.ms for t in report.ending.graded]
    times += [b.latency.ms for b in report.baselines if b.score is not None]
    return times


def _side(ms: float, report: Findings) -> str:
    """Where a name stands at its mark: not beyond the right edge of the figure."""
    times = _times(report)
    place = math.log(ms / min(times)) / max(math.log(max(times) / min(times)), 1e-9)
    if not _is_log(report):
        place = ms / max(times)
    return "bottom left" if place > 0.8 else "bottom right"


def _is_log(report: Findings) -> bool:
    times = _times(report)
    return bool(times) and max(times) >= LOG_FROM * min(times)


def _log_ticks(times: Sequence[float]) -> list[float]:
    """Round numbers that cover the times, few enough to be read."""
    low, high = min(times), max(times)
    steps = (1, 2, 5) if high > 30 * low else (1, 1.5, 2, 3, 4, 5, 7)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [float(f"{step * 10.0**decade:.2g}") for decade in decades for step in steps]
    return [tick for tick in found if low / 2 <= tick <= high * 2]


def _title(report: Findings) -> str:
    """What is shown, and under it of which kind and how far off, in small lines."""
    s, ending, front = report.settings, report.ending, report.front
    head = f"{s.space.name} on {s.data.name}: {len(ending.graded)} architectures graded"
    if refused := refused_words(report):
        head += f", {refused}"
    lines = [f"latency on {board_words(s)}"]
    if ending.graded:
        one = ending.graded[0]
        lines[0] += (
            f": {one.latency.kind.value}, {error_words(t.latency for t in ending.graded)};"
            " bars are 90 % intervals"
        )
        assert one.score is not None, "what is graded has a score"
        lines.append(f"score: {one.score.kind}")
    if s.weighed:
        lines.append(f"the front weighs the latency on {' and '.join(s.weighed)} as well")
    if s.limits:
        lines.append(f"further limits: {', '.join(size_limit_words(s))}")
    if front.flattery is not None:
        lines.append(
            f"front: {front.finalists} finalists graded again; under seeds new to them they score"
            f" {abs(front.flattery):.4f} {'less' if front.flattery >= 0 else 'more'} on average"
        )
    small = "<br>".join(escape(part) for line in lines for part in wrap(line, WIDE))
    return f"<b>{escape(head)}</b><br><span style='font-size:13px;color:#52606f'>{small}</span>"
