"""Files that are whole or not there."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nas import NasError


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
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            remedy = f"Make room there. {goes_on}"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            remedy = f"Get the right to write there, or name another --run. {goes_on}"
        raise WriteError(
            str(where), "the run's files can be written", reason, remedy or goes_on
        ) from error


def write_atomically(path: Path, text: str) -> None:
    """Writes a text file so that a reader, or a kill, finds the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp's files are private; this one is as public as any other new file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
