"""The storage that a study lies in, and what its errors mean to the person at the terminal.

A place is a file (study.db in the run's folder) or what --storage says: a database URL, or
journal:PATH. Optuna, SQLAlchemy, the drivers and the file system each raise exceptions of their
own; `door` turns them into one StorageError, whose remedy follows from the cause.
"""

from __future__ import annotations

import errno
import logging
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages.journal import JournalFileBackend

from nas import NasError
from nas.files import FULL

logger = logging.getLogger(__name__)

Place = str | Path
"""Where a study is kept: a file of SQLite, a database URL, or journal:PATH."""

SQLITE: Final = b"SQLite format 3\0"
"""How each file of SQLite begins."""

SEARCHED_WHOLE: Final = 100 * 2**20
"""Bytes up to which a database's indices are held against its tables, too."""

TRIES: Final = 3
"""Two searches that begin at once both make the tables; the second finds them at the next try."""

GOES_ON: Final = "Nothing is lost: the same command goes on"


class StorageError(NasError):
    """A study that can't be opened, read or written, or doesn't fit the run."""


def open_storage(place: Place, *, is_begun: bool = False) -> optuna.storages.BaseStorage:
    """The storage at a place; StorageError where it can't be opened, or is damaged.

    SQLite is the default: every tool reads it, and one process writes. Its locks can't be trusted
    on network file systems; the journal file's can. `is_begun`: a search has been there before, so
    that an empty file has lost its trials.
    """
    file = file_of(place)
    with door(place, is_opening=True):
        if file is not None and file.exists():
            _check_file(file, place, is_begun=is_begun)
        for is_last in [False] * (TRIES - 1) + [True]:
            try:
                return _open(place)
            except Exception as error:
                if is_last or "already exists" not in _reason(error):
                    raise
                time.sleep(0.5)
        raise AssertionError("the last try returns or raises")


def _open(place: Place) -> optuna.storages.BaseStorage:
    if isinstance(place, Path):
        # Not by URL: its `?`, `#`, `%` and braces have meanings to SQLAlchemy and to Optuna.
        def connect() -> sqlite3.Connection:
            return sqlite3.connect(place, timeout=30, check_same_thread=False)

        return optuna.storages.RDBStorage("sqlite:///study.db", engine_kwargs={"creator": connect})
    scheme, _, rest = place.partition(":")
    if scheme == "journal":
        return optuna.storages.JournalStorage(JournalFileBackend(rest))
    return optuna.storages.RDBStorage(place)


def where(place: Place) -> str:
    """The place as messages name it."""
    return str(place) if isinstance(place, Path) else f"--storage {without_password(place)}"


def without_password(url: str) -> str:
    """The URL as it may be shown and kept in files."""
    return re.sub(r"(://[^:/@]*:)[^@]*@", r"\1***@", url)


def file_of(place: Place) -> Path | None:
    """The file of SQLite or the journal at a place; None for a database that has a server."""
    if isinstance(place, Path):
        return place
    scheme, _, rest = place.partition(":")
    if scheme == "journal":
        return Path(rest)
    if scheme.startswith("sqlite"):
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            database = make_url(place).database
        except (ArgumentError, ValueError):  # the latter for a port that is no number
            return None  # opening it says what is wrong with it
        is_file = database and database != ":memory:" and not database.startswith("file:")
        return Path(database) if database and is_file else None
    return None


@contextmanager
def door(place: Place, *, is_opening: bool = False) -> Iterator[None]:
    """Whatever the outside world raises inside becomes a StorageError about this place."""
    try:
        yield
    except NasError:
        raise
    except Exception as error:
        # Drivers raise their own kinds and a damaged file any kind; nothing but calls of Optuna
        # and of the file system stands inside.
        raise _told(error, place, is_opening=is_opening) from error


def damaged(place: Place, reason: str) -> StorageError:
    """What to say of a file that is there and can't be understood."""
    file = file_of(place)
    if file is None:
        remedy = "Restore the database from a backup, or name another --run and --storage"
    else:
        remedy = (
            f"Put a copy of {file} back; without one, move it away (and copy the run's trials.csv,"
            " which tells what was graded), and the same command begins anew"
        )
    return StorageError(where(place), "the study can be read", f"a damaged one ({reason})", remedy)


def _check_file(file: Path, place: Place, *, is_begun: bool) -> None:
    """Damage is said before the work begins, not when a search comes to the damaged page."""
    if file.is_dir():
        raise StorageError(where(place), "the study is a file", "a folder", "Name a file in it")
    if is_begun and file.stat().st_size == 0:
        raise damaged(place, "an empty file")
    if isinstance(place, str) and place.startswith("journal:"):
        _end_journal(file)
        return
    with file.open("rb") as opened:
        head = opened.read(len(SQLITE))
    if head and head != SQLITE:
        raise damaged(place, "not a database of SQLite")
    check = "integrity_check" if file.stat().st_size <= SEARCHED_WHOLE else "quick_check"
    with closing(sqlite3.connect(file, timeout=30)) as connection:
        found = connection.execute(f"PRAGMA {check}(1)").fetchone()[0]
    if found != "ok":
        raise damaged(place, " ".join(found.split()))


def _end_journal(file: Path) -> None:
    """Takes off half a line at a journal's end, which a full disk leaves: the next one would be
    glued to it, and the journal could never be read again."""
    size = file.stat().st_size
    rest = file.read_bytes().rpartition(b"\n")[2]
    if not rest:
        return
    time.sleep(0.5)  # it may be another search's, in the middle of writing it
    if file.stat().st_size == size:
        logger.warning("%s ends in half a line, which was never written whole: taken off", file)
        with file.open("rb+") as opened:
            opened.truncate(size - len(rest))


def _told(error: BaseException, place: Place, *, is_opening: bool) -> StorageError:
    reason = _reason(error)
    said = reason.lower()
    at = where(place)
    numbers = {e.errno for e in _chain(error) if isinstance(e, OSError)}
    if numbers & FULL or re.search(r"is full|disk i/o|no space", said):
        rule = "there is room where the study is written, and the disk takes it"
        return StorageError(at, rule, reason, f"Make room there. {GOES_ON}")
    file = file_of(place)
    is_there = not is_opening or (file is not None and file.exists())
    if "malformed" in said or "not a database" in said or (is_there and _is_nonsense(error)):
        return damaged(place, reason)
    if any(isinstance(e, UpdateFinishedTrialError) for e in _chain(error)):
        return another_writer(place, "a trial that another one has finished")
    if "readonly" in said or numbers & {errno.EACCES, errno.EPERM, errno.EROFS}:
        remedy = "Get the right to write there, or name another --run or --storage"
        return StorageError(at, "the study may be written", reason, remedy)
    if "is locked" in said or "is busy" in said:
        rule = "the study can be written within half a minute"
        return StorageError(at, rule, reason, f"Close what else holds it open. {GOES_ON}")
    if is_opening and isinstance(place, str):
        rule = "the storage is a database URL that Optuna can open, or journal:PATH"
        remedy = (
            "Correct it, or see that it answers; a new run may leave it out (study.db in its"
            " folder)"
        )
        return StorageError(at, rule, reason, remedy)
    rule = "the study's storage answers"
    return StorageError(at, rule, reason, f"{GOES_ON} once it does")


def another_writer(place: Place, got: str) -> StorageError:
    """Where a second search writes to the study."""
    return StorageError(
        where(place),
        "one search at a time writes to a study",
        got,
        "Wait for the other search to end, or name another --run",
    )


def _is_nonsense(error: BaseException) -> bool:
    """Whether what was read could not be understood: text that is none, rows that lack others."""
    kinds = (ValueError, KeyError, IndexError, TypeError, AssertionError, AttributeError)
    return isinstance(error, kinds) or "could not decode" in _reason(error).lower()


def _chain(error: BaseException | None) -> list[BaseException]:
    """The error and what it was raised from."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _reason(error: BaseException) -> str:
    """The words of whoever was first to object, without SQL and without a password."""
    first = _chain(error)[-1]
    text = " ".join(str(getattr(first, "orig", None) or first).split()) or type(first).__name__
    return without_password(text)[:300]
