"""The interactive plots of the page, by plotly."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from nas.grading.boxes.confusion import Confusion
from nas.report.evaluation.canvas import INK
from nas.report.evaluation.lines import CurvePlot
from nas.report.evaluation.matrix import (
    BACKGROUND,
    COUNTED,
    cell_colour,
    row_shares,
)

CONFIG: Final = {"displaylogo": False, "responsive": True, "toImageButtonOptions": {"scale": 2}}

FONT: Final = {"family": "system-ui, sans-serif", "size": 13, "color": INK}

LEGEND_LINE: Final = 21
"""Pixels of a line of a legend under a plot."""


def plotly_code() -> str:
    """Plotly's own code (some 5 MB), for the page to carry."""
    code: str = get_plotlyjs()
    return code


def curve_div(plot: CurvePlot, name: str) -> str:
    """A curve plot as an element of a page; `name` is its id there."""
    figure = go.Figure()
    for line in plot.lines:
        figure.add_trace(
            go.Scatter(
                x=line.x,
                y=line.y.round(4),
                name=f"{_plain(line.name)}  {line.figure}",
                mode="lines",
                line={"color": line.colour, "width": 3 if line.is_mean else 1.6},
                showlegend=line.is_mean or not plot.is_crowded,
                hovertemplate=f"{_plain(line.name)}: %{{y:.3f}} at %{{x:.2f}}<extra></extra>",
            )
        )
    if plot.mark is not None:
        figure.add_vline(
            x=plot.mark,
            line={"color": INK, "width": 1.5, "dash": "dash"},
            annotation={"text": f"{plot.mark:.2f}", "showarrow": False},
        )
    shown = 1 if plot.is_crowded else len(plot.lines)
    legend = {"orientation": "h", "x": 0, "y": -0.2, "yref": "paper", "yanchor": "top"}
    return _div(
        figure,
        name,
        380 + LEGEND_LINE * shown,
        xaxis=_axis(plot.x_title),
        yaxis=_axis(plot.y_title),
        margin={"l": 58, "r": 14, "t": 18, "b": 60 + LEGEND_LINE * shown},
        legend=legend | {"entrywidth": 0.9, "entrywidthmode": "fraction"},
        hovermode="closest",
    )


def confusion_div(one: Confusion, names: tuple[str, ...], name: str) -> str:
    """The confusion matrix as an element of a page."""
    shares = row_shares(one.counts)
    count = len(one.counts)
    is_small = count <= COUNTED + 1
    rows, columns = [*names, BACKGROUND[0]], [*names, BACKGROUND[1]]
    figure = go.Figure(
        go.Heatmap(
            z=shares.round(4),
            x=list(range(count)),
            y=list(range(count)),
            customdata=[
                [[int(one.counts[i, j]), _plain(columns[j]), _plain(rows[i])] for j in range(count)]
                for i in range(count)
            ],
            colorscale=[[t, cell_colour(t)] for t in np.linspace(0, 1, 9).tolist()],
            zmin=0,
            zmax=1,
            showscale=False,
            xgap=1,
            ygap=1,
            hovertemplate=(
                "%{customdata[0]} of what is <b>%{customdata[2]}</b> (%{z:.0%}):"
                " <b>%{customdata[1]}</b><extra></extra>"
            ),
        )
    )
    if is_small:
        for (row, column), number in np.ndenumerate(one.counts):
            if number:
                colour = "#ffffff" if shares[row, column] > 0.45 else INK
                figure.add_annotation(
                    x=column, y=row, text=str(number), showarrow=False, font={"color": colour}
                )
    every = max(1, -(-count // 40))
    places = sorted({*range(0, count, every), count - 1})
    ticks: dict[str, Any] = {"tickvals": places, "automargin": True, "showgrid": False}
    return _div(
        figure,
        name,
        max(420, min(60 * count + 140, 860)),
        xaxis=ticks | {
            "ticktext": [_short(columns[i]) for i in places], "side": "top", "tickangle": -60,
            "title": {"text": "what its box says"},
        },
        yaxis=ticks | {
            "ticktext": [_short(rows[i]) for i in places], "autorange": "reversed",
            "title": {"text": "what it is"},
        },
        margin={"l": 60, "r": 14, "t": 60, "b": 14},
        plot_bgcolor="white",
        has_tools=False,  # they would stand on the title
    )  # fmt: skip


def _div(
    figure: go.Figure, name: str, height: int, *, has_tools: bool = True, **layout: Any
) -> str:
    figure.update_layout(template="plotly_white", font=FONT, **layout)
    text: str = figure.to_html(
        include_plotlyjs=False,
        full_html=False,
        config=CONFIG | {"displayModeBar": "hover" if has_tools else False},
        div_id=name,
        default_height=f"{height}px",
    )
    return text


def _axis(title: str) -> dict[str, Any]:
    return {
        "title": {"text": title, "font": {"size": 12.5}},
        "range": [-0.01, 1.015],
        "gridcolor": "#e6eaef",
        "zeroline": False,
        "linecolor": "#b5bfca",
        "dtick": 0.2,
        "fixedrange": False,
    }


def _plain(text: str) -> str:
    """A class name without what plotly takes for HTML or for a placeholder."""
    swaps = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "%{": "% {"}
    for mark, safe in swaps.items():
        text = text.replace(mark, safe)
    return text


def _short(name: str) -> str:
    """A label for an axis."""
    return _plain(name if len(name) <= 24 else f"{name[:11]}..{name[-11:]}")
