"""Says what a machine is and how it fares, in one JSON document. One file, for Python 3.6+ alone.

    python3 health.py [PYTHON ...]

It imports nothing of the rest of the house: it is sent to a board and run there, by whatever
Python the board has (hence the old dialect: a Python that is too old gets a proper message). Each
PYTHON is an interpreter whose runtimes are tried; the word `environments` stands for those that we
put there. What the machine doesn't tell is null.
"""

import json
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional

CACHE = "pi-detector-nas"
"""Our folder in the user's cache folder: what is put on a board lies there and nowhere else."""

RUNTIMES = ("numpy", "ncnn", "onnxruntime")

DESKTOPS = (
    "Xorg", "Xwayland", "cinnamon", "gnome-shell", "kwin_wayland", "kwin_x11", "labwc",
    "lxpanel", "lxqt-session", "lxsession", "mate-session", "plasmashell", "sway", "wayfire",
    "weston", "xfce4-session",
)  # fmt: skip
"""What shows that a desktop runs, as the kernel names processes (15 letters)."""

CPUFREQ = "/sys/devices/system/cpu/cpu0/cpufreq/"
THROTTLED = "/sys/devices/platform/soc/soc:firmware/get_throttled"


def facts(pythons: List[str]) -> Dict[str, Any]:
    """All that the document holds."""
    base = os.environ.get("XDG_CACHE_HOME")
    cache = (Path(base) if base else Path.home() / ".cache") / CACHE
    environments = [path for path in cache.glob("*") if (path / "bin" / "python").exists()]
    wanted = [one for one in pythons if one != "environments"]
    if len(wanted) < len(pythons):
        wanted += sorted(str(path / "bin" / "python") for path in environments)
    memory = meminfo()
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else []
    libc, libc_version = c_library()
    return {
        "machine": platform.machine(),
        "bits": 8 * struct.calcsize("P"),
        "system": os_release(),
        "kernel": platform.system(),
        "libc": libc,
        "libc_version": libc_version,
        "python": platform.python_version(),
        "board": read("/proc/device-tree/model").rstrip("\0"),
        "compatible": read("/proc/device-tree/compatible").replace("\0", " ").split(),
        "processor": cpuinfo("model name") or platform.processor(),
        "is_emulated": platform.machine() == "aarch64" and bool(cpuinfo("vendor_id")),
        "cores": os.cpu_count() or 1,
        "cores_allowed": len(allowed) or os.cpu_count() or 1,
        "governor": read(CPUFREQ + "scaling_governor") or None,
        "mhz": number(CPUFREQ + "scaling_cur_freq", 1000),
        "max_mhz": number(CPUFREQ + "cpuinfo_max_freq", 1000),
        "temp_c": number("/sys/class/thermal/thermal_zone0/temp", 1000),
        "throttled": throttled(),
        "memory_mb": memory.get("MemTotal"),
        "available_mb": memory.get("MemAvailable"),
        "swap_used_mb": swap_used(memory),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "desktop": desktop(),
        "free_disk_mb": free_disk(cache),
        "cache": str(cache),
        "environments": sorted(path.name for path in environments),
        "runtimes": {python: runtimes(python) for python in wanted},
    }


def read(path: str) -> str:
    """A small file's text without the last newline; empty where there is none to be read."""
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:  # this machine doesn't say
        return ""


def number(path: str, divisor: float) -> Optional[float]:
    """The integer in a file, divided."""
    text = read(path)
    return round(int(text) / divisor, 1) if text.lstrip("-").isdigit() else None


def cpuinfo(field: str) -> str:
    """The first value of a field of /proc/cpuinfo."""
    for line in read("/proc/cpuinfo").splitlines():
        if line.startswith(field):
            return line.partition(":")[2].strip()
    return ""


def os_release() -> str:
    """The name of the distribution, or what Python calls the system."""
    for line in read("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip("\"'")
    return platform.platform()


def c_library() -> List[str]:
    """Name and version of the C library; platform.libc_ver() guesses where there is a saying."""
    names = getattr(os, "confstr_names", {})
    told = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in names else None
    words = (told or "").split()
    return words if len(words) == 2 else list(platform.libc_ver())


def throttled() -> Optional[int]:
    """The Raspberry Pi's throttling bits, by the kernel or by its firmware's own tool."""
    text = read(THROTTLED)
    if not text and shutil.which("vcgencmd"):
        told = output(["vcgencmd", "get_throttled"], 5)
        text = told.partition("throttled=")[2].strip()
    return int(text, 16) if re.match(r"(0x)?[0-9a-fA-F]+$", text) else None


def meminfo() -> Dict[str, int]:
    """The fields of /proc/meminfo in MB."""
    found = {}
    for line in read("/proc/meminfo").splitlines():
        words = line.replace(":", " ").split()
        if len(words) == 3 and words[1].isdigit():
            found[words[0]] = int(words[1]) // 1024
    return found


def swap_used(memory: Dict[str, int]) -> Optional[int]:
    """MB of swap in use."""
    return memory["SwapTotal"] - memory["SwapFree"] if "SwapFree" in memory else None


def desktop() -> List[str]:
    """The desktop's processes that run."""
    return sorted({read(str(path)) for path in Path("/proc").glob("[0-9]*/comm")} & set(DESKTOPS))


def free_disk(folder: Path) -> Optional[int]:
    """Free MB where the folder is or would be."""
    there = next(path for path in [folder, *folder.parents] if path.exists())
    try:
        return shutil.disk_usage(str(there)).free // 2**20
    except OSError:  # not told
        return None


def runtimes(python: str) -> Dict[str, Dict[str, Optional[str]]]:
    """For each runtime that an interpreter finds: its version, or the error of importing it."""
    found = {}
    for name in RUNTIMES:
        code = (
            "import importlib.util as u, sys; n = sys.argv[1]\n"
            "if u.find_spec(n): print('version', __import__(n).__version__)\n"
            "else: print('absent')"
        )
        told = output([python, "-c", code, name], 120)
        last = (told.splitlines() or ["it says nothing"])[-1]
        words = last.split()
        if words[0] != "absent":
            is_fine = words[0] == "version" and len(words) == 2
            found[name] = {
                "version": words[1] if is_fine else None,
                "error": None if is_fine else last[:300],
            }
    return found


def output(command: List[str], seconds: float) -> str:
    """What a command prints, its errors and its death included."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            timeout=seconds,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "{}: {}".format(type(error).__name__, error)
    if done.returncode:
        return done.stderr.strip() or "it ended with exit code {}".format(done.returncode)
    return done.stdout.strip()


if __name__ == "__main__":
    print(json.dumps(facts(sys.argv[1:])))
