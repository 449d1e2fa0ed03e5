"""Hosts for the tests of this folder (marker `board`)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.board.host import Sshd, emulate, qemu, start_sshd
from tests.conftest import absent

Start = Callable[..., Sshd]


@pytest.fixture(scope="session")
def has_sshd() -> None:
    """Skips (or fails, where NAS_REQUIRE_BOARD is set) without OpenSSH's server and client."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    for name in ("sshd", "ssh", "ssh-keygen"):
        if shutil.which(name, path=path) is None:
            absent(f"no {name} (packages openssh-server, openssh-client)", "NAS_REQUIRE_BOARD")


@pytest.fixture
def start(has_sshd: None, tmp_path: Path) -> Iterator[Start]:
    """Starts an sshd in a folder of the test's."""
    started: list[Sshd] = []

    def one(**options: str) -> Sshd:
        started.append(start_sshd(tmp_path / f"sshd{len(started)}", **options))
        return started[-1]

    yield one
    for sshd in started:
        sshd.stop()


@pytest.fixture
def sshd(start: Start) -> Sshd:
    """A host of this machine's kind."""
    return start()


@pytest.fixture(scope="session")
def emulated(has_sshd: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A host whose Python is that of a Raspberry Pi 4, emulated."""
    for found, what in (
        (qemu(), "no qemu-aarch64-static (package qemu-user-static)"),
        (shutil.which("apt-get"), "no apt-get to fetch an ARM Debian with"),
    ):
        if found is None:
            absent(what, "NAS_REQUIRE_BOARD")
    sshd = start_sshd(tmp_path_factory.mktemp("emulated"))
    try:
        emulate(sshd)
        yield sshd
    finally:
        sshd.stop()
