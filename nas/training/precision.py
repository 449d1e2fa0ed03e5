"""In which numbers a training computes, and on which device.

A step in bfloat16 costs some two thirds of one in single precision on a processor that has it
(avx512_bf16, amx_bf16), half precision less still on a GPU. Weights, their averages, the optimiser
and the loss stay in single precision everywhere (mixed precision, arXiv 1710.03740).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

BF16_FLAGS: Final = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""What Linux calls a core's bfloat16 arithmetic: AMD and Intel, Intel's tiles, Arm."""

CPU_INFO: Final = Path("/proc/cpuinfo")


def training_device() -> str:
    """`cuda` where torch finds a GPU that it can use, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def describe_device(device: str, *, amp: bool, cpu_bf16: bool) -> str:
    """A device and what convolutions compute in there, for a person to read."""
    kind = torch.device(device)
    name = torch.cuda.get_device_name(kind) if kind.type == "cuda" else "CPU"
    precision = autocast_type(kind, amp=amp, cpu_bf16=cpu_bf16)
    return f"{name}, {str(precision).removeprefix('torch.')}"


def has_cpu_bf16(cpu_info: Path = CPU_INFO) -> bool:
    """Whether this processor computes in bfloat16: False where nothing says so.

    torch computes in it on any processor, on most of them several times slower.
    """
    try:
        text = cpu_info.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    lines = (line.partition(":") for line in text.splitlines())
    flags = [set(value.split()) for key, _, value in lines if key.strip() in ("flags", "Features")]
    return bool(flags) and all(BF16_FLAGS & one for one in flags)


def autocast_type(device: torch.device, *, amp: bool, cpu_bf16: bool) -> torch.dtype:
    """The type that convolutions compute in: float32, or the half one that the device has.

    amp        half precision on a GPU
    cpu_bf16   bfloat16 on a processor that has it
    """
    if device.type == "cuda":
        if not amp:
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.bfloat16 if cpu_bf16 and has_cpu_bf16() else torch.float32


def autocast(device: torch.device, kind: torch.dtype) -> AbstractContextManager[object]:
    """Computes convolutions in `kind` inside; float32 leaves all as it is."""
    enabled = kind != torch.float32
    return torch.autocast(device.type, kind if enabled else torch.bfloat16, enabled=enabled)


class SingleConv2d(nn.Conv2d):
    """A convolution that computes in single precision under autocast; it keeps its input's type."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float()).to(x.dtype)


def keep_single(network: nn.Module) -> None:
    """Makes the convolutions single that bfloat16 slows on a CPU, in place; names stay.

    The backward pass of a strided or a 5x5 depthwise convolution takes 4 to 12 times as long there
    (oneDNN has no kernel for it), and half of all other convolutions' gain would go into it.
    """
    for module in network.modules():
        if not isinstance(module, nn.Conv2d) or module.groups == 1:
            continue
        if max(module.stride) > 1 or max(module.kernel_size) > 3:
            module.__class__ = SingleConv2d
