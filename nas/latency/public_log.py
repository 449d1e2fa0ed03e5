"""What ncnn's own benchmark, `benchncnn`, prints on a board: times of networks that are known here.

    loop_count = 8
    num_threads = 4
    powersave = 0
    gpu_device = -1
    cooling_down = 1
         yolov4-tiny  min =  298.94  max =  302.47  avg =  300.69

Nothing of ours has to run on the board, so this works for Android too. A line that should be a
time and isn't is named and left out; whatever else stands in a terminal's text is passed over.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nas import NasError

SETTINGS: Final = ("loop_count", "num_threads", "powersave", "gpu_device", "cooling_down")
"""What benchncnn says of itself before the times."""

_SETTING: Final = re.compile(r"\s*(\w+)\s*=\s*(-?\d+)\s*$")
_NUMBER: Final = r"(\S+)"
_TIME: Final = re.compile(
    rf"\s*(\S+)\s+min\s*=\s*{_NUMBER}\s+max\s*=\s*{_NUMBER}\s+avg\s*=\s*{_NUMBER}\s*$"
)
_LIKE_A_TIME: Final = re.compile(r"\b(min|max|avg)\b\s*=")


class LogError(NasError):
    """A log that cannot be read, is not of a CPU, or has too few known networks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """One network's line: the fastest, slowest and mean of the loops, in ms."""

    network: str
    min_ms: float
    max_ms: float
    avg_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PublicLog:
    """A log as read.

    settings  of SETTINGS, those that the log says
    timings   in the order of the log, one for each network
    damaged   line number, text and what is wrong of each line that was left out
    """

    settings: dict[str, int]
    timings: tuple[Timing, ...]
    damaged: tuple[tuple[int, str, str], ...]

    @property
    def threads(self) -> int | None:
        """How many threads ran; None where the log doesn't say."""
        return self.settings.get("num_threads")


def read_log(path: Path) -> PublicLog:
    """The log in a file; LogError where there is none, or what it holds isn't one."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise LogError(str(path), "the log can be read", error.strerror or str(error)) from None
    return parse_log(text, str(path))


def parse_log(text: str, where: str = "log") -> PublicLog:
    """The log in a text; LogError where it has no times at all, or times of a GPU."""
    settings: dict[str, int] = {}
    timings: dict[str, Timing] = {}
    damaged: list[tuple[int, str, str]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        setting = _SETTING.match(line)
        if setting and setting[1] in SETTINGS:
            settings[setting[1]] = int(setting[2])
        elif _LIKE_A_TIME.search(line):
            found = _read_timing(line)
            if isinstance(found, str):
                damaged.append((number, line.strip(), found))
            elif found.network in timings:
                damaged.append((number, line.strip(), f"a second line of {found.network}"))
            else:
                timings[found.network] = found
    if settings.get("gpu_device", -1) >= 0:
        raise LogError(
            where,
            "the log is one of the CPU (gpu_device = -1)",
            f"gpu_device = {settings['gpu_device']}",
            "Run benchncnn 8 4 0 -1 on the board",
        )
    if not timings:
        raise LogError(
            where,
            "the log has lines like 'resnet18  min =  181.74  max =  183.07  avg =  182.37'",
            f"none in {len(text.splitlines())} lines",
        )
    return PublicLog(settings=settings, timings=tuple(timings.values()), damaged=tuple(damaged))


def _read_timing(line: str) -> Timing | str:
    """The line's timing, or what is wrong with it."""
    parts = _TIME.match(line)
    if parts is None:
        return "not 'NETWORK  min = MS  max = MS  avg = MS'"
    try:
        low, high, mean = (float(value) for value in parts.groups()[1:])
    except ValueError:
        return "a time that is no number"
    if not all(math.isfinite(value) and value > 0 for value in (low, high, mean)):
        return "a time that is not above 0"
    # The means are rounded like the rest.
    if not low - 0.01 <= mean <= high + 0.01:
        return "the mean is not between the fastest and the slowest"
    return Timing(network=parts[1], min_ms=low, max_ms=high, avg_ms=mean)
