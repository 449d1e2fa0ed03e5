"""The plug point of the search: what says how good a candidate is, without a full training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from nas.space.search_space import Candidate


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """What a proxy found out about one candidate; checked where it is made.

    score        what the search maximises, finite; the mAP50-95 itself where `is_map`
    kind         which proxy, how long, at which size: enough to tell two kinds of score apart
    is_map       whether a mAP was computed on validation images; only then are the two set
    map50_95     fractions in 0..1, as is `map50`
    seconds      what it cost, on the clock of the process that graded
    is_diverged  the training left the finite numbers, so the score is 0 by decree
    error        its standard error, as far as the validation images make one (the training's luck
                 is not in it: another seed tells of that); None where a score has none
    """

    score: float
    kind: str
    is_map: bool
    seconds: float
    map50_95: float | None = None
    map50: float | None = None
    is_diverged: bool = False
    error: float | None = None

    def __post_init__(self) -> None:
        assert math.isfinite(self.score), f"a score is finite: {self.score}"
        has_map = self.map50_95 is not None and self.map50 is not None
        assert self.is_map == has_map, "a mAP is stated if, and only if, one was computed"
        assert not self.is_map or self.score == self.map50_95, (
            "a mAP is the score where it is there"
        )
        assert not self.is_diverged or self.score == 0.0, "what diverged scores 0"


class Proxy(Protocol):
    """Grades candidates, one at a time.

    Whoever implements it promises, and `tests/accuracy/test_conformance.py` holds it to this:

    - Higher is better, and every score of one proxy has the same `kind` and the same `is_map`, so
      that any two of them may be compared.
    - The score is a function of (candidate, seed) alone. Not of what was graded before, in which
      process, or how many run beside it: the search grades in parallel and resumes after a kill,
      and must find the same numbers. `seconds` is the only field that may differ.
    - The number of classes and the anchors in `candidate.spec` are those of the data.
    - A candidate that can't be trained (loss or weights not finite) is not an error: it scores 0
      and says `is_diverged`. Other exceptions leave it without a score.
    - `is_map` is true only if a mAP was computed on validation images.

    One is built in each worker process and lives as long; it may cache decoded images and the like.
    """

    @property
    def kind(self) -> str:
        """The `kind` of every score it gives."""
        ...

    def score(self, candidate: Candidate, seed: int) -> Score:
        """How good the candidate is, under this seed."""
        ...
