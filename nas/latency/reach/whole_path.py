"""What is sent to a board to time all that a picture goes through, and the lines that come back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nas.latency.device import TableKey
from nas.latency.on_board import path

PROGRAM: Final = Path(path.__file__)

PathLine = dict[str, Any]
"""One line of path.py: `line` says which kind it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PathPack:
    """A bundle whose whole path is timed.

    files      name -> content: detect.py, report.json, a model's files
    width, height  of the camera's picture (pixels)
    runs       pictures whose steps are timed apart
    seconds    of frames without a pause after that; 0: none
    slice_s    seconds that a line tells of
    network_ms what the network takes, as far as is known: the fake board's answer
    """

    key: TableKey
    files: Mapping[str, bytes]
    width: int = 640
    height: int = 480
    runs: int = 50
    seconds: float = 0.0
    slice_s: float = 10.0
    seed: int = 0
    network_ms: float = 1.0


def path_payload(pack: PathPack) -> Iterator[bytes]:
    """The pack as path.py reads it."""
    header = {
        "protocol": path.PROTOCOL,
        "runtime": pack.key.runtime,
        "precision": pack.key.precision,
        "threads": pack.key.threads,
        "width": pack.width,
        "height": pack.height,
        "seed": pack.seed,
        "runs": pack.runs,
        "seconds": pack.seconds,
        "slice_s": pack.slice_s,
    }
    yield json.dumps(header).encode() + b"\n"
    for name, content in pack.files.items():
        yield json.dumps({"name": name, "size": len(content)}).encode() + b"\n"
        yield content
    yield b"{}\n"


def path_lines(
    lines: Iterable[str],
    refused: Callable[[str], Exception],
    failure: Callable[[], Exception],
) -> Iterator[PathLine]:
    """What path.py says, up to its `bye`; what `refused` or `failure` make, where it can't."""
    for text in lines:
        try:
            line: PathLine = json.loads(text)
        except ValueError:
            break
        if line["line"] == "refusal":
            raise refused(str(line["reason"]))
        yield line
        if line["line"] == "bye":
            return
    raise failure()
