"""Who grades: this process, one candidate after the other, or processes beside it.

Worker processes are spawned, not forked (torch's and OpenCV's threads do not survive a fork), each
computes on one thread, and none outlives the search: they end with its pipe, or with its death.
Ctrl-C reaches the search alone.

A process that dies is followed by another, which is given the same candidate once more: whatever
killed it from outside changes nothing. A candidate that ends LIVES processes is itself the cause.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Final, Protocol

from nas import LONGEST, NasError
from nas.accuracy import ONE_THREAD, Proxy, Score
from nas.space.search_space import Candidate
from nas.study.trial import Failure, FailureKind

logger = logging.getLogger(__name__)

MakeProxy = Callable[[], Proxy]


MEMORY_WORDS: Final = re.compile("(can't allocate|not enough|out of) memory", re.IGNORECASE)
"""In what torch raises where it gets no memory: a RuntimeError, on a CPU and on a GPU."""

KILLED: Final = -9
"""Exit code of a process that the system ended by SIGKILL, which Windows has no name for."""

LIVES: Final = 2
"""Processes that a candidate may end before it is taken for the cause."""


class WorkerError(NasError):
    """Gradings that fail one after the other."""


class GradingError(RuntimeError):
    """An exception in a worker before it could grade anything, with its traceback: a bug."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Graded:
    """A grading that is done, and what was graded: a score is never told by its place in a queue.

    number        as it was submitted
    digest, seed  of the candidate that the score is of
    score         None where there is a `failure`
    """

    number: int
    digest: str
    seed: int
    score: Score | None = None
    failure: Failure | None = None

    def __post_init__(self) -> None:
        assert (self.score is None) != (self.failure is None), "a score, or why there is none"

    @property
    def result(self) -> Score | Failure:
        """What came of it."""
        result = self.score or self.failure
        assert result is not None
        return result


class Grader(Protocol):
    """Grades candidates under the numbers they are submitted with.

    `submit` returns at once. `collect` gives what has been graded since it was last called, in any
    order; with `is_waiting` it waits until there is something. The scores do not depend on the
    order of submission or on what else is being graded. A candidate that can't be graded comes with
    the reason in place of a score, and the others are graded; a NasError of a proxy is raised.
    """

    def submit(self, number: int, candidate: Candidate, seed: int) -> None:
        """Takes a candidate into the queue."""
        ...

    def collect(self, *, is_waiting: bool) -> list[Graded]:
        """What is done."""
        ...


class Inline:
    """Grades in this process, one candidate whenever it is waited for. For tests and debuggers.

    What a proxy raises goes through.
    """

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._queue: deque[tuple[int, Candidate, int]] = deque()

    def submit(self, number: int, candidate: Candidate, seed: int) -> None:
        self._queue.append((number, candidate, seed))

    def collect(self, *, is_waiting: bool) -> list[Graded]:
        if not is_waiting:
            return []
        number, candidate, seed = self._queue.popleft()
        score = self._proxy.score(candidate, seed)
        return [Graded(number=number, digest=candidate.digest, seed=seed, score=score)]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A candidate to be graded, and how many processes have ended under it."""

    number: int
    candidate: Candidate
    seed: int
    deaths: int = 0

    def failed(self, failure: Failure) -> Graded:
        """That there will be no score."""
        return Graded(
            number=self.number, digest=self.candidate.digest, seed=self.seed, failure=failure
        )


@dataclass(frozen=True, kw_only=True)
class Said:
    """What was logged while a candidate was graded."""

    level: int
    message: str


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A worker that ended in an exception which no candidate is the cause of.

    `mistake` is the user's; without one the traceback tells of ours.
    """

    mistake: NasError | None
    trace: str


class _Worker:
    """One process and this end of its pipe."""

    def __init__(self, make_proxy: MakeProxy) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=_work, args=(other, make_proxy), daemon=True
        )
        self.task: Task | None = None
        self.process.start()
        # Only the process holds its end now, so that its death shows as the end of the pipe.
        other.close()

    def end(self) -> int | None:
        """Ends the process, if it has not ended; its exit code."""
        self.process.kill()
        self.process.join()
        code = self.process.exitcode
        self.process.close()
        self.pipe.close()
        return code


class Workers:
    """Grades in `count` processes; a context manager that ends them."""

    def __init__(self, make_proxy: MakeProxy, count: int) -> None:
        """`make_proxy` is called in each process, and must be picklable.

        The processes start with the first submissions: a search that has nothing to grade has none.
        """
        assert count >= 1, "at least one worker"
        self._make_proxy = make_proxy
        self._count = count
        self._workers: list[_Worker] = []
        self._queue: deque[Task] = deque()
        self._done: list[Graded] = []
        self._said: set[str] = set()

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.end()

    def submit(self, number: int, candidate: Candidate, seed: int) -> None:
        self._queue.append(Task(number=number, candidate=candidate, seed=seed))
        self._hand_out()

    def collect(self, *, is_waiting: bool) -> list[Graded]:
        while True:
            # First: one that died idle may have left a task without any process.
            self._hand_out()
            pipes = {worker.pipe: worker for worker in self._workers}
            timeout = None if is_waiting and not self._done else 0
            ready = connection.wait(list(pipes), timeout=timeout)
            if not ready:
                done, self._done = self._done, []
                return done
            for pipe in ready:
                assert isinstance(pipe, connection.Connection)
                self._receive(pipes[pipe])

    def _hand_out(self) -> None:
        """Gives every idle worker a task while there are any, and starts those that are missing."""
        while self._queue and len(self._workers) < self._count:
            with _inherited():
                self._workers.append(_Worker(self._make_proxy))
            self._give(self._workers[-1])
        for worker in list(self._workers):
            if worker.task is None and self._queue:
                self._give(worker)

    def _give(self, worker: _Worker) -> None:
        worker.task = self._queue.popleft()
        try:
            worker.pipe.send(worker.task)
        except (BrokenPipeError, ConnectionResetError):
            self._lose(worker)

    def _receive(self, worker: _Worker) -> None:
        try:
            message = worker.pipe.recv()
        except (EOFError, ConnectionResetError):
            self._lose(worker)
            return
        if isinstance(message, Graded):
            worker.task = None
            self._done.append(message)
            return
        if isinstance(message, Said):
            # Every worker reads the same data and finds the same faults in it: once is enough.
            if message.message not in self._said:
                self._said.add(message.message)
                logger.log(message.level, "%s", message.message)
            return
        assert isinstance(message, Failed), message
        if message.mistake is not None:
            raise message.mistake
        raise GradingError(f"a grading process failed:\n{message.trace}")

    def _lose(self, worker: _Worker) -> None:
        """A process has died; what it had in hand is graded again, by another one."""
        code = worker.end()
        self._workers.remove(worker)
        if worker.task is None:
            return
        task = replace(worker.task, deaths=worker.task.deaths + 1)
        if task.deaths < LIVES:
            logger.warning("a grading process ended (exit code %s): begun again", code)
            self._queue.appendleft(task)
            return
        reason = f"exit code {code}, {task.deaths} times"
        if code == KILLED:
            reason += "; killed, as a rule for want of memory: set workers: 1 or a smaller"
            reason += " batch_size in a YAML for --proxy"
        self._done.append(task.failed(Failure(kind=FailureKind.DEATH, reason=reason)))


def graded(proxy: Proxy, task: Task) -> Graded:
    """What comes of grading a candidate in this process. NasError for a mistake of the user's."""
    try:
        score = proxy.score(task.candidate, task.seed)
    except NasError:
        raise
    except Exception as error:
        is_memory = isinstance(error, MemoryError) or MEMORY_WORDS.search(str(error))
        kind = FailureKind.MEMORY if is_memory else FailureKind.ERROR
        first = str(error).strip().partition("\n")[0]
        reason = f"{type(error).__name__}: {first}"[:LONGEST] if first else type(error).__name__
        return task.failed(Failure(kind=kind, reason=reason, trace=traceback.format_exc()))
    return Graded(number=task.number, digest=task.candidate.digest, seed=task.seed, score=score)


@contextmanager
def _inherited() -> Iterator[None]:
    """What processes that are started inside inherit: one thread each, and no Ctrl-C."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if is_main else None
    try:
        yield
    finally:
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class Teller(logging.Handler):
    """Sends what is logged in a worker to the search."""

    def __init__(self, send: Callable[[Said], object]) -> None:
        super().__init__(logging.WARNING)
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        self._send(Said(level=record.levelno, message=record.getMessage()))


def _work(pipe: connection.Connection, make_proxy: MakeProxy) -> None:
    """The life of a worker process: grades what comes until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    lock = threading.Lock()

    def send(message: object) -> None:
        with lock:  # a proxy's threads may log while it works
            pipe.send(message)

    logging.getLogger().addHandler(Teller(send))
    try:
        proxy = make_proxy()
        while True:
            try:
                task: Task = pipe.recv()
            except EOFError:
                return
            send(graded(proxy, task))
    except NasError as mistake:
        send(Failed(mistake=mistake, trace=""))
    except BaseException:
        # Whatever it is, the search must hear of it: it ends there, with this traceback.
        send(Failed(mistake=None, trace=traceback.format_exc()))


def _die_with_parent() -> None:
    """Ends this process when the search's has died, however it died, even in mid-grading."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has a parent"
    parent.join()
    os._exit(1)
