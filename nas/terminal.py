"""How every command meets the terminal: flags in, one message out, the right exit code.

Results go to stdout, log and progress to stderr. Exit 0 done, 1 our bug (a traceback),
2 the user's mistake (one message), 130 interrupted (the same command resumes).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TypeVar

from nas import NasError

Arguments = TypeVar("Arguments")


def command_line(
    arguments_type: type[Arguments], run: Callable[[Arguments], None], program: str | None = None
) -> None:
    """Parses sys.argv into `arguments_type` (a dataclass), runs, and exits with the right code.

    program  what the usage calls it; None: as python -m was told
    """
    import tyro

    spec = sys.modules["__main__"].__spec__
    arguments = tyro.cli(
        arguments_type,
        prog=program or (f"python -m {spec.name}" if spec else None),
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
    )
    guarded(lambda: run(arguments))


def guarded(action: Callable[[], None]) -> None:
    """Does it; the user's mistakes and interruptions become one message and the right exit code."""
    try:
        action()
    except NasError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted: what was done is kept, the same command resumes.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our stdout (head, less) went away: nobody's mistake. What is left in
        # the buffer must go nowhere, or the interpreter complains at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
