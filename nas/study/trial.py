"""What the search knows of one trial, from its asking to its score."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from nas.accuracy import Score
from nas.latency.answer import Latency, LatencyKind
from nas.space.search_space import Candidate


class FailureKind(str, Enum):
    """How a grading ended without a score; one that diverges has a score, 0."""

    MEMORY = "ran out of memory"
    DEATH = "ended its process"
    ERROR = "met an error"


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why a candidate has no score.

    reason  one line
    trace   the traceback; empty where no one was left to tell it
    """

    kind: FailureKind
    reason: str
    trace: str = ""

    @property
    def words(self) -> str:
        """What happened, in a line."""
        return f"{self.kind.value} ({self.reason})"


class Outcome(str, Enum):
    """What becomes of a candidate."""

    GRADED = "graded"
    """It is graded; its proxy score counts against the budget, a failure doesn't."""
    REFUSED = "refused"
    """Over the latency limit: never trained, free of charge."""
    REPEATED = "repeated"
    """Its architecture was asked for before: answered from memory, free of charge."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One candidate that the sampler asked about.

    number    counted from 0, refused and repeated ones too; the trial's number in study.db
    original  the graded trial whose architecture this one repeats
    score     None while it is in hand, and for ever for one that was refused or failed
    failure   why it will have no score; of a repeat, its original's
    """

    number: int
    candidate: Candidate
    latency: Latency
    outcome: Outcome
    original: int | None = None
    score: Score | None = None
    failure: Failure | None = None

    def __post_init__(self) -> None:
        assert (self.original is not None) == (self.outcome is Outcome.REPEATED)
        assert self.score is None or self.outcome is not Outcome.REFUSED
        assert self.score is None or self.failure is None, "what failed has no score"

    @property
    def is_done(self) -> bool:
        """Whether its score is known, or that it will have none."""
        return self.score is not None or self.failure is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchStanding:
    """How far a search is.

    trial  what has just ended; None at first, when the record has been gone through
    best   the graded trial of the highest score so far, the faster one of equals
    """

    budget: int
    graded: int
    refused: int
    repeated: int
    trial: Trial | None
    best: Trial | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """A search's end: every trial by number, and whether the space ran out before the budget."""

    trials: tuple[Trial, ...]
    is_exhausted: bool

    @property
    def graded(self) -> tuple[Trial, ...]:
        """The trials that count: distinct architectures, each with a score."""
        return tuple(t for t in self.trials if t.outcome is Outcome.GRADED and t.score)

    @property
    def failed(self) -> tuple[Trial, ...]:
        """The distinct architectures whose grading failed: they don't count."""
        return tuple(t for t in self.trials if t.outcome is Outcome.GRADED and t.failure)

    def count(self, outcome: Outcome) -> int:
        """How many trials ended so."""
        return sum(trial.outcome is outcome for trial in self.trials)


def latency_to_dict(latency: Latency) -> dict[str, Any]:
    """The latency as JSON can hold it."""
    return {
        "ms": latency.ms,
        "low_ms": latency.low_ms,
        "high_ms": latency.high_ms,
        "kind": latency.kind.value,
        "measured_share": latency.measured_share,
        "heldout_mape": latency.heldout_mape,
        **({} if latency.way is None else {"way": latency.way}),
        **({"others": list(latency.others)} if latency.others else {}),
    }


def latency_from_dict(document: dict[str, Any]) -> Latency:
    """The latency that `latency_to_dict` wrote."""
    kind, others = LatencyKind(document["kind"]), tuple(document.get("others", ()))
    return Latency(**{**document, "kind": kind, "others": others})


def failure_to_dict(failure: Failure) -> dict[str, Any]:
    """The failure as JSON can hold it."""
    return {"kind": failure.kind.value, "reason": failure.reason, "trace": failure.trace}


def failure_from_dict(document: dict[str, Any]) -> Failure:
    """The failure that `failure_to_dict` wrote."""
    return Failure(**{**document, "kind": FailureKind(document["kind"])})


def score_to_dict(score: Score) -> dict[str, Any]:
    """The score as JSON can hold it."""
    return {
        "score": score.score,
        "kind": score.kind,
        "is_map": score.is_map,
        "seconds": score.seconds,
        "map50_95": score.map50_95,
        "map50": score.map50,
        "is_diverged": score.is_diverged,
        "error": score.error,
    }


def score_from_dict(document: dict[str, Any]) -> Score:
    """The score that `score_to_dict` wrote."""
    return Score(**document)
