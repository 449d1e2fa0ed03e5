"""What a person sees of a training: a bar with the time left, and a line for each grading."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from nas.terminal import Milestones
from nas.training.progress import Lap
from nas.training.progress import Progress as Step


@contextmanager
def follow(name: str, steps: int, done: int) -> Iterator[Callable[[Step], None]]:
    """A callback for `train` that shows a training of so many steps on stderr.

    A bar with the time left on a terminal, a line at each tenth of the steps elsewhere.
    """
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} steps, loss {task.fields[loss]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    lines = None if bar.console.is_terminal else Milestones(name, steps, done)
    with bar:
        task = bar.add_task(name, total=steps, completed=done, loss="-")

        def show(step: Step) -> None:
            bar.update(task, completed=step.step, loss=f"{step.loss:.3f}")
            if lines is not None:
                lines.reach(step.step, f"loss {step.loss:.3f}")
            if step.lap is not None:
                bar.console.print(f"{name} {_line(step.lap)}", highlight=False, soft_wrap=True)

        yield show


def _line(lap: Lap) -> str:
    """A lap in a line."""
    text = (
        f"epoch {lap.epoch:.1f}: loss {lap.box + lap.objectness + lap.classes:.4f} "
        f"(box {lap.box:.4f}, objectness {lap.objectness:.4f}, class {lap.classes:.4f})"
    )
    if lap.map50_95 is not None:
        text += f", mAP50-95 {lap.map50_95:.3f}, mAP50 {lap.map50:.3f}"
    return text
