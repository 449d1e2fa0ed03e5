"""Debian's PostgreSQL, started in a folder of its own as a user without rights."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def programs() -> Path | None:
    """The folder of initdb and pg_ctl, of the newest version; None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return None if on_path is None else Path(on_path).resolve().parent


@contextmanager
def server() -> Iterator[Callable[[], str]]:
    """Gives the URL of a new, empty database at every call; the server listens to no network."""
    folder_of = programs()
    assert folder_of is not None, "PostgreSQL is installed"
    # Not below the tests' own folder, which nobody else may enter.
    folder = Path(tempfile.mkdtemp(prefix="nas-postgres-"))
    user = pwd.getpwnam("postgres").pw_name if os.getuid() == 0 else None
    if user is not None:
        shutil.chown(folder, user)

    def do(program: str, *given: str) -> None:
        subprocess.run(
            [folder_of / program, *given],
            check=True, cwd=folder, user=user, stdin=subprocess.DEVNULL,
            # A server that inherits a pipe keeps it open.
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    numbers = itertools.count()

    def new_database() -> str:
        name = f"study{next(numbers)}"
        do("createdb", "--host", str(folder), "--username", "nas", name)
        return f"postgresql+psycopg://nas@/{name}?host={folder}"

    try:
        do("initdb", "--pgdata", "data", "--username", "nas", "--auth", "trust", "--no-sync")
        settings = f"-c listen_addresses= -c unix_socket_directories={folder}"
        do("pg_ctl", "--pgdata", "data", "--options", settings, "--wait", "start")
        try:
            yield new_database
        finally:
            do("pg_ctl", "--pgdata", "data", "--mode", "immediate", "--wait", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
