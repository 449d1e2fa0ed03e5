"""What a search has found, for whoever shows it."""

from __future__ import annotations

from dataclasses import dataclass

from nas.latency.answer import LatencyKind
from nas.study.baselines import Baseline
from nas.study.finalists import Front
from nas.study.on_disk.run import Settings
from nas.study.trial import Ending


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that is known at the end of a search, or where it was interrupted.

    doubts  what to know of the latency table behind it, a sentence each
    """

    settings: Settings
    ending: Ending
    front: Front
    baselines: tuple[Baseline, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def kind(self) -> LatencyKind | None:
        """Where its latencies come from, all of them; None where there are none."""
        latencies = [trial.latency for trial in self.ending.trials]
        return latencies[0].kind if latencies else None
