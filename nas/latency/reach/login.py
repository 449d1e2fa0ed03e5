"""A board's shell, by the system's own OpenSSH: the user's keys, agents, jump hosts and config.

Three programs of ours run there: health.py (what the board is), install.py (its runtimes) and
board.py (the timing). Each is sent on stdin, before what it is to read: nothing of ours has to be
on the board but the runtimes.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from nas.latency.reach.runner import RESUMES, BoardError, ended

OPTIONS: Final[tuple[str, ...]] = (
    # Nobody is there to be asked: what would ask fails instead, with its reason.
    *("-o", "BatchMode=yes"),
    # A host that doesn't answer, or has gone, is noticed within some 15 s.
    *("-o", "ConnectTimeout=10"),
    *("-o", "ServerAliveInterval=5"),
    *("-o", "ServerAliveCountMax=3"),
    # A connection of our own, without what a config adds for people. A shared one would be
    # watched by its own rules, and go on when we stop.
    *("-o", "ControlPath=none"),
    *("-o", "ControlMaster=no"),
    *("-o", "ClearAllForwardings=yes"),
    *("-o", "RemoteCommand=none"),
    "-x",
    "-T",
)
"""Nothing here touches the checking of host keys: that is the user's."""

MARKER: Final = "pi-detector-nas starts here"
"""Printed before our program starts: what a login script prints comes before it."""

ANSWER_S: Final = 300.0
"""Seconds within which a board has looked at itself."""

CONNECTION: Final = 255
"""ssh's exit code where the connection failed; others are those of what ran there."""

NOT_FOUND: Final = (126, 127)
"""The shell's exit codes where there is no such program."""


@dataclass(frozen=True, slots=True)
class Login:
    """A host as ssh takes it (user@name, or a Host of the user's config).

    program  the ssh program, with options that come before ours

    BoardError where it can't be a host.
    """

    host: str
    program: tuple[str, ...] = ("ssh",)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[^\s-]\S*", self.host):
            raise BoardError(
                "--host",
                "a host is user@name, or a Host of your ssh config",
                repr(self.host),
                "For example: --host pi@raspberrypi.local",
            )

    def ask(
        self,
        source: Path,
        payload: Iterable[bytes] = (),
        arguments: Sequence[str] = (),
        seconds: float | None = ANSWER_S,
    ) -> dict[str, Any]:
        """The JSON document that our program prints there; BoardError where it comes to none."""
        with self.running(source, payload, arguments) as session:
            try:
                printed, _ = session.process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                raise BoardError(
                    self.host,
                    f"the board answers within {seconds:.0f} s",
                    "nothing",
                    f"Look what keeps it busy: ssh {self.host} top",
                ) from None
            if session.process.returncode:
                raise session.failure()
            try:
                document: dict[str, Any] = json.loads(printed.partition(f"{MARKER}\n")[2])
            except ValueError:
                raise no_shell(self.host, printed + session.said()) from None
        return document

    @contextmanager
    def running(
        self,
        source: Path,
        payload: Iterable[bytes],
        arguments: Sequence[str] = (),
        python: str = "python3",
        threads: int = 1,
    ) -> Iterator[SshSession]:
        """Our program at work there, until the end of the `with`: then the connection is cut."""
        with tempfile.TemporaryFile() as sent, tempfile.TemporaryFile("w+") as log:
            content = source.read_bytes()
            sent.write(content)
            sent.writelines(payload)
            sent.seek(0)
            remote = remote_command(len(content), arguments, python, threads)
            process = self._start(remote, sent, log)
            with process:
                try:
                    yield SshSession(self.host, process, log)
                finally:
                    process.kill()

    def _start(self, remote: str, sent: IO[bytes], log: IO[str]) -> subprocess.Popen[str]:
        try:
            return subprocess.Popen(
                [*self.program, *OPTIONS, "--", self.host, remote],
                stdin=sent,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                errors="replace",
                # What ssh says is read below: not in another language.
                env={**os.environ, "LC_ALL": "C"},
            )
        except FileNotFoundError:
            raise BoardError(
                self.host,
                "OpenSSH's client is installed here",
                f"no {self.program[0]} on the PATH",
                "sudo apt install openssh-client",
            ) from None


@dataclass(frozen=True, slots=True)
class SshSession:
    """A program of ours at work on a host; log: what is said on stderr, there and by ssh."""

    host: str
    process: subprocess.Popen[str]
    log: IO[str]

    def lines(self) -> Iterator[str]:
        """The lines that our program prints; BoardError where it never starts."""
        assert self.process.stdout is not None
        noise = ""
        for text in self.process.stdout:
            if text == f"{MARKER}\n":
                break
            noise += text
        else:
            self.process.wait()
            raise self.failure() if self.process.returncode else no_shell(self.host, noise)
        yield from self.process.stdout

    def said(self) -> str:
        """All that stderr holds so far."""
        self.log.seek(0)
        return self.log.read()

    def failure(self) -> BoardError:
        """Why it ended, once it has."""
        code, said = self.process.wait(), self.said()
        if code == CONNECTION:
            return connection_failure(self.host, said)
        if code in NOT_FOUND:
            return BoardError(
                self.host,
                "python3 is on the PATH of the board's shell",
                _last_line(said) or f"exit code {code}",
                f"ssh -t {self.host} sudo apt install python3",
            )
        return ended(self.host, code, said)


def remote_command(length: int, arguments: Sequence[str], python: str, threads: int) -> str:
    """The command for a login shell: runs the Python program of `length` bytes at stdin's begin.

    It means the same to sh, bash, dash, zsh, fish and tcsh. -I leaves out what the user's
    environment and home add to a Python.
    """
    words = ["env", f"OMP_NUM_THREADS={threads}", python, "-I", "-c"]
    code = f'"import sys; exec(sys.stdin.buffer.read({length}))"'
    program = " ".join(["exec", shlex.join(words), code, shlex.join(arguments)])
    return f"echo; echo {shlex.quote(MARKER)}; {program}"


def connection_failure(host: str, said: str) -> BoardError:
    """What ssh's words mean, and what helps."""
    name = host.rpartition("@")[2]
    for pattern, rule, remedy in CONNECTION_FAILURES:
        for line in said.splitlines():
            if not re.search(pattern, line):
                continue
            command = re.search(r"ssh-keygen .*-R .*", said)
            forget = command[0].strip() if command else f"ssh-keygen -R {name}"
            told = remedy.format(host=host, name=name, forget=forget)
            return BoardError(host, rule, line.strip(" @"), told)
    got = _last_line(said) or "no reason"
    return BoardError(host, "ssh connects to the board", got, f"Try it by hand: ssh {host} true")


CONNECTION_FAILURES: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "Could not resolve hostname",
        "the board's name leads to an address",
        "Check the name, or give the address as the board's own `hostname -I` says it",
    ),
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "the board shows the host key that it was first met with",
        "Another machine has this address, or the board was set up anew. If it was, forget the "
        "old key ({forget}) and meet it again: ssh {host}",
    ),
    (
        "Host key verification failed|host key is known for",
        "the board's host key is known here",
        "Meet it once, and compare the fingerprint that it shows: ssh {host}",
    ),
    (
        "Permission denied|Too many authentication failures",
        "the board takes one of your keys without asking for a password",
        "Bring your key there: ssh-copy-id {host} (a new one: ssh-keygen; one with a passphrase: "
        "ssh-add)",
    ),
    (
        "Connection refused",
        "the board lets itself be logged in to",
        "Switch ssh on there (sudo systemctl enable --now ssh), and check the port",
    ),
    (
        "[Tt]imed out|No route to host|Network is unreachable",
        "the board answers",
        "Is it on, and in this network? Try: ping {name}",
    ),
    (
        "not responding|closed|reset|Broken pipe|kex_exchange_identification|disconnect",
        "the connection holds until the board is done",
        RESUMES,
    ),
)
"""What ssh says (the first that is found counts), the rule that is broken, the remedy."""


def no_shell(host: str, noise: str) -> BoardError:
    """For a login that runs something else than our command."""
    return BoardError(
        host,
        "its login shell runs the command that it is given",
        _last_line(noise) or "nothing",
        f"Try it by hand: ssh {host} echo it works",
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
