"""The wall clock as a budget: what a search has taken, what its end will take, what still fits.

A grading is begun if, by the mean of those so far, it and all that is to come after it end within
the limit: the finalists' gradings, the baselines, and the picks that are taught to the end. What
was spent before any grading counts (shared weights), as do earlier sessions of the run. The
teaching of picks gets at most HALF of what is left when the search begins: on a short limit fewer
picks are taught, or none, and the search says so.

Estimates come from what was timed in this run: a pick's from picks that it taught, else from the
steps of its shared weights or of its short trainings.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from nas.accuracy import AnyProxy, SharedWeightsSettings, ShortTrainingSettings
from nas.terminal import duration_words

HALF: Final = 0.5
"""Of the time that is left when the search begins, at most so much is kept for teaching picks."""

SLOW: Final = 0.9
"""Quantile of the gradings so far that the next one is taken to last."""

STEP_S: Final = 0.5
"""Seconds of a step of teaching where nothing in the run tells it; some 0.4 on the machine of
docs/scores.md."""

KEEP_S: Final = 1.0
"""Seconds between two notes of the time, so that a kill loses no more of it."""


class TimeBudget:
    """The time of one session of a run, begun at `begin_s` of `clock`."""

    def __init__(
        self,
        limit_s: float | None,
        *,
        proxy: AnyProxy,
        has_baselines: bool,
        workers: int,
        begin_s: float,
        teachers: int | None = None,
        before_s: float = 0.0,
        prepared_core_s: float | None = None,
        taught_s: Sequence[float] = (),
        keep: Callable[[float], None] = lambda seconds: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Without a limit everything fits.

        workers          gradings side by side
        teachers         teachings side by side; None: as many
        before_s         what earlier sessions of the run took
        prepared_core_s  what the proxy's shared weights took in one core, by whichever run
        taught_s         what each pick took that the run has taught before
        keep             writes down what the run has taken, for the next session
        """
        self.limit_s = math.inf if limit_s is None else limit_s
        self._proxy, self._has_baselines, self._workers = proxy, has_baselines, workers
        self._teachers = workers if teachers is None else teachers
        self._begin_s, self._before_s, self._clock = begin_s, before_s, clock
        self._prepared_core_s, self._taught_s = prepared_core_s, taught_s
        self._keep, self._kept_s = keep, before_s
        self._search_from_s = self.spent_s()

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit."""
        return self.limit_s < math.inf

    @property
    def workers(self) -> int:
        """Gradings side by side."""
        return self._workers

    def spent_s(self) -> float:
        """Seconds that the run has taken, earlier sessions included."""
        return self._before_s + self._clock() - self._begin_s

    def note(self, *, is_last: bool = False) -> None:
        """Writes down what the run has taken, if it is a while since the last time."""
        spent_s = self.spent_s()
        if is_last or spent_s >= self._kept_s + KEEP_S:
            self._keep(spent_s)
            self._kept_s = spent_s

    def grading_fits(self, done_s: Sequence[float], in_hand: int, asking_s: float = 0.0) -> bool:
        """Whether one more grading, begun now, leaves the search its end within the limit.

        done_s   what each grading so far took
        in_hand  gradings begun and not ended
        asking_s  what the sampler took for the last one
        """
        if not self.is_limited:
            return True
        mean_s = self._mean_s(done_s)
        own_s = float(np.quantile(self._usual(done_s), SLOW)) if done_s else 0.0
        ends_s = self.spent_s() + mean_s * in_hand / self._workers + asking_s + own_s
        after_s = self.end_s(len(done_s) + in_hand + 1, mean_s)
        # Without any grading nothing is known but what has gone by.
        return ends_s + after_s < self.limit_s

    def end_s(self, graded: int, mean_s: float) -> float:
        """Seconds of what comes after so many gradings of a mean length."""
        regrade = self._proxy.regrade
        further = 0 if regrade is None else max(regrade.least, int(regrade.share * graded))
        if self._has_baselines:
            # The grid; where the proxy can grade them, hand-designed detectors as well.
            further += self._proxy.baselines * (1 if self._proxy.of_space_alone else 2)
        return further * mean_s / self._workers + self._teaching_s(self.kept_picks(mean_s), mean_s)

    def kept_picks(self, mean_s: float) -> int:
        """For how many picks time is kept while the search goes on."""
        finish = self._proxy.finish
        if finish is None:
            return 0
        allowed_s = HALF * (self.limit_s - self._search_from_s)
        fitting = [n for n in range(finish.picks + 1) if self._teaching_s(n, mean_s) <= allowed_s]
        return max(fitting, default=0)

    def teaching_fits(self, picks: int, done_s: Sequence[float]) -> bool:
        """Whether so many picks, taught from now on, end within the limit."""
        needed_s = self._teaching_s(picks, self._mean_s(done_s))
        return picks == 0 or self.spent_s() + needed_s <= self.limit_s

    def _mean_s(self, done_s: Sequence[float]) -> float:
        return float(np.mean(self._usual(done_s))) if done_s else 0.0

    def _usual(self, done_s: Sequence[float]) -> Sequence[float]:
        """Without each worker's first one, which reads the pictures, once there are as many."""
        later = done_s[self._workers :]
        return later if len(later) >= self._workers else done_s

    def _teaching_s(self, picks: int, mean_s: float) -> float:
        return math.ceil(picks / self._teachers) * self.pick_s(mean_s)

    def pick_s(self, mean_s: float) -> float:
        """Seconds of one pick's teaching, where a grading takes `mean_s` in the mean."""
        proxy = self._proxy
        steps = 0 if proxy.finish is None else proxy.finish.steps
        if self._taught_s:
            return float(np.mean(self._taught_s))
        if isinstance(proxy, SharedWeightsSettings) and self._prepared_core_s is not None:
            # A step costs by its pixels, and a pick is taught at its own size.
            return self._prepared_core_s / proxy.steps / proxy.image_scale**2 * steps
        if isinstance(proxy, ShortTrainingSettings) and mean_s > 0:
            return mean_s / proxy.steps / proxy.image_scale**2 * steps
        return STEP_S * steps

    def plan_words(self) -> str:
        """What is left for the search, and what is kept for its end, before it begins."""
        finish, spent = self._proxy.finish, duration_words(self._search_from_s)
        text = f"of the time limit of {duration_words(self.limit_s)} {spent} are spent"
        left_s = self.limit_s - self._search_from_s
        if left_s <= 0:
            return f"{text}: nothing more is graded; a larger --time-limit goes on from there"
        if finish is None:
            return text
        picks = self.kept_picks(0.0)
        kept = duration_words(self._teaching_s(picks, 0.0))
        if picks == finish.picks:
            return f"{text}; about {kept} are kept for {picks} picks, taught to the end"
        one = duration_words(self.pick_s(0.0))
        if not picks:
            return (
                f"{text}: too little to keep any for teaching {finish.picks} picks to the end, of"
                f" about {one} each"
            )
        return (
            f"{text}; about {kept} are kept for {picks} of {finish.picks} picks, taught to the end"
            f" in about {one} each"
        )


def ending_words(
    budget: TimeBudget, *, graded: int, wanted: int, picks: int, all_picks: int
) -> tuple[str, ...]:
    """What the limit cut short, a sentence each.

    graded, wanted     architectures, and the most that there might have been
    picks, all_picks   taught to the end, and those that would have been
    """
    if not budget.is_limited:
        return ()
    limit = duration_words(budget.limit_s)
    found = []
    if graded < wanted:
        found.append(
            f"The search ended at its time limit of {limit} with {graded} of at most {wanted}"
            " graded: the same command with a larger --time-limit goes on."
        )
    if picks < all_picks:
        taught = f"{picks} of {all_picks} picks were" if picks else "None of the picks was"
        found.append(
            f"{taught} taught to the end: the time limit left no room for"
            f" {'the others' if picks else 'any'}. A larger --time-limit teaches them."
        )
    return (*found, f"The run has taken {duration_words(budget.spent_s())} of {limit}.")
