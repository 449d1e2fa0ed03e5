"""Grades on the workers of a Dask cluster, one candidate at a time on each.

A worker is set up before its first candidate: its versions and its kind of arithmetic are compared,
its files by digest, and what it lacks is sent. Each candidate goes to one worker that is set up, so
it is known which candidate was in hand when a worker died. That candidate is graded again on
another worker; its score is the same there. A candidate whose workers die again and again (more
often than Dask's `allowed-failures`) is itself the cause, and gets no score.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final

import dask
from distributed import Client, Future, KilledWorker, wait

from nas import NasError
from nas.space.search_space import Candidate
from nas.study.cluster import on_worker
from nas.study.cluster.connection import FLAG, GONE, ClusterError, is_safe
from nas.study.cluster.kit import Kit, SentFile
from nas.study.trial import Failure, FailureKind
from nas.study.workers import Graded, GradingError, Said, Task

logger = logging.getLogger(__name__)

LOOK_S: Final = 0.2
"""Seconds between two looks at who has come and gone."""

ANSWER_S: Final = 1.0
"""Seconds that an answer may take to arrive before it is asked whether its worker still lives."""

SENT_AT_ONCE: Final = 8 * 2**20
"""Bytes of files in one message, unless one file alone is larger."""


@dataclass(kw_only=True)
class _Seat:
    """A worker that is set up, and what it has in hand."""

    task: Task | None = None
    future: Future[on_worker.Answer] | None = None


class ClusterGrader:
    """A `nas.study.workers.Grader`; a context manager that clears the workers at its end."""

    def __init__(self, client: Client, kit: Kit) -> None:
        """Workers may come and go as long as it lives; without any it waits, and says so."""
        self._client = client
        self._kit = kit
        self._traits = kit.traits()
        self._name = f"nas-{uuid.uuid4().hex}"
        self._allowed = int(dask.config.get("distributed.scheduler.allowed-failures"))
        self._keys = itertools.count()
        self._queue: deque[Task] = deque()
        self._given_up: list[Graded] = []
        self._seats: dict[str, _Seat] = {}
        self._left_out: set[str] = set()
        self._said: set[str] = set()
        self._is_waiting = False
        self._next_look = 0.0

    def __enter__(self) -> ClusterGrader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """What a worker has in hand it finishes, for nobody: a thread can't be ended."""
        try:
            self._client.cancel([s.future for s in self._seats.values() if s.future is not None])
            self._client.run(
                on_worker.clear, self._name, workers=list(self._seats), on_error="ignore"
            )
        except GONE:
            return  # the scheduler is gone, and all with it

    def submit(self, number: int, candidate: Candidate, seed: int) -> None:
        self._queue.append(Task(number=number, candidate=candidate, seed=seed))
        self._hand_out()

    def collect(self, *, is_waiting: bool) -> list[Graded]:
        while True:
            self._look()
            done = self._receive() + self._given_up
            self._given_up = []
            self._hand_out()
            if done or not is_waiting:
                return done
            self._wait()

    def _wait(self) -> None:
        """Until something is done, or it is time for another look."""
        futures = [seat.future for seat in self._seats.values() if seat.future is not None]
        assert futures or self._queue, "somebody waits for a grading"
        if not futures:
            if not self._is_waiting and not self._seats:
                self._is_waiting = True
                logger.warning("no worker may grade at the scheduler: waiting for one")
            time.sleep(LOOK_S)
            return
        with self._client.as_current(), suppress(asyncio.TimeoutError):
            wait(futures, timeout=LOOK_S, return_when="FIRST_COMPLETED")

    def _hand_out(self) -> None:
        """Gives every worker without one a candidate while there are any."""
        for address, seat in self._seats.items():
            if seat.future is None and self._queue:
                seat.task = task = self._queue.popleft()
                seat.future = self._client.submit(
                    on_worker.grade,
                    self._name,
                    task,
                    key=f"{self._name}-{next(self._keys)}",
                    workers=[address],
                    allow_other_workers=False,
                    pure=False,
                )

    def _receive(self) -> list[Graded]:
        done: list[Graded] = []
        for address, seat in list(self._seats.items()):
            if seat.future is None or not seat.future.done():
                continue
            assert seat.task is not None, "what is in a worker's hand is known"
            try:
                answer = self._answer(seat.future)
            except asyncio.TimeoutError:
                # Either it is slow, or it died with its answer: the next look tells.
                self._next_look = 0.0
                continue
            if answer is None or answer.outcome is None:
                # It died and came back under its old address.
                self._lose(address)
                continue
            seat.future, seat.task = None, None
            for said in answer.said:
                self._say(said)
            if isinstance(answer.outcome, Graded):
                done.append(answer.outcome)
            elif answer.outcome.mistake is not None:
                raise answer.outcome.mistake
            else:
                raise GradingError(f"grading on {address} failed:\n{answer.outcome.trace}")
        return done

    def _answer(self, future: Future[on_worker.Answer]) -> on_worker.Answer | None:
        """What a worker said; None where it died. TimeoutError where it does not say it yet."""
        if future.status == "finished":
            answer = future.result(timeout=ANSWER_S)
            assert isinstance(answer, on_worker.Answer)
            return answer
        error = future.exception() if future.status == "error" else None
        if error is None or isinstance(error, KilledWorker):
            return None
        raise GradingError(f"Dask could not have a candidate graded: {error!r}") from error

    def _say(self, said: Said) -> None:
        # Every worker reads the same data and finds the same faults in it: once is enough.
        if said.message not in self._said:
            self._said.add(said.message)
            logger.log(said.level, "%s", said.message)

    def _look(self) -> None:
        """Notices who has gone, and sets up one of those that have come."""
        if time.monotonic() < self._next_look:
            return
        there = workers_of(self._client)
        for address in [one for one in self._seats if one not in there]:
            self._lose(address)
        self._left_out &= there.keys()
        new = [one for one in there if one not in self._seats and one not in self._left_out]
        if new:
            self._welcome(new[0], there[new[0]])
        # At once, where more have come: those that are set up have work meanwhile.
        self._next_look = 0.0 if len(new) > 1 else time.monotonic() + LOOK_S

    def _lose(self, address: str) -> None:
        """A worker has died or left; what it had in hand is graded again."""
        seat = self._seats.pop(address)
        if seat.future is not None:
            seat.future.cancel()
        if seat.task is None:
            return
        task = replace(seat.task, deaths=seat.task.deaths + 1)
        if task.deaths > self._allowed:
            reason = (
                f"{task.deaths} workers died under it, the last at {address}; of one candidate's at"
                f" most {self._allowed} may (Dask's distributed.scheduler.allowed-failures). Look"
                " at their logs; where memory was wanting, start them with more (dask worker"
                " --memory-limit), or set a smaller batch_size in a YAML for --proxy"
            )
            failure = Failure(kind=FailureKind.DEATH, reason=reason)
            self._given_up.append(task.failed(failure))
            return
        logger.warning("the worker at %s is gone: its candidate is graded again", address)
        self._queue.appendleft(task)

    def _welcome(self, address: str, worker: Mapping[str, Any]) -> None:
        """Sets a worker up, or leaves it out with a word."""
        try:
            self._check(address)
            self._supply(address)
        except GONE:
            return  # it is gone again; if it is still there, the next look tries once more
        except ClusterError as error:
            self._left_out.add(address)
            logger.warning("the worker at %s is left out. %s", address, error)
            return
        self._is_waiting = False
        self._seats[address] = _Seat()
        if worker["nthreads"] > 1:
            logger.warning(
                "the worker at %s has %d threads and grades one candidate at a time: dask worker"
                " --nthreads 1 --nworkers %d uses them all",
                address, worker["nthreads"], worker["nthreads"],
            )  # fmt: skip

    def _check(self, address: str) -> None:
        """ClusterError for a worker that would grade otherwise than the coordinator."""
        check_equal(address, self._traits, run_there(self._client, address, self._kit.traits))

    def _supply(self, address: str) -> None:
        """Sends a worker the files that it lacks, and has them compared there. ClusterError."""
        files = self._kit.files
        lacking = run_there(self._client, address, on_worker.missing, files)
        if lacking:
            logger.warning("sending %d files to %s", len(lacking), address)
        batch: list[tuple[SentFile, bytes]] = []
        for index in lacking:
            batch.append((files[index], _content(files[index])))
            is_last = index == lacking[-1]
            if is_last or sum(len(content) for _, content in batch) >= SENT_AT_ONCE:
                run_there(self._client, address, on_worker.take_in, batch)
                batch = []
        still = run_there(
            self._client, address, on_worker.set_up, self._name, self._kit.make, files
        )
        if still:
            raise ClusterError(
                f"worker {address}",
                "files have the same digest there as here",
                f"{len(still)} that differ, {files[still[0]].path} among them",
                "See whether its disk is full or damaged, and whether files change here",
            )


def _content(file: SentFile) -> bytes:
    """What is sent of a file. NasError, which ends the search, where it is no longer there."""
    try:
        return file.path.read_bytes()
    except OSError as error:
        raise NasError(
            str(file.path),
            "the files of a search stay where they are while it lasts",
            error.strerror or str(error),
            "Put it back: the same command resumes",
        ) from error


def check_workers(client: Client, traits: Callable[[], dict[str, str]]) -> None:
    """ClusterError where there are workers and none of them may grade: said before the search."""
    own, errors = traits(), []
    for address in workers_of(client):
        try:
            check_equal(address, own, run_there(client, address, traits))
            return
        except GONE:
            continue
        except ClusterError as error:
            errors.append(str(error))
    if errors:
        raise ClusterError(FLAG, "a worker at least may grade", "  ".join(errors))


def check_equal(address: str, here: Mapping[str, str], there: Mapping[str, str]) -> None:
    """ClusterError for a worker that anyone can reach, or that would find other scores."""
    where = f"worker {address}"
    if not is_safe(address):
        raise ClusterError(
            where,
            "a worker is reached by TLS, or is on the scheduler's own machine",
            "neither",
            "Start it with certificates",
        )
    for name, value in here.items():
        if there.get(name) != value:
            raise ClusterError(
                where,
                f"its {name} is that of the coordinator, {value}, or its scores would differ",
                there.get(name, "none"),
                "Set cpu_bf16: false in a YAML for --proxy, or take alike machines"
                if name == "device"
                else "Install the same versions there (pip install -c constraints.txt)",
            )


def workers_of(client: Client) -> dict[str, Any]:
    """The workers at the scheduler by address. ClusterError where it does not answer."""
    try:
        found: dict[str, Any] = client.scheduler_info(n_workers=-1)["workers"]
    except GONE as error:
        raise ClusterError(
            FLAG,
            "the scheduler answers as long as the search lasts",
            str(error) or type(error).__name__,
            "Start it again: the same command resumes",
        ) from error
    return found


def run_there(client: Client, address: str, function: Callable[..., Any], *given: Any) -> Any:
    """What a function gives on a worker. OSError where it is gone, ClusterError where it fails."""
    results = client.run(function, *given, workers=[address], on_error="return")
    result = results.get(address, OSError("no answer"))
    if isinstance(result, GONE):
        raise result
    if isinstance(result, NasError):
        where = f"worker {address}, {result.where}"
        raise ClusterError(where, result.rule, result.got, result.remedy)
    if isinstance(result, ModuleNotFoundError):
        raise ClusterError(
            f"worker {address}",
            "this program is installed on it",
            str(result),
            "Run pip install 'pi-detector-nas[cluster]' there",
        )
    if isinstance(result, Exception):
        raise ClusterError(f"worker {address}", "it can be set up", repr(result))
    return result
