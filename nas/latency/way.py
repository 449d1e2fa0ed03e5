"""A way to run a detector, as a flag names it: a board, and behind it what is not the search's own.

rpi5   rpi5:fp16   rpi4:int8   rpi4:onnxruntime   rpi4:onnxruntime:int8:1
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, get_args

from nas import NasError
from nas.latency.device import Precision, Runtime

RUNTIMES: Final = (*get_args(Runtime), "tflite")
"""tflite is estimated, never measured."""

PRECISIONS: Final[tuple[str, ...]] = get_args(Precision)


@dataclass(frozen=True, kw_only=True)
class Way:
    """A board with a runtime, a precision and a number of threads; None is the board's own.

    text   as it was given
    """

    text: str
    device: str
    runtime: str
    precision: str
    threads: int | None


def read_way(text: str, own: Way) -> Way:
    """The way that a text names; what it leaves out is that of the search, `own`. NasError."""
    device, *parts = text.split(":")
    runtime, precision, threads = own.runtime, own.precision, own.threads
    said = set()
    for part in parts:
        if part in RUNTIMES:
            runtime, kind = part, "runtime"
        elif part in PRECISIONS:
            precision, kind = part, "precision"
        elif part.isascii() and part.isdigit() and int(part) > 0:
            threads, kind = int(part), "number of threads"
        else:
            raise NasError(
                f"--device {text}",
                f"behind a board stand a runtime ({', '.join(RUNTIMES)}), a precision"
                f" ({', '.join(PRECISIONS)}) or a number of threads, each after a colon",
                repr(part),
            )
        if kind in said:
            raise NasError(f"--device {text}", f"a board has one {kind}", f"a second one, {part}")
        said.add(kind)
    return Way(text=text, device=device, runtime=runtime, precision=precision, threads=threads)


def read_ways(texts: Sequence[str], own: Way) -> dict[str, Way]:
    """Every way by a short name: the board's, with the rest behind it where it is named again.

    own   the search's: the first must be it. NasError for a way that is named twice.
    """
    found = [read_way(text, own) for text in texts]
    first = found[0]
    if first.text != first.device:
        rest = first.text.removeprefix(f"{first.device}:")
        raise NasError(
            f"--device {first.text}",
            "the first board has the runtime, precision and threads of the search",
            rest,
            f"Say it by --device {first.device} --precision, --runtime or --threads",
        )
    counts = Counter(way.device for way in found)
    ways: dict[str, Way] = {}
    seen: set[tuple[str, str, str, int | None]] = set()
    for way in found:
        key = way.device, way.runtime, way.precision, way.threads
        if key in seen:
            raise NasError(f"--device {way.text}", "each board is named once", "a second time")
        seen.add(key)
        ways[way.text.replace(":", "-") if counts[way.device] > 1 else way.device] = way
    return ways
