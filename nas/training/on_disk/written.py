"""A run's folder: held by one process, and what is said where its disk takes no more files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from nas import NasError
from nas.files import write_whole

LOCK: Final = ".lock"
"""The lock's file in a run's folder; it stays there."""


class FolderError(NasError):
    """A run folder that holds something else than what is to be done in it, or takes no files."""


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Writes a file whole or not at all: the old one stays where the new one can't be written."""
    try:
        write_whole(path, content)
    except OSError as error:
        raise FolderError(
            str(path),
            "the files of a run can be written",
            error.strerror or str(error),
            "What was written before is whole. Make room, or give yourself the right to write "
            "there; the same command then goes on",
        ) from error


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    write_bytes(path, text.encode())


@contextmanager
def held(folder: Path, command: str) -> Iterator[None]:
    """A run's folder, made if need be, for this process alone while the body runs.

    FolderError where another process of the command is at work there, or the folder can't be
    written to. The system takes the lock back however the process ends.
    """
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout as error:
        raise FolderError(
            str(folder),
            f"one {command} at a time works in a run's folder",
            "another one is at work there",
            "Wait for it or stop it, or name another --run",
        ) from error
    except OSError as error:
        raise unusable(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def unusable(folder: Path, error: OSError) -> FolderError:
    """The error for a run's folder that the system keeps from us."""
    return FolderError(
        str(folder),
        "a run's folder can be written to",
        error.strerror or str(error),
        "Give yourself the right to write there, or name another --run",
    )


def check_room(folder: Path, needed_bytes: int) -> None:
    """FolderError where the disk of a folder, or of what is to be one, has less room left."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed_bytes:
        raise FolderError(
            str(folder),
            f"the checkpoints of this run need {needed_bytes / 1e6:.1f} MB",
            f"{free / 1e6:.1f} MB left on the disk",
            "Make room, or name a --run on another disk",
        )
