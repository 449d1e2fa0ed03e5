"""`python -m nas.search`, as a person runs it: to its end, killed, interrupted, mistaken."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from nas.accuracy import IN_FLIGHT
from nas.emit.footprint import file_bytes
from nas.latency.device import TableKey
from nas.latency.load import load_table_model
from nas.search import Arguments, proxy_of
from nas.space.ops import model_graph
from nas.space.search_space import read_space
from nas.space.spec import read_spec
from nas.study.on_disk.run import read_settings
from nas.training.on_disk.checkpoint import load_checkpoint
from tests.data.pictures import write_data
from tests.study.checkout import command, make_checkout, search

FILES = [
    "models",
    "pareto.csv",
    "pareto.html",
    "pareto.json",
    "settings.yaml",
    "study.db",
    "trials.csv",
]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkout(tmp_path_factory.mktemp("search"))


@pytest.mark.parametrize(
    ("space", "flag", "kind", "is_default"),
    [
        ("tiny", None, "shared_weights", True),
        ("tiny", "shared_weights", "shared_weights", True),
        ("tiny", "short_training", "short_training", False),
        ("shuffle", None, "short_training", True),
        ("shuffle", "short_training", "short_training", True),
        ("tiny", "macs", "macs", False),
    ],
)
def test_a_proxy_that_is_the_default_names_no_other_run(
    space: str, flag: str | None, kind: str, *, is_default: bool
) -> None:
    proxy, found = proxy_of(Arguments(proxy=flag), read_space(space))
    assert (proxy.kind, found) == (kind, is_default)


def _finish(running: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = running.communicate(timeout=400)
    return running.returncode, out, err


def _wait_for(running: subprocess.Popen[str], text: str) -> None:
    assert running.stderr is not None
    for line in running.stderr:
        if text in line:
            return
    pytest.fail(f"the search ended before it said {text!r}")


def _results(folder: Path) -> tuple[object, object]:
    """What must not depend on when the search was killed: all but the seconds it took."""
    with (folder / "trials.csv").open(newline="") as file:
        trials = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]
    document = json.loads((folder / "pareto.json").read_text())
    del document["core_seconds"]
    return trials, document


def _timeless(out: str) -> list[str]:
    """What is printed, but for what it took."""
    return [line for line in out.splitlines() if not line.startswith("Minutes of one core")]


def _living(pattern: str) -> list[str]:
    """The command lines of processes that name the pattern."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if pattern in line:
            found.append(line)
    return found


def test_killed_and_resumed_equals_never_killed(checkout: Path) -> None:
    flags = ("--budget", "14", "--max-latency-ms", "0.5", "--proxy")
    code, out, err = _finish(search(checkout, *flags, "fast.yaml", "--run", "whole"))
    assert code == 0, err
    assert "14/14" in err
    whole = checkout / "runs" / "whole"
    assert sorted(p.name for p in whole.iterdir() if p.name != ".lock") == FILES
    assert "predicted ms" in out
    assert "not a mAP" in out

    # The slow proxy scores as the fast one does; only kind and time tell them apart.
    folder = checkout / "runs" / "killed"
    running = search(checkout, *flags, "slow.yaml", "--run", "killed")
    _wait_for(running, "6/14")
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert not (folder / "pareto.json").exists()
    code, _, err = _finish(search(checkout, *flags, "slow.yaml", "--run", "killed"))
    assert code == 0, err
    assert "of 14 graded" in err
    done = int(err.split("goes on, ")[1].split()[0])
    assert done >= 6, "what was graded is kept"
    assert _results(folder) == _results(whole)
    deadline = time.monotonic() + 20
    while (left := _living(str(checkout))) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == [], "no worker outlives its search"

    # And once more: finished, nothing to grade, the same front.
    before = _results(folder)
    code, again, err = _finish(search(checkout, *flags, "slow.yaml", "--run", "killed"))
    assert code == 0, err
    assert "is finished: 14 graded" in err
    assert _timeless(again.replace("killed", "whole")) == _timeless(out)
    assert _results(folder) == before


def test_verified_at_its_end_it_keeps_what_was_measured(checkout: Path) -> None:
    flags = ("--budget", "8", "--proxy", "fast.yaml", "--run", "verified", "--no-baselines")
    code, out, err = _finish(search(checkout, *flags, "--verify"))
    assert code == 0, err
    assert "the same front, measured on its board" in out
    folder = checkout / "runs" / "verified"
    document = json.loads((folder / "pareto.json").read_text())
    assert all(row["measured_ms"] for row in document["front"])
    # The same command without the flag writes the report anew, and what was measured stays.
    code, again, err = _finish(search(checkout, *flags))
    assert code == 0, err
    assert _timeless(again) == _timeless(out)
    kept = json.loads((folder / "pareto.json").read_text())
    assert kept["verification"] == document["verification"]
    # nas.verify finds all of it timed, and adds the whole path.
    verify = command(checkout, "nas.verify", "runs/verified", "--json", "--minutes", "1")
    done = subprocess.run(verify, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["points"] == document["verification"]["points"]
    assert told["path"]["sustained"]["seconds"] == 60
    assert json.loads((folder / "pareto.json").read_text())["verification"] == told
    # More budget: new points are not measured yet, and nothing breaks.
    code, _, err = _finish(search(checkout, *flags[2:], "--budget", "20"))
    assert code == 0, err


def test_interrupted_it_says_so_and_resumes(checkout: Path) -> None:
    flags = ("--budget", "12", "--proxy", "slow.yaml", "--run", "interrupted")
    running = search(checkout, *flags)
    _wait_for(running, "4/12")
    running.send_signal(signal.SIGINT)
    code, _, err = _finish(running)
    assert code == 130
    assert "the same command resumes" in err
    assert "Traceback" not in err
    folder = checkout / "runs" / "interrupted"
    assert json.loads((folder / "pareto.json").read_text())["trials_finished"] >= 4
    assert not list(folder.glob(".*.tmp")) + list(folder.glob(".pareto*"))
    code, _, err = _finish(search(checkout, *flags, "--max-latency-ms", "0.4"))
    assert code == 2
    assert "max_latency_ms: None there, 0.4 now" in err
    code, out, err = _finish(search(checkout, *flags))
    assert code == 0, err
    assert "12 architectures graded" in out


def test_limits_hold_and_stand_in_what_it_leaves(checkout: Path) -> None:
    flags = ["--budget", "10", "--proxy", "fast.yaml", "--sampler", "random", "--max-latency-ms"]
    flags += ["0.5", "--limit", "params <= 1.2e5", "--limit", "memory_mb <= 2.5"]
    code, out, err = _finish(search(checkout, *flags))
    assert code == 0, err
    folder = (
        checkout / "runs" / "tiny-pictures-fake-0.5ms-params1.2e5-memory_mb2.5-fast-random-seed0"
    )
    document = json.loads((folder / "pareto.json").read_text())
    assert document["limits"] == {"latency_ms": 0.5, "params": 1.2e5, "memory_mb": 2.5}
    assert read_settings(folder).limits == {"params": 1.2e5, "memory_mb": 2.5}
    with (folder / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in (*rows, *document["front"]):
        shares = {
            "latency_ms": float(row["latency_ms"]) / 0.5,
            "params": int(row["params"]) / 1.2e5,
            "memory_mb": float(row["memory_mb"]) / 2.5,
        }
        assert max(shares.values()) <= 1
        assert float(row["nearest_limit_share"]) == pytest.approx(max(shares.values()), rel=0.01)
        assert shares[row["nearest_limit"]] == pytest.approx(max(shares.values()), rel=0.01)
    graded = {one["name"] for one in document["baselines"] if one["score"] is not None}
    assert len(graded) < len(document["baselines"])
    told = re.search(r"(\d+) refused \((\d+) over 0.5 ms \(predicted\), (\d+) over params", out)
    assert told is not None, out
    assert 0 < max(int(told[2]), int(told[3])) <= int(told[1])
    assert "nearest limit" in out
    page = (folder / "pareto.html").read_text(encoding="utf-8")
    assert "further limits: params" in page
    assert "of the limit" in page
    # Other limits are another run.
    again = [*flags[:-1], "memory_mb <= 3", "--run", str(folder)]
    code, _, err = _finish(search(checkout, *again))
    assert code == 2
    assert "limits.memory_mb: 2.5 there, 3.0 now" in err


def test_a_time_limit_ends_a_run_cleanly_and_a_larger_one_goes_on(checkout: Path) -> None:
    flags = ["--budget", "6", "--proxy", "slow.yaml", "--no-baselines", "--time-limit"]
    code, out, err = _finish(search(checkout, *flags, "0.1s"))
    assert code == 0, err
    assert "nothing more is graded; a larger --time-limit goes on from there" in err
    assert "ended at its time limit of 0.1 s with 0 of at most 6 graded" in out
    code, out, err = _finish(search(checkout, *flags, "30m"))
    assert code == 0, err
    assert "6 architectures graded" in out
    assert "of the time limit of 30 min 00 s" in err
    assert "ended at its time limit" not in out
    spent = re.search(r"The run has taken (\d+ min )?(\d+) s of 30 min 00 s", out)
    assert spent is not None, out
    # All that was there before counts: the same limit leaves the run as it is.
    code, again, err = _finish(search(checkout, *flags, "1s"))
    assert code == 0, err
    assert "6 architectures graded" in again
    assert "6/6" in err


def test_a_second_board_is_told_and_may_have_a_limit(checkout: Path) -> None:
    flags = ["--budget", "8", "--proxy", "fast.yaml", "--no-baselines", "--run", "two-boards"]
    flags += ["--device", "rpi4", "--limit", "rpi4_ms <= 9"]
    code, out, err = _finish(search(checkout, *flags))
    assert code == 0, err
    folder = checkout / "runs" / "two-boards"
    document = json.loads((folder / "pareto.json").read_text())
    assert (document["device"], document["limits"]) == ("fake", {"rpi4_ms": 9.0})
    assert "weighed" not in document
    assert len(document["front"]) > 1
    for row in document["front"]:
        other = row["boards"]["rpi4"]
        assert other["latency_ms"] <= 9
        assert other["latency_low_ms"] < other["latency_ms"] < other["latency_high_ms"]
        assert (row["latency_kind"], other["latency_kind"]) == ("predicted", "estimated")
    with (folder / "trials.csv").open(newline="") as file:
        trials = list(csv.DictReader(file))
    times = [float(row["on_rpi4_latency_ms"]) for row in trials]
    assert len(times) == 8
    assert max(times) <= 9
    assert re.search(r"\d+ over rpi4_ms <= 9", out)
    assert "rpi4, estimated" in " ".join(out.split())
    assert "of the limit" in (folder / "pareto.html").read_text(encoding="utf-8")
    code, _, err = _finish(search(checkout, *flags[:-4], "--device", "rpi4:int8"))
    assert code == 2
    assert "boards" in err
    for wrong, message in (
        (["--device", "fake"], "--device fake: each board is named once; got a second time"),
        (["--device", "rpi4:fp99"], "fp99"),
        (["--device", "nowhere"], "nowhere"),
        (["--limit", "rpi4_ms <= 9"], "a board that is not the first may have a limit"),
    ):
        code, _, err = _finish(search(checkout, *wrong, "--run", "none"))
        assert code == 2, err
        assert message.lower() in err.lower()
        assert not (checkout / "runs" / "none").exists()


def test_a_second_board_without_a_limit_is_weighed(checkout: Path) -> None:
    flags = ["--budget", "14", "--proxy", "fast.yaml", "--no-baselines", "--device", "rpi4"]
    code, out, err = _finish(search(checkout, *flags, "--run", "weighed", "--verify"))
    assert code == 0, err
    folder = checkout / "runs" / "weighed"
    document = json.loads((folder / "pareto.json").read_text())
    assert document["weighed"] == ["rpi4"]
    assert "The front weighs the latency on fake and rpi4" in out
    assert "the front weighs the latency on rpi4 as well" in (folder / "pareto.html").read_text(
        encoding="utf-8"
    )

    def each(row: dict[str, Any], ms: float) -> tuple[float, float, float]:
        return ms, row["boards"]["rpi4"]["latency_ms"], -row["score"]

    # Neither the predicted front nor that which was measured here has a point that another one
    # dominates on both boards; what was predicted and graded alike is either in it or dominated.
    rows = [*document["front"], *document["runners_up"]]
    predicted = {row["digest"]: each(row, row["latency_ms"]) for row in rows}
    measured = {row["digest"]: each(row, row["measured_ms"]) for row in rows}
    final = [one["digest"] for one in document["verification"]["front"]]
    for points, front in (
        (predicted, [row["digest"] for row in document["front"]]),
        (measured, final),
    ):
        kept = [
            digest
            for digest, own in points.items()
            if not any(
                other != own and all(a <= b for a, b in zip(other, own, strict=True))
                for other in points.values()
            )
        ]
        assert sorted(kept) == sorted(front)
    # A limit in its place is another run.
    limited = ["--limit", "rpi4_ms <= 9", "--run", "weighed"]
    code, _, err = _finish(search(checkout, *flags, *limited))
    assert code == 2
    assert "weighed: ['rpi4'] there, [] now" in err


def test_of_several_ways_to_run_each_detector_takes_the_fastest(checkout: Path) -> None:
    flags = ["--budget", "12", "--proxy", "fast.yaml", "--device", "rpi4", "--seed", "3"]
    ways = ["--runtime", "ncnn", "--runtime", "onnxruntime"]
    ways += ["--precision", "fp32", "--precision", "int8"]
    limits = ["--max-latency-ms", "40", "--limit", "file_mb <= 2"]
    code, out, err = _finish(search(checkout, *flags, *ways, *limits, device=None))
    assert code == 0, err
    assert "no choice, since there is no table of it: rpi4, onnxruntime int8, 4 threads" in err
    name = "tiny-pictures-rpi4-ncnn-fp32-4t-or-ncnn-int8-4t-or-onnxruntime-fp32-4t"
    name += "-or-onnxruntime-int8-4t-40ms-file_mb2-fast-seed3"
    folder = checkout / "runs" / name
    document = json.loads((folder / "pareto.json").read_text())
    space, keys = read_space("tiny"), ["ncnn-fp32-4t", "ncnn-int8-4t", "onnxruntime-fp32-4t"]
    tables = {key: load_table_model(TableKey.of_stem("rpi4", key), space=space) for key in keys}
    for row in document["front"]:
        spec, size = read_spec(folder / row["model"]), row["image_size"]
        each = {key: table.predict(spec, size).ms for key, table in tables.items()}
        assert row["way"] == min(each, key=lambda key: each[key])
        assert row["latency_ms"] == each[row["way"]]
        precision = row["way"].split("-")[1]
        assert row["file_mb"] == round(file_bytes(model_graph(spec, size), precision) / 1e6, 4) <= 2
        assert row["way"].split("-")[0] in (folder / row["model"]).read_text().splitlines()[1]
        assert row["way"] in out
    for path in (folder / "pareto.csv", folder / "trials.csv"):
        with path.open(newline="") as file:
            assert {row["way"] for row in csv.DictReader(file)} <= set(keys)
    told = {row["way"] for row in document["baselines"]}
    assert told <= set(keys)
    assert "each in its fastest way: ncnn fp32, 4 threads; ncnn int8, 4 threads;" in out
    page = (folder / "pareto.html").read_text(encoding="utf-8")
    assert "its fastest way: " in page
    # It goes on with the same ways alone, and grades nothing anew.
    again = [*flags, *ways, *limits, "--run", name]
    code, _, err = _finish(search(checkout, *again, device=None))
    assert code == 0, err
    assert "is finished: 12 graded" in err
    one_way = [*flags, *limits, "--run", name]
    code, _, err = _finish(search(checkout, *one_way, device=None))
    assert code == 2
    assert "ways: " in err
    for wrong, message in (
        (["--precision", "fp32", "--precision", "bf16"], "rpi4, ncnn bf16, 4 threads"),
        (["--threads", "4", "--threads", "3"], "The estimated ones are of 1 and 4 threads"),
        (["--threads", "4", "--threads", "0"], "there is at least 1 thread; got 0"),
        (["--runtime", "ncnn", "--runtime", "pytorch"], "pytorch"),
    ):
        code, _, err = _finish(search(checkout, *flags, *wrong, "--run", "none", device=None))
        assert code == 2, err
        assert message in err
        assert not (checkout / "runs" / "none").exists()


def test_without_a_device_it_is_an_estimated_pi_and_says_so(checkout: Path) -> None:
    flags = ("--budget", "9", "--proxy", "fast.yaml", "--max-latency-ms", "50")
    code, out, err = _finish(search(checkout, *flags, device=None))
    assert code == 0, err
    folder = checkout / "runs" / "tiny-pictures-rpi4-50ms-fast-seed0"
    document = json.loads((folder / "pareto.json").read_text())
    assert (document["device"], document["threads"]) == ("rpi4", 4)
    for point in document["front"]:
        assert point["latency_kind"] == "estimated"
        assert point["latency_low_ms"] < point["latency_ms"] < point["latency_high_ms"]
    with (folder / "trials.csv").open(newline="") as file:
        assert {row["latency_kind"] for row in csv.DictReader(file)} == {"estimated"}
    for model in (folder / "models").iterdir():
        assert "# estimated " in model.read_text()
    for text in (out, (folder / "pareto.html").read_text(encoding="utf-8")):
        for said in (
            "held-out networks of public logs",
            "public logs have never seen: ",
            "python -m nas.profile --device rpi4 --threads 4",
            "50 ms (estimated)",
        ):
            assert said in text
    assert "estimated ms" in out
    assert "measured ms" not in out
    assert "predicted" not in out
    assert "ms (estimated), " in err
    # The same run without its baselines: what was graded stays, they do not show.
    assert "baseline: plain" in (folder / "pareto.html").read_text(encoding="utf-8")
    code, out, err = _finish(search(checkout, *flags, "--no-baselines", device=None))
    assert code == 0, err
    assert "baseline: plain" not in (folder / "pareto.html").read_text(encoding="utf-8")


def test_a_run_begun_on_an_estimate_does_not_go_on_with_measured_times(checkout: Path) -> None:
    table = (checkout / "latency_tables" / "rpi4" / "ncnn-fp32-1t.estimated.json").read_text()
    (checkout / "latency_tables" / "fake" / "ncnn-fp32-2t.estimated.json").write_text(
        table.replace('"device": "rpi4"', '"device": "fake"').replace(
            '"threads": 1', '"threads": 2'
        )
    )
    flags = ("--proxy", "fast.yaml", "--threads", "2", "--budget")
    code, out, err = _finish(search(checkout, *flags, "4"))
    assert code == 0, err
    assert "estimated ms" in out
    profile = command(checkout, "nas.profile", "--device", "fake", "--space", "tiny")
    subprocess.run([*profile, "--threads", "2"], cwd=checkout, capture_output=True, check=True)
    code, out, err = _finish(search(checkout, *flags, "6"))
    assert code == 2
    assert "all latencies of a run come from one table" in err
    assert "estimated ones there, and predicted ones now" in err
    code, out, err = _finish(search(checkout, *flags, "6", "--run", "measured"))
    assert code == 0, err
    assert "predicted ms" in out
    assert "estimated" not in out


@pytest.mark.parametrize("size", [196_000, 2_000_000])
def test_a_full_disk_is_one_message_and_loses_nothing(checkout: Path, size: int) -> None:
    """In the middle of the search; while the report is written, whose figure is larger."""
    flags = ("--budget", "30", "--proxy", "fast.yaml", "--run", f"full{size}", "--no-baselines")
    shell = f"ulimit -f {size // 1024}; exec " + " ".join(
        command(checkout, "nas.search", "--device", "fake", "--space", "tiny", *flags)
    )
    full = subprocess.run(
        ["bash", "-c", f"{shell} --data pictures/data.yaml"],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert full.returncode == 2, full.stderr
    assert full.stderr.count("error:") == 1
    assert "Make room there. Nothing is lost: the same command goes on" in full.stderr
    assert "Traceback" not in full.stderr
    folder = checkout / "runs" / f"full{size}"
    kept = [p.name for p in folder.iterdir() if p.name != ".lock"]
    assert not [name for name in kept if name.startswith(".")], "nothing half-written"
    code, out, err = _finish(search(checkout, *flags))
    assert code == 0, err
    assert "30 architectures graded" in out
    found = re.search(r"goes on, (\d+) of 30|is finished: (\d+) graded", err)
    assert found is not None
    assert int(found[1] or found[2]) >= 1


def test_a_stranger_of_a_folder_and_of_a_shared_storage(checkout: Path) -> None:
    """`?` in the name; two folders of one name with one storage; a renamed folder goes on."""
    flags = ("--proxy", "slow.yaml", "--no-baselines", "--storage", "sqlite:///shared.db")
    first = search(checkout, *flags, "--budget", "12", "--run", "one/is it?")
    _wait_for(first, "1/12")
    code, out, err = _finish(search(checkout, *flags, "--budget", "12", "--run", "two/is it?"))
    assert (code, out) == (2, "")
    assert "one search at a time writes to a study; got one that process" in err
    assert f"in {checkout}/one/is it?, since" in err
    assert not (checkout / "two" / "is it?").exists()
    code, _, err = _finish(first)
    assert code == 0, err
    (checkout / "one" / "is it?").rename(checkout / "one" / "renamed")
    code, _, err = _finish(search(checkout, *flags, "--budget", "13", "--run", "one/renamed"))
    assert code == 0, err
    assert "goes on, 12 of 13 graded" in err


def test_what_is_in_flight_follows_the_run_and_not_the_machine(checkout: Path) -> None:
    (checkout / "three.yaml").write_text("kind: fake\nworkers: 5\nin_flight: 3\n")
    for proxy, given, kept in (("fast", "flight", IN_FLIGHT), ("three", "three", 3)):
        flags = ("--budget", "2", "--no-baselines", "--run", given)
        code, _, err = _finish(search(checkout, *flags, "--proxy", f"{proxy}.yaml"))
        assert code == 0, err
        assert read_settings(checkout / "runs" / given).in_flight == kept
    assert "3 of 5 workers have work" in err
    code, _, err = _finish(
        search(checkout, "--budget", "2", "--run", "flight", "--proxy", "three.yaml")
    )
    assert code == 2
    assert f"in_flight: {IN_FLIGHT} there, 3 now" in err


@pytest.mark.slow
def test_a_real_search_ends_in_a_real_map(checkout: Path) -> None:
    proxy = checkout / "real.yaml"
    settings = {
        "kind": "short_training",
        "steps": 12,
        "batch_size": 4,
        "image_scale": 1.0,
        "workers": 1,
    }
    further = {"baselines": 0, "regrade": {"least": 2}, "finish": {"picks": 1, "steps": 5}}
    proxy.write_text(yaml.safe_dump({**settings, **further}))
    code, out, err = _finish(search(checkout, "--budget", "2", "--proxy", "real.yaml"))
    assert code == 0, err
    folder = checkout / "runs" / "tiny-pictures-fake-real-seed0"
    document = json.loads((folder / "pareto.json").read_text())
    assert document["trials_finished"] == 2
    for point in document["front"]:
        assert point["score"] == point["map50_95"] <= point["map50"]
        assert point["score_kind"].startswith("short_training, mAP50-95 after 12 steps")
        assert (folder / point["model"]).is_file()
    assert "mAP50-95" in out
    assert read_settings(folder).data.names == ("cat", "dog")
    (taught,) = document["taught"]
    assert document["core_seconds"].keys() == {"search", "finalists", "teaching"}
    checkpoint = load_checkpoint(folder / taught["weights"])
    assert checkpoint.map50_95 == taught["map50_95"]
    assert checkpoint.names == ("cat", "dog")
    (point,) = [point for point in document["front"] if point["name"] == taught["name"]]
    assert checkpoint.image_size == point["image_size"]
    assert "mAP50-95 after 5 steps at its own image size from starter" in out
    # What is recorded is not done again; weights that are gone, and another length, are.
    weights = folder / taught["weights"]
    kept = next((folder / "taught").iterdir())
    written = kept.stat().st_mtime_ns
    assert _finish(search(checkout, "--budget", "2", "--proxy", "real.yaml"))[0] == 0
    assert kept.stat().st_mtime_ns == written
    kept.unlink()
    assert _finish(search(checkout, "--budget", "2", "--proxy", "real.yaml"))[0] == 0
    assert load_checkpoint(kept).map50_95 == checkpoint.map50_95
    assert all(
        torch.equal(value, checkpoint.weights[name])
        for name, value in load_checkpoint(weights).weights.items()
    )


@pytest.mark.slow
def test_a_search_by_shared_weights_teaches_them_once(checkout: Path) -> None:
    settings = {
        "kind": "shared_weights", "steps": 4, "batch_size": 4, "image_scale": 1.0, "workers": 2,
        "regrade": None, "baselines": 1, "finish": None,
    }  # fmt: skip
    (checkout / "shared.yaml").write_text(yaml.safe_dump(settings))
    flags = ("--proxy", "shared.yaml", "--run", "shared")
    code, _, err = _finish(search(checkout, "--budget", "2", *flags))
    assert code == 0, err
    assert "teaching the weights that all candidates share, once" in err
    document = json.loads((checkout / "runs" / "shared" / "pareto.json").read_text())
    assert all(p["score_kind"].startswith("shared_weights, mAP50-95") for p in document["front"])
    # The grid is of the space, hand-designed detectors are not.
    assert "baselines, grid: 1/1" in err
    assert "hand-designed" not in err
    code, _, err = _finish(search(checkout, "--budget", "3", *flags))
    assert code == 0, err
    assert "goes on, 2 of 3 graded" in err
    assert "teaching" not in err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--max-latency-ms", "0.001"], "the fastest of tiny takes 0."),
        (["--limit", "params <= 100"], "params <= 100 leaves out 100% of 300 random ones, and the"),
        (
            ["--limit", "params < 1e6"],
            '--limit "params < 1e6": a limit is NAME <= NUMBER; got no <=',
        ),
        (["--limit", "weight <= 4"], "the name is one of params, macs, file_mb, memory_mb; got"),
        (["--time-limit", "20"], "a time limit is a number above 0 with s, m or h; got '20'"),
        (["--time-limit", "0s"], "a time limit is a number above 0 with s, m or h; got '0s'"),
        (["--budget", "0"], "--budget: the budget is at least 1; got 0"),
        (["--threads", "4"], "python -m nas.profile --device fake --threads 4"),
        (["--threads", "0"], "--threads: there is at least 1 thread; got 0"),
        (["--seed", "-1"], "--seed: the seed is 0 to 2**32 - 1; got -1"),
        (["--seed", str(2**70)], "--seed: the seed is 0 to 2**32 - 1; got"),
        (["--host", "pi@board"], "--host: a search logs in to a board for --verify alone"),
        (["--host", "pi@board", "--verify"], "device fake is a board that one can log in to"),
        (["--storage", ""], "--storage: the storage is a database URL, or journal:PATH; got ''"),
        (["--device", "toaster"], "A new board needs a file of ten lines"),
    ],
)
def test_a_mistake_is_one_message(checkout: Path, flags: list[str], message: str) -> None:
    code, out, err = _finish(search(checkout, "--proxy", "fast.yaml", "--run", "mistake", *flags))
    assert code == 2
    assert out == ""
    assert message in err
    assert err.count("error:") == 1
    assert "Traceback" not in err
    assert not (checkout / "runs" / "mistake").exists()


@pytest.mark.slow
def test_too_few_validation_images_are_said_before_anything_begins(checkout: Path) -> None:
    boxes = {f"{i}": "0 0.5 0.5 0.4 0.4\n" for i in range(9)}
    few = dict(list(boxes.items())[:5])
    write_data(checkout / "few", {"train": boxes, "val": few}, size=(64, 64))
    (checkout / "short.yaml").write_text("kind: short_training\nsteps: 2\n")
    flags = ("--proxy", "short.yaml", "--run", "few", "--data", "few/data.yaml")
    code, _, err = _finish(search(checkout, *flags))
    assert code == 2
    assert "at least 8 validation images; got 5" in err
    assert "Move 3 or more images of the training part there" in err
    assert not (checkout / "runs" / "few").exists()
