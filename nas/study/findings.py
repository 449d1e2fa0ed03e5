"""What a search has found, for whoever shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nas.latency.answer import LatencyKind, LatencyModel
from nas.study.after.baselines import Baseline
from nas.study.after.beliefs import Belief
from nas.study.after.finalists import Front, Point
from nas.study.after.picks import Taught
from nas.study.on_disk.run import Settings
from nas.study.trial import Ending


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that is known at the end of a search, or where it was interrupted.

    doubts  what to know of the latency table behind it, a sentence each
    boards  the search's other boards by name: what answers for the latency there
    beliefs  what all gradings together say of each architecture, by digest; none of too few
    taught  the picks of the front that were taught to the end, by architecture digest
    prior_words  what earlier runs' priors turned out to be worth, a sentence each
    time_words  what a time limit cut short, a sentence each
    spent   what each part cost, in seconds of the processes that graded, those of earlier sessions
            included
    """

    settings: Settings
    ending: Ending
    front: Front
    baselines: tuple[Baseline, ...] = ()
    doubts: tuple[str, ...] = ()
    boards: Mapping[str, LatencyModel] = field(default_factory=dict)
    taught: Mapping[str, Taught] = field(default_factory=dict)
    spent: Mapping[str, float] = field(default_factory=dict)
    time_words: tuple[str, ...] = ()
    prior_words: tuple[str, ...] = ()
    beliefs: Mapping[str, Belief] = field(default_factory=dict)

    @property
    def picks(self) -> tuple[Point, ...]:
        """The points of the front that were taught to the end."""
        points = self.front.points
        return tuple(point for point in points if point.trial.candidate.digest in self.taught)

    @property
    def kind(self) -> LatencyKind | None:
        """Where its latencies come from, all of them; None where there are none."""
        latencies = [trial.latency for trial in self.ending.trials]
        return latencies[0].kind if latencies else None
