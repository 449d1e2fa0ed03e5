"""The loop closed: what a board that is faster than predicted brings under the limit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nas.accuracy import FakeSettings, Regrade
from nas.latency.verified.residuals import ResidualCorrection
from nas.study.conduct import conduct
from nas.study.findings import Findings
from nas.study.on_disk.record import Record
from nas.study.on_disk.run import open_run
from nas.study.trial import SearchStanding
from nas.study.workers import Inline
from tests.study.boards import MacBoard, Notebook, candidates_of, notebook
from tests.study.on_disk.test_run import some_settings

LIMIT_MS = 12.0
BUDGET = 24


def _correction(factor: float) -> ResidualCorrection:
    return ResidualCorrection(
        factor=factor, found=factor, width=1.0, count=8, is_applied=factor != 1.0,
        before=abs(1 / factor - 1), after=0.005,
    )  # fmt: skip


class _Silent:
    def search(self, standing: SearchStanding, /) -> None:
        pass

    def step(self, name: str, /) -> Callable[[int, int], None]:
        return lambda done, wanted: None


def _conduct(folder: Path, proxy: Notebook, factor: float, seen: list[Findings]) -> Findings:
    """A search under a limit, verified on a board that takes `factor` times the prediction."""
    settings = some_settings(
        proxy=FakeSettings(regrade=Regrade(share=0.5), finish=None), max_latency_ms=LIMIT_MS,
        budget=BUDGET, baselines=False,
    )  # fmt: skip
    published: list[Findings] = []

    def verify() -> dict[str | None, ResidualCorrection]:
        seen.append(published[-1])
        return {None: _correction(factor)}

    with open_run(folder, settings) as run:
        record = Record(f"journal:{folder / 'study.log'}", "test")
        return conduct(
            run,
            candidates=candidates_of("large"),
            model=MacBoard(),
            grader=Inline(proxy),
            teacher=Inline(proxy),
            record=record,
            watcher=_Silent(),
            publish=published.append,
            prepared_s=480.0,
            verify=verify,
        )


def _named(found: Findings) -> list[tuple[str, float]]:
    return [(p.name, p.score) for p in (*found.front.points, *found.front.runners_up)]


def test_what_a_faster_board_brings_under_the_limit_is_graded_and_verified(tmp_path: Path) -> None:
    seen: list[Findings] = []
    proxy = notebook()
    found = _conduct(tmp_path / "a", proxy, 0.8, seen)
    assert len(seen) == 2, "the front, and once more with the newcomers"
    assert next(iter(found.spent.items())) == ("shared weights", 480.0)
    before = {name for name, _ in _named(seen[0])}
    newcomers = [p for p in found.front.runners_up if p.name not in before]
    assert newcomers
    assert all(p.trial.latency.ms <= LIMIT_MS for p in seen[0].front.points)
    again = len(found.front.points[0].again)
    for point in newcomers:
        assert LIMIT_MS < point.trial.latency.ms <= LIMIT_MS / 0.8
        assert len(point.again) == again, "graded as the front was"
    assert len(newcomers) <= max(4, BUDGET // 10)
    assert found.spent["closing"] >= 0
    assert len(found.ending.graded) == BUDGET, "they are no trials of the search"
    # The slowest of those that now keep the limit are the ones: as a rule the best.
    refused = {
        t.candidate.digest: t.latency.ms
        for t in found.ending.trials
        if LIMIT_MS < t.latency.ms <= LIMIT_MS / 0.8
    }
    slowest = sorted(refused.values(), reverse=True)[: len(newcomers)]
    assert sorted((p.trial.latency.ms for p in newcomers), reverse=True) == slowest
    # Resumed: nothing is graded again, and the same points stand there.
    asked = len(proxy.asked)
    assert _named(_conduct(tmp_path / "a", proxy, 0.8, [])) == _named(found)
    assert len(proxy.asked) == asked


@pytest.mark.parametrize("factor", [1.0, 1.1])
def test_a_board_that_is_not_faster_brings_nobody(tmp_path: Path, factor: float) -> None:
    seen: list[Findings] = []
    found = _conduct(tmp_path / "a", notebook(), factor, seen)
    assert len(seen) == 1
    assert _named(found) == _named(seen[0])


def test_killed_in_the_round_and_resumed_equals_never_killed(tmp_path: Path) -> None:
    counted = notebook()
    whole = _conduct(tmp_path / "whole", counted, 0.8, [])
    with pytest.raises(KeyboardInterrupt):
        _conduct(tmp_path / "cut", notebook(breaks_after=len(counted.asked) - 2), 0.8, [])
    rest = notebook()
    resumed = _conduct(tmp_path / "cut", rest, 0.8, [])
    assert len(rest.asked) == 2, "what was graded is kept"
    assert _named(resumed) == _named(whole)
    assert [t.candidate.digest for t in resumed.ending.trials] == [
        t.candidate.digest for t in whole.ending.trials
    ]
