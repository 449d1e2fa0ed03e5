"""Whether an int8 file is faster than the fp32 one: timed here by turns, or estimated by tables."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from nas.deploy.check import Run
from nas.deploy.report import Int8Speed
from nas.emit.int8 import Int8Choice
from nas.latency.device import Device
from nas.latency.load import load_table_model
from nas.latency.measured.table import TableError
from nas.quantisation.won import WonTable
from nas.space.blocks import blocks
from nas.space.image_size import ImageSize
from nas.space.spec import ModelSpec

PAIRS: Final = 60
"""Runs of each file, by turns."""

INTERVAL: Final = 0.9
"""Of the share of fp32's time that int8 takes."""


def timed_here(fp32: Run, int8: Run, image: np.ndarray, pairs: int = PAIRS) -> Int8Speed:
    """Both files timed on this machine, one thread, an fp32 run beside each int8 run.

    The interval is that of the median of the pairs' ratios, by their order statistics.
    """
    samples = np.empty((pairs, 2))
    for run in (fp32, int8):
        run(image)
    for pair in range(pairs):
        # Which one comes first alternates: the second finds warmer caches.
        for column in (0, 1) if pair % 2 else (1, 0):
            begin = time.perf_counter()
            (fp32, int8)[column](image)
            samples[pair, column] = 1000 * (time.perf_counter() - begin)
    ratios = np.sort(samples[:, 1] / samples[:, 0])
    # Half the width of a binomial's interval around the middle: 1.645 deviations of sqrt(n) / 2.
    width = 1.645 * np.sqrt(pairs) / 2
    low = float(ratios[max(0, int(np.floor(pairs / 2 - width)))])
    high = float(ratios[min(pairs - 1, int(np.ceil(pairs / 2 + width)))])
    medians = np.median(samples, axis=0)
    return Int8Speed(
        kind="measured",
        where="host, 1 thread",
        fp32_ms=float(medians[0]),
        int8_ms=float(medians[1]),
        share=float(np.median(ratios)),
        low_share=low,
        high_share=high,
        told=f"{pairs} runs of each file by turns",
    )


def estimated(
    spec: ModelSpec,
    image_size: ImageSize,
    device: Device,
    runtime: str,
    choice: Int8Choice,
    won: WonTable,
    root: Path | None = None,
) -> Int8Speed:
    """By the device's tables: fp32's time less what the chosen layers win.

    The interval takes the worst of both tables; unknown where one of them is missing.
    """
    try:
        walk = blocks(spec, image_size)
        fp32, int8 = (
            load_table_model(device.key(runtime, precision), root, walk=walk).predict(
                spec, image_size
            )
            for precision in ("fp32", "int8")
        )
    except TableError as error:
        key = device.key(runtime, "int8")
        return Int8Speed(kind="unknown", where=str(key), told=str(error))
    saved = sum(one.ms for tensor, one in won.of.items() if tensor in choice)
    mixed_ms = fp32.ms - saved
    high = mixed_ms * int8.high_ms / int8.ms
    low = mixed_ms * int8.low_ms / int8.ms
    return Int8Speed(
        kind=int8.kind.value,
        where=str(device.key(runtime, "int8")),
        fp32_ms=fp32.ms,
        int8_ms=mixed_ms,
        share=mixed_ms / fp32.ms,
        low_share=low / fp32.high_ms,
        high_share=high / fp32.low_ms,
        told=won.told,
    )


def told_speed(speed: Int8Speed) -> str:
    """For a message: both times, or that nobody knows."""
    if speed.int8_ms is None or speed.fp32_ms is None:
        return f"speed unknown on {speed.where}"
    words: Mapping[bool, str] = {True: "faster", False: "not faster"}
    verdict = words[speed.is_faster] if speed.is_decided else "which of them is faster is unknown"
    return (
        f"{speed.int8_ms:.1f} ms in int8, {speed.fp32_ms:.1f} ms in fp32, {speed.share:.0%} of it "
        f"({speed.low_share:.0%} to {speed.high_share:.0%}; {speed.kind}, {speed.where}): {verdict}"
    )
