"""A whole search in its order: the loop, the finalists, the baselines, the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from nas.files import writing
from nas.latency.answer import LatencyModel
from nas.report.figures import write_figure
from nas.report.files import SearchReport, write_report
from nas.space.search_space import Candidate
from nas.study.baselines import Baseline, grade_baselines, grid, references, spread
from nas.study.candidates import Candidates
from nas.study.finalists import plain_front, regrade_front
from nas.study.loop import Search, SearchPlan
from nas.study.record import Record
from nas.study.run import Run, Settings
from nas.study.trial import Ending, SearchStanding
from nas.study.workers import Grader


class Watcher(Protocol):
    """Who is told how far it is."""

    def search(self, standing: SearchStanding, /) -> None:
        """The search has come so far."""
        ...

    def step(self, name: str, /) -> Callable[[int, int], None]:
        """What to call with (done, wanted) in a step of this name."""
        ...


def conduct(
    run: Run,
    *,
    candidates: Candidates,
    model: LatencyModel,
    grader: Grader,
    record: Record,
    watcher: Watcher,
    within: Candidate | None = None,
    doubts: tuple[str, ...] = (),
) -> SearchReport:
    """The run, to its end; its files are written then, or when it is interrupted.

    doubts  of the latency model, for the report

    Everything that was done before, in the search and after it, is read from the record. After
    KeyboardInterrupt the files show what was done until then, and the exception goes on.
    """
    settings = run.settings
    limit_ms = settings.max_latency_ms
    plain = tuple(
        b.candidate for b in grid(candidates, model) if limit_ms is None or b.latency.ms <= limit_ms
    )
    search = Search(
        candidates=candidates,
        model=model,
        grader=grader,
        record=record,
        plan=SearchPlan(
            sampler=settings.sampler,
            seed=settings.seed,
            limit_ms=limit_ms,
            in_flight=settings.in_flight,
            # Its extremes are what random draws of some forty choices never are.
            opening=plain,
        ),
        within=within,
        observe=watcher.search,
    )
    try:
        ending = search.run(settings.budget)
        report = _conclude(settings, ending, candidates, model, grader, record, watcher)
        report = replace(report, doubts=doubts)
    except KeyboardInterrupt:
        so_far = Ending(trials=search.trials, is_exhausted=False)
        front = plain_front(so_far.graded)
        _write(SearchReport(settings=settings, ending=so_far, front=front, doubts=doubts), run)
        raise
    _write(report, run)
    return report


def _conclude(
    settings: Settings,
    ending: Ending,
    candidates: Candidates,
    model: LatencyModel,
    grader: Grader,
    record: Record,
    watcher: Watcher,
) -> SearchReport:
    """What comes after the loop: the finalists' front, and the baselines beside it."""
    proxy, seed = settings.proxy, settings.seed
    front = plain_front(ending.graded)
    if proxy.regrade is not None:
        shown = watcher.step("finalists, graded again")
        front = regrade_front(ending.graded, proxy.regrade, seed, record, grader, shown)
    baselines: list[Baseline] = []
    if ending.graded and settings.baselines:
        # Slower ones would stand outside the plot, and cost more to grade than they tell.
        slowest_ms = settings.max_latency_ms or max(t.latency.ms for t in ending.graded)
        for found in (references(candidates, model), grid(candidates, model)):
            graded = spread(found, proxy.baselines, slowest_ms)
            shown = watcher.step(f"baselines, {found[0].origin}" if found else "baselines")
            baselines += grade_baselines(graded, seed, record, grader, shown, ending.graded)
            baselines += [b for b in found if b not in graded]
    return SearchReport(settings=settings, ending=ending, front=front, baselines=tuple(baselines))


def _write(report: SearchReport, run: Run) -> None:
    with writing(run.folder):
        write_figure(report, run.folder / "pareto.html")
        write_report(report, run.folder)
