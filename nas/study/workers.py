"""Who grades: this process, one candidate after the other, or processes beside it.

Worker processes are spawned, not forked (torch's and OpenCV's threads do not survive a fork), each
computes on one thread, and none outlives the search: they end with its pipe, or with its death.
Ctrl-C reaches the search alone.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Protocol

from nas import NasError
from nas.accuracy import ONE_THREAD, Proxy, Score
from nas.space.search_space import Candidate

logger = logging.getLogger(__name__)

MakeProxy = Callable[[], Proxy]


class WorkerError(NasError):
    """A grading process that died under us."""


class GradingError(RuntimeError):
    """An exception in a worker, with its traceback: a bug of ours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Graded:
    """A grading that is done, and what was graded: a score is never told by its place in a queue.

    number        as it was submitted
    digest, seed  of the candidate that the score is of
    """

    number: int
    digest: str
    seed: int
    score: Score


class Grader(Protocol):
    """Grades candidates under the numbers they are submitted with.

    `submit` returns at once. `collect` gives what has been graded since it was last called, in any
    order; with `is_waiting` it waits until there is something. The scores do not depend on the
    order of submission or on what else is being graded.
    """

    def submit(self, number: int, candidate: Candidate, seed: int) -> None:
        """Takes a candidate into the queue."""
        ...

    def collect(self, *, is_waiting: bool) -> list[Graded]:
        """What is done."""
        ...


class Inline:
    """Grades in this process, one candidate whenever it is waited for. For tests and debuggers."""

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
class _Task:
    number: int
    candidate: Candidate
    seed: int


@dataclass(frozen=True, kw_only=True)
class Said:
    """What was logged while a candidate was graded."""

    level: int
    message: str


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A grading that ended in an exception.

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
        self.is_idle = True
        self.process.start()
        # Only the process holds its end now, so that its death shows as the end of the pipe.
        other.close()


class Workers:
    """Grades in `count` processes; a context manager that ends them."""

    def __init__(self, make_proxy: MakeProxy, count: int) -> None:
        """`make_proxy` is called in each process, and must be picklable.

        The processes start with the first submission: a search that has nothing to grade has none.
        """
        assert count >= 1, "at least one worker"
        self._make_proxy = make_proxy
        self._count = count
        self._workers: list[_Worker] = []
        self._queue: deque[_Task] = deque()
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
            worker.process.join()
            worker.process.close()
            worker.pipe.close()

    def submit(self, number: int, candidate: Candidate, seed: int) -> None:
        if not self._workers:
            with _inherited():
                self._workers = [_Worker(self._make_proxy) for _ in range(self._count)]
        self._queue.append(_Task(number=number, candidate=candidate, seed=seed))
        self._hand_out()

    def collect(self, *, is_waiting: bool) -> list[Graded]:
        done: list[Graded] = []
        while True:
            pipes = {worker.pipe: worker for worker in self._workers}
            ready = connection.wait(list(pipes), timeout=None if is_waiting and not done else 0)
            if not ready:
                return done
            for pipe in ready:
                assert isinstance(pipe, connection.Connection)
                done += self._receive(pipes[pipe])
            self._hand_out()

    def _hand_out(self) -> None:
        """Gives every idle worker a task while there are any."""
        for worker in self._workers:
            if worker.is_idle and self._queue:
                worker.is_idle = False
                try:
                    worker.pipe.send(self._queue.popleft())
                except BrokenPipeError:
                    raise _death(worker) from None

    def _receive(self, worker: _Worker) -> list[Graded]:
        try:
            message = worker.pipe.recv()
        except (EOFError, ConnectionResetError):
            raise _death(worker) from None
        if isinstance(message, Graded):
            worker.is_idle = True
            return [message]
        if isinstance(message, Said):
            # Every worker reads the same data and finds the same faults in it: once is enough.
            if message.message not in self._said:
                self._said.add(message.message)
                logger.log(message.level, "%s", message.message)
            return []
        assert isinstance(message, Failed), message
        if message.mistake is not None:
            raise message.mistake
        raise GradingError(f"a grading process failed:\n{message.trace}")


def _death(worker: _Worker) -> WorkerError:
    worker.process.join()
    return WorkerError(
        "grading",
        "a grading process lives as long as the search",
        f"its exit with code {worker.process.exitcode} (-9: killed, as a rule for want of memory)",
        "Set workers: 1 or a smaller batch_size in a YAML for --proxy, and resume with the same"
        " --run"
        if worker.process.exitcode == -9
        else "The same command resumes",
    )


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
                task: _Task = pipe.recv()
            except EOFError:
                return
            score = proxy.score(task.candidate, task.seed)
            digest = task.candidate.digest
            send(Graded(number=task.number, digest=digest, seed=task.seed, score=score))
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
