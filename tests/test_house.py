"""The house rules that a machine can check: who may import whom, and what a name may not be."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

NAS = Path(__file__).resolve().parents[1] / "nas"
FLOORS = {
    "": -1,
    "__main__": 6,
    "places": 0,
    "documents": 0,
    "stats": 0,
    "terminal": 0,
    "space": 1,
    "detector": 2,
    "latency": 2,
    "training": 3,
    "deploy": 3,
    "accuracy": 4,
    "integrations": 4,
    "study": 5,
}
COMMANDS = {"profile", "predict", "search", "train", "evaluate", "export", "doctor"}
LIBRARIES = {
    "torch": {"detector", "training", "deploy", "accuracy", "integrations"},
    "optuna": {"study"},
    "plotly": {"study"},
    "cv2": {"training"},
    "faster_coco_eval": {"training"},
    "ncnn": {"latency", "deploy"},
    "onnxruntime": {"latency", "deploy"},
    "mmengine": {"integrations"},
    "mmyolo": {"integrations"},
}
FILES = sorted(NAS.rglob("*.py"))


def room(name: str) -> str:
    """nas.space.blocks -> space; nas -> ''."""
    return ([*name.split("."), ""])[1]


def module_name(path: Path) -> str:
    parts = path.relative_to(NAS.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {
                f"{node.module}.{a.name}" if node.module == "nas" else str(node.module)
                for a in node.names
            }
    return found


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_point_downwards(path: Path) -> None:
    name = module_name(path)
    own = room(name)
    for imported in imports(path):
        if not imported.startswith("nas"):
            continue
        target = room(imported)
        target = "" if target in ("NasError", "__version__") else target
        assert target not in COMMANDS, f"{name} imports the command {imported}"
        if own in COMMANDS or target == own:
            continue
        assert FLOORS[target] < FLOORS[own], f"{name} climbs to {imported}"


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_heavy_libraries_stay_in_their_rooms(path: Path) -> None:
    own = room(module_name(path))
    for imported in imports(path):
        library = imported.split(".")[0]
        if library in LIBRARIES and own not in COMMANDS:
            assert own in LIBRARIES[library], f"{path} imports {library}"


def test_every_room_has_a_floor() -> None:
    rooms = {room(module_name(path)) for path in FILES}
    assert rooms <= FLOORS.keys() | COMMANDS


def test_no_room_for_leftovers() -> None:
    for path in FILES:
        assert not re.search(r"(^|_)(utils?|common|helpers?|misc|manager)$", path.stem), path


@pytest.mark.parametrize("name", ["board", "health", "install"])
def test_the_programs_that_run_on_a_board_stand_alone(name: str) -> None:
    assert not any(one.startswith("nas") for one in imports(NAS / "latency" / f"{name}.py"))


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_answers_at_once_and_without_heavy_imports(command: str) -> None:
    start = time.perf_counter()
    code = f"""
import runpy, sys
sys.argv = ["x", "--help"]
try:
    runpy.run_module("nas.{command}", run_name="__main__", alter_sys=True)
except SystemExit as stop:
    assert not stop.code, stop.code
heavy = {{"torch", "optuna", "plotly", "cv2", "onnxruntime", "scipy"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--help" in done.stdout
    # A second on a quiet machine; the law against heavy imports above is what keeps it.
    assert time.perf_counter() - start < 5
