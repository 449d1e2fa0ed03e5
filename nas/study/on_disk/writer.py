"""Who writes to a study: one search at a time, said in the study itself.

The holder's name stands in the study's attribute `writer`, with a beat that it raises every
BEAT_S seconds, so that this holds for every storage, and for searches on several machines. Clocks
differ between machines, so that no time is ever compared: whoever finds a holder watches whether
its beat rises, by its own clock alone. On the holder's own machine the process is looked for
instead: a search that was killed gives way at once.

A storage of Optuna's has no "write if it is as I saw it". So whoever takes the study reads it again
after SETTLE_S: of two that began together the later one's name stands, and the other one is
refused. And whoever held it reads it before each write: a search that slept while another one took
over ends with a message, and writes nothing.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import Final

from optuna.storages import BaseStorage
from pydantic import BaseModel, ConfigDict, ValidationError

from nas.study.on_disk.storage import Place, another_writer, damaged, door

logger = logging.getLogger(__name__)

WRITER: Final = "writer"
"""The study attribute."""

BEAT_S: Final = 15.0
"""Seconds between two beats."""

EXPIRY_S: Final = 60.0
"""Seconds without a beat after which a holder elsewhere counts as dead."""

SETTLE_S: Final = 1.0
"""Seconds after which a name that was written stands."""


class Claim(BaseModel):
    """What the attribute holds.

    token    of one search; None once it has ended
    machine  tells machines (and containers) apart, for nothing else
    started  the process's start as its system counts it; None where that is not known
    since    in the holder's own time, for people
    """

    model_config = ConfigDict(frozen=True)

    token: str | None
    host: str
    machine: str
    process: int
    started: int | None
    folder: str
    since: str
    beat: int = 0


class Life(Enum):
    """Whether a holder lives."""

    LIVES = "lives"
    DEAD = "dead"
    UNKNOWN = "unknown"


class Writer:
    """A study that this search holds; `holding` makes one."""

    def __init__(self, storage: BaseStorage, study_id: int, place: Place, claim: Claim) -> None:
        self._storage = storage
        self._study_id = study_id
        self._place = place
        self._claim = claim
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)

    def check(self) -> None:
        """StorageError where another search has taken the study over."""
        with door(self._place):
            found = read_claim(self._storage, self._study_id, self._place)
        if found is None or found.token != self._claim.token:
            raise another_writer(self._place, told(found) if found else "no holder any more")

    def take(self, settle_s: float) -> None:
        """Writes the name, and refuses where another one's stands in the end."""
        self._write(self._claim)
        if settle_s:
            time.sleep(settle_s)
            self.check()
        self._thread.start()

    def release(self) -> None:
        """Gives the study back. A storage that does not answer any more finds out by itself."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()
        with suppress(Exception):
            self.check()
            self._write(self._claim.model_copy(update={"token": None}))

    def _live(self) -> None:
        beat = 0
        while not self._end.wait(BEAT_S):
            beat += 1
            # What goes wrong here the search meets itself, at its next write.
            with suppress(Exception):
                self.check()
                self._write(self._claim.model_copy(update={"beat": beat}))

    def _write(self, claim: Claim) -> None:
        with self._lock, door(self._place):
            self._storage.set_study_user_attr(self._study_id, WRITER, claim.model_dump())


@contextmanager
def holding(
    storage: BaseStorage,
    study_id: int,
    place: Place,
    folder: Path,
    *,
    settle_s: float = SETTLE_S,
    expiry_s: float = EXPIRY_S,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[Writer]:
    """This search holds the study while the context lasts; StorageError where another one does."""
    with door(place):
        found = read_claim(storage, study_id, place)
        if found is not None and found.token is not None:
            _wait_for_end(found, storage, study_id, place, expiry_s, pause)
    writer = Writer(storage, study_id, place, own_claim(folder))
    if isinstance(place, str) and found is not None and found.folder != str(folder.resolve()):
        logger.warning(
            "the study was last searched from %s on %s, and goes on here: the trials of both"
            " folders are its trials",
            found.folder,
            found.host,
        )
    try:
        writer.take(settle_s)
        yield writer
    finally:
        writer.release()


def own_claim(folder: Path) -> Claim:
    """The name of this process, with a new token."""
    return Claim(
        token=uuid.uuid4().hex,
        host=socket.gethostname(),
        machine=_machine(),
        process=os.getpid(),
        started=_started(os.getpid()),
        folder=os.fsencode(folder.resolve()).decode("utf-8", "backslashreplace"),
        since=time.strftime("%Y-%m-%d %H:%M:%S %z"),
    )


def read_claim(storage: BaseStorage, study_id: int, place: Place) -> Claim | None:
    """The name that stands in the study; None in one that was never held."""
    document = storage.get_study_user_attrs(study_id).get(WRITER)
    if document is None:
        return None
    try:
        return Claim.model_validate(document)
    except ValidationError as error:
        raise damaged(place, f"its attribute {WRITER}: {error.errors()[0]['msg']}") from None


def told(claim: Claim) -> str:
    """The holder in words."""
    return (
        f"one that process {claim.process} on {claim.host} searches, in {claim.folder}, since"
        f" {claim.since}"
    )


def life(claim: Claim) -> Life:
    """Whether a holder lives, as far as this machine can say."""
    if claim.machine != _machine() or claim.started is None:
        return Life.UNKNOWN
    return Life.LIVES if _started(claim.process) == claim.started else Life.DEAD


def _wait_for_end(
    found: Claim,
    storage: BaseStorage,
    study_id: int,
    place: Place,
    expiry_s: float,
    pause: Callable[[float], None],
) -> None:
    """Returns once the holder is known to have ended; StorageError where it lives."""
    state = life(found)
    if state is Life.UNKNOWN:
        logger.warning(
            "the study is held by %s; waiting %.0f s to see whether it lives", told(found), expiry_s
        )
    waited = 0.0
    while state is Life.UNKNOWN and waited < expiry_s:
        pause(1.0)
        waited += 1.0
        now = read_claim(storage, study_id, place)
        if now is None or now.token is None:
            return
        if now != found:
            state = Life.LIVES
            found = now
    if state is Life.LIVES:
        raise another_writer(place, told(found))


def _machine() -> str:
    """What no two machines share, nor two containers that number their processes anew."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{socket.gethostname()} {uuid.getnode():x}"


def _started(process: int) -> int | None:
    """When a process began, in its system's ticks; None where none runs or that is not told."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # After the name, which may hold spaces and brackets: the state, then 18 more, then the start.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
