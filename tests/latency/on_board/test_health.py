"""health.py on this machine: what it tells, and that an old Python runs it too."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nas.latency.on_board import health
from nas.latency.reach.facts import HEALTH, facts_here, read_facts


def test_it_tells_of_this_machine() -> None:
    facts = facts_here([sys.executable])
    assert facts.python_version == sys.version_info[:2]
    assert facts.bits == 64
    assert facts.cores >= facts.cores_allowed >= 1
    runtimes = facts.runtimes[sys.executable]
    assert runtimes.keys() == {"numpy", "ncnn", "onnxruntime"}
    assert all(one.version and not one.error for one in runtimes.values())


def test_an_old_python_understands_it() -> None:
    ast.parse(HEALTH.read_text(), feature_version=(3, 6))
    old = shutil.which("python3.6")
    if old and subprocess.run([old, "-c", ""], capture_output=True, check=False).returncode == 0:
        told = subprocess.run([old, str(HEALTH)], capture_output=True, text=True, check=True)
        assert read_facts(told.stdout).python_version == (3, 6)


def test_an_interpreter_without_runtimes_or_life(tmp_path: Path) -> None:
    script = tmp_path / "python"
    for body, expected in (
        ("echo absent", {}),
        ("echo 'ImportError: no libgomp' >&2; exit 1", "ImportError: no libgomp"),
        ("kill -ILL $$", "it ended with exit code -4"),
        ("echo", "it says nothing"),
    ):
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(0o755)
        found = health.runtimes(str(script))
        assert found == expected or found["ncnn"] == {"version": None, "error": expected}
    assert "FileNotFoundError" in str(health.runtimes(str(tmp_path / "nothing"))["ncnn"]["error"])


def test_its_own_environments_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    there = tmp_path / health.CACHE / "ncnn-1"
    (there / "bin").mkdir(parents=True)
    (there / "bin" / "python").symlink_to(sys.executable)
    (tmp_path / health.CACHE / "incoming-1-x").mkdir()
    told = health.facts(["environments"])
    assert told["environments"] == ["ncnn-1"]
    assert list(told["runtimes"]) == [str(there / "bin" / "python")]


@pytest.mark.parametrize(
    ("said", "expected"), [("throttled=0x50005", 0x50005), ("throttled=0x0", 0), ("VCHI?", None)]
)
def test_the_firmware_is_asked_where_the_kernel_is_silent(
    said: str, expected: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "vcgencmd"
    program.write_text(f"#!/bin/sh\necho '{said}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(health, "THROTTLED", str(tmp_path / "nothing"))
    assert health.throttled() == expected
