"""Text files of people's own: which encoding they are in, and a message where it is another."""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import Final

from nas.training.images import DataError

MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16's, which it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""What editors of Windows put before a text, and the encoding that it tells."""


def read_text(file: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 or UTF-32, as Notepad and PowerShell write it.

    Raises OSError where it can't be read, DataError where it is in another encoding.
    """
    return decode_text(file.read_bytes(), str(file))


def decode_text(data: bytes, where: str) -> str:
    """The text of those bytes; `where` is for the message of the DataError."""
    mark, encoding = next(
        ((mark, name) for mark, name in MARKS if data.startswith(mark)), (b"", _unmarked(data))
    )
    body = data[len(mark) :]
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError as error:
        line = body[: error.start].count(b"\n") + 1
        raise DataError(
            where,
            "the file is text in UTF-8 (or in UTF-16 with a mark)",
            f"bytes that aren't {encoding.upper()}, in line {line}: "
            f"{body[error.start : error.start + 4].hex(' ')} ({error.reason})",
            "Save it as UTF-8: an editor of texts asks for the encoding when it saves",
        ) from error
    if "\0" in text:
        raise DataError(
            where,
            "the file is text in UTF-8 (or in UTF-16 with a mark)",
            f"zero bytes, in line {text[: text.index(chr(0))].count(chr(10)) + 1}",
            "Name a text file, or save this one as UTF-8",
        )
    return text


def lines_of(text: str) -> list[str]:
    """The lines of a text, whichever system ended them."""
    return re.split(r"\r\n|\r|\n", text)


def _unmarked(data: bytes) -> str:
    """The encoding of a text without a mark: every second byte of Latin text in UTF-16 is zero."""
    if len(data) >= 2 and len(data) % 2 == 0:
        even, odd = data[0::2].count(0), data[1::2].count(0)
        if odd > len(data) // 4 and even == 0:
            return "utf-16-le"
        if even > len(data) // 4 and odd == 0:
            return "utf-16-be"
    return "utf-8"
