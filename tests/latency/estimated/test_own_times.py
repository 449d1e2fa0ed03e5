"""A person's own figures: a CSV of whole networks, alone or beside a log."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas import NasError, predict, profile
from nas.latency.answer import LatencyKind
from nas.latency.device import ROOT, TableKey
from nas.latency.estimated.predictor import EstimatedPredictor
from nas.latency.estimated.public_log import LogError
from nas.latency.estimated.tables import block_ms, estimate_path, read_estimate, write_estimate
from nas.latency.estimated.times_csv import COLUMNS, read_times
from nas.latency.load import load_table_model
from nas.space.ops import expand
from nas.space.search_space import read_space
from nas.space.spec import dump_spec
from tests.latency.boards import devices, profiled

KEY = TableKey(device="rpi4", threads=4)
HEAD = ",".join(COLUMNS)


def board(folder: Path, name: str = "rpi4") -> Path:
    """A folder like latency_tables/ with that device alone, no tables."""
    (folder / name).mkdir(parents=True)
    shutil.copy(ROOT / name / "device.yaml", folder / name / "device.yaml")
    return folder


def rows_of(folder: Path, key: TableKey, count: int = 12) -> list[str]:
    """What the shipped table of a key says of random detectors of the default space, as rows."""
    table = read_estimate(key)
    assert table is not None
    predictor, space = EstimatedPredictor(table), read_space("fused_mbconv")
    (folder / "models").mkdir(parents=True, exist_ok=True)
    rows, rng = [], np.random.default_rng(0)
    for number in range(count):
        one = space.random(rng)
        path = folder / "models" / f"{number}.yaml"
        path.write_text(dump_spec(one.spec))
        ms = predictor.predict(one.spec, one.image_size).ms
        where = f"{key.runtime},{key.precision},{key.threads}"
        rows.append(f"models/{number}.yaml,{one.image_size},{where},{ms:.4f}")
    return rows


def write(folder: Path, *rows: str, head: str = HEAD) -> Path:
    path = folder / "measurements.csv"
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def run(path: Path, root: Path, device: str = "rpi4", **more: object) -> None:
    profile.run(profile.Arguments(device=device, from_csv=path, **more), root)  # type: ignore[arg-type]


def test_a_table_from_a_tables_answers_answers_like_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = board(tmp_path / "tables")
    run(write(tmp_path, *rows_of(tmp_path, KEY)), root)
    shown = capsys.readouterr().out
    assert "estimated from 12 networks of measurements.csv" in shown
    assert "each of the 12 networks of measurements.csv left out in turn" in shown
    made, shipped = read_estimate(KEY, root), read_estimate(KEY)
    assert made is not None
    assert shipped is not None
    space, rng = read_space("fused_mbconv"), np.random.default_rng(1)
    others = [space.random(rng) for _ in range(30)]
    ours, theirs = (
        np.array([EstimatedPredictor(t).predict(o.spec, o.image_size).ms for o in others])
        for t in (made, shipped)
    )
    assert np.mean(np.abs(ours / theirs - 1)) < 0.06
    fitted = [one.fitted_ms / one.measured_ms for one in made.networks.values()]
    assert np.allclose(fitted, 1, atol=0.04)
    blocks = [b for b in space.blocks(3) if expand(b).ops]
    assert np.median(np.abs(block_ms(made, blocks) / block_ms(shipped, blocks) - 1)) < 0.25


def test_a_table_for_each_key_and_a_word_on_each_that_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = board(tmp_path / "tables")
    rows = [
        *rows_of(tmp_path, KEY, 8),
        *rows_of(tmp_path, TableKey(device="rpi4"), 8),
        "models/0.yaml,96,ncnn,int8,4,5.0",
        "models/0.yaml,96,ncnn,bf16,4,5.0",
        "models/0.yaml,96,ncnn,fp32,3,5.0",
    ]
    run(write(tmp_path, *rows), root)
    said = capsys.readouterr()
    made = sorted(path.name for path in (root / "rpi4").glob("*.estimated.json"))
    assert made == ["ncnn-fp32-1t.estimated.json", "ncnn-fp32-4t.estimated.json"]
    assert "rpi4, ncnn fp32, 1 thread: estimated from 8 networks" in said.out
    assert "no table of rpi4, ncnn int8, 4 threads" in said.err
    assert "at least 3 different networks in int8" in said.err
    assert "no table of rpi4, ncnn bf16, 4 threads" in said.err
    assert "its thread counts are 1, 2, 4; got 3" in said.err


def scaled(rows: list[str], factor: float) -> list[str]:
    cells = [row.rpartition(",") for row in rows]
    return [f"{before},{factor * float(ms):.6f}" for before, _, ms in cells]


def test_seconds_and_microseconds_leave_no_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = board(tmp_path / "tables")
    rows = rows_of(tmp_path, KEY)
    for factor, cause in ((0.001, "are seconds: multiply"), (1000, "are microseconds: divide")):
        with pytest.raises(LogError, match=f"measurements.csv: a core of rpi4 .*The times {cause}"):
            run(write(tmp_path, *scaled(rows, factor)), root)
    assert not list(root.rglob("*.estimated*"))
    # A key whose rows are sound has its table all the same.
    sound = rows_of(tmp_path, TableKey(device="rpi4"), 8)
    run(write(tmp_path, *scaled(rows, 0.001), *sound), root)
    said = capsys.readouterr()
    assert "no table of rpi4, ncnn fp32, 4 threads: " in said.err
    assert "rpi4, ncnn fp32, 1 thread: estimated from 8 networks" in said.out


def test_a_row_unlike_the_others_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = board(tmp_path / "tables")
    rows = rows_of(tmp_path, KEY)
    rows[3] = scaled(rows[3:4], 0.2)[0]
    run(write(tmp_path, *rows), root)
    told = read_estimate(KEY, root)
    assert told is not None
    assert any(
        doubt.startswith("models/3.yaml") and "image sizes" in doubt for doubt in told.doubts
    )
    assert "models/3.yaml" in capsys.readouterr().out


def test_sizes_of_one_model_are_one_network_and_the_number_needed_is_said(tmp_path: Path) -> None:
    root = board(tmp_path / "tables")
    rows = rows_of(tmp_path, KEY, 7)
    more = [f"models/0.yaml,{size},ncnn,fp32,4,9.0" for size in (96, 128)]
    with pytest.raises(LogError, match=r"at least 8 different networks of rpi4.*; got 7"):
        run(write(tmp_path, *rows, *more), root)
    assert not list(root.rglob("*.estimated*"))


def test_what_public_logs_do_not_know_is_refused_by_name(tmp_path: Path) -> None:
    root = board(tmp_path / "tables")
    rows = [row.replace("fp32", "bf16") for row in rows_of(tmp_path, KEY, 8)]
    with pytest.raises(LogError, match=r"ncnn bf16 can be estimated; got known: .*ncnn-fp32"):
        run(write(tmp_path, *rows), root)


def test_onnx_runtime_starts_from_the_pi_4_and_int8_of_it_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = board(tmp_path / "tables", "rpi5")
    key = TableKey(device="rpi4", runtime="onnxruntime", threads=4)
    rows = []
    for row in rows_of(tmp_path, key, 12):
        *cells, ms = row.split(",")
        rows.append(",".join([*cells, f"{float(ms) / 3:.4f}"]))
    rows.append("models/0.yaml,96,onnxruntime,int8,4,5.0")
    run(write(tmp_path, *rows), root, device="rpi5")
    assert "onnxruntime int8 can be estimated" in capsys.readouterr().err
    made, base = read_estimate(replace(key, device="rpi5"), root), read_estimate(key)
    assert made is not None
    assert base is not None
    assert any("those of rpi4" in doubt for doubt in made.doubts)
    space, rng = read_space("fused_mbconv"), np.random.default_rng(1)
    others = [space.random(rng) for _ in range(20)]
    ours, theirs = (
        np.array([EstimatedPredictor(t).predict(o.spec, o.image_size).ms for o in others])
        for t in (made, base)
    )
    assert np.allclose(3 * ours / theirs, 1, atol=0.1)


def test_rows_come_on_top_of_a_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = board(tmp_path / "tables")
    shipped = read_estimate(KEY)
    assert shipped is not None
    lines = [
        f"{name}  min = {one.measured_ms}  max = {one.measured_ms}  avg = {one.measured_ms}"
        for name, one in shipped.networks.items()
    ]
    log = tmp_path / "log.txt"
    log.write_text("num_threads = 4\n" + "\n".join(lines) + "\n")
    run(write(tmp_path, *rows_of(tmp_path, KEY, 4)), root, from_log=log)
    told = read_estimate(KEY, root)
    assert told is not None
    assert len(told.networks) == len(shipped.networks) + 4
    assert told.sources[0] == "log.txt and measurements.csv"
    assert "each of the 4 networks" in capsys.readouterr().out


@pytest.mark.parametrize("path", sorted(ROOT.glob("*/*.estimated.json")), ids=lambda p: p.name)
def test_every_table_in_the_box_answers_and_says_what_it_stands_on(path: Path) -> None:
    runtime, precision, threads = path.name.split(".")[0].split("-")
    count = int(threads.rstrip("t"))
    key = TableKey(device=path.parent.name, runtime=runtime, precision=precision, threads=count)
    table = read_estimate(key)
    assert table is not None
    assert table.sources
    assert table.networks
    assert table.never_seen
    one = read_space("tiny").random(np.random.default_rng(0))
    model = load_table_model(key)
    found = model.predict(one.spec, one.image_size)
    assert found.kind is LatencyKind.ESTIMATED
    assert 0 < found.low_ms < found.ms < found.high_ms
    assert any("nas.profile" in doubt for doubt in model.provenance["doubts"])


BAD = {
    "models/0.yaml,100,ncnn,fp32,4,5": "width x height (320x192); got 100. The nearest is 96",
    "models/0.yaml,96.5,ncnn,fp32,4,5": "image_size: the image size is a multiple of 32",
    "models/0.yaml,96,tflite9,fp32,4,5": "runtime: input should be",
    "models/0.yaml,96,ncnn,fp64,4,5": "precision: input should be",
    "models/0.yaml,96,ncnn,fp32,0,5": "threads: input should be greater than or equal to 1",
    "models/0.yaml,96,ncnn,fp32,4,-1": "ms: input should be greater than 0; got '-1'",
    "models/0.yaml,96,ncnn,fp32,4,nan": "ms: input should be",
    "models/0.yaml,96,ncnn,fp32,4,inf": "ms: input should be",
    "models/0.yaml,96,ncnn,fp32,4,": "ms: input should be a valid number",
    "models/none.yaml,96,ncnn,fp32,4,5": "the model YAML exists; got no such file",
    "measurements.csv,96,ncnn,fp32,4,5": "the file is",
    "models/0.yaml,96,ncnn,fp32,4": "the row: it has 6 cells; got 5",
    "models/0.yaml,96,ncnn,fp32,4,5,1": "the row: it has 6 cells; got 7",
    ",96,ncnn,fp32,4,5": "model: string should have at least 1 character",
    "models/1.yaml, 96 ,ncnn,fp32,4,5": "a second row of models/1.yaml, 96 px",
}


@pytest.mark.parametrize("bad", BAD)
def test_a_malformed_row_is_named_and_costs_only_itself(bad: str, tmp_path: Path) -> None:
    rows_of(tmp_path, KEY, 2)
    good = "models/1.yaml,96,ncnn,fp32,4,5.5"
    path = write(tmp_path, good, "", bad)
    found = read_times(path)
    ((line, reason),) = found.damaged
    assert line == 4
    assert BAD[bad] in reason
    assert [(row.model, row.image_size, row.ms) for row in found.rows] == [
        ("models/1.yaml", 96, 5.5)
    ]


def test_a_spreadsheets_csv_is_read(tmp_path: Path) -> None:
    rows_of(tmp_path, KEY, 1)
    path = tmp_path / "sheet.csv"
    text = (
        'ms, threads,precision,runtime,image_size,model\r\n5.5,4,fp32,ncnn,96,"models/0.yaml"\r\n'
    )
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    (row,) = read_times(path).rows
    assert (row.name, row.ms) == ("models/0.yaml, 96 px", 5.5)


@pytest.mark.parametrize("head", ["", HEAD.replace(",", ";"), f"{HEAD},note", "a,b"])
def test_other_columns_are_refused(head: str, tmp_path: Path) -> None:
    with pytest.raises(LogError, match="the first line names the columns model,image_size"):
        read_times(write(tmp_path, head=head))


def test_files_that_are_no_csv_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="no such file"):
        read_times(tmp_path / "none.csv")
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    with pytest.raises(LogError, match=r"text is in UTF-8.*another encoding.*Save it as"):
        read_times(tmp_path / "binary")
    with pytest.raises(LogError, match="Is a directory"):
        read_times(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_csv_may_be_saved_by_any_system(encoding: str, tmp_path: Path) -> None:
    rows_of(tmp_path, KEY, 1)
    path = tmp_path / "times.csv"
    path.write_bytes(f"{HEAD}\r\nmodels/0.yaml,96,ncnn,fp32,4,5.5\r\n".encode(encoding))
    assert [row.ms for row in read_times(path).rows] == [5.5]


@pytest.mark.parametrize(
    "more",
    [{"threads": 4}, {"runtime": "onnxruntime"}, {"host": "me@board"}, {"time_limit": "4m"}],
)
def test_a_flag_without_meaning_is_refused(more: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(NasError, match=r"each row of the CSV says.*Leave --\w+"):
        run(tmp_path / "any.csv", board(tmp_path / "tables"), **more)


def test_nothing_of_a_table_in_the_box_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = board(tmp_path / "tables")
    shipped = read_estimate(KEY)
    assert shipped is not None
    write_estimate(shipped, root)
    path = write(tmp_path, *rows_of(tmp_path, KEY, 8))
    run(path, root)
    assert f"instead of the table of {shipped.date} ({shipped.sources[0]})" in (
        capsys.readouterr().out
    )
    kept = estimate_path(KEY, root).with_suffix(".before-1.json")
    assert kept.read_bytes() == estimate_path(KEY).read_bytes()
    # The same figures again replace nothing; other ones keep what stood there before.
    run(path, root)
    assert "instead of" not in capsys.readouterr().out
    run(write(tmp_path, *rows_of(tmp_path, KEY, 9)), root)
    assert "instead of the table of" in capsys.readouterr().out
    assert len(list((root / "rpi4").glob("*.before-*"))) == 2
    model = tmp_path / "models" / "0.yaml"
    predict.run(predict.Arguments(model=model, device="rpi4", threads=4), root)
    assert "it stands on 9 networks of measurements.csv" in capsys.readouterr().out


def test_a_measured_table_goes_on_answering(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = devices(tmp_path / "tables")
    profiled(root)
    rows = [row.replace(",fp32,4,", ",fp32,1,") for row in rows_of(tmp_path, KEY, 8)]
    run(write(tmp_path, *rows), root, device="fake")
    assert "fake, ncnn fp32, 1 thread has a measured table" in capsys.readouterr().out
    model = tmp_path / "models" / "0.yaml"
    predict.run(predict.Arguments(model=model, device="fake"), root)
    assert "ms (predicted; " in capsys.readouterr().out


def test_a_mistake_is_one_message_and_exit_2(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "nas.profile", "--from-csv", "none.csv"]
    for device, message in (("toaster", "A new board needs a file"), ("rpi4", "no such file")):
        done = subprocess.run(
            [*command, "--device", device], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stderr.count("error:") == 1
        assert done.stdout == ""
