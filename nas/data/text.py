"""Text files of people's own: which encoding they are in, and a message where it is another."""

from __future__ import annotations

import re
from pathlib import Path

from nas.data.images import DataError
from nas.documents import decoded


def read_text(file: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 or UTF-32, as Notepad and PowerShell write it.

    Raises OSError where it can't be read, DataError where it is in another encoding.
    """
    return decode_text(file.read_bytes(), str(file))


def decode_text(data: bytes, where: str) -> str:
    """The text of those bytes; `where` is for the message of the DataError."""
    return decoded(data, where, DataError)


def lines_of(text: str) -> list[str]:
    """The lines of a text, whichever system ended them."""
    return re.split(r"\r\n|\r|\n", text)
