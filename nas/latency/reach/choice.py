"""Which runner times for a device: here, over ssh, or the fake board."""

from __future__ import annotations

from collections.abc import Callable

from nas.latency.device import Device, TableKey
from nas.latency.reach.login import Login
from nas.latency.reach.runner import BoardError, FakeRunner, LocalRunner, Runner
from nas.latency.reach.ssh_runner import SshRunner


def runner_for(
    device: Device, host: str | None = None, say: Callable[[str], None] = lambda text: None
) -> Runner:
    """What times packs for a device from here; BoardError where nothing can. Connects to nothing.

    host  where to log in to it; None: here where this machine is the board, else where the
          device's file says
    say   is told which host that is, and what takes time there before the first line comes
    """
    if host is None and device.kind == "fake":
        return FakeRunner()
    if host is not None and not device.has_host():
        raise BoardError(
            "--host",
            f"device {device.name} is a board that one can log in to",
            f"{host} for {device.title.lower()}",
            "Leave --host out, or name the board by --device",
        )
    if host is None:
        if device.is_here():
            return LocalRunner()
        host = default_host(device)
        say(f"device {device.name}: this machine isn't it; over ssh to {host} (its default_host)")
    return SshRunner(device, Login(host), say)


def check_reached(runner: Runner, key: TableKey) -> None:
    """BoardError where a board over ssh can't be reached, or can't have the runtime; else it has
    it afterwards. Said before long work that ends there."""
    if isinstance(runner, SshRunner):
        runner.ready(key)


def default_host(device: Device) -> str:
    """Where the device's file says to log in; BoardError where it doesn't."""
    if device.default_host is None:
        raise BoardError(
            f"device {device.name}",
            f"the command runs on the board itself ({device.title}), or logs in to it",
            f"a machine whose device tree says nothing of {' or '.join(device.recognise)}",
            "Say where it is: --host user@name",
        )
    return device.default_host
