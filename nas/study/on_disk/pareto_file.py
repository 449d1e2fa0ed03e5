"""pareto.json, read back: the front that a finished run left, and who stands close to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ConfigDict, Field

from nas.documents import Strict, read_json
from nas.latency.answer import LatencyKind
from nas.study.on_disk.folder import RunError

FORMAT: Final = 2
"""Version of pareto.json. 1: the first. 2: what was measured on the board stands beside what was
predicted (`measured_*` and `keeps_limit` of a point, null before nas.verify; `verification`), and
`runners_up`, the graded points next to the front, with their YAML."""

FILE: Final = "pareto.json"
"""In the run's folder."""


class BoardRow(Strict):
    """A detector's latency on another board of its search."""

    latency_ms: float
    latency_low_ms: float
    latency_high_ms: float
    latency_kind: LatencyKind


class FrontRow(Strict):
    """A point of the front, or a runner-up.

    model          the path of its YAML in the run's folder; None of a runner-up
    yaml           the YAML itself, of a runner-up
    file_mb        its ncnn files in the run's precision; memory_mb: what ncnn allocates
    nearest_limit  the limit that it takes the largest share of; None in a run without limits
    believed       its score by all gradings of the run together, with 90 % bounds; None where they
                   are few
    told_apart     whether more than noise puts it above the next faster point of the front
    way            the fastest way to run of a search over several, as ncnn-int8-4t
    boards         its latency on the search's other boards, by their names
    measured_ms    in calm, timed as a whole; with its 95 % interval, samples and date
    keeps_limit    the probability that it keeps the run's limit
    corrected_ms   the prediction, corrected by what was measured; with its 90 % interval
    """

    name: str
    digest: str
    model: str | None
    image_size: Any
    latency_ms: float
    latency_low_ms: float
    latency_high_ms: float
    latency_kind: LatencyKind
    score: float
    score_kind: str
    map50_95: float | None
    map50: float | None
    params: int
    macs: int
    file_mb: float | None = None
    memory_mb: float | None = None
    nearest_limit: str | None = None
    nearest_limit_share: float | None = None
    believed: float | None = None
    believed_low: float | None = None
    believed_high: float | None = None
    told_apart: bool | None = None
    way: str | None = None
    boards: dict[str, BoardRow] = Field(default_factory=dict)
    measured_ms: float | None = None
    measured_low_ms: float | None = None
    measured_high_ms: float | None = None
    measured_samples: int | None = None
    measured_date: str | None = None
    corrected_ms: float | None = None
    corrected_low_ms: float | None = None
    corrected_high_ms: float | None = None
    keeps_limit: float | None = None
    yaml: str | None = None


class TaughtRow(Strict):
    """A pick of the front that was taught to the end."""

    name: str
    weights: str
    kind: str
    map50_95: float | None
    map50: float | None
    core_seconds: float


class ParetoFile(Strict):
    """pareto.json. What nobody here reads is kept as it stands.

    weighed   the search's other boards whose latency is an objective, too
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    format: Literal[1, 2]
    device: str
    runtime: str
    precision: str
    threads: int
    space: str
    weighed: tuple[str, ...] = ()
    front: tuple[FrontRow, ...]
    taught: tuple[TaughtRow, ...] = ()
    runners_up: tuple[FrontRow, ...] = ()

    @property
    def rows(self) -> tuple[FrontRow, ...]:
        """The front, and after it the runners-up."""
        return (*self.front, *self.runners_up)


def read_pareto(folder: Path) -> ParetoFile:
    """The pareto.json of a run; RunError where there is none, or it can't be read."""
    path = folder / FILE
    if not path.exists():
        raise RunError(
            str(folder),
            f"the run has left a front: its {FILE}",
            "none",
            "Let the search come to its end first: the same nas.search command goes on",
        )
    return read_json(
        path,
        ParetoFile,
        f"a search's {FILE}, of format 1 or {FORMAT}",
        RunError,
        lambda: "Repeat the run's nas.search command: it writes the file anew, and grades nothing",
    )
