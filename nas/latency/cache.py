"""What was worked out once of a table, in the user's cache folder: it may be deleted at any time.

A file is named by the table's path. Whether it is that of the table as it stands is for its reader,
who finds digests in it. A cache that can't be written (a home that is read-only, a full disk) is no
error: the next command works it out again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import TypeVar

import platformdirs
from pydantic import BaseModel, ValidationError

from nas.files import write_whole
from nas.places import PROGRAM

Kept = TypeVar("Kept", bound=BaseModel)


def kept_path(table: Path, what: str) -> Path:
    """Where something that was worked out of a table is kept; `what` says what it is."""
    whose = hashlib.sha256(os.fsencode(table.resolve())).hexdigest()[:16]
    folder = platformdirs.user_cache_path(PROGRAM, appauthor=False) / "tables"
    return folder / f"{table.parent.name}-{table.stem}-{whose}.{what}.json"


def read_kept(path: Path, form: type[Kept]) -> Kept | None:
    """What is kept; None where there is nothing, or nothing that can be used."""
    try:
        return form.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        # Whatever is wrong with it, the table itself has it all.
        return None


def keep(found: BaseModel, path: Path) -> None:
    """Keeps it, if the folder can be written in."""
    # A cache that can't be written costs the next command its second again.
    with contextlib.suppress(OSError):
        write_whole(path, found.model_dump_json() + "\n")
