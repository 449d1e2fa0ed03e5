"""Whether a person's figures can be: what a board's cores can compute, and what others did.

Cores do so many multiply-accumulates in a cycle and no more, so that seconds in place of
milliseconds, or another image size than was timed, may say what cannot be. The limits were held
against all 106 public runs of benchncnn: the fastest core without fp16 arithmetic did 3.6 of 4 MACs
in a cycle (5.4 in int8), of those with it 21 (41), the slowest board 0.11 in the middle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from nas.latency.device import Device, TableKey
from nas.latency.estimated.op_work import OpWork
from nas.latency.estimated.public_log import LogError
from nas.latency.estimated.tables import arithmetic_of

WINOGRAD: Final = 64 / 324
"""Products that Winograd's F(6x6, 3x3) needs, as a share of the direct ones; nothing uses less."""

FASTEST_MHZ: Final = 6000
"""Of any core, where a device's file doesn't say its clock."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """MACs in a cycle of a core. `most`: in fp, in int8; nothing does more.

    usual_most  of the median network, on one thread and on several: no public run did more
    """

    most: tuple[float, float]
    usual_most: tuple[float, float]


WITHOUT_FP16: Final = Limits(most=(6.0, 12.0), usual_most=(3.2, 2.3))
"""One 128-bit pipe (A53, A57, A72, A73), and half as much again for a clock above the file's."""

WITH_FP16: Final = Limits(most=(32.0, 128.0), usual_most=(17.0, 9.0))
"""Up to four pipes of 128 bits (Cortex-X), with int8 matrix products."""

USUAL_LEAST: Final = 0.1
"""Of the median network on the slowest board known (Cortex-A5, four threads)."""

SLOW: Final = 0.02
"""Below this the figures are microseconds where these would be usual, and doubtful otherwise."""


def check_figures(
    networks: Mapping[str, Sequence[OpWork]],
    ms: Mapping[str, float],
    key: TableKey,
    device: Device,
    where: str,
) -> list[str]:
    """Doubts about the times (ms) of networks on a device; LogError where they can't be."""
    if device.kind == "fake" or not networks:
        return []
    rates = {name: _rate(work, ms[name], key, device) for name, work in networks.items()}
    limits = WITH_FP16
    if device.clock_mhz is not None and arithmetic_of(device) == "fp32":
        limits = WITHOUT_FP16
    is_int8 = {name: any(op.is_int8 for op in work) for name, work in networks.items()}
    beyond = [name for name, rate in rates.items() if rate > limits.most[is_int8[name]]]
    middle = float(np.median(list(rates.values())))
    if beyond:
        _refuse_fast(beyond, rates, ms, middle, limits, key, device, where)
    if middle < SLOW:
        return _slow(middle, limits, key, device, where)
    if middle > limits.usual_most[key.threads > 1]:
        return [
            f"by these times a core does {middle:.1f} multiply-accumulates in a cycle, more than "
            f"any board known ({limits.usual_most[key.threads > 1]:g}): are the image sizes those "
            "that were timed, and the times in milliseconds?"
        ]
    return []


def _rate(work: Sequence[OpWork], ms: float, key: TableKey, device: Device) -> float:
    """Multiply-accumulates in a cycle of a core, at the least."""
    macs = sum(op.macs * (WINOGRAD if op.kind == "winograd" else 1) for op in work)
    cores = min(key.threads, device.cores or key.threads)
    return macs / (ms * 1e3 * (device.clock_mhz or FASTEST_MHZ) * cores)


def _refuse_fast(
    beyond: Sequence[str],
    rates: Mapping[str, float],
    ms: Mapping[str, float],
    middle: float,
    limits: Limits,
    key: TableKey,
    device: Device,
    where: str,
) -> None:
    """Raises LogError; the likely cause is seconds where a thousandth of all rates is usual."""
    worst = max(beyond, key=lambda name: rates[name])
    others = f", {len(beyond) - 1} others likewise" if len(beyond) > 1 else ""
    remedy = "Is its image size the one that was timed, and its time in milliseconds? Correct it"
    if middle > limits.most[0] and middle / 1000 < limits.most[0]:
        remedy = "The times are seconds: multiply them by 1000"
    raise LogError(
        where,
        f"{_of(device)} does at most {limits.most[0]:g} multiply-accumulates in a cycle, "
        f"{limits.most[1]:g} in int8 ({key})",
        f"{rates[worst]:.3g} a cycle for {worst} in {ms[worst]:g} ms{others}",
        remedy,
    )


def _slow(middle: float, limits: Limits, key: TableKey, device: Device, where: str) -> list[str]:
    """Doubts about times that are slower than any board's; LogError where they're microseconds."""
    told = f"{middle:.2g} multiply-accumulates in a cycle of a core, in the middle"
    slowest = f"no board known does less than {USUAL_LEAST:g}"
    if USUAL_LEAST < 1000 * middle < limits.usual_most[key.threads > 1]:
        raise LogError(
            where,
            f"{_of(device)} does about as much in a cycle as that of another board ({key}): "
            f"{slowest}",
            told,
            "The times are microseconds: divide them by 1000",
        )
    return [f"by these times the board does {told}; {slowest}: are they in milliseconds?"]


def _of(device: Device) -> str:
    clock = "" if device.clock_mhz is None else f" ({device.clock_mhz} MHz by its device.yaml)"
    return f"a core of {device.name}{clock}"
