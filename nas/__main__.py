"""The command `nas`: `nas search ...` is `python -m nas.search ...`."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Final

from nas import NasError, __version__
from nas.terminal import command_line, guarded

COMMANDS: Final = {
    "doctor": "look at a board for what would spoil its times",
    "profile": "time a search space on a board, or make estimated tables from a log or CSV",
    "predict": "how long a detector takes on a board, and what makes it slow there",
    "search": "search for detectors on the front of accuracy and latency",
    "audit": "tell how well a search's score ranked, by teaching some of it to the end",
    "verify": "time a search's front on its board, and say how far predictions were off",
    "pretrain": "teach a starter, whose neck and head every detector can begin with",
    "train": "train detectors, and grade them on images that they have not seen",
    "evaluate": "grade trained weights on a part of a data set",
    "export": "leave a detector as ONNX, ncnn or MMYOLO files, each checked against torch",
}
"""Every command with a line of its own, in the order of a project."""


def usage() -> str:
    """What `nas --help` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {line}" for name, line in COMMANDS.items()]
    return "\n".join(
        [
            "usage: nas COMMAND [flags]",
            "",
            "Architecture search for small object detectors, on your board and your data.",
            "",
            *lines,
            "",
            "`nas COMMAND --help` lists a command's flags; `nas --version` says the version.",
        ]
    )


def chosen(words: list[str]) -> str | None:
    """The command that the words begin with, None where they ask for help or the version.

    NasError for anything else.
    """
    first = words[0] if words else "--help"
    if first in ("-h", "--help", "--version"):
        return None
    if first not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(first, COMMANDS, n=1)
        raise NasError(
            "nas",
            f"the first word is a command: {', '.join(COMMANDS)}",
            repr(first),
            f"Say nas {near[0]}" if near else "nas --help says what each of them does",
        )
    return first


def run(words: list[str]) -> None:
    """Runs the command that is asked for."""
    name = chosen(words)
    if name is None:
        print(f"nas {__version__}" if words[:1] == ["--version"] else usage())
        return
    command = import_module(f"nas.{name}")
    # What libraries and messages read of the command line is the command's own.
    sys.argv = [f"nas {name}", *words[1:]]
    command_line(command.Arguments, command.run, f"nas {name}")


def main() -> None:
    """The entry point.

    A grading process that it starts finds modules where the command does: a file struct.py in the
    current folder, which Python looks in first there (before 3.11 always), would end it.
    """
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    guarded(lambda: run(sys.argv[1:]))


if __name__ == "__main__":
    main()
