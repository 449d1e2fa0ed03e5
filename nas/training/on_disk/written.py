"""What is said where a disk takes no more of a training's files."""

from __future__ import annotations

import shutil
from pathlib import Path

from nas import NasError
from nas.files import write_whole


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
