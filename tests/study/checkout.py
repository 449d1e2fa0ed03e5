"""A checkout of its own for tests that run the commands: its tables and runs are its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.data.pictures import write_data

ROOT = Path(__file__).resolve().parents[2]

FAKE_PROXY = "kind: fake\nseconds: {seconds}\nworkers: 2\nbaselines: 1\n"


def make_checkout(folder: Path) -> Path:
    """A copy of the package and the boards that come with it, a table of the fake device for the
    tiny space, and small data."""
    checkout = folder / "checkout"
    for part in ("nas", "search_spaces"):
        shutil.copytree(ROOT / part, checkout / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("fake", "rpi4", "models"):
        made_here = shutil.ignore_patterns("*.jsonl", "*.fit.json")
        folder_of = Path("latency_tables") / part
        shutil.copytree(ROOT / folder_of, checkout / folder_of, ignore=made_here)
    boxes = {f"{i}": f"{i % 2} 0.5 0.5 0.{3 + i % 4} 0.4\n" for i in range(8)}
    write_data(checkout / "pictures", {"train": boxes, "val": boxes}, size=(96, 64))
    (checkout / "fast.yaml").write_text(FAKE_PROXY.format(seconds=0))
    (checkout / "slow.yaml").write_text(FAKE_PROXY.format(seconds=0.3))
    profile = command(checkout, "nas.profile", "--device", "fake", "--space", "tiny")
    assert subprocess.run(profile, cwd=checkout, capture_output=True, check=False).returncode == 0
    return checkout


def command(checkout: Path, module: str, *flags: str) -> list[str]:
    """The command line of one of the checkout's commands, to be run in it."""
    return [sys.executable, "-W", "error", "-m", module, *flags]


def search(checkout: Path, *flags: str, device: str | None = "fake") -> subprocess.Popen[str]:
    """A search of the tiny space, begun and not waited for; None: on the device by default."""
    given = ["--device", device] if device else []
    given += ["--space", "tiny", "--data", "pictures/data.yaml", *flags]
    return subprocess.Popen(
        command(checkout, "nas.search", *given),
        cwd=checkout,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background has them ignore Ctrl-C, and would this too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
