"""The runtimes of a board, as wheels fetched here: the board needs neither pip nor the internet."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from nas.latency.on_board.health import CACHE
from nas.latency.reach.facts import Facts
from nas.latency.reach.runner import BoardError

NCNN: Final = "1.0.20261020"

PINS: Final[dict[tuple[int, int], dict[str, str]]] = {
    (3, 9): {"numpy": "2.0.2", "ncnn": NCNN, "onnxruntime": "1.19.2"},
    (3, 10): {"numpy": "2.2.6", "ncnn": NCNN, "onnxruntime": "1.23.2"},
    **{
        (3, minor): {"numpy": "2.4.6", "ncnn": NCNN, "onnxruntime": "1.26.0"}
        for minor in (11, 12, 13, 14)
    },
}
"""Python of the board -> the versions put there. The last with wheels for that Python, but ONNX
Runtime 1.26, as 1.31 and later don't run on the emulated board of the tests. Neither runtime needs
more than numpy to run a graph."""

MACHINES: Final = ("aarch64", "x86_64")
"""Processors that the wheels are for, all with 64 bits."""

OLDEST_GLIBC: Final = (2, 27)
"""The C library that all of these wheels run with."""


def environment_name(runtime: str, facts: Facts) -> str:
    """The name of the folder on the board: what is in it, and for which Python.

    One of each runtime and Python: a board whose system is upgraded gets a new one.
    """
    pins = PINS[facts.python_version]
    python = ".".join(map(str, facts.python_version))
    return f"{runtime}-{pins[runtime]}-numpy-{pins['numpy']}-python{python}-{facts.machine}"


def fetch_wheels(runtime: str, facts: Facts, cache: Path | None = None) -> tuple[Path, ...]:
    """The wheels that the runtime needs on a board, fetched with pip where they aren't kept yet.

    cache  the folder that keeps them (default: in the user's cache folder)

    BoardError where pip finds none, or cannot reach its index.
    """
    python = "".join(map(str, facts.python_version))
    folder = (cache or cache_folder()) / f"cp{python}-{facts.machine}-glibc{facts.libc_version}"
    folder.mkdir(parents=True, exist_ok=True)
    pins = PINS[facts.python_version]
    return tuple(_wheel(name, pins[name], facts, folder) for name in ("numpy", runtime))


def cache_folder() -> Path:
    """Where wheels are kept on this machine."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / CACHE / "wheels"


def platform_tags(facts: Facts) -> tuple[str, ...]:
    """The platforms whose wheels run on the board: up to its own C library's version."""
    minor = int(facts.libc_version.split(".")[1])
    tags = [f"manylinux_2_{one}_{facts.machine}" for one in range(minor, 16, -1)]
    return (*tags, f"manylinux2014_{facts.machine}")


def _wheel(name: str, version: str, facts: Facts, folder: Path) -> Path:
    kept = sorted(folder.glob(f"{name}-{version}-*.whl"))
    if kept:
        return kept[0]
    # Into a folder of its own and then renamed: half a wheel is never taken for a whole one.
    with tempfile.TemporaryDirectory(dir=folder, prefix="incoming-") as incoming:
        command = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--only-binary=:all:", "--implementation", "cp"),
            *("--python-version", ".".join(map(str, facts.python_version)), "--dest", incoming),
            *(word for tag in platform_tags(facts) for word in ("--platform", tag)),
            f"{name}=={version}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        fetched = sorted(Path(incoming).glob("*.whl"))
        if done.returncode or not fetched:
            raise _not_fetched(f"{name} {version}", facts, done.stderr)
        return fetched[0].replace(folder / fetched[0].name)


def _not_fetched(what: str, facts: Facts, log: str) -> BoardError:
    board = f"Python {facts.python} and glibc {facts.libc_version} on {facts.machine}"
    lines = [line for line in log.strip().splitlines() if not line.startswith("WARNING")]
    if "No module named pip" in log:
        remedy = f"Give this Python its pip: {sys.executable} -m ensurepip"
    elif "No matching distribution" in log and "(from versions: none)" not in log:
        remedy = "Upgrade the board's system: there are wheels for the Python of a current one"
    else:
        remedy = "Connect this machine to the internet for the first profile of a board"
    return BoardError(
        f"wheel of {what}",
        f"pip fetches it here for the board ({board})",
        lines[-1].strip() if lines else "nothing",
        remedy,
    )
