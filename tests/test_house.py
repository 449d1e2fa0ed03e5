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
    "nas": 0,
    **dict.fromkeys(("nas.stats", "nas.places", "nas.files", "nas.documents", "nas.terminal"), 1),
    # Within nas/space: a block and a graph, then what may stand in a row, then whole models.
    **dict.fromkeys(("nas.space.block", "nas.space.graph"), 2),
    "nas.space.modules": 3,
    "nas.space": 4,
    "nas.emit": 5,
    "nas.data": 5,
    "nas.detector": 5,
    # Within nas/latency: what is asked and answered, the board, how it is reached, the two kinds of
    # table and what holds them against the board, and above them which of them answers.
    **dict.fromkeys(("nas.latency.device", "nas.latency.cache", "nas.latency.on_board"), 6),
    "nas.latency.answer": 7,
    "nas.latency.reach": 8,
    "nas.latency.measured": 9,
    **dict.fromkeys(("nas.latency.estimated", "nas.latency.verified"), 10),
    **dict.fromkeys(("nas.latency.load", "nas.latency.rules"), 11),
    "nas.latency": 11,
    # Within nas/training: losses, then the loop, then what lies on the disk.
    "nas.training": 11,
    # What a bundle's program computes may be timed wherever board.py runs.
    "nas.deploy.on_board": 6,
    "nas.deploy": 11,
    "nas.accuracy": 12,
    "nas.integrations": 12,
    "nas.grading": 12,
    "nas.bundle": 13,
    "nas.quantisation": 13,
    "nas.study": 13,
    "nas.report": 14,
}
"""A room, or a file that stands for itself, by the longest name that fits -> its floor.

Imports go to a lower floor, or stay in the room; rooms on one floor do not know each other."""

COMMANDS = {
    "audit",
    "profile",
    "predict",
    "search",
    "train",
    "pretrain",
    "evaluate",
    "export",
    "doctor",
    "verify",
}
LIBRARIES = {
    "torch": {"detector", "training", "deploy", "accuracy", "integrations", "grading"},
    "optuna": {"study"},
    "dask": {"study"},
    "distributed": {"study"},
    "plotly": {"report"},
    "cv2": {"data", "training", "grading", "report"},
    "faster_coco_eval": {"training"},
    "onnx": {"emit", "deploy", "grading"},
    "ncnn": {"latency", "deploy", "grading", "quantisation"},
    "onnxruntime": {"latency", "deploy", "grading", "quantisation"},
    "mmengine": {"integrations"},
    "mmyolo": {"integrations"},
}
FILES = sorted(NAS.rglob("*.py"))


def room(name: str) -> str:
    """nas.space.blocks -> nas.space; nas.latency.measured.table -> nas.latency.measured."""
    parts = name.split(".")
    while ".".join(parts) not in FLOORS:
        parts.pop()
    return ".".join(parts)


def is_command(name: str) -> bool:
    return name.count(".") == 1 and name.split(".")[1] in {*COMMANDS, "__main__"}


def module_name(path: Path) -> str:
    parts = path.relative_to(NAS.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """Every module that a file names in an import, those inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in MODULES else str(node.module))
    return found


MODULES = {module_name(path): path for path in FILES}
IMPORTS = {name: imports(path) & {*MODULES} - {name} for name, path in MODULES.items()}


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_downwards(name: str) -> None:
    for imported in IMPORTS[name]:
        assert not is_command(imported), f"{name} imports the command {imported}"
        if is_command(name) or room(imported) == room(name):
            continue
        assert FLOORS[room(imported)] < FLOORS[room(name)], f"{name} climbs to {imported}"


def test_no_circle() -> None:
    """No file imports itself, by whatever way round."""
    done: set[str] = set()

    def follow(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"a circle: {' -> '.join((*way, name))}"
        if name not in done:
            for imported in IMPORTS[name]:
                follow(imported, (*way, name))
            done.add(name)

    for name in MODULES:
        follow(name, ())


def test_one_class_a_name() -> None:
    """The commands' `Arguments` apart: they are the same thing, each command's."""
    places: dict[str, list[str]] = {}
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and node.name != "Arguments":
                places.setdefault(node.name, []).append(name)
    assert {one: names for one, names in places.items() if len(names) > 1} == {}


def test_no_folder_is_more_than_a_screenful() -> None:
    """The commands apart, which `nas --help` lists."""
    for folder in {path.parent for path in FILES}:
        count = sum(not is_command(module_name(path)) for path in folder.glob("*.py"))
        assert count <= 16, f"{folder} has {count} files"


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_heavy_libraries_stay_in_their_rooms(path: Path) -> None:
    name = module_name(path)
    if is_command(name) or name == "nas":
        return
    own = name.split(".")[1]
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        for library in {one.split(".")[0] for one in names} & LIBRARIES.keys():
            assert own in LIBRARIES[library], f"{path} imports {library}"


def test_every_room_has_a_floor() -> None:
    for name in MODULES:
        assert is_command(name) or name == "nas" or room(name) != "nas", name


@pytest.mark.parametrize("name", ["nas.space.search_space", "nas.latency.load", "nas.data.dataset"])
def test_what_needs_no_torch_loads_none(name: str) -> None:
    code = f"import {name}, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_room_for_leftovers() -> None:
    for path in FILES:
        assert not re.search(r"(^|_)(utils?|common|helpers?|misc|manager)$", path.stem), path


@pytest.mark.parametrize(
    "name",
    ["latency.on_board." + one for one in ("board", "health", "install", "path")]
    + ["deploy.on_board.detect"],
)
def test_the_programs_that_run_on_a_board_stand_alone(name: str) -> None:
    assert not IMPORTS[f"nas.{name}"]


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
libraries = {{"torch", "optuna", "plotly", "cv2", "onnxruntime", "scipy", "distributed"}}
heavy = libraries & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--help" in done.stdout
    # A second on a quiet machine; the law against heavy imports above is what keeps it.
    assert time.perf_counter() - start < 5


def test_the_tree_of_errors_is_complete() -> None:
    """nas/__init__.py draws every subclass of NasError once, under the room that raises it."""
    document = ast.get_docstring(ast.parse((NAS / "__init__.py").read_text())) or ""
    drawn: list[tuple[str, str]] = []
    place = ""
    for line in document.partition("\n    NasError ")[2].splitlines():
        if found := re.match(r" {8}(nas[.\w]*)$", line):
            place = found[1]
        elif found := re.match(r" {12}(\w+) ", line):
            drawn.append((place, found[1]))
    parents: dict[str, set[str]] = {}
    places: dict[str, str] = {}
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                parents[node.name] = {ast.unparse(base).split(".")[-1] for base in node.bases}
                is_room = len(name.split(".")) > 2 or path.stem == "__init__"
                places[node.name] = ".".join(name.split(".")[: 2 if is_room else 1])
    errors = {"NasError"}
    while more := {name for name, own in parents.items() if own & errors} - errors:
        errors |= more
    assert sorted(drawn) == sorted((places[name], name) for name in errors - {"NasError"})
