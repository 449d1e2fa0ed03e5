"""Laws of benchmarks/learning.py: what its CSV holds identifies a training, and is not redone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import learning
import pytest
from learning import Arguments, Result, cell, key
from learning_rows import ROWS, STARTER
from rows import append_row, read_rows

from nas import NasError

RESULT = Result(
    set="bccd", model="probe", row="free", start="scratch", seed=1, budget_s=200.0, width=1.0,
    image_size=192, passes=14, step_ms=180.5, core_s=201.3, val_map50_95=0.491, val_map50=0.783,
    test_map50_95=None, test_map50=None, precision="bfloat16", torch="2.13.0", date="2026-11-26",
)  # fmt: skip


def test_a_csv_gives_back_what_was_appended(tmp_path: Path) -> None:
    path = tmp_path / "learning.csv"
    assert read_rows(path, Result) == []
    two = replace(RESULT, seed=2, test_map50_95=0.4, test_map50=0.7)
    append_row(path, RESULT)
    append_row(path, two)
    assert read_rows(path, Result) == [RESULT, two]
    assert path.read_text().count("val_map50_95") == 1


def test_a_training_is_known_by_all_that_was_asked_for(tmp_path: Path) -> None:
    arguments = Arguments()
    assert key(arguments, "bccd", "free", 1) == RESULT.key
    others = {
        key(replace(arguments, **change), "bccd", "free", 1)  # type: ignore[arg-type]
        for change in (
            {"budget": 60.0},
            {"width": 0.5},
            {"image_size": 288},
            {"passes": 14},
            {"passes": 15},
            {"model": tmp_path / "mid.yaml"},
        )
    }
    assert len(others | {RESULT.key, key(arguments, "bccd", "today", 1)}) == 8
    by_passes = replace(RESULT, budget_s=0.0, passes=15)
    assert key(replace(arguments, passes=15), "bccd", "free", 1) == by_passes.key
    starters = []
    for text in ("one", "two"):
        (tmp_path / "starter.pt").write_text(text)
        arguments = replace(arguments, starter=tmp_path / "starter.pt")
        starters.append(key(arguments, "bccd", "starter", 1))
    assert starters[0] != starters[1]


def test_what_the_csv_holds_is_not_taught_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "learning.csv"
    append_row(path, RESULT)
    before = path.read_bytes()
    learning.main(Arguments(out=path, print=True))
    assert "| probe | free | 200 core-s | 1 | 0.491 / 0.783" in capsys.readouterr().out
    assert path.read_bytes() == before
    assert cell([]) == "-"


def test_rows_that_cannot_be_taught_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NasError, match=r"rows are today, yolov5.*; got fast"):
        learning.main(Arguments(rows=("fast",), out=tmp_path / "x.csv"))
    with pytest.raises(NasError, match=r"rows with a starter have one; got starter"):
        learning.main(Arguments(rows=("starter",), out=tmp_path / "x.csv"))
    assert not any(ROWS[name].start == STARTER for name in Arguments().rows)
