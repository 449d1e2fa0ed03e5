"""What does not run on a board needs nothing that Windows lacks, as far as Linux can show that."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.pictures import write_data

ROOT = Path(__file__).resolve().parents[1]
HIDDEN = """
import sys

for name in ("fcntl", "grp", "nis", "pty", "pwd", "readline", "resource", "spwd", "syslog",
             "termios", "tty"):
    sys.modules[name] = None
"""
"""Python runs a module of this name (sitecustomize) first of all, in workers too."""

LACKING = """
import os
# Behind the libraries, which ask for the system's name and not for what it has.
import cv2, filelock, ncnn, onnx, onnxruntime, optuna, platformdirs, plotly, rich.progress
import scipy, torch, tyro
import multiprocessing.resource_tracker, optuna.storages
for name in ("geteuid", "getuid", "getloadavg", "killpg", "mkfifo", "nice", "sched_getaffinity"):
    delattr(os, name)
"""
MODULES = """
import importlib, pathlib
for path in sorted(pathlib.Path("nas").rglob("*.py")):
    name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    # The first is run inside of MMYOLO. Dask asks for the system's name before it imports
    # `resource`, and so can't be told here that there is none.
    if name not in ("nas.integrations.mmyolo_plugin", "nas.__main__") and not name.startswith(
        "nas.study.cluster."
    ):
        importlib.import_module(name)
"""


ON_BOARD = {"board", "health", "install"}
NEVER = {
    "os": "chown fchmod fork getloadavg geteuid getpgid getuid killpg mkfifo nice rename setsid "
    "statvfs uname wait",
    "signal": "SIGALRM SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGUSR1 alarm pause setitimer",
}
"""Windows has none of them; os.rename refuses a target that is there, which os.replace takes."""


@pytest.fixture
def elsewhere(tmp_path: Path) -> dict[str, str]:
    """The environment of a Python without POSIX's modules, and with a home of its own."""
    (tmp_path / "sitecustomize.py").write_text(HIDDEN)
    return {
        **os.environ,
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }


def python(code: str, env: dict[str, str], folder: Path = ROOT) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", sorted((ROOT / "nas").rglob("*.py")), ids=lambda p: p.stem)
def test_no_module_names_what_windows_lacks(path: Path) -> None:
    if path.stem in ON_BOARD:
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert node.attr not in NEVER.get(node.value.id, "").split(), ast.unparse(node)


def test_every_module_is_imported(elsewhere: dict[str, str]) -> None:
    python(f"{LACKING}{MODULES}", elsewhere)


def test_the_fake_board_is_profiled_a_detector_predicted_and_a_space_searched(
    elsewhere: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "work"
    boxes = {f"{i}": "0 0.5 0.5 0.3 0.4\n" for i in range(8)}
    write_data(folder / "pictures", {"train": boxes, "val": boxes}, size=(96, 64))
    (folder / "fast.yaml").write_text("kind: fake\nseconds: 0\nworkers: 1\nbaselines: 1\n")
    said = ""
    for words in (
        "profile --device fake --space tiny --validate 8",
        "predict yolov5n --device rpi4",
        "search --device fake --space tiny --data pictures/data.yaml --proxy fast.yaml --budget 4",
    ):
        code = f"import sys\nfrom nas.__main__ import run\nrun({words.split()!r})"
        said += python(
            f"{LACKING}\nif __name__ == '__main__':\n    " + code.replace("\n", "\n    "),
            elsewhere,
            folder,
        )
    assert "error on 4 whole detectors" in said
    assert "estimated; 90 % interval" in said
    assert "pareto.html" in said
