"""What a machine's facts mean for timing on it: findings, each with its remedy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from nas.latency.device import Device
from nas.latency.reach.facts import Facts
from nas.latency.reach.wheels import MACHINES, OLDEST_GLIBC, PINS

Level = Literal["ok", "note", "warning", "fault"]

HOT_C: Final = 70.0
"""From here on a warm room is enough to throttle: a Pi slows down at 80 (a 3B+ at 60)."""

BUSY_LOAD: Final = 0.7
FEW_MB: Final = 300
SWAP_MB: Final = 16
CLOCK_TOLERANCE: Final = 0.02

NOT_TOLD: Final = "not told by this machine"

UNDER_VOLTAGE: Final = 1
THROTTLING: Final[dict[int, str]] = {
    1: "under-voltage",
    2: "clock capped",
    4: "throttled",
    8: "soft temperature limit",
}
"""Bits of the Raspberry Pi's get_throttled; shifted by 16 they tell of the time since its start."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing looked at.

    level   ok; note (good to know); warning (times will suffer); fault (it won't run, or it is the
            wrong board)
    what    the thing, and got what it is
    rule    what ought to hold
    remedy  what to do; both are empty where all is well
    """

    level: Level
    what: str
    got: str
    rule: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        why = f" ({self.rule})" if self.rule else ""
        remedy = f". {self.remedy}" if self.remedy else ""
        return f"{self.what}: {self.got}{why}{remedy}"


def diagnose(
    facts: Facts, device: Device, *, is_remote: bool, threads: Sequence[int] = ()
) -> tuple[Finding, ...]:
    """All findings on a machine that is to be timed as `device`, what stops a profile first.

    is_remote  it is reached over ssh: the runtimes are put there, for its own Python
    threads    thread counts that are wanted; default: those that the device's file offers
    """
    return (
        _system(facts, is_remote),
        _python(facts, is_remote),
        *((_c_library(facts),) if is_remote else ()),
        _board(facts, device),
        *_threads(facts, device, threads),
        *(_remote_runtimes(facts) if is_remote else _own_runtimes(facts, device)),
        _disk(facts),
        *((_emulated(),) if facts.is_emulated else ()),
        _governor(facts),
        _clock(facts, device),
        _throttling(facts),
        _temperature(facts),
        _memory(facts),
        _swap(facts),
        _load(facts),
        _desktop(facts),
    )


def _ok(what: str, got: str) -> Finding:
    return Finding(level="ok", what=what, got=got)


def _not_told(what: str) -> Finding:
    return Finding(level="note", what=what, got=NOT_TOLD)


def _system(facts: Facts, is_remote: bool) -> Finding:
    got = f"{facts.system}, {facts.bits}-bit userland on {facts.machine}"
    is_known = facts.kernel == "Linux" and facts.machine in MACHINES
    if facts.bits == 64 and (is_known or not is_remote):
        return _ok("operating system", got)
    has_64_bit_kernel = facts.bits != 64 and facts.machine in MACHINES
    return Finding(
        level="fault",
        what="operating system",
        got=got + (" (its kernel has 64 bits)" if has_64_bit_kernel else ""),
        rule="the runtimes run on 64-bit Linux, kernel and userland (aarch64 or x86_64)",
        remedy="Put the 64-bit Raspberry Pi OS, or another 64-bit system, on its card",
    )


def _c_library(facts: Facts) -> Finding:
    library = f"{facts.libc or 'unknown'} {facts.libc_version}".strip()
    oldest = ".".join(map(str, OLDEST_GLIBC))
    if facts.libc == "glibc" and _numbers(facts.libc_version) >= OLDEST_GLIBC:
        return _ok("C library", library)
    return Finding(
        level="fault",
        what="C library",
        got=library,
        rule=f"the runtimes need glibc {oldest} or newer",
        remedy="Upgrade the board's system (Debian 10, Ubuntu 18.04 or newer)",
    )


def _python(facts: Facts, is_remote: bool) -> Finding:
    oldest, newest = (".".join(map(str, one)) for one in (min(PINS), max(PINS)))
    if facts.python_version in PINS or not is_remote:
        return _ok("Python", facts.python)
    is_old = facts.python_version < min(PINS)
    return Finding(
        level="fault",
        what="Python",
        got=facts.python,
        rule=f"the board's python3 is of {oldest} to {newest}",
        remedy="Upgrade the board's system, or put a newer python3 first on its PATH"
        if is_old
        else f"Upgrade this program, or put a python3 of {newest} first on the board's PATH",
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _board(facts: Facts, device: Device) -> Finding:
    if not device.recognise:
        return _ok("board", f"{facts.title} (device {device.name} is any machine)")
    if device.is_named_in(facts.device_tree):
        return _ok("board", facts.title)
    there = f" --host {device.default_host}" if device.default_host else " --host user@name"
    return Finding(
        level="fault",
        what="board",
        got=facts.title,
        rule=f"it is a {device.title}: its device tree says {' or '.join(device.recognise)}",
        remedy=f"Name the board that it is by --device, or reach the right one by{there}",
    )


def _threads(facts: Facts, device: Device, threads: Sequence[int]) -> Iterator[Finding]:
    wanted = max(threads or device.threads, default=1)
    got = f"{facts.cores_allowed} of {facts.cores} for us"
    if facts.cores_allowed < wanted:
        yield Finding(
            level="fault" if threads else "warning",
            what="cores",
            got=got,
            rule=f"{wanted} threads have a core each",
            remedy="Choose fewer by --threads, or free more cores (isolcpus, cpuset, maxcpus)",
        )
    elif device.cores is not None and facts.cores != device.cores:
        yield Finding(
            level="note",
            what="cores",
            got=got,
            rule=f"device.yaml says {device.cores}",
            remedy="Look for maxcpus in the kernel's command line, or correct device.yaml",
        )
    else:
        yield _ok("cores", got)


def _own_runtimes(facts: Facts, device: Device) -> Iterator[Finding]:
    """Those that the device's file names, in the interpreter that runs this program."""
    imports = next(iter(facts.runtimes.values()), {})
    for name in ("numpy", *device.runtimes):
        found = imports.get(name)
        if found is not None and found.error is None:
            yield _ok(name, str(found.version))
            continue
        yield Finding(
            level="fault",
            what=name,
            got="not installed" if found is None else str(found.error),
            rule="it can be imported",
            remedy=f"python -m pip install --force-reinstall {name}",
        )


def _remote_runtimes(facts: Facts) -> Iterator[Finding]:
    """Those in the environments that nas.profile made there."""
    if not facts.runtimes:
        yield Finding(
            level="note",
            what="runtimes",
            got="none there yet",
            rule="nas.profile puts them into " + facts.cache,
        )
    for python, imports in facts.runtimes.items():
        folder = python.removesuffix("/bin/python")
        errors = [f"{name}: {one.error}" for name, one in imports.items() if one.error]
        versions = [f"{name} {one.version}" for name, one in imports.items() if not one.error]
        if versions and not errors:
            yield _ok("runtimes", ", ".join(versions))
        else:
            yield Finding(
                level="fault",
                what="runtimes",
                got="; ".join(errors) or f"none in {folder}",
                rule="they can be imported",
                remedy=f"Remove them there, nas.profile brings them anew: rm -r {folder}",
            )


def _disk(facts: Facts) -> Finding:
    if facts.free_disk_mb is None:
        return _not_told("free disk")
    if facts.free_disk_mb >= FEW_MB:
        return _ok("free disk", f"{facts.free_disk_mb} MB")
    return Finding(
        level="warning",
        what="free disk",
        got=f"{facts.free_disk_mb} MB",
        rule=f"the runtimes take some 110 MB there; {FEW_MB} MB are on the safe side",
        remedy="Make room (sudo apt clean; du -xh / | sort -h | tail)",
    )


def _emulated() -> Finding:
    return Finding(
        level="warning",
        what="processor",
        got="emulated",
        rule="times are taken on the processor itself",
        remedy="Use it to try things out; its times mean nothing",
    )


def _governor(facts: Facts) -> Finding:
    if facts.governor is None:
        return _not_told("governor")
    if facts.governor == "performance":
        return _ok("governor", facts.governor)
    return Finding(
        level="warning",
        what="governor",
        got=facts.governor,
        rule="performance keeps the clock where it is",
        remedy="echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
    )


def _clock(facts: Facts, device: Device) -> Finding:
    now, highest, nominal = facts.mhz, facts.max_mhz, device.clock_mhz
    if highest is None:
        return _not_told("clock")
    got = f"{now or highest:.0f} MHz now, {highest:.0f} at most"
    if nominal and highest < nominal * (1 - CLOCK_TOLERANCE):
        return Finding(
            level="warning",
            what="clock",
            got=got,
            rule=f"device.yaml says {nominal} MHz",
            remedy="Look at arm_freq and arm_boost in /boot/firmware/config.txt, and upgrade the "
            "system; or correct device.yaml",
        )
    if nominal and highest > nominal * (1 + CLOCK_TOLERANCE):
        return Finding(
            level="note",
            what="clock",
            got=got,
            rule=f"device.yaml says {nominal} MHz: it is overclocked",
            remedy="Keep such a table apart, under a device.yaml of its own",
        )
    if facts.governor == "performance" and now and now < highest * (1 - CLOCK_TOLERANCE):
        return Finding(
            level="warning",
            what="clock",
            got=got,
            rule="under the governor performance it is at its highest",
            remedy="Look for heat or a weak power supply (the findings below)",
        )
    return _ok("clock", got)


def _throttling(facts: Facts) -> Finding:
    bits = facts.throttled
    if bits is None:
        return _not_told("throttling")
    now, since_start = (
        [name for bit, name in THROTTLING.items() if part & bit] for part in (bits, bits >> 16)
    )
    if not now and not since_start:
        return _ok("throttling", "none since it was started")
    bits_told = bits if now else bits >> 16
    return Finding(
        level="warning" if now else "note",
        what="throttling",
        got=f"{', '.join(now)} now" if now else f"{', '.join(since_start)} since it was started",
        rule="it runs at its full clock",
        remedy="Use the board's own power supply and a short cable"
        if bits_told & UNDER_VOLTAGE
        else "Cool the board (a fan, a heat sink), or profile with --max-temp-c 65",
    )


def _temperature(facts: Facts) -> Finding:
    if facts.temp_c is None:
        return _not_told("temperature")
    if facts.temp_c < HOT_C:
        return _ok("temperature", f"{facts.temp_c:.0f} C")
    return Finding(
        level="warning",
        what="temperature",
        got=f"{facts.temp_c:.0f} C",
        rule=f"below {HOT_C:.0f} C it is far from throttling",
        remedy="Cool the board (a fan, a heat sink), or profile with --max-temp-c 65",
    )


def _memory(facts: Facts) -> Finding:
    if facts.available_mb is None or facts.memory_mb is None:
        return _not_told("memory")
    got = f"{facts.available_mb} of {facts.memory_mb} MB available"
    if facts.available_mb >= FEW_MB:
        return _ok("memory", got)
    return Finding(
        level="warning",
        what="memory",
        got=got,
        rule=f"{FEW_MB} MB are available",
        remedy="Stop what takes it: ps aux --sort -rss | head",
    )


def _swap(facts: Facts) -> Finding:
    if facts.swap_used_mb is None:
        return _not_told("swap")
    if facts.swap_used_mb <= SWAP_MB:
        return _ok("swap", f"{facts.swap_used_mb} MB in use")
    return Finding(
        level="note",
        what="swap",
        got=f"{facts.swap_used_mb} MB in use",
        rule="what is timed stays in memory",
        remedy="If memory is short: stop other programs, then sudo swapoff -a && sudo swapon -a",
    )


def _load(facts: Facts) -> Finding:
    if facts.load is None:
        return _not_told("load")
    if facts.load <= BUSY_LOAD:
        return _ok("load", f"{facts.load:.2f}")
    return Finding(
        level="warning",
        what="load",
        got=f"{facts.load:.2f} in the last minute",
        rule="nothing else is at work",
        remedy="Stop what is: top -o %CPU; or wait a minute, if it was a profile",
    )


def _desktop(facts: Facts) -> Finding:
    if not facts.desktop:
        return _ok("desktop", "none runs")
    return Finding(
        level="warning",
        what="desktop",
        got=f"{', '.join(facts.desktop)} running",
        rule="a desktop draws and wakes up while blocks are timed",
        remedy="sudo systemctl isolate multi-user.target (back again: graphical.target)",
    )
