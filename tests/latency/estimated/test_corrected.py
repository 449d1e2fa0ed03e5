"""A profile cut short under an estimated table: through the commands, from estimate to measured."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas import predict, profile, stats
from nas.latency.cache import kept_path
from nas.latency.device import TableKey
from nas.latency.estimated.corrected import FEWEST, MOST, correct, read_correction
from nas.latency.estimated.predictor import correction_words
from nas.latency.estimated.tables import EstimatedTable, block_ms, read_estimate, write_estimate
from nas.latency.measured.cost_model import Smoothness
from nas.latency.measured.table import TableError, read_table
from nas.latency.measured.table_cache import read_condensed
from nas.latency.reach.runner import formula_ms
from nas.space.blocks import Block
from nas.space.ops import expand
from nas.space.search_space import read_space
from nas.space.spec import dump_spec
from tests.latency.boards import KEY, devices


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with the fake board and an estimate of it: the Pi's, which knows nothing of it."""
    folder = devices(tmp_path / "tables")
    shipped = read_estimate(TableKey(device="rpi4"))
    assert shipped is not None
    write_estimate(shipped.model_copy(update={"device": KEY.device}), folder)
    return folder


def of_the_fake(root: Path) -> EstimatedTable:
    found = read_estimate(KEY, root)
    assert found is not None
    return found


def predicted(model: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    predict.run(predict.Arguments(model=model, device="fake", json=True), root)
    told: dict[str, object] = json.loads(capsys.readouterr().out)
    return told


def test_from_estimated_over_corrected_to_measured(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = read_space("tiny")
    one = space.random(np.random.default_rng(0))
    model = tmp_path / "model.yaml"
    model.write_text(dump_spec(replace(one.spec, image_size=one.image_size)))
    estimate = predicted(model, root, capsys)
    assert estimate["kind"] == "estimated"
    assert "corrected" not in json.dumps(estimate)

    # Three timings a block, half a minute each, block by block in rings of sixteen.
    arguments = profile.Arguments(device="fake", space="tiny", time_limit="31m")
    profile.run(arguments, root)
    said = capsys.readouterr().out
    assert "too few whole detectors are timed" in said
    assert 12 <= len(read_table(KEY, root).blocks) <= 32
    told = re.search(
        r"estimated, corrected by \d+ measured blocks: those left out in turn were off by "
        r"([\d.]+)% of their time \(([\d.]+)% before\)",
        said,
    )
    assert told is not None
    assert float(told[1]) < 0.5 * float(told[2])
    corrected = predicted(model, root, capsys)
    assert corrected["kind"] == "estimated"
    assert corrected["measured_share"] == 0
    predict.run(predict.Arguments(model=model, device="fake"), root)
    shown = capsys.readouterr().out
    assert told[0] in shown
    assert "doubt: estimated, corrected by" in shown

    profile.run(replace(arguments, time_limit=""), root)
    assert "blocks of tiny are measured" in capsys.readouterr().out
    measured = predicted(model, root, capsys)
    assert measured["kind"] == "predicted"

    def off(answer: dict[str, object]) -> float:
        ms, true = answer["latency_ms"], measured["latency_ms"]
        assert isinstance(ms, float)
        assert isinstance(true, float)
        return abs(np.log(ms / true))

    assert off(corrected) < 0.5 * off(estimate)


def test_without_an_estimate_a_profile_cut_short_says_what_is_lacking(tmp_path: Path) -> None:
    arguments = profile.Arguments(device="fake", space="tiny", time_limit="31m")
    with pytest.raises(TableError, match=r"4 whole networks of each half.*got \d\d blocks"):
        profile.run(arguments, devices(tmp_path / "tables"))


def measured(count: int, seed: int = 0) -> dict[Block, float]:
    blocks = [b for b in read_space("fused_mbconv").blocks(4) if expand(b).ops]
    chosen = np.random.default_rng(seed).permutation(len(blocks))[:count]
    return {blocks[i]: formula_ms(expand(blocks[i])) for i in chosen}


def test_the_error_stated_is_that_on_blocks_not_seen(root: Path) -> None:
    table, few = of_the_fake(root), measured(40)
    found = correct(table, few)
    others = [block for block in measured(400, seed=1) if block not in few]
    true = np.array([formula_ms(expand(block)) for block in others])
    after = np.abs(block_ms(found.table, others) - true).sum() / true.sum()
    assert found.before is not None
    assert found.after is not None
    assert 0.4 * after < found.after < 2.5 * after
    assert found.after < found.before


def test_a_handful_corrects_and_claims_nothing(root: Path) -> None:
    found = correct(of_the_fake(root), measured(FEWEST - 1))
    assert found.table.corrected_by == FEWEST - 1
    assert found.before is found.after is None
    assert "too few to tell" in correction_words(found)


def test_of_many_blocks_those_of_all_times_count(root: Path) -> None:
    many = measured(MOST + 60)
    found = correct(of_the_fake(root), many)
    assert (found.blocks, found.table.corrected_by) == (MOST + 60, MOST)
    assert f"{MOST} of {MOST + 60} measured blocks" in correction_words(found)
    after = block_ms(found.table, list(many))
    assert stats.spearman(after, list(many.values())) > 0.9


def test_a_correction_is_kept_until_the_table_grows(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = profile.Arguments(device="fake", space="tiny", time_limit="31m")
    profile.run(arguments, root)
    first = read_correction(of_the_fake(root), KEY, root)
    path = kept_path(KEY.path(root), "corrected")
    assert first is not None
    kept = path.read_bytes()
    assert read_correction(of_the_fake(root), KEY, root) == first
    assert path.read_bytes() == kept
    profile.run(replace(arguments, time_limit="10m"), root)
    second = read_correction(of_the_fake(root), KEY, root)
    assert second is not None
    assert second.blocks > first.blocks
    path.write_text("{")
    assert read_correction(of_the_fake(root), KEY, root) == second
    capsys.readouterr()


def test_a_table_condensed_says_what_the_table_says(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile.run(profile.Arguments(device="fake", space="tiny", validate=8), root)
    whole, path = read_table(KEY, root), kept_path(KEY.path(root), "condensed")
    assert path.exists(), "the profile keeps it"
    kept = read_condensed(KEY, root)
    assert kept.block_ms == whole.block_ms()
    assert kept.row_count == whole.row_count()
    assert kept.environment == whole.environments[-1]
    capsys.readouterr()
    # It is never taken for that of another table: grown, damaged, of another key or other code.
    with KEY.path(root).open("ab") as file:
        file.write(b"{}\n")
    assert read_condensed(KEY, root).damaged == [KEY.path(root).read_bytes().count(b"\n")]
    for broken in (
        "",
        "{}",
        path.read_text().replace(kept.code, "0" * 16),
        path.read_text().replace('"format":1', '"format":99'),
    ):
        path.write_text(broken)
        assert read_condensed(KEY, root).block_ms == whole.block_ms()
    other = TableKey(device="fake", threads=2)
    KEY.path(root).rename(other.path(root))
    path.rename(kept_path(other.path(root), "condensed"))
    with pytest.raises(TableError, match="the table is that of fake"):
        read_condensed(other, root)


def test_a_folder_that_cannot_be_written_in_is_read(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(root.parent / "cache"))
    profile.run(profile.Arguments(device="fake", space="tiny", validate=8), root)
    capsys.readouterr()
    path = kept_path(KEY.path(root), "condensed")
    path.unlink()
    # A folder in its place refuses the file, whoever runs this.
    path.mkdir()
    assert read_condensed(KEY, root).block_ms == read_table(KEY, root).block_ms()
    assert not list(path.parent.rglob("*.tmp"))
    path.rmdir()
    path.parent.rename(path.parent.with_name("moved"))
    path.parent.write_text("a file where the cache's folder should be")
    assert read_condensed(KEY, root).block_ms == read_table(KEY, root).block_ms()


def test_nothing_but_the_table_and_its_fit_lies_in_a_devices_folder(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    estimated = profile.Arguments(device="fake", space="tiny", time_limit="31m")
    profile.run(estimated, root)
    profile.run(profile.Arguments(device="fake", space="tiny", validate=8), root)
    there = {path.name for path in (root / "fake").iterdir()}
    assert there == {
        "device.yaml",
        "ncnn-fp32-1t.jsonl",
        "ncnn-fp32-1t.fit.json",
        "ncnn-fp32-1t.estimated.json",
        "ncnn-fp32-1t.lock",
    }
    capsys.readouterr()


def test_the_cost_models_of_several_fits_are_kept_side_by_side(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile.run(profile.Arguments(device="fake", space="tiny", validate=8), root)
    path = kept_path(KEY.path(root), "condensed")
    smooth = [Smoothness(length=length, noise=0.01, error=0.1) for length in (1.0, 2.0)]
    for one in smooth:
        assert read_condensed(KEY, root, one).cost_model(one) is not None
    content = path.read_bytes()
    for one in smooth:
        assert read_condensed(KEY, root, one).cost_model(one) is not None
    assert path.read_bytes() == content
    capsys.readouterr()
