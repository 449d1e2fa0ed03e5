"""YOLOBench's networks are those of its exporter, and what ships is what its figures give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from yolobench_figures import PI4, PI5, networks, read_figures
from yolobench_networks import network
from yolobench_tables import TABLES, make_table

from nas import stats
from nas.latency.device import TableKey
from nas.latency.estimated.tables import read_estimate

EXPORTED = {
    "yolo3d1w25": 1675_859_200,
    "yolo5n": 965_612_800,
    "yolo6s-d33w25": 1650_259_200,
    "yolo6s-d1w5": 14178_489_600,
    "yolo6m-d33w25": 1103_350_800,
    "yolo6m-d6w75": 10418_976_000,
}
"""MACs of all convolutions at 320 px, counted in ONNX files that its exporter (commit e4c8ea6)
made; optimised by ONNX Runtime."""


@pytest.mark.parametrize(("name", "macs"), EXPORTED.items())
def test_networks_have_the_macs_of_the_exported_ones(name: str, macs: int) -> None:
    assert sum(op.macs for op in network(name, 320)) == macs


def test_relu_is_fused_and_silu_is_an_op() -> None:
    def count(name: str, kind: str, runtime: str = "onnxruntime") -> int:
        return sum(op.kind == kind for op in network(name, 320, runtime))

    # Counted in the same files: QuickGelu, and beside it one Softmax and one Sigmoid.
    assert count("yolo5n", "exponential") == 69 + 2
    assert count("yolo3d1w25", "exponential") == 84 + 2
    assert count("yolo6s-d33w25", "exponential") == count("yolo6m-d33w25", "exponential") == 2
    assert count("yolo5n", "add", "tflite") == count("yolo5n", "add") + 69


@pytest.mark.data
@pytest.mark.parametrize(("device", "runtime", "precision", "column"), TABLES)
def test_a_shipped_table_is_what_the_figures_give(
    shared: Path, device: str, runtime: str, precision: str, column: str
) -> None:
    figures = read_figures(shared / "yolobench" / "pi4.csv")
    key = TableKey(device=device, runtime=runtime, precision=precision, threads=4)
    base = networks(figures, "onnxruntime-fp32", PI4) if column == PI5 else None
    known = networks(figures, f"{runtime}-{precision}", column)
    table, there = make_table(key, known, base), read_estimate(key)
    assert there is not None
    assert there.heldout.mape == pytest.approx(table.heldout.mape, abs=0.001)
    own = [known.predicted(one.vector()) for one in (table, there)]
    assert stats.mape(own[0], own[1]) < 0.002
    assert np.array_equal(list(there.seen), list(table.seen))
