"""Files and folders that are whole or not there."""

from __future__ import annotations

import errno
import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from nas import NasError

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system says where there is no room: on the disk, in a quota, in one file."""

BEFORE: Final = ".before"
"""Ends the name of an earlier folder while the new one takes its place."""

LONGEST_NAME: Final = 200
"""Characters of a temporary file's name; file systems take 255 bytes."""


class WriteError(NasError):
    """A file or folder that the system does not let us write."""


@contextmanager
def writing(where: Path, remedy: str = "") -> Iterator[None]:
    """Whatever the file system objects to inside becomes a WriteError about this file or folder.

    remedy  what to do where neither room nor rights are wanting
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.filename is not None and str(error.filename) != str(where):
            reason += f" ({os.fsdecode(error.filename)})"
        goes_on = "Nothing is lost: the same command goes on"
        if error.errno in FULL:
            remedy = f"Make room there. {goes_on}"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            remedy = f"Get the right to write there, or name another --run. {goes_on}"
        raise WriteError(
            str(where), "the run's files can be written", reason, remedy or goes_on
        ) from error


def write_whole(path: Path, content: str | bytes | memoryview) -> Path:
    """Writes a file so that a reader, a full disk or a kill leaves the old one or the new one.

    Text is written in UTF-8, its line ends as they are. OSError where it can't be; a door turns it
    into its own message (`writing`).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}"[:LONGEST_NAME])
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return path


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder`, which takes its place when the block ends.

    Where the block, or anything else, fails, `folder` is as it was. OSError, as `write_whole`.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    temporary.mkdir()
    try:
        yield temporary
        _replace(folder, temporary)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def recover_folder(folder: Path) -> None:
    """Puts an earlier folder back that a kill between two renames left under its other name."""
    left = sorted(folder.parent.glob(f".{glob.escape(folder.name)}.*{BEFORE}"))
    if left and not folder.exists():
        left.pop().rename(folder)
    for path in left:
        shutil.rmtree(path, ignore_errors=True)


def _replace(folder: Path, new: Path) -> None:
    """Puts a folder in the place of another, which comes back where that fails."""
    before = folder.with_name(f".{folder.name}.{os.getpid()}{BEFORE}")
    if not folder.exists():
        new.rename(folder)
        return
    folder.rename(before)
    try:
        new.rename(folder)
    except BaseException:
        before.rename(folder)
        raise
    shutil.rmtree(before, ignore_errors=True)
