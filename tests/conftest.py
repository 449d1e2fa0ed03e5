"""What every test may ask for."""

from __future__ import annotations

import atexit
import os

# Before torch is imported anywhere: two test processes share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import shutil
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# No test finds, or leaves, tables among the user's data.
os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp(prefix="nas-tests-")
atexit.register(shutil.rmtree, os.environ["XDG_DATA_HOME"], ignore_errors=True)


def absent(what: str, variable: str) -> None:
    """Fails where the environment says that it must be there, else skips with the reason."""
    if os.environ.get(variable):
        pytest.fail(f"{what}, and {variable} is set")
    pytest.skip(what)


@pytest.fixture(autouse=True)
def own_cache(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is worked out of tables of tests is kept apart from the user's; wheels are shared."""
    if "board" not in request.path.parts:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real datasets and logs, beside the checkout (marker `data`)."""
    folder = ROOT.parent / "shared"
    if not (folder / "datasets").is_dir():
        absent("no folder ../shared with the datasets", "NAS_REQUIRE_SHARED")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a headless browser (marker `browser`)."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        absent("no chromium on the PATH", "NAS_REQUIRE_BROWSER")
    assert found is not None
    return found
