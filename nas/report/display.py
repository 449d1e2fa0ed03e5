"""How a search shows itself while it runs: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from nas.study.trial import Outcome, SearchStanding, Trial

EARLY: Final = 16
"""Gradings after which a search's best score is worth a doubt: some are of the plain grid."""


class Display:
    """Shows what is done, what is left, the best so far and the time left, on a console.

    A context manager. What is logged meanwhile appears above the live line.
    """

    def __init__(
        self, console: Console, doubt: Callable[[float], str | None] = lambda best: None
    ) -> None:
        """`doubt` is what is to be said, once, of a best score that stands after EARLY gradings."""
        self._console = console
        self._doubt = doubt
        self._is_doubted = False
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            # One grading takes seconds, and they come in bursts of as many as there are workers.
            speed_estimate_period=300,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Display:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def search(self, standing: SearchStanding) -> None:
        """Shows how far the search is; an observer for `nas.study.loop.Search`."""
        total = max(standing.budget, standing.graded)
        self._show("search", standing.graded, total, _note(standing))
        trial = standing.trial
        is_graded = trial is not None and trial.outcome is Outcome.GRADED
        if not self._console.is_terminal and (trial is None or is_graded):
            self._print(f"{standing.graded}/{total}  {_result(trial)}{_note(standing)}")
        if not self._is_doubted and EARLY <= standing.graded < total:
            self._is_doubted = True
            best = standing.best.score if standing.best is not None else None
            words = self._doubt(best.score) if best is not None and best.is_map else None
            if words is not None:
                self._print(f"{standing.graded} of {total} are graded so far. {words}")

    def step(self, name: str) -> Callable[[int, int], None]:
        """What shows a further step's progress: called with (done, wanted)."""

        def on_done(done: int, wanted: int) -> None:
            if wanted == 0:
                return
            self._show(name, done, wanted, "")
            if not self._console.is_terminal:
                self._print(f"{name}: {done}/{wanted}")

        return on_done

    def _show(self, name: str, done: int, total: int, note: str) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(
                name, total=total, completed=done, note=note
            )
        self._progress.update(self._tasks[name], completed=done, total=total, note=note)

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=True)


def _result(trial: Trial | None) -> str:
    if trial is not None and trial.failure is not None:
        return f"trial {trial.number} {trial.failure.words}; "
    if trial is None or trial.score is None:
        return ""
    score = "diverged" if trial.score.is_diverged else f"{trial.score.score:.4f}"
    return f"trial {trial.number}: {score} at {_at(trial)}, {trial.score.seconds:.1f} s; "


def _at(trial: Trial) -> str:
    return f"{trial.latency.ms:.3g} ms ({trial.latency.kind.value})"


def _note(standing: SearchStanding) -> str:
    parts = []
    best = standing.best
    if best is not None and best.score is not None:
        parts.append(f"best {best.score.score:.4f} at {_at(best)}")
    if standing.refused:
        parts.append(f"{standing.refused} refused")
    if standing.repeated:
        parts.append(f"{standing.repeated} repeated")
    return ", ".join(parts)
