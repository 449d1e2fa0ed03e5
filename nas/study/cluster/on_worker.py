"""What happens on a Dask worker: files are looked for and taken in, candidates are graded.

The coordinator calls these functions there (`Client.run`, `Client.submit`). What a search has set
up on a worker lives in a plugin of that worker, Dask's own place for such state, and goes with it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from distributed import Worker, WorkerPlugin, get_worker

from nas import NasError
from nas.accuracy import Proxy, use_one_thread
from nas.study.cluster.kit import Here, SentFile, find_here, keep
from nas.study.workers import Failed, Graded, Said, Task, Teller, graded


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a worker says of one grading.

    outcome   None from a worker that is not set up: it was started again since
    said      what was logged on the way
    """

    outcome: Graded | Failed | None
    said: tuple[Said, ...] = ()


class Bench(WorkerPlugin):
    """One search's place on a worker: its proxy, built when the first candidate comes."""

    def __init__(self, make: Callable[[Here], Proxy], found: dict[Path, Path]) -> None:
        self._make = make
        self._found = found
        self._proxy: Proxy | None = None

    def grade(self, task: Task) -> Graded:
        """Grades on one thread, as local workers do."""
        use_one_thread()
        if self._proxy is None:
            self._proxy = self._make(lambda path: self._found.get(path, path))
            use_one_thread()  # torch may have been loaded only now
        return graded(self._proxy, task)


async def missing(files: tuple[SentFile, ...]) -> list[int]:
    """The indices of those files that this machine lacks, or has with another content."""
    return await asyncio.to_thread(
        lambda: [index for index, file in enumerate(files) if find_here(file) is None]
    )


async def take_in(sent: list[tuple[SentFile, bytes]]) -> None:
    """Keeps what was sent. ClusterError where it can't be."""

    def keep_all() -> None:
        for file, content in sent:
            keep(file, content)

    await asyncio.to_thread(keep_all)


async def set_up(
    name: str,
    make: Callable[[Here], Proxy],
    files: tuple[SentFile, ...],
    dask_worker: Worker,
) -> list[int]:
    """Makes the worker ready for `grade` under this name; the indices of files that it lacks."""
    found = await asyncio.to_thread(lambda: [find_here(file) for file in files])
    lacking = [index for index, path in enumerate(found) if path is None]
    if not lacking:
        places = {f.path: path for f, path in zip(files, found, strict=True) if path is not None}
        await dask_worker.plugin_add(plugin=Bench(make, places), name=name)
    return lacking


async def clear(name: str, dask_worker: Worker) -> None:
    """Takes down what `set_up` made."""
    if name in dask_worker.plugins:
        await dask_worker.plugin_remove(name)


_one_at_a_time = threading.Lock()
"""Threads of a worker share torch's random state and its count of threads."""


def grade(name: str, task: Task) -> Answer:
    """Grades a candidate; never raises."""
    bench = get_worker().plugins.get(name)
    if not isinstance(bench, Bench):
        return Answer(outcome=None)
    said: list[Said] = []
    teller = Teller(said.append)
    with _one_at_a_time:
        logging.getLogger().addHandler(teller)
        try:
            outcome: Graded | Failed = bench.grade(task)
        except NasError as mistake:
            outcome = Failed(mistake=mistake, trace="")
        except BaseException:
            # Whatever it is, the search must hear of it: it ends there, with this traceback.
            outcome = Failed(mistake=None, trace=traceback.format_exc())
        finally:
            logging.getLogger().removeHandler(teller)
    return Answer(outcome=outcome, said=tuple(said))
