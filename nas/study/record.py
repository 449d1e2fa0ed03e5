"""The run's trials on disk: an Optuna study that any of Optuna's tools can open.

    optuna-dashboard sqlite:///runs/NAME/study.db

A trial is written whole, in one transaction, when it is asked for (RUNNING while it is in hand) and
once more when its score is known, so that a kill at any moment loses the trials in hand and leaves
nothing half-written. The search's sampler never reads from here while it runs (see
`nas.study.objective`): it sees results in an order that timing can't change.

Trial states: COMPLETE is graded, or repeated and answered from memory; PRUNED is refused, with the
constraint `over_limit_ms` above 0; RUNNING is in hand, or was when the search was killed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas import NasError
from nas.accuracy import Score
from nas.latency.predictor import Latency
from nas.study.trial import (
    Outcome,
    Trial,
    latency_from_dict,
    latency_to_dict,
    score_from_dict,
    score_to_dict,
)

DIRECTIONS: Final = ("maximize", "minimize")
"""Of the two values of a trial: score, latency in ms."""

CONSTRAINT: Final = "over_limit_ms"
"""The constraint's name: latency minus limit in ms, above 0 where a candidate is refused."""

IDENTITY: Final = "settings"
"""The study attribute that says which settings its trials depend on."""

REGRADE: Final = "regrade"
"""Study attributes `regrade:<digest>:<seed>` hold the finalists' further scores."""

BASELINE: Final = "baseline"
"""Study attributes `baseline:<digest>:<seed>` hold the baselines' scores."""


class StorageError(NasError):
    """A study that can't be opened or doesn't fit the run."""


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


class Record:
    """The study of one run in its storage. One process writes to it: the run's folder is locked."""

    def __init__(self, url: str, study_name: str, identity: str = "") -> None:
        """Opens the study, or begins it; StorageError where it belongs to another `identity`."""
        self._where = f"{without_password(url)}, study {study_name}"
        self._storage = open_storage(url)
        self._study = optuna.create_study(
            study_name=study_name,
            storage=self._storage,
            directions=list(DIRECTIONS),
            load_if_exists=True,
        )
        self._study_id = self._storage.get_study_id_from_name(study_name)
        known = self._study.user_attrs.get(IDENTITY)
        if known is None:
            self._study.set_user_attr(IDENTITY, identity)
        elif known != identity:
            raise StorageError(
                self._where,
                "a study is of one run, and this one has other settings",
                f"a study of {known} for a run of {identity}",
                "Name another --run or --storage",
            )

    def asked(self) -> tuple[Asked, ...]:
        """Every trial, by number."""
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
        values = None
        if trial.score is not None:
            values = [trial.score.score, trial.latency.ms]
        self._study.add_trial(
            create_trial(
                state=state,
                values=values,
                params=dict(params),
                distributions=dict(distributions),
                user_attrs=attributes,
                system_attrs=dict(system_attrs),
            )
        )

    def finish(self, trial: Trial, score: Score) -> None:
        """Writes the score of a trial that was in hand."""
        # First what the score is, then that it is: killed in between, the trial is still in hand.
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(
            self._study_id, trial.number
        )
        self._storage.set_trial_user_attr(trial_id, "score", score_to_dict(score))
        self._study.tell(trial.number, [score.score, trial.latency.ms])

    def scores(self, kind: str) -> dict[tuple[str, int], Score]:
        """The further scores of a kind (REGRADE or BASELINE) by architecture digest and seed."""
        found = {}
        for name, document in self._study.user_attrs.items():
            if name.startswith(f"{kind}:"):
                _, digest, seed = name.split(":")
                found[digest, int(seed)] = score_from_dict(document)
        return found

    def keep_score(self, kind: str, digest: str, seed: int, score: Score) -> None:
        """Writes a further score of a kind."""
        self._study.set_user_attr(f"{kind}:{digest}:{seed}", score_to_dict(score))

    def _read(self, number: int, trial: FrozenTrial) -> Asked:
        attributes = trial.user_attrs
        if trial.number != number or not {"outcome", "choices", "latency"} <= attributes.keys():
            raise StorageError(
                self._where,
                "every trial was written by this search",
                f"trial {trial.number}, which was not",
                "Name another --run or --storage",
            )
        is_finished = trial.state.is_finished()
        has_score = is_finished and "score" in attributes
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
        )


def without_password(url: str) -> str:
    """The URL as it may be shown and kept in files."""
    return re.sub(r"(://[^:/@]*:)[^@]*@", r"\1***@", url)


def open_storage(url: str) -> optuna.storages.BaseStorage:
    """The storage at a database URL, or for `journal:PATH` an Optuna journal file.

    SQLite is the default: every tool reads it, and one process writes. Its locks can't be trusted
    on network file systems; the journal file's can. Raises StorageError.
    """
    scheme, _, rest = url.partition(":")
    try:
        if scheme == "journal":
            backend = JournalFileBackend(rest)
            return optuna.storages.JournalStorage(backend)
        return optuna.storages.RDBStorage(url)
    except Exception as error:
        # SQLAlchemy, its drivers and the file system each raise their own kinds; all of them
        # mean that the user's URL does not lead to a storage.
        reason = " ".join(str(error).split())
        raise StorageError(
            f"--storage {without_password(url)}",
            "the storage is a database URL that Optuna can open, or journal:PATH",
            without_password(reason)[:300],
            "Correct it, or leave it out for study.db in the run's folder",
        ) from error
