"""Makes a virtual environment of wheels that come on stdin. One file: Python 3.9+, nothing else.

    python3 install.py FOLDER < WHEELS

It imports nothing of the rest of the house: it is sent to a board and run there. WHEELS: for each
wheel a line {"name": ..., "size": bytes, "sha256": ...} and its bytes; after the last an empty
line. FOLDER appears when all is in it, not before: what a cut connection leaves behind has another
name, and the next one removes it. Prints one JSON document: {"installed": FOLDER}, or
{"refusal": what was wrong, "lack": what it lacks (space or venv) or null}.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import IO, Any

INCOMING = "incoming-"
"""How the name of an unfinished folder begins; the number of its process follows."""


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a disk, a quota or a limit that leaves no room."""


def receive(stream: IO[bytes], folder: Path) -> list[Path]:
    """The wheels of a stream, whole and as they were sent; ValueError for anything less."""
    found: list[Path] = []
    while True:
        line = stream.readline()
        if line == b"\n":
            return found
        if not line.endswith(b"\n"):
            raise ValueError("the connection was cut while the runtimes were sent")
        header = json.loads(line)
        content = stream.read(header["size"])
        if hashlib.sha256(content).hexdigest() != header["sha256"]:
            raise ValueError(f"{header['name']} did not arrive as it was sent")
        path = folder / header["name"]
        path.write_bytes(content)
        found.append(path)


def make(folder: Path, wheels: list[Path]) -> None:
    """A virtual environment with the wheels' contents (pip and the internet are not needed)."""
    # Some systems keep it in a package of its own: main() tells.
    import venv

    venv.create(folder, with_pip=False, symlinks=True)
    packages = next(folder.glob("lib/python3*/site-packages"))
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(packages)
        wheel.unlink()


def install(stream: IO[bytes], folder: Path) -> None:
    """The environment in its folder, all or nothing."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder.parent)
    incoming = Path(tempfile.mkdtemp(prefix=f"{INCOMING}{os.getpid()}-", dir=folder.parent))
    try:
        wheels = receive(stream, incoming)
        make(incoming, wheels)
        # On the card before it has its name: a power cut leaves no whole name on half a folder.
        os.sync()
        if not folder.exists():
            incoming.rename(folder)
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


def remove_leftovers(parent: Path) -> None:
    """Removes unfinished folders whose process has gone."""
    for leftover in parent.glob(INCOMING + "*"):
        process = leftover.name[len(INCOMING) :].partition("-")[0]
        if not Path("/proc", process).exists():
            shutil.rmtree(leftover, ignore_errors=True)


def main() -> None:
    """Installs, and says how it went."""
    folder = Path(sys.argv[1])
    answer: dict[str, Any] = {"installed": str(folder)}
    try:
        install(sys.stdin.buffer, folder)
    except (ImportError, OSError, ValueError, zipfile.BadZipFile) as error:
        is_full = isinstance(error, OSError) and error.errno in FULL
        lack = "space" if is_full else "venv" if isinstance(error, ImportError) else None
        answer = {"refusal": f"{type(error).__name__}: {error}", "lack": lack}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
