"""Several ways to run on one board: each detector takes the fastest, and says which it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nas import NasError
from nas.latency.answer import LatencyKind
from nas.latency.device import TableKey
from nas.latency.fastest import FastestModel
from nas.latency.load import answered_keys, load_table_model
from nas.latency.measured.table import TableError
from nas.space.blocks import blocks
from nas.space.search_space import read_space
from nas.study.limits import limits_of

KEYS = [
    TableKey(device="rpi4", runtime=runtime, precision=precision, threads=4)
    for runtime, precision in (("ncnn", "fp32"), ("onnxruntime", "fp32"), ("ncnn", "int8"))
]


def test_each_answer_is_the_least_of_the_tables_and_says_whose() -> None:
    tables = [load_table_model(key) for key in KEYS]
    fastest = FastestModel(tables)
    space, rng = read_space("fused_mbconv"), np.random.default_rng(0)
    ways = set()
    for _ in range(30):
        one = space.random(rng)
        each = [table.predict(one.spec, one.image_size) for table in tables]
        best = int(np.argmin([latency.ms for latency in each]))
        found = fastest.predict(one.spec, one.image_size)
        assert found == replace(each[best], way=KEYS[best].stem)
        assert fastest.precision(one.spec, one.image_size) == KEYS[best].precision
        assert fastest.parts(one.spec, one.image_size) == tables[best].parts(
            one.spec, one.image_size
        )
        walk = list(blocks(one.spec, one.image_size))
        assert fastest.predict_blocks(walk).ms == min(t.predict_blocks(walk).ms for t in tables)
        ways.add(found.way)
    assert len(ways) > 1, "it is a choice: not one table is the fastest throughout"
    assert fastest.kind is LatencyKind.ESTIMATED
    for table in tables:
        told = [f"{table.key.stem}: {doubt}" for doubt in table.provenance["doubts"]]
        assert told
        assert set(told) <= set(fastest.provenance["doubts"])


def test_what_is_as_fast_runs_in_the_way_that_is_named_first() -> None:
    one, same = (load_table_model(KEYS[0]) for _ in range(2))
    same.key = KEYS[1]
    candidate = read_space("tiny").random(np.random.default_rng(0))
    for tables, way in (((one, same), KEYS[0]), ((same, one), KEYS[1])):
        latency = FastestModel(tables).predict(candidate.spec, candidate.image_size)
        assert latency.way == way.stem


def test_measured_and_estimated_ways_are_not_compared() -> None:
    one, other = load_table_model(KEYS[0]), load_table_model(KEYS[1])
    other.kind = LatencyKind.PREDICTED
    with pytest.raises(NasError, match="of one kind, which alone can be compared; got estimated"):
        FastestModel([one, other])


def test_files_and_memory_go_by_the_precision_of_the_fastest_way() -> None:
    tables = [load_table_model(KEYS[0]), load_table_model(KEYS[2])]
    fastest = FastestModel(tables)
    space, rng = read_space("fused_mbconv"), np.random.default_rng(0)
    named = {"params": 1e6, "file_mb": 4.0, "memory_mb": 64.0}
    precisions = set()
    for _ in range(20):
        one = space.random(rng)
        precision = fastest.precision(one.spec, one.image_size)
        precisions.add(precision)
        found = limits_of(named, "fp32", None, fastest).shares(one)
        assert found == limits_of(named, precision).shares(one)
    assert "int8" in precisions


def test_combinations_without_a_table_are_no_choice() -> None:
    """On the Pi 4 there is no estimate of ONNX Runtime in int8, nor of bf16."""
    asked = [*KEYS, TableKey(device="rpi4", runtime="onnxruntime", precision="int8", threads=4)]
    assert answered_keys(asked) == KEYS
    assert answered_keys(KEYS[:1]) == KEYS[:1]
    assert [TableKey.of_stem("rpi4", key.stem) for key in asked] == asked


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": "bf16"}, "rpi4, ncnn bf16, 4 threads"),
        ({"threads": 2}, "The estimated ones are of 1 and 4 threads"),
        ({"runtime": "tflite", "precision": "bf16"}, "tflite"),
    ],
)
def test_a_choice_that_no_table_answers_is_refused(changes: dict[str, Any], message: str) -> None:
    """It says what is missing, as it does where there is one choice alone."""
    for keys in ([KEYS[0], replace(KEYS[0], **changes)], [replace(KEYS[0], **changes), KEYS[0]]):
        with pytest.raises(TableError, match=message):
            answered_keys(keys)
