"""Sdist and wheel hold the spaces and boards that git tracks, and nothing that was made beside."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

FOLDERS = ("search_spaces", "latency_tables")
PARTS = (*FOLDERS, "nas", "pyproject.toml", "hatch_build.py", "README.md", "LICENSE", ".gitignore")
MADE = (
    "latency_tables/host/ncnn-fp32-1t.jsonl",
    "latency_tables/host/ncnn-fp32-1t.fit.json",
    "latency_tables/rpi4/ncnn-fp32-4t.jsonl",
    "latency_tables/rpi4/ncnn-fp32-4t.condensed.json",
    "latency_tables/rpi4/ncnn-fp32-4t.corrected.json",
    "latency_tables/rpi4/ncnn-fp32-4t.estimated.before-1.json",
    "latency_tables/rpi4/ncnn-fp32-4t.lock",
)
"""What profiles and predictions leave in a checkout."""
OWN = ("latency_tables/mine/device.yaml", "search_spaces/mine.yaml")
"""What a person writes there; git doesn't track it."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project in a folder with spaces and other letters, without git, as it was tracked."""
    folder = tmp_path_factory.mktemp("box") / "a folder, ünlike others"
    for part in PARTS:
        target = folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / part).is_file():
            shutil.copy(ROOT / part, target)
        else:
            ignored = shutil.ignore_patterns(
                "__pycache__", "*.jsonl", "*.fit.json", "*.condensed.json", "*.corrected.json",
                "*.before-*", "*.lock",
            )  # fmt: skip
            shutil.copytree(ROOT / part, target, ignore=ignored)
    return folder


def shipping(folder: Path) -> set[str]:
    files = [path for one in FOLDERS for path in (folder / one).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix() for path in files}


def build(project: Path, out: Path, *kinds: str) -> None:
    command = [sys.executable, "-m", "build", "--no-isolation", *kinds, "--outdir", str(out)]
    done = subprocess.run([*command, str(project)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def in_wheel(out: Path) -> set[str]:
    with zipfile.ZipFile(next(out.glob("*.whl"))) as wheel:
        names = [name.removeprefix("nas/") for name in wheel.namelist()]
    return {name for name in names if name.startswith(FOLDERS)}


def in_sdist(out: Path) -> set[str]:
    with tarfile.open(next(out.glob("*.tar.gz"))) as sdist:
        names = [name.partition("/")[2] for name in sdist.getnames()]
    return {name for name in names if name.startswith(FOLDERS)}


def make(folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")


def test_without_git_what_was_made_there_stays_out(project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    shutil.copytree(project, folder)
    expected = shipping(project)
    make(folder, MADE)
    build(folder, tmp_path / "out")
    assert in_sdist(tmp_path / "out") == expected
    assert in_wheel(tmp_path / "out") == expected


def test_with_git_what_it_tracks_goes_in(project: Path, tmp_path: Path) -> None:
    if shutil.which("git") is None:
        pytest.skip("no git")
    folder = tmp_path / "p"
    shutil.copytree(project, folder)
    expected = shipping(project)
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    for words in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *words], cwd=folder, env=environment, check=True)
    make(folder, (*MADE, *OWN))
    build(folder, tmp_path / "out")
    assert in_sdist(tmp_path / "out") == expected
    assert in_wheel(tmp_path / "out") == expected
    # The wheel is the same without the way by the sdist (pip install .).
    build(folder, tmp_path / "direct", "--wheel")
    assert in_wheel(tmp_path / "direct") == expected


def test_what_ships_is_named_like_nothing_that_is_made(project: Path) -> None:
    assert not {Path(name).suffix for name in shipping(project)} - {".json", ".yaml"}


def test_an_unpacked_wheel_works_from_an_empty_folder(project: Path, tmp_path: Path) -> None:
    build(project, tmp_path / "out", "--wheel")
    installed, here = tmp_path / "site packages", tmp_path / "here"
    with zipfile.ZipFile(next((tmp_path / "out").glob("*.whl"))) as wheel:
        wheel.extractall(installed)
    before = sorted(installed.rglob("*"))
    here.mkdir()
    environment = {
        **os.environ,
        "PYTHONPATH": str(installed),
        "PYTHONDONTWRITEBYTECODE": "1",
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }

    def nas(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "nas", *words],
            cwd=here, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert str(installed) in subprocess.run(
        [sys.executable, "-c", "import nas; print(nas.__file__)"],
        cwd=here, env=environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "(estimated;" in nas("predict", "yolov5n", "--device", "rpi4")
    nas("profile", "--device", "fake", "--space", "tiny", "--validate", "8")
    assert "(predicted;" in nas("predict", "yolov8n", "--device", "fake")
    assert (tmp_path / "data/pi-detector-nas/latency_tables/fake/ncnn-fp32-1t.jsonl").is_file()
    # Neither here nor among what was installed is anything left.
    assert not list(here.iterdir())
    assert sorted(installed.rglob("*")) == before
