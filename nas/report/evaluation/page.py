"""evaluation.html: one page with everything, which needs no network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

from nas.grading.boxes.matching import MATCH_IOU
from nas.grading.examination import Evaluation, Examination
from nas.report.evaluation.canvas import encoded
from nas.report.evaluation.figures import confusion_div, curve_div, plotly_code
from nas.report.evaluation.lines import f1_confidence, f1_words, precision_recall
from nas.report.evaluation.matrix import confusion_note
from nas.report.evaluation.sheets import Tile, heat_tiles, mistake_tiles
from nas.report.evaluation.words import (
    FALSE_NOTE,
    HEAT_NOTE,
    MISSED_NOTE,
    NO_HEAT,
    SIZE_NOTE,
    figure,
    label,
)

STYLE: Final = """
body{margin:0 auto;max-width:1180px;padding:8px 18px 60px;color:#24303d;background:#fff;
font:15px/1.5 system-ui,sans-serif}
h1{font-size:24px;margin:18px 0 2px;overflow-wrap:anywhere}
h2{font-size:19px;margin:44px 0 4px;padding-top:14px;border-top:2px solid #24303d;
overflow-wrap:anywhere}
h3{font-size:16px;margin:30px 0 2px}
p{margin:2px 0 10px;color:#52606f;max-width:92ch}
.wide{overflow-x:auto}
.long{max-height:430px;overflow:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:4px 14px 4px 0;text-align:right;white-space:nowrap;border-bottom:1px solid #e6eaef}
th{font-weight:600;position:sticky;top:0;background:#fff}
th:first-child,td:first-child,.words{text-align:left}
.two>div{min-width:0}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:8px 28px}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:16px;
max-width:900px}
figure{margin:0;font-size:13px;line-height:1.35}
figure img{width:100%;display:block}
figcaption{overflow-wrap:anywhere}
figcaption b{font-size:14px}
small{color:#6b7885}
.none{color:#52606f;font-style:italic}
a{color:#0072b2}
"""

FIT: Final = (
    "addEventListener('load',()=>document.querySelectorAll('.plotly-graph-div')"
    ".forEach(one=>Plotly.Plots.resize(one)))"
)
"""A plot is drawn before the page knows what stands beside it."""


def evaluation_page(evaluation: Evaluation) -> str:
    """The page as HTML; plotly's own code stands in it."""
    title = f"{Path(evaluation.model).name} on {evaluation.data}, {evaluation.part}"
    first = evaluation.examinations[0].grades
    many = len(evaluation.examinations) > 1
    parts = [
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
        f"<title>{escape(title)}</title>",
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<style>{STYLE}</style><script>{plotly_code()}</script></head><body>",
        f"<h1>{escape(title)}</h1>",
        f"<p>Images: {first.images}; objects: {first.objects}; data {evaluation.data_digest};"
        f" {escape(evaluation.model)}</p>",
        _summary(evaluation),
    ]
    for place, one in enumerate(evaluation.examinations):
        heading = f'<h2 id="e{place}">{escape(label(one))}</h2>' if many else ""
        parts += [heading, _section(one, place)]
    return "\n".join([*parts, f"<script>{FIT}</script></body></html>"])


def _summary(evaluation: Evaluation) -> str:
    """One line for each examination."""
    head = ["file", "px", "mAP50-95", "mAP50", "small", "medium", "large", "best F1", "computed by"]
    rows = []
    many = len(evaluation.examinations) > 1
    for place, one in enumerate(evaluation.examinations):
        name = escape(one.file.path.name)
        rows.append(
            [
                f'<a href="#e{place}">{name}</a>' if many else name,
                str(one.image_size),
                figure(one.grades.map50_95),
                figure(one.grades.map50),
                *(figure(size.map50_95) for size in one.by_size),
                f1_words(one.curves),
                escape(one.file.arithmetic),
            ]
        )
    counts = ", ".join(f"{size.objects} {size.name}" for size in evaluation.examinations[0].by_size)
    return (
        _table(head, rows)
        + f"<p>mAP as COCO defines it. Small, medium and large: mAP50-95 by the {SIZE_NOTE}"
        f" ({counts}; a size without an object has -). Best F1: the classes' mean at an IoU of"
        f" {MATCH_IOU:g}, and the confidence that gives it.</p>"
    )


def _section(one: Examination, place: int) -> str:
    """Everything about one examination."""
    curves = [precision_recall(one), f1_confidence(one)]
    divs = [
        f"<div><h3>{plot.title}</h3><p>{_sentence(plot.note)}</p>"
        f"{curve_div(plot, f'c{place}-{i}')}</div>"
        for i, plot in enumerate(curves)
    ]
    matrix = confusion_div(one.confusion, one.file.names, f"m{place}")
    width = min(900, 90 * len(one.confusion.counts) + 200)
    parts = [
        "<h3>By class</h3>",
        _classes(one),
        f'<div class="two">{"".join(divs)}</div>',
        "<h3>What objects were taken for</h3>",
        f"<p>{_sentence(confusion_note(one.confusion))} A row holds the objects of a class, the"
        " last column those that no box finds, the last row boxes where nothing is labelled.</p>",
        f'<div style="max-width:{width}px">{matrix}</div>',
        _tiles("Worst false boxes", FALSE_NOTE, mistake_tiles(one.false, are_boxes=True)),
        _tiles("Worst missed objects", MISSED_NOTE, mistake_tiles(one.missed, are_boxes=False)),
    ]
    if one.heat is None:
        parts.append(f"<h3>What made a box</h3><p>{NO_HEAT}</p>")
    else:
        parts.append(_tiles("What made a box", HEAT_NOTE, heat_tiles(one.heat)))
    return "\n".join(parts)


def _classes(one: Examination) -> str:
    best = {each.name: f1_words(each) for each in one.curves.per_class}
    rows = [
        [
            escape(each.name),
            str(each.objects),
            figure(each.map50_95),
            figure(each.map50),
            best.get(each.name, "-"),
        ]
        for each in one.grades.per_class
    ]
    return _table(["class", "objects", "mAP50-95", "mAP50", "best F1 at confidence"], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; its last column is of words where it holds the longest."""
    last = ' class="words"' if head[-1] == "computed by" else ""
    heads = [*(f"<th>{one}</th>" for one in head[:-1]), f"<th{last}>{head[-1]}</th>"]
    lines = [
        "<tr>" + "".join(f"<td>{one}</td>" for one in row[:-1]) + f"<td{last}>{row[-1]}</td></tr>"
        for row in rows
    ]
    kind = "wide long" if len(rows) > 14 else "wide"
    return f'<div class="{kind}"><table><tr>{"".join(heads)}</tr>{"".join(lines)}</table></div>'


def _tiles(title: str, note: str, tiles: Sequence[Tile]) -> str:
    if not tiles:
        return f'<h3>{title}</h3><p class="none">There are none.</p>'
    figures = "".join(
        f'<figure><img alt="{escape(tile.head)}" src="{_data(tile)}"><figcaption>'
        f"<b>{escape(tile.head)}</b><br>{escape(tile.why)}<br><small>{escape(tile.file)}</small>"
        "</figcaption></figure>"
        for tile in tiles
    )
    return f'<h3>{title}</h3><p>{note}</p><div class="tiles">{figures}</div>'


def _data(tile: Tile) -> str:
    content = base64.b64encode(encoded(tile.pixels, ".jpg")).decode()
    return f"data:image/jpeg;base64,{content}"


def _sentence(note: str) -> str:
    return escape(f"{note[0].upper()}{note[1:]}.")
