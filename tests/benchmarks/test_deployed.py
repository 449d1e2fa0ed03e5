"""How the benchmark of bundles tells two files' boxes apart, and draws their times."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from deployed import FileRow, moved, overlap
from deployed_plot import drawn


def box(kind: int, *sides: float) -> dict[str, object]:
    return {"class": kind, "box": list(sides)}


def test_boxes_move_are_lost_and_are_found() -> None:
    usual = [[box(0, 0, 0, 100, 100), box(1, 10, 10, 60, 60)], []]
    assert moved(usual, usual) == (0, 0)
    shifted = [[box(0, 1, 0, 101, 100), box(1, 10, 10, 60, 60)], []]
    assert moved(usual, shifted) == (0, pytest.approx(1))
    other_class = [[box(1, 0, 0, 100, 100), box(1, 10, 10, 60, 60)], []]
    assert moved(usual, other_class)[0] == 0.5
    more = [usual[0], [box(0, 0, 0, 5, 5)]]
    assert moved(usual, more)[0] == pytest.approx(1 / 5)
    assert overlap([0, 0, 10, 10], [5, 0, 15, 10]) == pytest.approx(1 / 3)


def row(model: str, precision: str, network_ms: float) -> FileRow:
    return FileRow(
        set="bccd", model=model, runtime="ncnn", precision=precision, threads=1, width=192,
        height=128, megabytes=1.0, map50_95=0.5, own_map50_95=0.5, torch_map50_95=0.5,
        before_ms=1.0, network_ms=network_ms, after_ms=1.0, total_ms=2 + network_ms,
        total_median_ms=9.0, total_mean_ms=9.0, total_p95_ms=9.0, boxes_a_picture=3.0,
        moved_boxes=0.0, moved_px=0.0, machine="a machine", date="2026-11-27",
    )  # fmt: skip


def test_a_bar_is_as_long_as_its_time() -> None:
    content = drawn([row("aaaaaa", "fp32", 20.0), row("aaaaaa", "fp16", 10.0)])
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    is_network = (picture == [0xA4, 0x65, 0x34]).all(axis=2)
    lengths = sorted({int(one) for one in is_network[84:].sum(axis=1) if one > 50})
    assert lengths[-1] == pytest.approx(2 * lengths[0], abs=3)
