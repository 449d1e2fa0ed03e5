"""The run's trials on disk: an Optuna study that any of Optuna's tools can open.

    optuna-dashboard sqlite:///runs/NAME/study.db

A trial is written whole, in one transaction, when it is asked for (RUNNING while it is in hand) and
once more when its score is known, so that a kill at any moment loses the trials in hand and leaves
nothing half-written. The search's sampler never reads from here while it runs (see
`nas.study.loop`): it sees results in an order that timing can't change.

Trial states: COMPLETE is graded, or repeated and answered from memory; PRUNED is refused, with a
constraint (`over_limit_ms`, `over_limit_params` ...) above 0; FAIL could not be graded, and says
why in `failure`; RUNNING is in hand, or was when the search was killed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.accuracy import Score
from nas.latency.answer import Latency
from nas.study.on_disk.storage import (
    Place,
    StorageError,
    another_writer,
    damaged,
    door,
    open_storage,
    where,
)
from nas.study.on_disk.writer import SETTLE_S, Writer, holding
from nas.study.trial import (
    Failure,
    Outcome,
    Trial,
    failure_from_dict,
    failure_to_dict,
    latency_from_dict,
    latency_to_dict,
    score_from_dict,
    score_to_dict,
)

DIRECTIONS: Final[tuple[Literal["maximize"], Literal["minimize"]]] = ("maximize", "minimize")
"""Of the two values of a trial: score, latency in ms (on the first board, where several count)."""

CONSTRAINT: Final = "over_limit_ms"
"""The constraint's name: latency minus limit in ms, above 0 where a candidate is refused."""

SIZE_CONSTRAINT: Final = "over_limit_"
"""Begins the name of each other limit's: percent over it, which samplers add to the ms."""

IDENTITY: Final = "settings"
"""The study attribute that says which settings its trials depend on."""

REGRADE: Final = "regrade"
"""Study attributes `regrade:<digest>:<seed>` hold the finalists' further scores."""

BASELINE: Final = "baseline"
"""Study attributes `baseline:<digest>:<seed>` hold the baselines' scores."""

CLOSING: Final = "closing"
"""Study attributes `closing:<digest>:<seed>` hold the scores of refused ones that a verification
brought under the limit."""

SPENT: Final = "spent_s"
"""The study attribute of the seconds that the run has taken, all its sessions together."""

TAUGHT: Final = "taught"
"""Study attributes `taught:<digest>:<seed>` hold what was reached by teaching to the end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A trial as the record has it: enough to ask for it again without the sampler.

    choices        the space's own words, name -> option
    params         Optuna's (indices for ordinal choices)
    sampler_state  what the sampler kept beside the trials when it drew this one
    """

    number: int
    outcome: Outcome
    original: int | None
    choices: dict[str, Any]
    params: dict[str, Any]
    system_attrs: dict[str, Any]
    sampler_state: dict[str, Any]
    latency: Latency
    score: Score | None
    failure: Failure | None = None


class Record:
    """The study of one run in its storage. One process writes to it: see `hold`.

    Whatever the storage (a SQLite file, a journal, a database on a server):

    - a trial that `add` wrote is found by `asked` with its number, choices and latency, in the
      order of numbers, by this and any later process;
    - a trial has a score once `finish` has returned, and not before: killed in between, it is in
      hand, and is graded again;
    - a number or an architecture that is not the one that was asked for is an error, never
      another trial's score;
    - further scores (`keep_score`) are found by kind, architecture and seed, and are no trials;
    - a study of another run's settings, or of somebody's own, is refused;
    - what fails outside (disk, server, damage) is a StorageError, and what was written stays.

    tests/study/on_disk/test_record.py holds every storage to it.
    """

    def __init__(
        self, place: Place, study_name: str, identity: str = "", *, is_begun: bool = False
    ) -> None:
        """Opens the study, or begins it; StorageError where it belongs to another `identity`.

        is_begun  the run's folder has been searched in before: its study should be there
        """
        self._place = place
        self.where = f"{where(place)}, study {study_name}"
        self._storage = open_storage(place, is_begun=is_begun)
        self._writer: Writer | None = None
        with door(place):
            self._study = optuna.create_study(
                study_name=study_name,
                storage=self._storage,
                directions=list(DIRECTIONS),
                load_if_exists=True,
            )
            self._study_id = self._storage.get_study_id_from_name(study_name)
            self._check_own(identity)
        self.study_name = study_name

    def _check_own(self, identity: str) -> None:
        """StorageError for a study of another run, or of somebody's own."""
        known = self._study.user_attrs.get(IDENTITY)
        is_ours = [d.name.lower() for d in self._study.directions] == list(DIRECTIONS)
        if known is None and is_ours and not self._storage.get_n_trials(self._study_id):
            self._study.set_user_attr(IDENTITY, identity)
        elif known != identity:
            raise StorageError(
                self.where,
                "a study is of one run, and this one has other settings",
                f"a study of {known} for a run of {identity}"
                if known is not None
                else "a study that no search of this kind has begun",
                "Name another --run or --storage",
            )

    @contextmanager
    def hold(self, folder: Path) -> Iterator[None]:
        """This search alone writes while the context lasts; StorageError where another one does.

        folder  the run's, for whoever is refused meanwhile
        """
        # A file in the run's folder is guarded by the folder's own lock besides.
        settle_s = SETTLE_S if isinstance(self._place, str) else 0.0
        with holding(
            self._storage, self._study_id, self._place, folder, settle_s=settle_s
        ) as writer:
            self._writer = writer
            try:
                yield
            finally:
                self._writer = None

    def asked(self) -> tuple[Asked, ...]:
        """Every trial, by number."""
        with door(self._place):
            trials = self._study.get_trials(deepcopy=False)
        return tuple(self._read(number, trial) for number, trial in enumerate(trials))

    def graded_count(self) -> int:
        """How many trials count against the budget, with their score."""
        return sum(t.outcome is Outcome.GRADED and t.score is not None for t in self.asked())

    def add(
        self,
        trial: Trial,
        params: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
        system_attrs: Mapping[str, Any],
        sampler_state: Mapping[str, Any],
    ) -> None:
        """Writes a trial that was just asked for; finished where it costs nothing."""
        attributes: dict[str, Any] = {
            "outcome": trial.outcome.value,
            "digest": trial.candidate.digest,
            "choices": dict(trial.candidate.choices),
            "latency": latency_to_dict(trial.latency),
        }
        if trial.original is not None:
            attributes["original"] = trial.original
        if sampler_state:
            attributes["sampler_state"] = dict(sampler_state)
        state = TrialState.RUNNING
        if trial.outcome is Outcome.REFUSED:
            state = TrialState.PRUNED
        elif trial.score is not None:
            state = TrialState.COMPLETE
            attributes["score"] = score_to_dict(trial.score)
        elif trial.failure is not None:
            state = TrialState.FAIL
            attributes["failure"] = failure_to_dict(trial.failure)
        values = None
        if trial.score is not None:
            values = [trial.score.score, trial.latency.ms]
        frozen = create_trial(
            state=state,
            values=values,
            params=dict(params),
            distributions=dict(distributions),
            user_attrs=attributes,
            system_attrs=dict(system_attrs),
        )
        with self._written():
            trial_id = self._storage.create_new_trial(self._study_id, template_trial=frozen)
            number = self._storage.get_trial_number_from_id(trial_id)
        if number != trial.number:
            raise another_writer(
                self._place, f"trial {number} where trial {trial.number} was to be written"
            )

    def finish(self, trial: Trial, result: Score | Failure) -> None:
        """Writes the score of a trial that was in hand, or why it has none."""
        # First what the score is, then that it is: killed in between, the trial is still in hand.
        with self._written():
            trial_id = self._storage.get_trial_id_from_study_id_trial_number(
                self._study_id, trial.number
            )
            digest = self._storage.get_trial_user_attrs(trial_id).get("digest")
            if digest != trial.candidate.digest:
                raise another_writer(
                    self._place, f"trial {trial.number} of another architecture ({digest})"
                )
            if isinstance(result, Failure):
                self._storage.set_trial_user_attr(trial_id, "failure", failure_to_dict(result))
                self._storage.set_trial_state_values(trial_id, TrialState.FAIL)
                return
            self._storage.set_trial_user_attr(trial_id, "score", score_to_dict(result))
            values = [result.score, trial.latency.ms]
            self._storage.set_trial_state_values(trial_id, TrialState.COMPLETE, values)

    def scores(self, kind: str) -> dict[tuple[str, int], Score]:
        """The further scores of a kind (REGRADE, BASELINE, CLOSING, TAUGHT) by digest and seed."""
        found = {}
        with door(self._place):
            for name, document in self._study.user_attrs.items():
                if name.startswith(f"{kind}:"):
                    _, digest, seed = name.split(":")
                    found[digest, int(seed)] = score_from_dict(document)
        return found

    def spent_s(self) -> float:
        """Seconds of the wall clock that the run has taken, all its sessions together."""
        with door(self._place):
            return float(self._study.user_attrs.get(SPENT, 0.0))

    def keep_spent(self, seconds: float) -> None:
        """Writes down what the run has taken until now."""
        with self._written():
            self._study.set_user_attr(SPENT, round(seconds, 1))

    def keep_score(self, kind: str, digest: str, seed: int, score: Score) -> None:
        """Writes a further score of a kind."""
        with self._written():
            self._study.set_user_attr(f"{kind}:{digest}:{seed}", score_to_dict(score))

    @contextmanager
    def _written(self) -> Iterator[None]:
        """Around each write: nobody else has taken the study over, and what fails is told."""
        with door(self._place):
            if self._writer is not None:
                self._writer.check()
            yield

    def _read(self, number: int, trial: FrozenTrial) -> Asked:
        attributes = trial.user_attrs
        if trial.number != number or not {"outcome", "choices", "latency"} <= attributes.keys():
            raise StorageError(
                self.where,
                "every trial was written by this search",
                f"trial {trial.number}, which was not",
                "Name another --run or --storage",
            )
        is_finished = trial.state.is_finished()
        has_score = is_finished and "score" in attributes
        has_failed = is_finished and "failure" in attributes
        try:
            return Asked(
                number=number,
                outcome=Outcome(attributes["outcome"]),
                original=attributes.get("original"),
                choices=attributes["choices"],
                params=trial.params,
                system_attrs=trial.system_attrs,
                sampler_state=attributes.get("sampler_state", {}),
                latency=latency_from_dict(attributes["latency"]),
                score=score_from_dict(attributes["score"]) if has_score else None,
                failure=failure_from_dict(attributes["failure"]) if has_failed else None,
            )
        except (ValueError, KeyError, TypeError, AssertionError) as error:
            raise damaged(self._place, f"trial {number}: {error}") from None


def find_study(place: Place, folder_name: str, identity: str) -> str:
    """The name of the study of a run that does not say it: one begun before settings.yaml did.

    By the folder's name, else, where the folder was renamed since, by the settings its trials
    depend on (of several the one with the most trials).
    """
    storage = open_storage(place, is_begun=True)
    with door(place):
        studies = storage.get_all_studies()
        same = [s for s in studies if s.user_attrs.get(IDENTITY) == identity]
        if not same or any(s.study_name == folder_name for s in same):
            return folder_name
        return max(same, key=lambda s: storage.get_n_trials(s._study_id)).study_name
