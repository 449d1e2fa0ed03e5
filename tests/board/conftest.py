"""Hosts for the tests of this folder (marker `board`)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nas.latency.reach.facts import Facts
from nas.latency.reach.ssh_runner import look
from nas.latency.reach.wheels import cache_folder, fetch_wheels, platform_tags
from tests.board.host import Sshd, emulate, qemu, start_sshd
from tests.conftest import absent

Start = Callable[..., Sshd]

PILLOW = "13.0.0"


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


@pytest.fixture(scope="session")
def packages(emulated: Sshd) -> Path:
    """A folder on the board with numpy, Pillow and both runtimes."""
    facts = look(emulated.login())
    folder = emulated.folder / "home" / "packages"
    wheels = {*fetch_wheels("ncnn", facts), *fetch_wheels("onnxruntime", facts), pillow(facts)}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    return folder


def pillow(facts: Facts) -> Path:
    """Pillow's wheel for the board, kept where the runtimes' are."""
    folder = cache_folder() / "pillow"
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob(f"pillow-{PILLOW}-*.whl")):
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--dest",
            folder,
        ]
        command += [
            "--only-binary=:all:",
            "--python-version",
            "".join(map(str, facts.python_version)),
        ]
        for tag in platform_tags(facts):
            command += ["--platform", tag]
        subprocess.run([*map(str, command), f"pillow=={PILLOW}"], check=True)
    return next(folder.glob(f"pillow-{PILLOW}-*.whl"))
