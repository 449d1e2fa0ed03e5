"""A whole search in its order: the loop, the finalists, the baselines, what is told of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from nas.accuracy import Score, start_of
from nas.latency.answer import LatencyModel
from nas.latency.verified.residuals import ResidualCorrection
from nas.space.search_space import Candidate
from nas.study.after.baselines import Baseline, grade_baselines, grid, references, spread
from nas.study.after.beliefs import beliefs
from nas.study.after.closing import (
    brought_under,
    grade_newcomers,
    known_newcomers,
    with_newcomers,
)
from nas.study.after.finalists import plain_front, regrade_front
from nas.study.after.picks import affordable_picks, choose_picks, teach_picks
from nas.study.after.prior_worth import prior_lines
from nas.study.candidates import Candidates
from nas.study.findings import Findings
from nas.study.limits import SizeLimits, limits_of
from nas.study.loop import Search, SearchPlan
from nas.study.on_disk.record import BASELINE, CLOSING, REGRADE, TAUGHT, Record
from nas.study.on_disk.run import Run, Settings
from nas.study.on_disk.warm_start import TakenRun
from nas.study.time_budget import TimeBudget, ending_words
from nas.study.trial import Ending, SearchStanding
from nas.study.workers import Grader, WorkerError


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
    teacher: Grader,
    record: Record,
    watcher: Watcher,
    publish: Callable[[Findings], None],
    within: Candidate | None = None,
    taken: tuple[TakenRun, ...] = (),
    doubts: tuple[str, ...] = (),
    boards: Mapping[str, LatencyModel] | None = None,
    prepared_s: float | None = None,
    verify: Callable[[], Mapping[str | None, ResidualCorrection]] | None = None,
    time_budget: TimeBudget | None = None,
) -> Findings:
    """The run, to its end; what it found is published then, or when it is interrupted.

    teacher  teaches the picks of the front to the end, as the proxy's `finish` has it
    publish  writes the run's files: before the picks are taught, and again with them
    taken    of earlier runs: a prior for the surrogate, and what is asked for first
    doubts   of the latency model
    boards   what answers for the search's other boards, by name
    prepared_s  what the proxy's weights took before any grading, in seconds of one core
    verify   times what was published last on the board, and says what its residuals teach, by
             the way to run; the loop is closed then (nas.study.after.closing); no time limit
             holds for it
    time_budget  what the search and the teaching of its picks may take on the wall clock

    Everything that was done before, in the search and after it, is read from the record. After
    KeyboardInterrupt, and where too many gradings fail (WorkerError), what was done until then is
    published, and the exception goes on.
    """
    settings = run.settings
    limit_ms = settings.max_latency_ms
    boards = boards or {}
    sizes = limits_of(settings.limits, settings.latency.precision, boards, model)
    plain = grid(candidates, model)
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
            opening=opening(
                taken,
                candidates,
                [
                    b.candidate
                    for b in plain
                    if (limit_ms is None or b.latency.ms <= limit_ms) and sizes.is_met(b.candidate)
                ],
            ),
            earlier=tuple(one.earlier for one in taken),
            sizes=sizes,
            boards=1 + len(settings.weighed),
        ),
        within=within,
        observe=watcher.search,
        time_budget=time_budget,
    )
    try:
        ending = search.run(settings.budget)
        beside = (references(candidates, model), plain) if settings.baselines else ()
        found = _conclude(settings, ending, beside, sizes, grader, record, watcher)
        known = known_newcomers(ending.trials, found.front, settings.seed, record)
        found = replace(found, front=with_newcomers(found.front, known))
        found = replace(found, doubts=doubts, boards=boards)
        found = replace(
            found, beliefs=beliefs(ending.graded, found.front, candidates),
            prior_words=prior_lines(
                taken if settings.sampler == "surrogate" else (), ending.graded, candidates
            ),
        )  # fmt: skip
        found = replace(found, spent=spent(ending, record, prepared_s))
    except (KeyboardInterrupt, WorkerError):
        so_far = Ending(trials=search.trials, is_exhausted=False)
        front = plain_front(so_far.graded)
        publish(
            Findings(settings=settings, ending=so_far, front=front, doubts=doubts, boards=boards)
        )
        if time_budget is not None:
            time_budget.note(is_last=True)
        raise
    publish(found)
    finish = settings.proxy.finish
    picks = choose_picks(found.front, finish.picks) if finish is not None else []
    if time_budget is not None:
        time_budget.note(is_last=True)
        seconds = [trial.score.seconds for trial in ending.graded if trial.score]
        all_picks = len(picks)
        if finish is not None:
            picks = affordable_picks(
                found.front, finish, lambda count: time_budget.teaching_fits(count, seconds),
                start=start_of(settings.proxy), seed=settings.seed, run=run.folder, record=record,
            )  # fmt: skip
    if finish is not None and picks:
        taught = teach_picks(
            picks, finish,
            start=start_of(settings.proxy), seed=settings.seed, run=run.folder, record=record,
            teacher=teacher, on_done=watcher.step("picks of the front, taught to the end"),
        )  # fmt: skip
        found = replace(found, taught=taught, spent=spent(ending, record, prepared_s))
        publish(found)
    if time_budget is not None:
        time_budget.note(is_last=True)
        wanted = len(ending.graded) if ending.is_exhausted else settings.budget
        words = ending_words(
            time_budget, graded=len(ending.graded), wanted=wanted, picks=len(picks),
            all_picks=all_picks,
        )  # fmt: skip
        found = replace(found, time_words=words)
    if verify is not None and found.front.points:
        corrections = verify()
        refused = brought_under(ending, corrections, limit_ms, settings.budget, sizes)
        if refused:
            shown = watcher.step("refused ones that the board brings under the limit")
            new = grade_newcomers(refused, found.front, settings.seed, record, grader, shown)
            front = with_newcomers(found.front, new)
            found = replace(
                found, front=front, spent=spent(ending, record, prepared_s),
                beliefs=beliefs(ending.graded, front, candidates),
            )  # fmt: skip
            publish(found)
            verify()
    return found


def opening(
    taken: Sequence[TakenRun], candidates: Candidates, plain: Sequence[Candidate]
) -> tuple[Candidate, ...]:
    """What is asked for first: the earlier runs' fronts, then the plain grid, each once."""
    before = [candidates.rebuild(choices) for one in taken for choices in one.front]
    return tuple({one.digest: one for one in (*before, *plain)}.values())


def spent(ending: Ending, record: Record, prepared_s: float | None) -> dict[str, float]:
    """Seconds that each part's gradings took, of all that the record has; no part without any."""
    before = {} if prepared_s is None else {"shared weights": prepared_s}
    parts: dict[str, list[Score | None]] = {
        "search": [trial.score for trial in ending.graded],
        "finalists": [*record.scores(REGRADE).values()],
        "baselines": [*record.scores(BASELINE).values()],
        "teaching": [*record.scores(TAUGHT).values()],
        "closing": [*record.scores(CLOSING).values()],
    }
    return before | {
        part: sum(score.seconds for score in own if score) for part, own in parts.items() if own
    }


def _conclude(
    settings: Settings,
    ending: Ending,
    beside: tuple[list[Baseline], ...],
    sizes: SizeLimits,
    grader: Grader,
    record: Record,
    watcher: Watcher,
) -> Findings:
    """What comes after the loop: the finalists' front, and the baselines `beside` it."""
    proxy, seed = settings.proxy, settings.seed
    front = plain_front(ending.graded)
    if proxy.regrade is not None:
        shown = watcher.step("finalists, graded again")
        front = regrade_front(ending.graded, proxy.regrade, seed, record, grader, shown)
    baselines: list[Baseline] = []
    if ending.graded and beside:
        # Slower ones would stand outside the plot, and cost more to grade than they tell.
        slowest_ms = settings.max_latency_ms or max(t.latency.ms for t in ending.graded)
        for found in beside:
            is_foreign = any(b.origin != "grid" for b in found)
            count = 0 if proxy.of_space_alone and is_foreign else proxy.baselines
            within = [b for b in found if sizes.is_met(b.candidate)]
            graded = spread(within, count, slowest_ms)
            shown = watcher.step(f"baselines, {found[0].origin}" if found else "baselines")
            baselines += grade_baselines(graded, seed, record, grader, shown, ending.graded)
            baselines += [b for b in found if b not in graded]
    return Findings(settings=settings, ending=ending, front=front, baselines=tuple(baselines))
