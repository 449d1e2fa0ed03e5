"""install.py: an environment is there whole or not at all."""

from __future__ import annotations

import ast
import errno
import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from nas.latency.on_board import install
from nas.latency.reach.ssh_runner import packed


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "toy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("toy/__init__.py", "__version__ = '1.0'\n")
    return path


def run(content: bytes, folder: Path) -> dict[str, object]:
    command = [sys.executable, "-I", install.__file__, str(folder)]
    done = subprocess.run(command, input=content, capture_output=True, check=True)
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_an_old_python_understands_it() -> None:
    ast.parse(Path(install.__file__).read_text(), feature_version=(3, 9))


def test_what_was_sent_can_be_imported_there(wheel: Path, tmp_path: Path) -> None:
    folder = tmp_path / "home" / "cache" / "toy"
    assert run(b"".join(packed([wheel])), folder) == {"installed": str(folder)}
    code = "import toy, sys; print(toy.__version__, sys.prefix)"
    command = [str(folder / "bin" / "python"), "-I", "-c", code]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.split() == ["1.0", str(folder)]
    # Twice is as good as once: another one may have been quicker.
    assert run(b"".join(packed([wheel])), folder) == {"installed": str(folder)}
    assert [path.name for path in folder.parent.iterdir()] == ["toy"]


def test_less_than_all_leaves_nothing(wheel: Path, tmp_path: Path) -> None:
    content = b"".join(packed([wheel]))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    folder = tmp_path / "cache" / "toy"
    for length in (0, 20, len(content) // 2, len(content) - 1):
        answer = run(content[:length], folder)
        assert "refusal" in answer
        assert answer["lack"] is None
    wrong = content.replace(digest.encode(), b"0" * 64)
    assert "did not arrive" in str(run(wrong, folder)["refusal"])
    assert list(folder.parent.iterdir()) == []


def test_what_the_dead_left_goes_and_what_the_living_make_stays(tmp_path: Path) -> None:
    dead, alive = tmp_path / "incoming-4194305-a", tmp_path / f"incoming-{os.getpid()}-b"
    dead.mkdir()
    alive.mkdir()
    install.remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [alive.name]


def test_a_python_without_venv_is_told(wheel: Path, tmp_path: Path) -> None:
    code = "import sys; sys.modules['venv'] = None; exec(open(sys.argv[1]).read())"
    program = tmp_path / "program.py"
    source = Path(install.__file__).read_text().replace("sys.argv[1]", "sys.argv[2]")
    program.write_text(source)
    command = [sys.executable, "-I", "-c", code, str(program), str(tmp_path / "cache" / "toy")]
    content = b"".join(packed([wheel]))
    done = subprocess.run(command, input=content, capture_output=True, check=True)
    assert json.loads(done.stdout)["lack"] == "venv"
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_full_disk_is_said_as_such(
    wheel: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Full(io.BytesIO):
        def readline(self, *_: object) -> bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sys, "argv", ["install.py", str(tmp_path / "cache" / "toy")])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Full()))
    install.main()
    answer = json.loads(capsys.readouterr().out)
    assert answer["lack"] == "space"
    assert "No space left" in answer["refusal"]
    assert list((tmp_path / "cache").iterdir()) == []
