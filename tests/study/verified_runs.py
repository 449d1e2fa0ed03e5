"""Finished runs on a board that only a formula knows, so that every error is of a test's making."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nas.latency.answer import Latency, LatencyKind
from nas.latency.reach.runner import formula_ms
from nas.report.figures import write_figure
from nas.report.files import write_report
from nas.space.ops import model_graph
from nas.space.search_space import Candidate
from nas.study.after.finalists import plain_front
from nas.study.findings import Findings
from nas.study.on_disk.run import open_run
from tests.study.boards import notebook, search
from tests.study.on_disk.test_run import some_settings


def formula_latency(candidate: Candidate) -> Latency:
    """What the fake board takes, to the last digit."""
    ms = formula_ms(model_graph(candidate.spec, candidate.image_size))
    return Latency(
        ms=ms, low_ms=ms * 0.96, high_ms=ms * 1.04, kind=LatencyKind.PREDICTED,
        measured_share=1.0, heldout_mape=0.02,
    )  # fmt: skip


def finished_run(
    folder: Path,
    *,
    limit_ms: float | None = None,
    budget: int = 30,
    ways: Sequence[str | None] = (None,),
) -> Findings:
    """A run in `folder`, searched to its end by made-up scores; its detectors run in turn so."""
    work = folder.parent / f".{folder.name}"
    work.mkdir(parents=True)
    ending = search(work, notebook(), budget=budget)
    trials = [
        replace(t, latency=replace(formula_latency(t.candidate), way=ways[t.number % len(ways)]))
        for t in ending.trials
    ]
    kept = [t for t in trials if limit_ms is None or t.latency.ms <= limit_ms]
    ending = replace(ending, trials=tuple(kept))
    settings = some_settings(max_latency_ms=limit_ms, budget=budget)
    found = Findings(settings=settings, ending=ending, front=plain_front(ending.graded))
    with open_run(folder, settings):
        write_report(found, folder)
        write_figure(found, folder / "pareto.html")
    return found
