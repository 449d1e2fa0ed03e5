"""In which numbers this processor computes int8.

x86-64 cores without VNNI multiply unsigned by signed bytes two at a time into 16 bits
(`pmaddubsw`), and saturate there: a product of weights above 6 bits is cut, which an ARM board
doesn't do. ONNX Runtime has a session option for exact sums on such cores.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Final

EXACT_OPTION: Final = "session.x64quantprecision"
"""ONNX Runtime's switch from 16-bit sums to exact ones on x86-64 without VNNI."""

CPU_INFO: Final = Path("/proc/cpuinfo")

VNNI: Final = frozenset({"avx512_vnni", "avx_vnni"})
"""What Linux calls the instructions that sum products of bytes in 32 bits."""


def saturates(cpu_info: Path = CPU_INFO, machine: str | None = None) -> bool:
    """Whether unsigned-by-signed int8 may saturate here: on x86-64, unless Linux says VNNI."""
    if (machine or platform.machine()).lower() not in ("x86_64", "amd64"):
        return False
    try:
        text = cpu_info.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return not VNNI & set(flags.partition(":")[2].split())


def told_int8(*, is_exact_by_option: bool) -> str:
    """How ONNX Runtime computed an int8 file, for a report."""
    if is_exact_by_option:
        return f"int8, exact sums by {EXACT_OPTION} (this processor has no VNNI)"
    if platform.machine().lower() in ("x86_64", "amd64"):
        return "int8, exact sums by VNNI"
    return f"int8, exact sums ({platform.machine()})"
