"""Logs of benchncnn: read whole, with the malformed lines named."""

from __future__ import annotations

import random
import string
from pathlib import Path

import pytest

from nas.latency.public_log import LogError, parse_log, read_log

HEAD = "loop_count = 8\nnum_threads = 4\npowersave = 0\ngpu_device = -1\ncooling_down = 1\n"
LINE = "            resnet18  min =  181.74  max =  183.07  avg =  182.37\n"


def test_a_log_is_read() -> None:
    log = parse_log("pi@raspberrypi:~ $ ./benchncnn 8 4 0\n" + HEAD + LINE)
    assert log.threads == 4
    assert not log.damaged
    (row,) = log.timings
    assert (row.network, row.min_ms, row.max_ms, row.avg_ms) == ("resnet18", 181.74, 183.07, 182.37)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("alexnet  min =  1.0  max =  2.0", "not 'NETWORK"),
        ("alexnet  min =  1.0  max =  2.0  avg =", "not 'NETWORK"),
        ("alexnet  min =  one  max =  2.0  avg =  1.5", "no number"),
        ("alexnet  min =  nan  max =  2.0  avg =  1.5", "not above 0"),
        ("alexnet  min =  0.00  max =  2.0  avg =  1.5", "not above 0"),
        ("alexnet  min =  -1.0  max =  2.0  avg =  1.5", "not above 0"),
        ("alexnet  min =  3.0  max =  2.0  avg =  2.5", "not between"),
        ("resnet18  min =  1.0  max =  2.0  avg =  1.5", "second line of resnet18"),
    ],
)
def test_a_malformed_line_is_named_and_costs_only_itself(line: str, reason: str) -> None:
    log = parse_log(HEAD + LINE + line + "\n")
    assert [row.network for row in log.timings] == ["resnet18"]
    ((number, text, why),) = log.damaged
    assert number == 7
    assert text == line
    assert reason in why


def test_whatever_stands_in_a_log_only_a_log_error_comes_of_it() -> None:
    rng = random.Random(0)
    letters = string.printable + "min = max = avg = ×"
    for _ in range(300):
        text = HEAD + "".join(rng.choices(letters, k=200)) + "\n" + LINE
        assert any(row.network == "resnet18" for row in parse_log(text).timings)


def test_a_log_of_a_gpu_or_without_times_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="gpu_device = 0"):
        parse_log(HEAD.replace("-1", "0") + LINE)
    with pytest.raises(LogError, match="none in 5 lines"):
        parse_log(HEAD)
    with pytest.raises(LogError, match="No such file"):
        read_log(tmp_path / "none.txt")


@pytest.mark.data
def test_the_logs_of_a_real_board_are_read_whole(shared: Path) -> None:
    for name in ("rpi4-2021-run1.txt", "rpi4-2021-run2.txt"):
        log = read_log(shared / "benchncnn" / name)
        assert log.threads == 4
        assert len(log.timings) == 31
        assert not log.damaged
