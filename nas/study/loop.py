"""The loop: ask, answer from memory, refuse, grade.

Ask and tell run in an order that follows from the seed alone. Trial n is asked for once at most
`in_flight - 1` graded trials before it are still untold, and results are told in the order of
their trials, whichever worker is done first. So the same seed gives the same trials whatever the
timing and the number of workers; and a search that was killed goes through its record in the
same way, without the sampler and without grading, and then goes on as if it had never stopped.

Three things end a trial without work: an architecture that was asked for before is answered from
memory, one over a limit is told as PRUNED with the constraint `over_limit_ms`, or that of another
limit (TPE ranks such trials by their excess behind every finished one, and learns from it), and
only what is left is graded and counts against the budget. A sampler that only repeats itself, or
is only refused, does not spin: see nas.study.unseen.

A candidate whose grading fails (its process dies, its memory does not suffice, an error) is
recorded with the reason and does not count; the sampler is told that it is as bad as the worst so
far. FAILURES in a row end the search: then the fault is not the candidates'.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from optuna.samplers import BaseSampler

from nas.latency.answer import Latency, LatencyModel
from nas.space.search_space import Candidate
from nas.study.candidates import Candidates
from nas.study.limits import NO_SIZE_LIMITS, SizeLimits
from nas.study.on_disk.record import CONSTRAINT, SIZE_CONSTRAINT, Asked, Record
from nas.study.sampler_view import View
from nas.study.sampling import SamplerName, chooser, distributions, make_sampler, to_params
from nas.study.surrogate.pool import CandidatePool
from nas.study.surrogate.prior import EarlierScores
from nas.study.surrogate.sampler import SurrogateSampler
from nas.study.time_budget import TimeBudget
from nas.study.trial import Ending, Outcome, SearchStanding, Trial
from nas.study.unseen import draw_fresh
from nas.study.workers import Grader, WorkerError

REPEATS: Final = 3
"""After so many repeated architectures in a row one is drawn without the sampler."""

FAILURES: Final = 10
"""After so many failed gradings in a row the search ends."""

IDLE: Final = 20
"""After so many refused or repeated ones in a row one is drawn without the sampler."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchPlan:
    """How to search.

    limit_ms   a candidate predicted above it is never graded; None refuses nothing
    in_flight  graded trials that may be untold at a time; the result depends on it
    sizes      a candidate over one of these limits is never graded either
    opening    what is asked for first, before the sampler: good guesses that it then builds on
    earlier    what other runs graded: the surrogate's prior; no trial of this search
    boards     those whose latency counts, as the latency model answers for them
    """

    sampler: SamplerName
    seed: int
    limit_ms: float | None
    in_flight: int
    opening: tuple[Candidate, ...] = ()
    sizes: SizeLimits = NO_SIZE_LIMITS
    earlier: tuple[EarlierScores, ...] = ()
    boards: int = 1

    def __post_init__(self) -> None:
        assert self.in_flight >= 1, "one trial at least is in flight"


class Search:
    """One search over one record; `run` it once."""

    def __init__(
        self,
        *,
        candidates: Candidates,
        model: LatencyModel,
        grader: Grader,
        record: Record,
        plan: SearchPlan,
        within: Candidate | None = None,
        observe: Callable[[SearchStanding], None] = lambda standing: None,
        time_budget: TimeBudget | None = None,
    ) -> None:
        """`within` is a candidate known to meet the limits, for fresh draws to start from.

        time_budget  ends the search before its budget; what it asks for until then is the same
        """
        self._candidates = candidates
        self._model = model
        self._grader = grader
        self._record = record
        self._plan = plan
        self._within = within
        self._observe = observe
        self._time = time_budget
        self._view = View(plan.boards)
        self._surrogate: SurrogateSampler | None = None
        self._options = candidates.space.options()
        self._distributions = distributions(self._options)
        self._trials: list[Trial] = []
        self._first: dict[str, int] = {}
        self._latencies: dict[str, Latency] = {}
        self._size_shares: dict[str, dict[str, float]] = {}
        self._waiting: deque[int] = deque()
        self._repeats = 0
        self._idle = 0
        self._failed = 0
        self._failed_in_a_row = 0
        self._worst: float | None = None
        self._asking_s = 0.0
        self._budget = 0
        self._live_from = 0

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Every trial asked for so far, by number."""
        return tuple(self._trials)

    def run(self, budget: int) -> Ending:
        """Grades until `budget` distinct architectures have a score, or the space has no more.

        Ends before where there is no time for another one: then a larger budget goes on the same.
        What the record holds counts, also beyond the budget. WorkerError after FAILURES in a row.
        """
        self._budget = budget
        recorded = self._record.asked()
        self._live_from = len(recorded)
        for asked in recorded:
            self._make_room()
            self._replay(asked)
        self._say(None)
        is_exhausted = False
        is_open = True
        while is_open:
            # What has failed until now, in the order of trials, is asked for anew.
            while self._counted() < budget and not is_exhausted and self._has_time():
                self._make_room()
                begin_s = self._time.spent_s() if self._time is not None else 0.0
                is_exhausted = not self._ask()
                if self._time is not None:
                    self._asking_s = self._time.spent_s() - begin_s
            failed = self._failed
            while self._waiting:
                self._settle_next()
            is_open = self._failed > failed and not is_exhausted
        return Ending(trials=self.trials, is_exhausted=is_exhausted)

    def _counted(self) -> int:
        """The architectures that have a score, or are in hand."""
        return len(self._first) - self._failed

    def _make_room(self) -> None:
        """Waits until one more trial may be in flight."""
        self._collect(is_waiting=False)
        while self._in_flight() >= self._plan.in_flight:
            self._settle_next()

    def _has_time(self) -> bool:
        """Whether one more grading may begin. Of the first ones only as many as run at once."""
        if self._time is None or not self._time.is_limited:
            return True
        while True:
            trials = [self._trials[number] for number in self._first.values()]
            done = [trial.score.seconds for trial in trials if trial.score is not None]
            in_hand = sum(not trial.is_done for trial in trials)
            if done or in_hand < self._time.workers:
                return self._time.grading_fits(done, in_hand, self._asking_s)
            self._collect(is_waiting=True)

    def _ask(self) -> bool:
        """Asks for one more candidate and sees what becomes of it; False if there is none left."""
        number = len(self._trials)
        if number < len(self._plan.opening):
            self._enter(self._plan.opening[number], number)
            return True
        if self._repeats >= REPEATS or self._idle >= IDLE:
            candidate = self._fresh(number)
            if candidate is None:
                return False
            self._enter(candidate, number)
            return True
        drawn = self._view.draw(self._sampler(number))
        candidate = self._candidates.build(chooser(drawn))
        trial = self._judge(candidate, number)
        for name, over in self._constraints(trial).items():
            drawn.set_constraint(name, over)
        self._add(trial)
        return True

    def _sampler(self, number: int) -> BaseSampler:
        """What draws trial `number`: the one surrogate, or a sampler of Optuna's for it alone."""
        if self._plan.sampler != "surrogate":
            return make_sampler(self._plan.sampler, self._plan.seed, number)
        if self._surrogate is None:
            plan = self._plan
            pool = CandidatePool(
                self._candidates, self._model, plan.limit_ms, plan.seed, self._within, plan.sizes
            )
            self._surrogate = SurrogateSampler(
                self._candidates, pool, plan.seed, plan.earlier, begins_at=len(plan.opening)
            )
        return self._surrogate

    def _enter(self, candidate: Candidate, number: int) -> None:
        """Adds a trial that was drawn without the sampler."""
        trial = self._judge(candidate, number)
        self._view.insert(
            to_params(dict(candidate.choices), self._options),
            self._distributions,
            constraints=self._constraints(trial),
        )
        self._add(trial)

    def _add(self, trial: Trial) -> None:
        """Records a new trial and sets about it."""
        seen = self._view.trial(trial.number)
        self._record.add(
            trial,
            params=seen.params,
            distributions=seen.distributions,
            system_attrs=seen.system_attrs,
            sampler_state=self._view.new_state(),
        )
        self._take(trial)

    def _replay(self, asked: Asked) -> None:
        """Goes through a recorded trial as it went then; grades it if it was in hand."""
        self._view.restore_state(asked.sampler_state)
        self._view.insert(asked.params, self._distributions, system_attrs=asked.system_attrs)
        self._take(
            Trial(
                number=asked.number,
                candidate=self._candidates.rebuild(asked.choices),
                latency=asked.latency,
                outcome=asked.outcome,
                original=asked.original,
                score=asked.score,
                failure=asked.failure,
            )
        )

    def _judge(self, candidate: Candidate, number: int) -> Trial:
        """What becomes of a candidate, latency first."""
        latency = self._predict(candidate)
        original = self._first.get(candidate.digest)
        if original is not None:
            outcome = Outcome.REPEATED
        else:
            outcome = Outcome.GRADED if self._is_within(candidate) else Outcome.REFUSED
        return Trial(
            number=number,
            candidate=candidate,
            latency=latency,
            outcome=outcome,
            original=original,
            score=None if original is None else self._trials[original].score,
            failure=None if original is None else self._trials[original].failure,
        )

    def _take(self, trial: Trial) -> None:
        """Sets about a trial that view and record know: ends it, or has it graded."""
        self._trials.append(trial)
        self._latencies[trial.candidate.digest] = trial.latency
        self._repeats = self._repeats + 1 if trial.outcome is Outcome.REPEATED else 0
        self._idle = 0 if trial.outcome is Outcome.GRADED else self._idle + 1
        if trial.outcome is Outcome.REFUSED:
            self._view.tell(trial.number, None)
            self._say_if_new(trial)
            return
        if trial.outcome is Outcome.GRADED:
            self._first[trial.candidate.digest] = trial.number
            if not trial.is_done:
                self._grader.submit(trial.number, trial.candidate, self._plan.seed)
        self._waiting.append(trial.number)
        self._settle_repeats()

    def _settle_next(self) -> None:
        """Tells the sampler of the oldest trial that waits, once it is done."""
        number = self._waiting[0]
        while not self._original(number).is_done:
            self._collect(is_waiting=True)
        self._waiting.popleft()
        self._tell(number)
        self._settle_repeats()

    def _settle_repeats(self) -> None:
        """Tells of the repeats at the head of the line: nothing before them is open any more."""
        while self._waiting and self._trials[self._waiting[0]].outcome is Outcome.REPEATED:
            self._tell(self._waiting.popleft())

    def _tell(self, number: int) -> None:
        trial, first = self._trials[number], self._original(number)
        result = first.score or first.failure
        assert result is not None, "what is told is done"
        if not trial.is_done:
            # A repeat of a trial that was in hand: the first had to be graded.
            self._record.finish(trial, result)
            self._trials[number] = trial = replace(trial, score=first.score, failure=first.failure)
        if first.score is not None:
            value = first.score.score
            self._worst = value if self._worst is None else min(value, self._worst)
        elif trial.outcome is Outcome.GRADED:
            self._failed += 1
        told = self._worst if first.score is None else first.score.score
        # Before there is any score, nothing can be as bad: TPE and the surrogate pass it over.
        self._view.tell(number, None if told is None else (told, *trial.latency.each_ms))
        if trial.outcome is Outcome.REPEATED:
            self._say_if_new(trial)

    def _collect(self, *, is_waiting: bool) -> None:
        """Records what the grader has done, at once and in whatever order it was done."""
        for graded in self._grader.collect(is_waiting=is_waiting):
            trial = self._trials[graded.number]
            assert trial.candidate.digest == graded.digest, "a score is of what was submitted"
            if trial.is_done:
                continue
            self._record.finish(trial, graded.result)
            if self._time is not None:
                self._time.note()
            trial = replace(trial, score=graded.score, failure=graded.failure)
            self._trials[trial.number] = trial
            self._say(trial)
            self._failed_in_a_row = self._failed_in_a_row + 1 if trial.failure else 0
            if trial.failure and self._failed_in_a_row >= FAILURES:
                raise WorkerError(
                    "grading",
                    f"of {FAILURES} gradings in a row one at least gives a score",
                    f"{FAILURES} failures, the last of a candidate that {trial.failure.words}",
                    "What failures.txt of the run says is to be mended first; the same command"
                    " resumes",
                )

    def _original(self, number: int) -> Trial:
        """The trial itself, or that whose architecture it repeats."""
        trial = self._trials[number]
        return trial if trial.original is None else self._trials[trial.original]

    def _in_flight(self) -> int:
        return sum(self._trials[n].outcome is Outcome.GRADED for n in self._waiting)

    def _predict(self, candidate: Candidate) -> Latency:
        if candidate.digest not in self._latencies:
            latency = self._model.predict(candidate.spec, candidate.image_size)
            self._latencies[candidate.digest] = latency
        return self._latencies[candidate.digest]

    def _over_limit_ms(self, latency: Latency) -> float | None:
        """How far a latency is over the limit in ms, below 0 under it; None without a limit."""
        return None if self._plan.limit_ms is None else latency.ms - self._plan.limit_ms

    def _shares(self, candidate: Candidate) -> dict[str, float]:
        """How much of each limit but the latency's a candidate takes."""
        if candidate.digest not in self._size_shares:
            self._size_shares[candidate.digest] = self._plan.sizes.shares(candidate)
        return self._size_shares[candidate.digest]

    def _is_within(self, candidate: Candidate) -> bool:
        """Whether a candidate is over no limit."""
        over_ms = self._over_limit_ms(self._predict(candidate))
        if over_ms is not None and over_ms > 0:
            return False
        return all(share <= 1 for share in self._shares(candidate).values())

    def _constraints(self, trial: Trial) -> dict[str, float]:
        """By how much a trial is over each limit, below 0 under it, as samplers are told."""
        over_ms = self._over_limit_ms(trial.latency)
        found = {} if over_ms is None else {CONSTRAINT: over_ms}
        shares = self._shares(trial.candidate)
        return found | {SIZE_CONSTRAINT + name: 100 * (share - 1) for name, share in shares.items()}

    def _is_fresh(self, candidate: Candidate) -> bool:
        """Whether a candidate would be graded."""
        return candidate.digest not in self._first and self._is_within(candidate)

    def _fresh(self, number: int) -> Candidate | None:
        """A candidate that would be graded, drawn without the sampler; None if there is none."""
        starts = [self._trials[n].candidate for n in self._first.values()]
        starts += [self._within] if self._within else []
        rng = np.random.default_rng([self._plan.seed, number])
        return draw_fresh(self._candidates, self._is_fresh, starts, rng)

    def _say_if_new(self, trial: Trial) -> None:
        """Tells the observer of a trial that cost nothing, but not while it is gone through."""
        if trial.number >= self._live_from:
            self._say(trial)

    def _say(self, trial: Trial | None) -> None:
        """Tells the observer how far the search is."""
        done = [t for t in self._trials if t.outcome is Outcome.GRADED and t.score]
        outcomes = [t.outcome for t in self._trials]
        self._observe(
            SearchStanding(
                budget=self._budget,
                graded=len(done),
                refused=outcomes.count(Outcome.REFUSED),
                repeated=outcomes.count(Outcome.REPEATED),
                trial=trial,
                best=max(done, key=_merit, default=None),
            )
        )


def _merit(trial: Trial) -> tuple[float, float]:
    """What orders trials from worse to better when one has to be named."""
    assert trial.score is not None, "only what is graded has a merit"
    return trial.score.score, -trial.latency.ms
