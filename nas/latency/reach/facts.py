"""What health.py says of a machine, typed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from nas.documents import Strict
from nas.latency.on_board import health

HEALTH: Final = Path(health.__file__)
"""The file that is run on a machine to look at it."""


class Import(Strict):
    """How importing a runtime went: its version, or the error."""

    version: str | None
    error: str | None


class Facts(Strict):
    """A machine, as health.py saw it. None: it doesn't tell.

    machine      of the kernel (aarch64); bits are those of its Python, of the userland, that is
    board        its name by its device tree; compatible: the words there that drivers go by
    mhz          the clock now, and max_mhz the highest that it may take
    throttled    the Raspberry Pi's bits: 0 to 3 now, 16 to 19 since it was started
    free_disk_mb where our folder is or would be; cache: that folder
    environments what lies in that folder
    runtimes     interpreter -> name of a runtime (numpy too) -> how importing it went
    """

    machine: str
    bits: int
    system: str
    kernel: str
    libc: str
    libc_version: str
    python: str
    board: str
    compatible: list[str]
    processor: str
    is_emulated: bool
    cores: int
    cores_allowed: int
    governor: str | None
    mhz: float | None
    max_mhz: float | None
    temp_c: float | None
    throttled: int | None
    memory_mb: int | None
    available_mb: int | None
    swap_used_mb: int | None
    load: float | None
    desktop: list[str]
    free_disk_mb: int | None
    cache: str
    environments: list[str]
    runtimes: dict[str, dict[str, Import]]

    @property
    def title(self) -> str:
        """What the machine calls itself."""
        return self.board or self.processor or self.machine

    @property
    def python_version(self) -> tuple[int, int]:
        """Its Python, the first two numbers."""
        major, minor = self.python.split(".")[:2]
        return int(major), int(minor)

    @property
    def device_tree(self) -> str:
        """All that its device tree says of what it is."""
        return " ".join([self.board, *self.compatible])


def read_facts(text: str) -> Facts:
    """Facts from health.py's document; ValueError where it isn't one."""
    return Facts.model_validate(json.loads(text))


def facts_here(pythons: Sequence[str] = ()) -> Facts:
    """The facts of this machine, with the runtimes of some of its interpreters."""
    command = [sys.executable, str(HEALTH), *pythons]
    return read_facts(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
