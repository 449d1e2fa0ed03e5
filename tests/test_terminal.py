"""How every command meets the terminal: any encoding, readers that leave, full disks, no width."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from nas.terminal import Milestones

ROOT = Path(__file__).resolve().parents[1]

COMMANDS = ("profile", "search", "predict", "train", "evaluate", "export", "doctor")

TALKER = """
from dataclasses import dataclass
from nas import NasError
from nas.terminal import command_line

@dataclass(frozen=True)
class Arguments:
    text: str = "word"
    times: int = 1
    fails: bool = False

def run(arguments):
    import sys
    for _ in range(arguments.times):
        print(arguments.text)
        print("log", file=sys.stderr)
    open({mark!r}, "w").close()
    if arguments.fails:
        raise NasError("here", "it works", "this", "Do that")

if __name__ == "__main__":
    command_line(Arguments, run)
"""


def _talker(folder: Path, *flags: str) -> list[str]:
    script = folder / "talker.py"
    script.write_text(TALKER.format(mark=str(folder / "done")))
    return [sys.executable, "-W", "error", str(script), *flags]


def _environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def _shell(line: str, folder: Path, *flags: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs `line`, in which $T is the talker; its exit code is what the line prints last."""
    command = " ".join(f"'{part}'" for part in _talker(folder, *flags))
    return subprocess.run(
        ["bash", "-c", line.replace("$T", command)],
        env=_environment(**more),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252", "utf-8"])
def test_a_letter_that_stdout_does_not_know_is_its_code(tmp_path: Path, encoding: str) -> None:
    found = subprocess.run(
        _talker(tmp_path, "--text", "数据 ü"),
        env=_environment(PYTHONIOENCODING=encoding),
        capture_output=True,
        check=False,
    )
    assert (found.returncode, found.stderr) == (0, b"log\n")
    shown = "数据 ü\n" if encoding == "utf-8" else "\\u6570\\u636e ü\n"
    assert found.stdout == shown.encode(encoding, "backslashreplace")


@pytest.mark.parametrize("redirection", ["", "2>&1", "2>/dev/null"])
@pytest.mark.parametrize("times", ["1", "20000"])
def test_a_reader_who_leaves_stops_nothing(tmp_path: Path, redirection: str, times: str) -> None:
    """`| head -1`: with little output the pipe breaks at exit, with much of it in the middle."""
    line = f"($T {redirection}; echo $? >{tmp_path}/code) | head -1"
    found = _shell(line, tmp_path, "--times", times)
    assert (tmp_path / "code").read_text() == "0\n"
    assert (tmp_path / "done").exists()
    assert "Traceback" not in found.stderr
    assert "BrokenPipe" not in found.stderr


def test_a_reader_who_was_never_there(tmp_path: Path) -> None:
    found = _shell(f"(sleep 1; $T; echo $? >{tmp_path}/code) | true", tmp_path)
    assert (tmp_path / "code").read_text() == "0\n"
    assert found.stderr == "log\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_behind_stdout_is_one_message(tmp_path: Path) -> None:
    found = _shell("$T >/dev/full; echo $?", tmp_path)
    assert found.stdout == "2\n"
    assert found.stderr.count("error: stdout: the results can be written") == 1
    assert "No space left" in found.stderr
    assert "Traceback" not in found.stderr
    assert _shell("$T 2>/dev/full; echo $?", tmp_path).stdout == "word\n0\n"


@pytest.mark.parametrize(("closed", "out"), [("2>&-", "word\n0\n"), (">&-", "0\n")])
def test_a_closed_stream_is_no_mistake(tmp_path: Path, closed: str, out: str) -> None:
    found = _shell(f"$T {closed}; echo $?", tmp_path)
    assert found.stdout == out
    assert "Traceback" not in found.stderr
    failing = _shell(f"$T {closed} <&-; echo $?", tmp_path, "--fails")
    assert failing.stdout == out.replace("0", "2")


def test_a_mistake_is_told_after_what_was_printed(tmp_path: Path) -> None:
    found = _shell("$T 2>&1; echo $?", tmp_path, "--fails")
    assert found.stdout.splitlines()[-2:] == ["error: here: it works; got this. Do that.", "2"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_goes_through_this_door(command: str) -> None:
    text = (ROOT / "nas" / f"{command}.py").read_text(encoding="utf-8")
    assert text.rstrip().endswith("command_line(Arguments, run)")
    assert "Console()" not in text, "tables go through show_table"


TABLE = """
from rich.table import Table
from nas.terminal import open_streams, show_table
open_streams()
table = Table("model", "ms")
table.columns[0].no_wrap = True
table.add_row("a-name-that-somebody-wants-to-copy-in-one-piece", "1.5")
show_table(table)
"""


@pytest.mark.parametrize("columns", ["20", "80"])
def test_no_width_cuts_a_name(columns: str) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", TABLE],
        stdout=theirs,
        env=_environment(COLUMNS=columns, NO_COLOR="1", TERM="xterm"),
    ) as running:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 4096):
                shown += part
        except OSError:  # how a pty ends
            pass
        assert running.wait() == 0
    os.close(ours)
    text = shown.decode()
    assert "a-name-that-somebody-wants-to-copy-in-one-piece" in text
    assert "1.5" in text
    assert "\x1b[3" not in text, "NO_COLOR"


def test_a_log_gets_a_line_at_each_tenth_with_the_time_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = [100.0]
    lines = Milestones("teaching", 40, done=20, clock=lambda: now[0])
    for done in range(21, 41):
        now[0] += 6
        lines.reach(done, "loss 1.5")
    told = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in told] == [
        f"teaching: {done}/40" for done in (24, 28, 32, 36, 40)
    ]
    assert told[0] == "teaching: 24/40, about 1 min 36 s left, loss 1.5"
    assert told[-1] == "teaching: 40/40, about 0 s left, loss 1.5"


def test_the_time_left_ends_at_the_limit(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    lines = Milestones("timed", 1000, limit_s=100, clock=lambda: now[0])
    now[0] = 40.0
    lines.reach(120)
    assert capsys.readouterr().err == "timed: 120/1000, about 1 min 00 s left\n"
