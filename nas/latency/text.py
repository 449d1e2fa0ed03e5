"""Text files as people have them: saved by an editor, a shell or a spreadsheet of any system."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Final

from nas import NasError

MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""What a file begins with, and how it is written then; that of UTF-32 begins like UTF-16's."""


def read_text(path: Path, what: str, error: type[NasError], *, is_lenient: bool = False) -> str:
    """The text of a file in UTF-8, or in UTF-16 or UTF-32 with the mark that says so.

    Windows' editors and PowerShell write the latter. `error`, with one message, where the file
    can't be read or is written otherwise; `what` names it there. is_lenient: what can't be decoded
    is replaced, where only plain letters and digits matter.
    """
    try:
        content = path.read_bytes()
    except OSError as failure:
        reason = failure.strerror or str(failure)
        raise error(str(path), f"{what} can be read", reason, "Correct the path") from None
    encoding = next((name for mark, name in MARKS if content.startswith(mark)), "")
    if not encoding:
        encoding = _utf_16_without_mark(content) or "utf-8"
    try:
        return content.decode(encoding, errors="replace" if is_lenient else "strict")
    except UnicodeDecodeError as failure:
        line = content[: failure.start].count(b"\n") + 1
        raise error(
            f"{path}, line {line}",
            f"{what} is text in UTF-8",
            f"bytes that are not ({content[failure.start : failure.start + 4].hex(' ')})",
            "Save it as UTF-8",
        ) from None


def _utf_16_without_mark(content: bytes) -> str:
    """Which UTF-16 a text without a mark is in: every other byte of plain letters is 0 then."""
    first = content[:200]
    if len(first) < 4 or b"\0" not in first:
        return ""
    zeros = [first[place::2].count(0) / len(first[place::2]) for place in (0, 1)]
    if min(zeros) > 0.1 or max(zeros) < 0.7:
        return ""
    return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
