"""A run's folder: resumed by equal settings alone, held by one search, never half-written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from nas import NasError
from nas.accuracy import FakeSettings, ShortTrainingSettings
from nas.latency.answer import LatencyKind
from nas.study.on_disk.folder import RunError, check_folder
from nas.study.on_disk.run import (
    FORMAT,
    DataSettings,
    LatencySettings,
    Settings,
    SpaceSettings,
    fingerprint,
    identity,
    open_run,
    read_settings,
)
from nas.terminal import run_folder
from tests.study.boards import MacBoard, candidates_of


def some_settings(**changes: Any) -> Settings:
    """The settings of a run, with some of them changed."""
    return Settings(
        format=FORMAT,
        space=SpaceSettings(name="tiny", digest="1" * 16),
        data=DataSettings(
            name="shapes", digest="2" * 16, names=("disc", "Größe: ½"), anchors=((1.0, 2.5),) * 3
        ),
        latency=LatencySettings(
            device="fake", runtime="ncnn", precision="fp32", threads=1, fingerprint="3" * 16
        ),
        max_latency_ms=None,
        proxy=ShortTrainingSettings(),
        sampler="tpe",
        seed=0,
        in_flight=4,
        storage="study.db",
        budget=10,
        versions={"optuna": "5.0.0"},
        begun="2026-01-01 00:00:00 +0000",
    ).model_copy(update=changes)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    settings = some_settings()
    with open_run(tmp_path / "a", settings) as run:
        assert run.is_new
    assert read_settings(tmp_path / "a") == settings
    with open_run(tmp_path / "a", settings) as run:
        assert not run.is_new
        assert run.settings == settings


def test_the_budget_may_grow_and_never_shrinks(tmp_path: Path) -> None:
    for given, kept in ((10, 10), (30, 30), (20, 30)):
        with open_run(tmp_path / "a", some_settings(budget=given)) as run:
            assert run.settings.budget == kept
        assert read_settings(tmp_path / "a").budget == kept


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_latency_ms": 40.0}, "max_latency_ms: None there, 40.0 now"),
        ({"seed": 1}, "seed: 0 there, 1 now"),
        ({"sampler": "random"}, "sampler: tpe there, random now"),
        (
            {"proxy": ShortTrainingSettings(steps=3)},
            f"proxy.steps: {ShortTrainingSettings().steps} there, 3 now",
        ),
        ({"proxy": FakeSettings()}, "proxy.kind: short_training there, fake now"),
        ({"space": SpaceSettings(name="tiny", digest="9" * 16)}, f"space.digest: {'1' * 16} there"),
        (
            {"seed": 2, "max_latency_ms": 1.0},
            "max_latency_ms: None there, 1.0 now; seed: 0 there, 2 now",
        ),
    ],
)
def test_other_settings_are_refused_by_name(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with open_run(tmp_path / "a", some_settings()):
        pass
    before = sorted((p.name, p.read_bytes()) for p in (tmp_path / "a").iterdir())
    with pytest.raises(RunError) as error, open_run(tmp_path / "a", some_settings(**changes)):
        pass
    assert message in str(error.value)
    assert "--run NAME" in str(error.value)
    assert sorted((p.name, p.read_bytes()) for p in (tmp_path / "a").iterdir()) == before


@pytest.mark.parametrize(
    ("before", "now", "message"),
    [
        ("estimated", "predicted", "got estimated ones there, and predicted ones now"),
        ("estimated", "estimated", "and another table of the same key"),
        (None, "predicted", "got of a table there, and predicted ones now"),
    ],
)
def test_another_latency_table_is_named_as_that(
    tmp_path: Path, before: str | None, now: str, message: str
) -> None:
    first, second = (
        some_settings(
            latency=some_settings().latency.model_copy(
                update={"kind": kind and LatencyKind(kind), "fingerprint": digit * 16}
            )
        )
        for kind, digit in ((before, "3"), (now, "4"))
    )
    assert identity(first) != identity(second)
    with open_run(tmp_path / "a", first):
        pass
    assert read_settings(tmp_path / "a") == first
    with pytest.raises(RunError) as error, open_run(tmp_path / "a", second):
        pass
    assert message in str(error.value)
    assert "another run on the new table with --run NAME" in str(error.value)


def test_a_run_that_does_not_say_its_kind_of_latency_goes_on(tmp_path: Path) -> None:
    now = some_settings(
        latency=some_settings().latency.model_copy(update={"kind": LatencyKind.PREDICTED})
    )
    assert identity(some_settings()) == identity(now)
    for settings in (some_settings(), now):
        with open_run(tmp_path / "a", settings):
            pass


@pytest.mark.parametrize("change", [{"workers": 3}, {"regrade": None}, {"baselines": 0}])
def test_what_no_trial_depends_on_may_change(tmp_path: Path, change: dict[str, Any]) -> None:
    first, second = some_settings(), some_settings(proxy=ShortTrainingSettings(**change))
    for settings in (first, second):
        with open_run(tmp_path / "a", settings) as run:
            assert run.settings.proxy == settings.proxy
    assert identity(first) == identity(second)
    assert identity(first) != identity(some_settings(seed=1))


def test_what_was_added_since_leaves_a_run_that_lacks_it_as_it_was(tmp_path: Path) -> None:
    """A study is known by its settings' identity, which must not change under an older run."""
    assert identity(some_settings()) == "e3cbcea1154039f3"
    way = some_settings().latency
    others = [some_settings(ways=(way,)), some_settings(boards=(way,))]
    assert len({identity(one) for one in (some_settings(), *others)}) == 3
    with open_run(tmp_path / "a", some_settings()):
        pass
    path = tmp_path / "a" / "settings.yaml"
    kept = [
        line for line in path.read_text().splitlines() if line not in ("ways: []", "boards: []")
    ]
    assert len(kept) == len(path.read_text().splitlines()) - 2
    path.write_text("\n".join(kept) + "\n")
    with open_run(tmp_path / "a", some_settings()) as run:
        assert not run.is_new
    with (
        pytest.raises(RunError, match="ways: "),
        open_run(tmp_path / "a", others[0]),
    ):
        pass


def test_other_versions_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_run(tmp_path / "a", some_settings()):
        pass
    with open_run(tmp_path / "a", some_settings(versions={"optuna": "6.0.0"})) as run:
        assert run.settings.versions == {"optuna": "5.0.0"}
    assert "optuna 5.0.0 -> 6.0.0" in caplog.text


def test_one_search_at_a_time(tmp_path: Path) -> None:
    with open_run(tmp_path / "a", some_settings()):
        with (
            pytest.raises(RunError, match="one search at a time"),
            open_run(tmp_path / "a", some_settings()),
        ):
            pass
        with open_run(tmp_path / "b", some_settings()):
            pass
    with open_run(tmp_path / "a", some_settings()):
        pass


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(RunError, match="empty"), open_run(tmp_path, some_settings()):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("format: 1\n", "settings.yaml, space: field required; got nothing"),
        ("{", "plain YAML"),
        ("format: 7\n", "settings.yaml, format: input should be 2; got 7"),
    ],
)
def test_damaged_settings_are_one_message(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "settings.yaml").write_text(text)
    with pytest.raises(RunError) as error, open_run(tmp_path, some_settings()):
        pass
    assert message in str(error.value)


def test_a_run_begun_before_there_were_weights_to_cut_began_with_none(tmp_path: Path) -> None:
    own = ShortTrainingSettings(pretrained="none", frozen_stages=0)
    document = some_settings(proxy=own).model_dump(mode="json")
    for key in ("pretrained", "frozen_stages"):
        del document["proxy"][key]
    del document["seed_weights"]
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump({**document, "format": 1}))
    assert read_settings(tmp_path) == some_settings(proxy=own)
    with (
        pytest.raises(RunError, match=r"proxy\.pretrained: none there, starter now"),
        open_run(tmp_path, some_settings()),
    ):
        pass


def test_other_weights_under_the_same_name_are_another_run(tmp_path: Path) -> None:
    with open_run(tmp_path / "a", some_settings(seed_weights="4" * 16)):
        pass
    with (
        pytest.raises(RunError, match="seed_weights: 4444444444444444 there, 5555555555555555 n"),
        open_run(tmp_path / "a", some_settings(seed_weights="5" * 16)),
    ):
        pass


def test_a_run_has_a_name_or_is_a_folder() -> None:
    assert run_folder("a") == Path("runs/a")
    assert run_folder("runs/a") == Path("runs/a")
    assert run_folder("/elsewhere/a") == Path("/elsewhere/a")
    assert run_folder("./a") == run_folder("a/") == Path("a")
    assert run_folder("is it better?") == Path("runs/is it better?")
    for nothing in ("", " ", ".", "..", "/", "./", "a/..", "runs/.."):
        with pytest.raises(NasError, match="a run has a name, or is a folder"):
            run_folder(nothing)


@pytest.mark.parametrize("name", ["file", "file/a", "file/a/b", "dangling/a", "n" * 300])
def test_a_folder_that_can_be_none_is_one_message(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(RunError, match="Name another --run"):
        check_folder(tmp_path / name)
    with pytest.raises(RunError), open_run(tmp_path / name, some_settings()):
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dangling", "file"]


def test_a_folder_where_no_file_can_be_made_is_one_message() -> None:
    with (
        pytest.raises(NasError, match=r"^/proc/nas: the run's files can be written; got .*--run"),
        open_run(Path("/proc/nas"), some_settings()),
    ):
        pass


def test_want_of_room_is_said_before_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=10**6))
    with pytest.raises(RunError, match=r"8 MB; got 1\.0 MB\. Make room there"):
        check_folder(tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_killed_searchs_lock_is_free(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from nas.study.on_disk.run import open_run;"
        "from tests.study.on_disk.test_run import some_settings\n"
        "with open_run(Path(sys.argv[1]), some_settings()):\n"
        "    print('holds', flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "a")], stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "holds\n"
        with pytest.raises(RunError, match="one search"), open_run(tmp_path / "a", some_settings()):
            pass
        running.kill()
        running.wait()
        with open_run(tmp_path / "a", some_settings()) as run:
            assert not run.is_new


def test_a_latency_model_is_known_by_its_predictions() -> None:
    space = candidates_of("tiny").space
    assert fingerprint(MacBoard(), space) == fingerprint(MacBoard(), space)
    assert fingerprint(MacBoard(1.001), space) != fingerprint(MacBoard(), space)
