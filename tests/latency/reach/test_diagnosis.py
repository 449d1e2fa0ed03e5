"""What a machine's facts mean: a case for each finding, and none on a board as it ought to be."""

from __future__ import annotations

from typing import Any

import pytest

from nas.latency.device import Device, read_device
from nas.latency.reach.diagnosis import NOT_TOLD, Finding, diagnose
from nas.latency.reach.facts import Facts, Import

PI4 = Facts(
    machine="aarch64",
    bits=64,
    system="Debian GNU/Linux 12 (bookworm)",
    kernel="Linux",
    libc="glibc",
    libc_version="2.36",
    python="3.11.2",
    board="Raspberry Pi 4 Model B Rev 1.4",
    compatible=["raspberrypi,4-model-b", "brcm,bcm2711"],
    processor="",
    is_emulated=False,
    cores=4,
    cores_allowed=4,
    governor="performance",
    mhz=1800.0,
    max_mhz=1800.0,
    temp_c=48.2,
    throttled=0,
    memory_mb=3794,
    available_mb=3300,
    swap_used_mb=0,
    load=0.1,
    desktop=[],
    free_disk_mb=20000,
    cache="/home/pi/.cache/pi-detector-nas",
    environments=["there"],
    runtimes={"/there/bin/python": {"ncnn": Import(version="1.0", error=None)}},
)


def findings(
    device: Device | None = None,
    is_remote: bool = True,
    threads: tuple[int, ...] = (),
    **changed: Any,
) -> dict[str, Finding]:
    facts = Facts.model_validate({**PI4.model_dump(), **changed})
    found = diagnose(facts, device or read_device("rpi4"), is_remote=is_remote, threads=threads)
    assert len({one.what for one in found}) == len(found)
    return {one.what: one for one in found}


def test_a_board_as_it_ought_to_be() -> None:
    assert {one.level for one in findings().values()} == {"ok"}


@pytest.mark.parametrize(
    ("changed", "what", "level", "got", "remedy"),
    [
        ({"machine": "armv7l", "bits": 32}, "operating system", "fault", "32-bit", "64-bit Rasp"),
        ({"bits": 32}, "operating system", "fault", "its kernel has 64 bits", "64-bit Raspberry"),
        ({"kernel": "Darwin"}, "operating system", "fault", "userland", "64-bit"),
        ({"machine": "riscv64"}, "operating system", "fault", "riscv64", "64-bit"),
        ({"python": "3.6.9"}, "Python", "fault", "3.6.9", "Upgrade the board"),
        ({"python": "3.99.0"}, "Python", "fault", "3.99.0", "Upgrade this program"),
        ({"libc_version": "2.24"}, "C library", "fault", "2.24", "Upgrade"),
        ({"libc": "", "libc_version": ""}, "C library", "fault", "unknown", "Upgrade"),
        ({"board": "Raspberry Pi 5", "compatible": []}, "board", "fault", "Pi 5", "--device"),
        ({"cores_allowed": 3}, "cores", "warning", "3 of 4", "isolcpus"),
        ({"cores": 8, "cores_allowed": 8}, "cores", "note", "8 of 8", "device.yaml"),
        ({"runtimes": {}}, "runtimes", "note", "none there yet", ""),
        (
            {"runtimes": {"/x/bin/python": {"ncnn": {"version": None, "error": "SIGILL"}}}},
            "runtimes",
            "fault",
            "ncnn: SIGILL",
            "rm -r /x",
        ),
        ({"runtimes": {"/x/bin/python": {}}}, "runtimes", "fault", "none in /x", "rm -r /x"),
        ({"free_disk_mb": 80}, "free disk", "warning", "80 MB", "Make room"),
        ({"is_emulated": True}, "processor", "warning", "emulated", "mean nothing"),
        ({"governor": "ondemand"}, "governor", "warning", "ondemand", "echo performance"),
        ({"max_mhz": 1500.0, "mhz": 1500.0}, "clock", "warning", "1500 MHz", "arm_boost"),
        ({"max_mhz": 2000.0, "mhz": 2000.0}, "clock", "note", "2000 MHz", "of its own"),
        ({"mhz": 1000.0}, "clock", "warning", "1000 MHz now", "power supply"),
        ({"throttled": 0x50005}, "throttling", "warning", "under-voltage, throttled now", "supply"),
        ({"throttled": 0x80008}, "throttling", "warning", "temperature limit now", "Cool"),
        ({"throttled": 0x50000}, "throttling", "note", "since it was started", "supply"),
        ({"throttled": 0x20000}, "throttling", "note", "clock capped since", "Cool"),
        ({"temp_c": 74.6}, "temperature", "warning", "75 C", "Cool"),
        ({"available_mb": 120}, "memory", "warning", "120 of 3794", "Stop"),
        ({"swap_used_mb": 90}, "swap", "note", "90 MB", "swapoff"),
        ({"load": 1.4}, "load", "warning", "1.40", "top"),
        ({"desktop": ["Xwayland", "labwc"]}, "desktop", "warning", "labwc", "isolate"),
    ],
)
def test_each_finding_has_its_remedy(
    changed: dict[str, Any], what: str, level: str, got: str, remedy: str
) -> None:
    found = findings(**changed)
    one = found.pop(what)
    assert one.level == level
    assert got in one.got
    assert one.rule
    assert remedy in one.remedy
    assert {other.level for other in found.values()} == {"ok"}


def test_a_clock_that_rests_is_no_alarm() -> None:
    found = findings(governor="ondemand", mhz=600.0)
    assert found["clock"].level == "ok"
    assert "600 MHz now, 1800 at most" in found["clock"].got


def test_what_a_machine_does_not_tell_is_no_alarm() -> None:
    silent = ("governor", "mhz", "max_mhz", "temp_c", "throttled", "load", "swap_used_mb")
    found = findings(**dict.fromkeys((*silent, "free_disk_mb", "available_mb")))
    told = {one.what for one in found.values() if one.got == NOT_TOLD}
    assert told == {
        "governor", "clock", "temperature", "throttling", "load", "swap", "free disk", "memory",
    }  # fmt: skip
    assert {one.level for one in found.values()} == {"ok", "note"}


def test_threads_that_are_asked_for_need_their_cores() -> None:
    assert findings(threads=(2,), cores_allowed=2)["cores"].level == "ok"
    assert findings(threads=(4,), cores_allowed=2)["cores"].level == "fault"


def test_here_the_runtimes_of_the_device_are_wanted() -> None:
    there = {"version": "1.0", "error": None}
    broken = {"version": None, "error": "ImportError: libgomp.so.1"}
    own = {"python": {"numpy": there, "onnxruntime": broken}}
    found = findings(read_device("host"), is_remote=False, runtimes=own)
    assert found["numpy"].level == "ok"
    assert (found["ncnn"].level, found["ncnn"].got) == ("fault", "not installed")
    assert (found["onnxruntime"].level, found["onnxruntime"].got) == ("fault", broken["error"])
    assert "any machine" in found["board"].got
    # Whatever runs this program is no board to be set up: another system or Python is no fault.
    system = {"kernel": "Darwin", "machine": "arm64", "libc": "", "python": "3.99.0"}
    found = findings(read_device("host"), is_remote=False, **system)
    assert "C library" not in found
    assert (found["operating system"].level, found["Python"].level) == ("ok", "ok")
    found = findings(read_device("rpi4"), is_remote=False, bits=32)
    assert found["operating system"].level == "fault"
