"""What the sampler sees: an Optuna study in memory, told in an order that timing can't change.

The results of parallel workers come in whatever order they like; the run's record takes them as
they come, the sampler does not. That is what makes the same seed draw the same trials, with one
worker or eight, killed and resumed or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from nas.study.on_disk.record import DIRECTIONS


class View:
    """The sampler's study. Trials are numbered from 0 in the order of `draw` and `insert`."""

    def __init__(self, boards: int = 1) -> None:
        """`boards` are those whose latency counts, an objective each."""
        self._storage = optuna.storages.InMemoryStorage()
        score, latency = DIRECTIONS
        self._study = optuna.create_study(
            storage=self._storage, directions=(score, *(latency for _ in range(boards)))
        )
        self._study_id = self._storage.get_study_id_from_name(self._study.study_name)
        self._known_state: dict[str, Any] = {}

    def draw(self, sampler: BaseSampler) -> Trial:
        """A new trial, whose suggestions come from the sampler."""
        self._study.sampler = sampler
        return self._study.ask()

    def insert(
        self,
        params: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
        *,
        system_attrs: Mapping[str, Any] | None = None,
        constraints: Mapping[str, float] | None = None,
    ) -> None:
        """A new trial whose parameters are known: recorded, or drawn without the sampler."""
        self._study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=dict(params),
                distributions=dict(distributions),
                system_attrs=dict(system_attrs or {}),
                constraints=dict(constraints) if constraints else None,
            )
        )

    def tell(self, number: int, values: tuple[float, ...] | None) -> None:
        """Ends a trial: with (score, latency in ms on each board), or None where it was refused."""
        state = TrialState.COMPLETE if values else TrialState.PRUNED
        self._study.tell(number, values, state=state)

    def trial(self, number: int) -> FrozenTrial:
        """The trial as Optuna has it."""
        return self._study.get_trials(deepcopy=False)[number]

    def new_state(self) -> dict[str, Any]:
        """What the sampler has kept in the study since the last call: NSGA-II's parents."""
        state = self._storage.get_study_system_attrs(self._study_id)
        new = {k: v for k, v in state.items() if k not in self._known_state}
        self._known_state.update(new)
        return new

    def restore_state(self, state: Mapping[str, Any]) -> None:
        """Gives the sampler back what it had kept."""
        for name, value in state.items():
            self._storage.set_study_system_attr(self._study_id, name, value)
            self._known_state[name] = value
