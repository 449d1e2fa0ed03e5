"""Where a run lies, and whether it can: known before anything is read or computed."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

from nas import NasError

ROOM: Final = 8 * 2**20
"""Bytes that a run's folder needs: the figure, which is whole without a network, takes five."""


class RunError(NasError):
    """A run's folder that can't be used: in use, of other settings, or not a run's."""


def study_name(folder: Path) -> str:
    """What a run that begins in this folder calls its study: text that any database takes."""
    return os.fsencode(folder.name).decode("utf-8", "backslashreplace")


def check_folder(folder: Path) -> None:
    """RunError where no run can be in this folder: known before anything is read or computed."""
    remedy = "Name another --run"
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            folder.lstat()
        there = folder
        while not os.path.lexists(there) and there != there.parent:
            there = there.parent
        if not there.is_dir():
            is_itself = "a file" if there.is_file() else "something else"
            got = is_itself if there == folder else f"{there}, which is {is_itself}"
            raise RunError(str(folder), "a run is a folder, in a folder", got, remedy)
        if not os.access(there, os.W_OK | os.X_OK):
            got = f"no right to write in {there}"
            raise RunError(str(folder), "a run's folder can be written in", got, remedy)
        room = shutil.disk_usage(there)
    except OSError as error:
        got = error.strerror or str(error)
        raise RunError(str(folder), "a run's folder can be made there", got, remedy) from None
    if room.free < ROOM and room.total:  # a system that counts no bytes says 0 of both
        raise RunError(
            str(folder),
            f"there is room for a study and its report, {ROOM / 2**20:.0f} MB",
            f"{room.free / 2**20:.1f} MB",
            "Make room there (nothing is lost: the same command goes on), or name another --run",
        )
