"""Which wheels a board gets, without fetching any."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.latency.reach.facts import Facts
from nas.latency.reach.runner import BoardError
from nas.latency.reach.wheels import (
    PINS,
    cache_folder,
    environment_name,
    fetch_wheels,
    platform_tags,
)
from tests.latency.reach.test_diagnosis import PI4


def facts(**changed: str) -> Facts:
    return PI4.model_copy(update=changed)


def test_every_python_has_every_runtime() -> None:
    assert list(PINS) == [(3, minor) for minor in range(9, 15)]
    assert all(pins.keys() == {"numpy", "ncnn", "onnxruntime"} for pins in PINS.values())


def test_an_environment_is_named_by_all_that_it_depends_on() -> None:
    names = {
        environment_name(runtime, facts(python=python, machine=machine))
        for runtime in ("ncnn", "onnxruntime")
        for python in ("3.9.2", "3.11.2", "3.12.0")
        for machine in ("aarch64", "x86_64")
    }
    assert len(names) == 12
    assert environment_name("ncnn", facts(python="3.11.2")) in names


def test_only_platforms_up_to_its_own_library_are_offered() -> None:
    tags = platform_tags(facts(libc_version="2.31"))
    assert tags[0] == "manylinux_2_31_aarch64"
    assert tags[-2:] == ("manylinux_2_17_aarch64", "manylinux2014_aarch64")


def test_wheels_that_are_kept_are_not_fetched(tmp_path: Path) -> None:
    folder = tmp_path / "cp311-aarch64-glibc2.36"
    folder.mkdir()
    kept = [
        folder / f"{name}-{version}-cp311-cp311-manylinux_2_28_aarch64.whl"
        for name, version in PINS[3, 11].items()
        if name != "onnxruntime"
    ]
    for path in kept:
        path.touch()
    assert fetch_wheels("ncnn", PI4, tmp_path) == tuple(kept)


def test_what_cannot_be_fetched_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(BoardError, match=r"^wheel of numpy .* to the internet"):
        fetch_wheels("ncnn", PI4, tmp_path / "cache")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_wheels_are_kept_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert cache_folder() == Path("/cache/pi-detector-nas/wheels")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache/pi-detector-nas/wheels"
