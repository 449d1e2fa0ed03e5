"""The command `nas`: what it lists, what it hands on, and that it starts at once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest

import nas
from nas.__main__ import COMMANDS
from tests import test_house
from tests.conftest import ROOT


def said(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nas", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_every_command_has_a_line() -> None:
    assert COMMANDS.keys() == test_house.COMMANDS
    for name in COMMANDS:
        command = import_module(f"nas.{name}")
        assert callable(command.run)
        assert command.Arguments


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_help_lists_the_commands(words: tuple[str, ...]) -> None:
    done = said(*words)
    assert done.returncode == 0
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)
    assert done.stderr == ""


def test_help_starts_at_once_and_imports_nothing_heavy() -> None:
    code = """
import runpy, sys
sys.argv = ["nas", "--help"]
runpy.run_module("nas", run_name="__main__", alter_sys=True)
heavy = {"torch", "optuna", "plotly", "cv2", "onnxruntime", "scipy", "numpy", "tyro", "yaml"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # A tenth of a second on a quiet machine.
    assert time.perf_counter() - start < 3


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_the_flags_that_its_module_has(name: str) -> None:
    whole = said(name, "--help")
    alone = subprocess.run(
        [sys.executable, "-m", f"nas.{name}", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert whole.returncode == alone.returncode == 0
    assert whole.stdout.startswith(f"usage: nas {name} ")
    assert alone.stdout.startswith(f"usage: python -m nas.{name} ")

    def flags(text: str) -> list[str]:
        return [word for word in text.split() if word.startswith("--")]

    assert set(flags(whole.stdout)) == set(flags(alone.stdout)) > {"--help"}


def test_the_version() -> None:
    assert said("--version").stdout == f"nas {nas.__version__}\n"


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (("serach", "--budget", "3"), "Say nas search."),
        (("--budget", "3"), "nas --help says"),
        (("nas.search",), "Say nas search."),
        (("",), "nas --help says"),
    ],
)
def test_another_first_word_is_one_message(words: tuple[str, ...], remedy: str) -> None:
    done = said(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: nas: the first word is a command: ")
    assert remedy in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_mistake_is_one_message_as_under_python_m() -> None:
    whole = said("predict", "nothing.yaml")
    assert whole.returncode == 2
    assert whole.stderr.startswith("error: nothing.yaml: the model YAML exists; got no such file.")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python looks there first before 3.11")
def test_files_named_like_modules_disturb_no_search(tmp_path: Path) -> None:
    here = tmp_path / "here"
    (here / "nas").mkdir(parents=True)
    for name in ("numpy", "queue", "random", "struct", "torch"):
        (here / f"{name}.py").write_text("raise SystemExit('not this')\n")
    # As pip writes it.
    script = tmp_path / "nas"
    script.write_text("from nas.__main__ import main\nif __name__ == '__main__':\n    main()\n")
    flags = ["--space", "tiny", "--proxy", "fake", "--budget", "1", "--run", "one"]
    done = subprocess.run(
        [sys.executable, str(script), "search", *flags, "--no-baselines"],
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (here / "runs" / "one" / "pareto.json").is_file()
