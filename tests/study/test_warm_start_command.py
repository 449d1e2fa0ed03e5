"""`python -m nas.search --warm-start`, as a person runs it: taken over once, resumed, mistaken."""

from __future__ import annotations

import csv
import shutil
import subprocess
from pathlib import Path

import pytest

from nas.study.on_disk.run import read_settings
from tests.study.checkout import make_checkout, search


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with a finished run, runs/a."""
    checkout = make_checkout(tmp_path_factory.mktemp("warm"))
    code, err = _finish(search(checkout, *_flags("12"), "--run", "a"))
    assert code == 0, err
    return checkout


def _flags(budget: str) -> tuple[str, ...]:
    return ("--budget", budget, "--proxy", "fast.yaml", "--no-baselines")


def _finish(running: subprocess.Popen[str]) -> tuple[int, str]:
    _, err = running.communicate(timeout=400)
    return running.returncode, err


def _trials(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def test_a_run_that_goes_on_needs_the_earlier_one_no_more(checkout: Path) -> None:
    flags = ("--warm-start", "runs/a", "--seed", "5")
    code, err = _finish(search(checkout, *_flags("15"), *flags, "--run", "whole"))
    assert code == 0, err
    assert "warm start from runs/a (tiny, pictures, fake): 12 graded architectures are" in err
    assert "of its front are asked first" in err
    assert len(_trials(checkout / "runs" / "whole")) == 15
    code, err = _finish(search(checkout, *_flags("4"), *flags))
    assert code == 0, err
    folder = checkout / "runs" / "tiny-pictures-fake-fast-after-a-seed5"
    kept = read_settings(folder).warm_start
    assert list(kept.values()) == [str(checkout / "runs" / "a")]
    # The earlier run is gone, and the run goes on as it would have.
    (checkout / "runs" / "a").rename(checkout / "runs" / "moved")
    try:
        code, err = _finish(search(checkout, *_flags("15"), *flags))
        assert code == 0, err
        assert "goes on, 4 of 15 graded" in err
        assert _trials(folder) == _trials(checkout / "runs" / "whole")
        # From where it lies now it is the same run.
        moved = ("--warm-start", "moved", "--seed", "5", "--run", folder.name)
        code, err = _finish(search(checkout, *_flags("15"), *moved))
        assert code == 0, err
        assert read_settings(folder).warm_start == kept
        # Without the flag it is another one.
        code, err = _finish(search(checkout, *_flags("15"), "--seed", "5", "--run", folder.name))
        assert code == 2
        assert f"warm_start.{next(iter(kept))}: " in err
        assert "there, nothing now" in err
    finally:
        (checkout / "runs" / "moved").rename(checkout / "runs" / "a")


def test_another_sampler_takes_over_the_front_and_says_so(checkout: Path) -> None:
    shutil.copytree(checkout / "runs" / "a", checkout / "runs" / "copy")
    flags = ("--sampler", "random", "--run", "random")
    given = ("--warm-start", "a", "--warm-start", "copy")
    code, err = _finish(search(checkout, *_flags("6"), *flags, *given))
    assert code == 0, err
    assert "--sampler random takes over nothing but its front: " in err
    assert len(read_settings(checkout / "runs" / "random").warm_start) == 1, "one run, named twice"
    assert len(_trials(checkout / "runs" / "random")) == 6


def test_the_limit_of_a_second_board_holds_for_what_is_taken_over_too(checkout: Path) -> None:
    flags = ("--device", "rpi4", "--limit", "rpi4_ms <= 9", "--warm-start", "a", "--run", "two")
    code, err = _finish(search(checkout, *_flags("6"), *flags))
    assert code == 0, err
    times = [float(row["on_rpi4_latency_ms"]) for row in _trials(checkout / "runs" / "two")]
    assert len(times) == 6
    assert max(times) <= 9


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--warm-start", "runs/nowhere"], "of an earlier run; got no such folder"),
        (["--warm-start", ""], "a run has a name, or is a folder; got ''"),
        (["--warm-start", "runs/a", "--proxy", "macs"], "got one by fake for one by macs"),
    ],
)
def test_a_mistake_is_one_message(checkout: Path, flags: list[str], message: str) -> None:
    given = ["--budget", "4", "--proxy", "fast.yaml", "--run", "mistake", *flags]
    if "--proxy" in flags:
        given = given[:2] + given[4:]
    code, err = _finish(search(checkout, *given))
    assert code == 2
    assert message in err
    assert err.count("error:") == 1
    assert "Traceback" not in err
    assert not (checkout / "runs" / "mistake").exists()
