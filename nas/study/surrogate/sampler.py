"""The surrogate as an Optuna sampler: it proposes what is expected to add most hypervolume.

What it proposes follows from its seed and from what the study was told, in the order of the trials:
a search that was killed and goes on, or one with more workers, is proposed the same. So nothing
here is fitted when there is time, but whenever the told trials reach a size that GROWTH sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from nas.study.candidates import Candidates
from nas.study.pareto import best_within, non_dominated
from nas.study.sampling import distributions, from_params, to_params
from nas.study.surrogate.gaussian import GaussianProcess, Hyperparameters, one_blas_thread
from nas.study.surrogate.improvement import expected_improvement
from nas.study.surrogate.pool import CandidatePool, Member
from nas.study.surrogate.prior import EarlierScores, Prior

Array = NDArray[np.float64]

STARTUP: Final = 10
"""Told trials before anything is modelled. Until then latencies are spread evenly."""

BRED: Final = 8
"""Architectures that the pool gets for each told trial."""

GROWTH: Final = 1.25
"""Hyperparameters are fitted anew when so many times as many trials are told as at the last fit."""

OBSERVED: Final = 500
"""Trials that are learnt from, at most: the cost is cubic."""

SPREAD: Final = 64
"""Architectures that a draw without a model chooses from."""


def learnt_from(latencies_ms: Array, scores: Array) -> NDArray[np.intp]:
    """Places of at most OBSERVED of n trials: half of them nearest to the front, then the latest.

    latencies_ms, scores   (n,), or (n, d) of several boards, and (n,), in the order of trials
    """
    places = np.arange(len(scores))
    if len(scores) <= OBSERVED:
        return places
    behind = best_within(latencies_ms, scores, latencies_ms) - scores
    nearest = np.argsort(behind, kind="stable")[: OBSERVED // 2]
    latest = np.setdiff1d(places, nearest)[-(OBSERVED - len(nearest)) :]
    return np.sort(np.concatenate([nearest, latest]))


class SurrogateSampler(BaseSampler):
    """Proposes candidates of a pool for their score and their latency in ms, on each board."""

    def __init__(
        self,
        candidates: Candidates,
        pool: CandidatePool,
        seed: int,
        earlier: Sequence[EarlierScores] = (),
        begins_at: int = 0,
    ) -> None:
        """`earlier` is what other runs graded: a prior, held against what this one is told.

        begins_at   the first trial that it proposes
        """
        self._from = begins_at
        self._prior = Prior(earlier)
        self._candidates, self._pool, self._seed = candidates, pool, seed
        self._options = candidates.space.options()
        self._by_number: dict[int, Member] = {}
        self._told: list[Member] = []
        self._scores: list[float] = []
        self._digests: set[str] = set()
        self._next = 0
        self._settings: Hyperparameters | None = None
        self._fitted_at = 0

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Every choice of the space."""
        return distributions(self._options)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The parameters of the candidate that is expected to add most."""
        with one_blas_thread():
            return self._sample(study, trial)

    def _sample(self, study: Study, trial: FrozenTrial) -> dict[str, Any]:
        others = [one for one in study.get_trials(deepcopy=False) if one.number != trial.number]
        self._learn(others)
        pending = [self._member(one) for one in others if one.state is TrialState.RUNNING]
        asked = {self._member(one).digest for one in others}
        # A stage of the pool for each proposal: the first grading waits for one alone.
        self._pool.grow(1 + trial.number - self._from)
        free = self._pool.looked_at(asked, trial.number)
        # A space whose every candidate was asked for: the loop sees the repeat, and ends.
        found = self._propose(free, pending, trial.number) if free else next(iter(self._pool))
        return to_params(dict(found.choices), self._options)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Never asked: every choice is sampled together."""
        raise AssertionError(f"{param_name} is no choice of the space")

    def _member(self, trial: FrozenTrial) -> Member:
        if trial.number not in self._by_number:
            choices = from_params(trial.params, self._options)
            self._by_number[trial.number] = self._pool.member(self._candidates.rebuild(choices))
        return self._by_number[trial.number]

    def _learn(self, trials: Sequence[FrozenTrial]) -> None:
        """Takes over what was told since the last time, trial by trial."""
        while self._next < len(trials) and trials[self._next].state.is_finished():
            told, self._next = trials[self._next], self._next + 1
            member = self._member(told)
            if told.state is not TrialState.COMPLETE or member.digest in self._digests:
                continue
            self._told.append(member)
            self._scores.append(float(told.values[0]))
            self._digests.add(member.digest)
            front = non_dominated([one.each_ms for one in self._told], self._scores)
            rng = np.random.default_rng([self._seed, BRED, told.number])
            self._pool.breed([self._told[int(place)] for place in front], BRED, rng)
            if len(self._told) >= max(STARTUP, GROWTH * self._fitted_at):
                self._settings = self._fit(self._settings).settings
                self._fitted_at = len(self._told)

    def _fit(self, start: Hyperparameters | None) -> GaussianProcess:
        self._prior.hold(self._told, np.array(self._scores))
        rows, scores = self._observed()
        return GaussianProcess(rows, scores, start=start)

    def _observed(self) -> tuple[Array, Array]:
        """The trials that are learnt from: all, or those nearest to the front and the latest.

        Their rows, and what their scores have beside what the earlier runs expect of them.
        """
        rows, scores = np.stack([one.row for one in self._told]), np.array(self._scores)
        left = scores - self._prior.offsets(self._told)
        kept = learnt_from(np.array([one.each_ms for one in self._told]), scores)
        return rows[kept], left[kept]

    def _propose(self, free: Sequence[Member], pending: Sequence[Member], number: int) -> Member:
        latencies = np.array([one.each_ms for one in free])
        if self._settings is None:
            return free[self._most_apart(latencies[:, 0], pending, number)]
        rows, left = self._observed()
        process = GaussianProcess(rows, left, settings=self._settings)
        told_ms = [one.each_ms for one in self._told]
        reached = list(self._scores)
        if pending:
            # As if they had reached what is believed: another like them adds little.
            waiting = np.stack([one.row for one in pending])
            believed = process.believe(waiting).mean
            rows, left = np.concatenate([rows, waiting]), np.concatenate([left, believed])
            process = GaussianProcess(rows, left, settings=self._settings)
            told_ms += [one.each_ms for one in pending]
            reached += (believed + self._prior.offsets(pending)).tolist()
        believed_free = process.believe(np.stack([one.row for one in free]))
        gains = expected_improvement(
            np.array(told_ms), np.array(reached), latencies,
            replace(believed_free, mean=believed_free.mean + self._prior.offsets(free)),
            slowest_ms=self._pool.slowest_ms, base_score=0.0,
        )  # fmt: skip
        return free[int(np.argmax(gains))]

    def _most_apart(self, latencies: Array, pending: Sequence[Member], number: int) -> int:
        """Of some random ones that whose latency is farthest from all that were asked for."""
        rng = np.random.default_rng([self._seed, SPREAD, number])
        some = rng.choice(len(latencies), size=min(SPREAD, len(latencies)), replace=False)
        asked = [one.latency_ms for one in (*self._told, *pending)]
        if not asked:
            return int(some[0])
        away = np.abs(np.log(latencies[some])[:, None] - np.log(asked)).min(axis=1)
        return int(some[np.argmax(away)])
