"""A latency model without a table, and searches over it that need no board and no training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from nas.accuracy import FakeSettings, Proxy, Score, build_proxy
from nas.data.dataset import read_data
from nas.latency.answer import Latency, LatencyKind, LatencyModel
from nas.space.anchors import DEFAULT_ANCHORS
from nas.space.ops import macs, model_graph, params
from nas.space.search_space import Candidate, SearchSpace, parse_space, read_space
from nas.space.spec import ModelSpec
from nas.study.candidates import Candidates
from nas.study.limits import NO_SIZE_LIMITS, SizeLimits
from nas.study.loop import Search, SearchPlan
from nas.study.on_disk.record import Record
from nas.study.sampling import SamplerName
from nas.study.surrogate.prior import EarlierScores
from nas.study.time_budget import TimeBudget
from nas.study.trial import Ending, SearchStanding
from nas.study.workers import Inline

LARGE = """
format: 1
image_size: [192, 256, 320, 416]
stem: {width: [16, 24]}
stages:
  - {stride: 2, operator: [FusedMBConv, MBConv], expand_ratio: [1, 2, 4], se_ratio: [0],
     kernel: [3], depth: [1, 2, 3], width: [16, 24, 32]}
  - {stride: 2, operator: [FusedMBConv, MBConv], expand_ratio: [2, 4], se_ratio: [0],
     kernel: [3, 5], depth: [1, 2, 3], width: [24, 40, 56]}
  - {stride: 2, operator: [FusedMBConv, MBConv], expand_ratio: [2, 4], se_ratio: [0, 0.25],
     kernel: [3, 5], depth: [1, 2, 3], width: [40, 64, 96]}
  - {stride: 2, operator: [FusedMBConv, MBConv], expand_ratio: [2, 4, 6], se_ratio: [0, 0.25],
     kernel: [3, 5], depth: [1, 2, 3, 4], width: [64, 88, 112]}
neck: {width: [32, 48, 64], depth: [1, 2]}
head: {width: [32, 48, 64], kind: [plain, separable]}
"""
"""A space of 10^10 architectures that stays as it is, whatever becomes of the default one.

On the board below they take 1 to 110 ms; one in ten is faster than 5 ms, half than 14 ms."""


@dataclass(frozen=True)
class MacBoard:
    """A board on which only multiply-accumulates take time."""

    ms_per_gigamac: float = 40.0

    def predict(self, spec: ModelSpec, image_size: int) -> Latency:
        ms = macs(model_graph(spec, image_size)) / 1e9 * self.ms_per_gigamac
        return Latency(
            ms=ms,
            low_ms=ms * 0.9,
            high_ms=ms * 1.1,
            kind=LatencyKind.PREDICTED,
            measured_share=1.0,
            heldout_mape=0.05,
        )


@dataclass(frozen=True)
class TwoBoards:
    """`MacBoard`, and beside it another on which parameters take time."""

    def predict(self, spec: ModelSpec, image_size: int) -> Latency:
        other_ms = params(model_graph(spec, image_size)) / 1e5
        return replace(MacBoard().predict(spec, image_size), others=(other_ms,))


@dataclass
class Notebook:
    """A proxy that notes what it was asked, and may break down after so many gradings."""

    proxy: Proxy
    asked: list[tuple[str, int]] = field(default_factory=list)
    breaks_after: int | None = None

    @property
    def kind(self) -> str:
        return self.proxy.kind

    def score(self, candidate: Candidate, seed: int) -> Score:
        if self.breaks_after is not None and len(self.asked) >= self.breaks_after:
            raise KeyboardInterrupt
        self.asked.append((candidate.digest, seed))
        return self.proxy.score(candidate, seed)


def notebook(breaks_after: int | None = None) -> Notebook:
    """The fake proxy, observed."""
    return Notebook(build_proxy(FakeSettings(), read_data("shapes")), breaks_after=breaks_after)


def candidates_of(space: str | SearchSpace) -> Candidates:
    """The candidates of a space for six classes."""
    if space == "large":
        space = parse_space(LARGE, "large", "tests")
    found = read_space(space) if isinstance(space, str) else space
    return Candidates(space=found, num_classes=6, anchors=DEFAULT_ANCHORS)


def search(
    folder: Path,
    proxy: Notebook,
    *,
    budget: int,
    space: str = "large",
    sampler: SamplerName = "tpe",
    seed: int = 0,
    limit_ms: float | None = None,
    in_flight: int = 4,
    opening: tuple[Candidate, ...] = (),
    earlier: tuple[EarlierScores, ...] = (),
    within: Candidate | None = None,
    sizes: SizeLimits = NO_SIZE_LIMITS,
    observe: Callable[[SearchStanding], None] = lambda standing: None,
    time_budget: TimeBudget | None = None,
    model: LatencyModel | None = None,
    boards: int = 1,
) -> Ending:
    """A search in this process, its record in `folder`."""
    running = Search(
        candidates=candidates_of(space),
        model=model or MacBoard(),
        grader=Inline(proxy),
        record=Record(f"journal:{folder / 'study.log'}", "test"),
        plan=SearchPlan(
            sampler=sampler,
            seed=seed,
            limit_ms=limit_ms,
            in_flight=in_flight,
            opening=opening,
            sizes=sizes,
            earlier=earlier,
            boards=boards,
        ),
        within=within,
        observe=observe,
        time_budget=time_budget,
    )
    return running.run(budget)
