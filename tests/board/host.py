"""Hosts to log in to on this machine: a real sshd on loopback, as it is or as an emulated Pi 4.

The emulated board is a 64-bit ARM Debian whose Python runs under qemu, with a device tree that
says Raspberry Pi 4. Its shell is this machine's: only `python3`, first in PATH, is emulated.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import platform
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nas.latency.reach.login import Login

ROOT_PACKAGES = ("python3", "libstdc++6", "libgomp1")
SYSTEM_PATH = ":/usr/local/bin:/usr/bin:/bin"
MODEL = "Raspberry Pi 4 Model B Rev 1.4"


@dataclass(frozen=True)
class Sshd:
    """An sshd of this user's, with keys, config and PATH of its own; all in one folder.

    The folder's `bin` comes first in the PATH of its sessions, their home is its `home`.
    """

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def cache(self) -> Path:
        """What is put on the board lies here."""
        return self.folder / "home" / ".cache" / "pi-detector-nas"

    @property
    def config(self) -> Path:
        return self.folder / "config"

    def login(self, *options: str) -> Login:
        """A login with the client's config of this host, whose name there is `board`."""
        return Login("board", ("ssh", "-F", str(self.config), *options))

    def client(self) -> Path:
        """A folder for the PATH of commands, whose `ssh` reads this host's config."""
        folder = self.folder / "client"
        folder.mkdir(exist_ok=True)
        program = folder / "ssh"
        program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {self.config} "$@"\n')
        program.chmod(0o755)
        return folder

    def at_work(self) -> list[int]:
        """The processes of our programs there: those that know this folder's home."""
        home = f"HOME={self.folder / 'home'}\0".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                is_ours = home in path.read_bytes()
            except OSError:  # it has gone, or is another user's
                continue
            if is_ours:
                found.append(int(path.parent.name))
        return found

    def put(self, name: str, script: str) -> None:
        """A program on the board, before all others of its name."""
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def sessions(self) -> list[int]:
        """The processes of sshd's that serve connections: two for each, but one as root."""
        return [one for one in descendants(self.process.pid) if name(one).startswith("sshd")]

    def signal_sessions(self, number: signal.Signals) -> None:
        """Sends a signal to each, unless it ended while we listed them: one's end is its pair's."""
        for process in self.sessions():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    def cut(self) -> None:
        """Cuts every connection, as a board that is switched off."""
        self.signal_sessions(signal.SIGKILL)

    def freeze(self) -> None:
        """Keeps every connection open and silent, as a cable that is pulled."""
        self.signal_sessions(signal.SIGSTOP)

    def stop(self) -> None:
        """Ends it and its connections, frozen ones too."""
        self.cut()
        self.process.terminate()
        self.process.wait()


def start_sshd(folder: Path, force_command: str = "", path: str = SYSTEM_PATH) -> Sshd:
    """An sshd that listens; force_command: what runs instead of the command that is asked for."""
    for name in ("bin", "home"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name in ("host_key", "key"):
        make_key(folder / name)
    port = free_port()
    (folder / "authorized_keys").write_text((folder / "key.pub").read_text())
    know_host(folder, port, folder / "host_key.pub")
    (folder / "sshd_config").write_text(
        f"""\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder / "host_key"}
PidFile none
AuthorizedKeysFile {folder / "authorized_keys"}
PubkeyAuthentication yes
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
StrictModes no
UsePAM no
MaxStartups 100
SetEnv PATH={folder / "bin"}{path} HOME={folder / "home"}
{f"ForceCommand {force_command}" if force_command else ""}
"""
    )
    (folder / "config").write_text(
        f"""\
Host board
  HostName 127.0.0.1
  Port {port}
  User {getpass.getuser()}
  IdentityFile {folder / "key"}
  IdentitiesOnly yes
  UserKnownHostsFile {folder / "known_hosts"}
  GlobalKnownHostsFile none
"""
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None
    with (folder / "sshd.log").open("wb") as log:
        command = [program, "-D", "-e", "-f", str(folder / "sshd_config")]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log)
    wait_for_port(port, process, folder / "sshd.log")
    return Sshd(folder, port, process)


def until(condition: Callable[[], bool], seconds: float = 30) -> bool:
    """Whether it comes true in so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not condition():
        time.sleep(0.05)
    return condition()


def descendants(process: int) -> list[int]:
    """The children of a process, and theirs."""
    try:
        words = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:  # it has gone
        return []
    return [one for word in words for one in (int(word), *descendants(int(word)))]


def name(process: int) -> str:
    """A process's name; empty once it has gone."""
    try:
        return Path(f"/proc/{process}/comm").read_text()
    except OSError:  # it has gone
        return ""


def make_key(path: Path) -> None:
    """A key pair without a passphrase."""
    if not path.exists():
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
        subprocess.run(command, check=True)


def know_host(folder: Path, port: int, public_key: Path) -> None:
    """Writes the one host key that the client knows."""
    kind, key = public_key.read_text().split()[:2]
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {kind} {key}\n")


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Returns once somebody listens."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"sshd does not listen: {log.read_text()}")


# ---------------------------------------------------------------- the emulated board


def cache_folder() -> Path:
    """Where the ARM system is kept between sessions."""
    given = os.environ.get("NAS_BOARD_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "pi-detector-nas" / "tests"


def arm_root() -> Path:
    """The folder of an ARM Debian with Python, made from its packages where it isn't kept yet."""
    root = cache_folder() / f"arm64-{platform.freedesktop_os_release()['VERSION_CODENAME']}"
    if not root.exists():
        work = root.with_name(f"{root.name}.{os.getpid()}")
        try:
            for package in downloaded_packages(work):
                subprocess.run(["dpkg-deb", "-x", str(package), str(work / "root")], check=True)
            device_tree = work / "root/proc/device-tree"
            device_tree.mkdir(parents=True)
            (device_tree / "model").write_text(f"{MODEL}\0")
            (device_tree / "compatible").write_text("raspberrypi,4-model-b\0brcm,bcm2711\0")
            try:
                (work / "root").rename(root)
            except OSError:
                # Another process of the tests may have been quicker.
                assert root.exists()
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return root


def downloaded_packages(work: Path) -> list[Path]:
    """ROOT_PACKAGES and all that they depend on, for ARM, from this machine's own sources.

    By an apt with a state of its own: what is installed here is not touched.
    """
    for name in ("lists/partial", "cache/archives/partial"):
        (work / name).mkdir(parents=True)
    (work / "status").touch()
    (work / "apt.conf").write_text(
        f"""\
APT::Architecture "arm64";
APT::Architectures {{ "arm64"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "{getpass.getuser()}";
pkgCacheGen::Essential "none";
Dir::State "{work}";
Dir::State::status "{work}/status";
Dir::Cache "{work}/cache";
"""
    )
    environment = {**os.environ, "APT_CONFIG": str(work / "apt.conf")}
    for words in (["update"], ["install", "--yes", "--download-only", *ROOT_PACKAGES]):
        done = subprocess.run(
            ["apt-get", "-q", *words], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    return sorted((work / "cache/archives").glob("*.deb"))


def emulate(sshd: Sshd) -> None:
    """Makes a host's python3 that of an ARM board."""
    root = arm_root()
    python = next(path for path in (root / "usr/bin").glob("python3.*") if path.name[8:].isdigit())
    sshd.put("python3", f'exec {qemu()} -0 "$0" -cpu cortex-a72 -L {root} {python} "$@"')


def qemu() -> str | None:
    """The path of qemu's user emulation of 64-bit ARM."""
    return shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
