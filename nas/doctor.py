"""Looks at a machine before it is timed: what would spoil the times there, and what helps.

    python -m nas.doctor
    python -m nas.doctor --device rpi4 --host pi@raspberrypi.local

Each finding is ok, a note (good to know), a warning (times will suffer) or a fault (a profile
won't run, or it is the wrong board). The exit code is 0 wherever it could look.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nas.terminal import command_line

if TYPE_CHECKING:
    from nas.latency.device import Device
    from nas.latency.reach.diagnosis import Finding
    from nas.latency.reach.facts import Facts


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Look for what would spoil times on a board; changes nothing there."""

    device: str = ""
    """A folder of latency_tables/ with a device.yaml (default: which of them the machine is)."""
    host: str = ""
    """Where to log in to the board, as ssh takes it (default: look at this machine)."""
    json: bool = False
    """Print one JSON document."""


def run(arguments: Arguments, root: Path | None = None) -> None:
    """Looks here or there, and prints the findings."""
    from nas.latency.device import read_device
    from nas.latency.reach.diagnosis import diagnose
    from nas.latency.reach.facts import facts_here
    from nas.latency.reach.login import Login
    from nas.latency.reach.ssh_runner import look

    named = read_device(arguments.device, root) if arguments.device else None
    if arguments.host:
        facts = look(Login(arguments.host), with_runtimes=True)
    else:
        facts = facts_here([sys.executable])
    device = named or recognised(facts, root)
    findings = diagnose(facts, device, is_remote=bool(arguments.host))
    where = arguments.host or "this machine"
    if arguments.json:
        print(json.dumps(document(where, device, facts, findings), indent=1))
    else:
        print(answer(where, device, facts, findings))


def recognised(facts: Facts, root: Path | None = None) -> Device:
    """The device that the machine is by its device tree; `host`, any machine, for others."""
    from nas.latency.device import read_device, read_devices

    for device in read_devices(root):
        if device.recognise and device.is_named_in(facts.device_tree):
            return device
    return read_device("host", root)


def document(
    where: str, device: Device, facts: Facts, findings: tuple[Finding, ...]
) -> dict[str, object]:
    """The findings for programs, with all that they were made from."""
    return {
        "where": where,
        "device": device.name,
        "findings": [asdict(finding) for finding in findings],
        "facts": facts.model_dump(),
    }


def answer(where: str, device: Device, facts: Facts, findings: tuple[Finding, ...]) -> str:
    """The findings for people, a line each, and what to do in the line below."""
    lines = [f"{where}: {facts.title}, {facts.system}; as device {device.name} ({device.title})"]
    for finding in findings:
        why = f" ({finding.rule})" if finding.rule else ""
        lines.append(f"{finding.level:8} {finding.what}: {finding.got}{why}")
        if finding.remedy:
            lines.append(f"{'':8}   {finding.remedy}")
    counts = {level: sum(f.level == level for f in findings) for level in ("warning", "fault")}
    told = ", ".join(f"{n} {level}{'s' * (n != 1)}" for level, n in counts.items() if n)
    return "\n".join([*lines, told or "nothing that would spoil times"])


if __name__ == "__main__":
    command_line(Arguments, run)
