"""What is made of a board's lines, however they end."""

from __future__ import annotations

import json

import pytest

from nas.latency.measured.campaign import block_job
from nas.latency.on_board import board
from nas.latency.reach.runner import BoardError, Line, checked_lines, ended
from tests.latency.on_board.test_board import BLOCKS, pack

HELLO: Line = {"line": "hello", "protocol": board.PROTOCOL, "environment": {}, "state": {}}
TIMING: Line = {"line": "timing", "job": "a"}
BYE: Line = {"line": "bye"}


def read(*lines: Line | str) -> list[Line]:
    texts = [line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines]

    def failure() -> BoardError:
        return BoardError("board", "the board answers until it is done", "it ended")

    return list(checked_lines(texts, failure, pack((block_job(BLOCKS[0]),)), "board"))


def test_a_whole_answer() -> None:
    assert read(HELLO, TIMING, BYE) == [HELLO, TIMING, BYE]
    # What comes after the end is nobody's.
    assert read(HELLO, BYE, "noise\n") == [HELLO, BYE]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((), "it ended"),
        ((HELLO, TIMING), "it ended"),
        ((HELLO, json.dumps(TIMING)[:10]), "it ended"),
        ((HELLO, "Segmentation fault\n"), "speaks in JSON lines; got 'Segmentation fault"),
        (({**HELLO, "protocol": 99},), "protocol 99"),
        (({"line": "refusal", "reason": "ValueError: it is odd"},), "it is odd.$"),
        (({"line": "refusal", "reason": "ImportError: libgomp"},), "libgomp. .*nas.doctor"),
    ],
)
def test_what_is_not_whole_is_an_error(lines: tuple[Line | str, ...], message: str) -> None:
    with pytest.raises(BoardError, match=message):
        read(*lines)


@pytest.mark.parametrize(
    ("code", "said", "message"),
    [
        (
            1,
            "Traceback:\nValueError: x\n",
            "exit code 1: ValueError: x. .*the same command resumes",
        ),
        (-9, "", r"exit code -9 \(SIGKILL\). Was it short of memory"),
        (137, "", r"exit code 137 \(SIGKILL\). Was it short of memory"),
        (132, "", r"exit code 132 \(SIGILL\). .*nas.doctor"),
        (1, "ModuleNotFoundError: No module named 'numpy'", "nas.doctor"),
    ],
)
def test_an_end_says_how(code: int, said: str, message: str) -> None:
    with pytest.raises(BoardError, match=message):
        raise ended("board", code, said)
