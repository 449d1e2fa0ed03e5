"""What is told to a login shell, and what ssh's words mean, without any host."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from nas.latency.reach.login import MARKER, Login, connection_failure, no_shell, remote_command
from nas.latency.reach.runner import BoardError

PROGRAM = b"import sys\nprint(sys.argv[1:], sys.stdin.read())\n"


@pytest.mark.parametrize("shell", ["sh", "dash", "bash", "zsh", "fish"])
def test_every_login_shell_runs_the_program(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    arguments = ["/home/a b", "it's", "$HOME", '"']
    command = remote_command(len(PROGRAM), arguments, sys.executable, threads=2)
    done = subprocess.run(
        [shell, "-c", command], input=PROGRAM + b"the pack", capture_output=True, check=True
    )
    assert done.stdout.decode() == f"\n{MARKER}\n{arguments} the pack\n"


@pytest.mark.parametrize(
    ("said", "rule", "remedy"),
    [
        ("ssh: Could not resolve hostname pi: Name or service not known", "address", "hostname -I"),
        ("ssh: connect to host pi port 22: Connection refused", "logged in to", "systemctl enable"),
        ("ssh: connect to host pi port 22: Connection timed out", "answers", "ping name"),
        ("ssh: connect to host pi port 22: No route to host", "answers", "ping name"),
        ("Connection timed out during banner exchange", "answers", "ping name"),
        ("me@name: Permission denied (publickey,password).", "keys", "ssh-copy-id me@name"),
        ("Received disconnect: Too many authentication failures", "keys", "ssh-copy-id me@name"),
        ("Host key verification failed.", "known here", "fingerprint that it shows: ssh me@name"),
        ("Timeout, server name not responding.", "holds", "the same command resumes"),
        ("client_loop: send disconnect: Broken pipe", "holds", "the same command resumes"),
        ("Connection to name closed by remote host.", "holds", "the same command resumes"),
        ("kex_exchange_identification: read: Connection reset by peer", "holds", "resumes"),
        (
            "/etc/ssh/ssh_config: line 3: Bad configuration option: x",
            "connects",
            "ssh me@name true",
        ),
        ("", "connects", "ssh me@name true"),
    ],
)
def test_what_ssh_says_becomes_one_message(said: str, rule: str, remedy: str) -> None:
    error = connection_failure("me@name", f"Welcome to name\r\n{said}\r\n" if said else "")
    assert error.where == "me@name"
    assert rule in error.rule
    assert remedy in error.remedy
    assert error.got == (said or "no reason")


CHANGED = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
Offending ED25519 key in /home/me/.ssh/known_hosts:7
{remove}Host key for pi has changed and you have requested strict checking.
Host key verification failed.
"""


@pytest.mark.parametrize(
    ("remove", "expected"),
    [
        ("", "ssh-keygen -R pi"),
        (
            "  remove with:\n  ssh-keygen -f '/home/me/.ssh/known_hosts' -R 'pi'\n",
            "ssh-keygen -f '/home/me/.ssh/known_hosts' -R 'pi'",
        ),
    ],
)
def test_a_changed_host_key_is_not_an_unknown_one(remove: str, expected: str) -> None:
    error = connection_failure("me@pi", CHANGED.format(remove=remove))
    assert "first met" in error.rule
    assert error.got == "WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!"
    assert f"({expected})" in error.remedy


def test_a_login_that_is_for_something_else() -> None:
    assert no_shell("me@pi", "hello\nThis account is for git.\n").got == "This account is for git."
    assert no_shell("me@pi", "").got == "nothing"


def test_without_ssh_there_is_one_message() -> None:
    login = Login("me@pi", ("no-such-ssh",))
    with pytest.raises(BoardError, match="apt install openssh-client"):
        login.ask(__import__("pathlib").Path(__file__))
