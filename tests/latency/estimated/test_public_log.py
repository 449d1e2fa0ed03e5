"""Logs of benchncnn: read whole, with the malformed lines named."""

from __future__ import annotations

import random
import string
from pathlib import Path

import pytest

from nas.latency.estimated.public_log import LogError, parse_log, read_log
from nas.latency.estimated.tables import as_known_here

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
    with pytest.raises(LogError, match="no such file"):
        read_log(tmp_path / "none.txt")


SLOW = "            resnet18  min =  327.13  max =  329.53  avg =  328.27\n"
OTHER = "             alexnet  min =  162.79  max =  166.05  avg =  164.42\n"
GPU = HEAD.replace("-1", "0")
LITTLE = HEAD.replace("powersave = 0", "powersave = 1")
ONE = HEAD.replace("num_threads = 4", "num_threads = 1")


def times(text: str, threads: int | None = None) -> dict[str, float]:
    return {row.network: row.min_ms for row in parse_log(text, threads=threads).timings}


@pytest.mark.parametrize(
    "text",
    [
        GPU + SLOW + HEAD + LINE,
        HEAD + LINE + GPU + SLOW,
        "$ ./benchncnn 8 4 0 0 1\n" + SLOW + "$ ./benchncnn 8 4 0 -1 1\n" + LINE,
        GPU + SLOW + HEAD + LINE + GPU + SLOW,
        # The header's last lines were lost.
        GPU + SLOW + "num_threads = 4\n" + LINE,
    ],
)
def test_a_run_of_the_gpu_beside_one_of_the_cpu_is_left_out_by_name(text: str) -> None:
    log = parse_log(text)
    assert {row.network: row.min_ms for row in log.timings} == {"resnet18": 181.74}
    assert log.threads == 4
    assert not log.damaged
    assert any("gpu_device = 0" in note and "of a GPU" in note for note in log.notes)


def test_of_runs_on_several_thread_counts_the_one_that_is_asked_for_counts() -> None:
    text = ONE + SLOW + HEAD + LINE
    assert times(text, threads=4) == {"resnet18": 181.74}
    assert times(text, threads=1) == {"resnet18": 327.13}
    with pytest.raises(LogError, match=r"runs of 1 and 4 threads\. Say --threads 1 or --threads 4"):
        parse_log(text)
    with pytest.raises(
        LogError, match=r"one of 1 and 4 threads; got --threads 2\. Say --threads 1"
    ):
        parse_log(text, threads=2)
    with pytest.raises(LogError, match=r"one of 4 threads; got --threads 1\. Say --threads 4"):
        parse_log(HEAD + LINE, threads=1)


def test_runs_of_one_key_are_taken_together_where_they_are_alike() -> None:
    again = LINE.replace("181.74", "180.01") + OTHER
    log = parse_log(HEAD + LINE + HEAD + again)
    assert {row.network: row.min_ms for row in log.timings} == {
        "resnet18": 180.01,
        "alexnet": 162.79,
    }
    assert any("2 runs alike are taken together" in note for note in log.notes)
    for other in (HEAD + SLOW, HEAD.replace("powersave = 0", "powersave = 2") + LINE, HEAD + OTHER):
        with pytest.raises(LogError, match=r"line 1 .* and the run from line 7 .*, which differ"):
            parse_log(HEAD + LINE + other)


def test_little_cores_are_doubted_or_left_out() -> None:
    (doubt,) = parse_log(LITTLE + SLOW).doubts
    assert "little cores" in doubt
    log = parse_log(LITTLE + SLOW + HEAD + LINE)
    assert not log.doubts
    assert [row.min_ms for row in log.timings] == [181.74]
    assert any("little cores" in note for note in log.notes)


@pytest.mark.parametrize(
    ("before", "behind"),
    [
        ("05-01 12:00:00.123  1234  1234 D ncnn    : ", ""),
        ("D/ncnn(1234):", ""),
        ("Nov 26 14:32:01 ", ""),
        ("Nov 26 14:32:01 raspberrypi benchncnn[812]: ", ""),
        ("2026-11-26T14:32:01.123456+0000 ", ""),
        ("[   12.345678] ", ""),
        ("\x1b[32m", "\x1b[0m"),
        ("", "\r"),
        ("> ", " ms"),
        ("|", " |"),
        ('{"log":"', '\\n","stream":"stdout","time":"2026-11-26T14:32:01Z"}'),
        ("\u001b[0;36m12:00:00\u001b[0m ", "   # hot"),
    ],
)
def test_what_stands_before_and_behind_a_line_is_passed_over(before: str, behind: str) -> None:
    plain = "$ ./benchncnn 8 4 0 -1 1\n" + HEAD + LINE + OTHER
    text = "\n".join(before + line + behind for line in plain.splitlines())
    found, expected = parse_log(text), parse_log(plain)
    assert not found.damaged
    assert found.timings == expected.timings
    assert found.settings == expected.settings


@pytest.mark.parametrize(
    ("number", "ms"),
    [
        ("59,89", 59.89),
        ("1.561,97", 1561.97),
        ("1,561.97", 1561.97),
        ("0,5", 0.5),
        ("59.891", 59.891),
    ],
)
def test_decimal_commas(number: str, ms: float) -> None:
    log = parse_log(HEAD + f"alexnet  min = {number}  max = {number}  avg = {number}\n")
    assert [row.min_ms for row in log.timings] == [ms]
    assert bool(log.notes) == (number in ("59,89", "1.561,97", "0,5"))


@pytest.mark.parametrize("number", ["1,562", "1.562.970", "1.5,6,7"])
def test_a_number_that_may_be_two_is_told_and_not_guessed(number: str) -> None:
    with pytest.raises(LogError, match=r"none in 6 lines; 1 are like it, .* line 6, a time that"):
        parse_log(HEAD + f"alexnet  min = {number}  max = 9999  avg = 9999\n")


def test_old_names_and_unknown_ones() -> None:
    lines = [
        LINE.replace("resnet18", name) for name in ("mobilenet-ssd", "squeezenet-int8", "X-Net")
    ]
    log = as_known_here(parse_log(HEAD + "".join(lines)))
    assert [row.network for row in log.timings] == ["mobilenet_ssd", "squeezenet_int8", "X-Net"]
    assert log.notes == ("networks that are not known here are left out: X-Net (line 8)",)
    assert as_known_here(log).timings == log.timings
    both = as_known_here(parse_log(HEAD + lines[0] + lines[0].replace("-", "_")))
    assert len(both.timings) == 1
    assert "a second line of mobilenet_ssd" in both.damaged[0][2]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gbk"]
)
def test_a_log_may_be_saved_by_any_system(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(("树莓派\r\n" + HEAD + LINE).encode(encoding))
    assert read_log(path).timings == parse_log("\n" + HEAD + LINE).timings


def test_a_log_that_is_a_folder_or_holds_anything_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="Is a directory"):
        read_log(tmp_path)
    path = tmp_path / "photo.jpg"
    path.write_bytes(random.Random(0).randbytes(5000))
    with pytest.raises(LogError, match="none in"):
        read_log(path)


@pytest.mark.data
def test_the_logs_of_a_real_board_are_read_whole(shared: Path) -> None:
    for name in ("rpi4-2021-run1.txt", "rpi4-2021-run2.txt"):
        log = read_log(shared / "benchncnn" / name)
        assert log.threads == 4
        assert len(log.timings) == 31
        assert not log.damaged
