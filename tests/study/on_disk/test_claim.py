"""A run is known by what is in it: its folder may be renamed, moved, copied, and goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import optuna
import pytest
import yaml

from nas.study.on_disk.claim import claimed
from nas.study.on_disk.folder import study_name
from nas.study.on_disk.record import Record
from nas.study.on_disk.run import identity, open_run, read_settings
from nas.study.on_disk.storage import StorageError
from tests.study.boards import notebook
from tests.study.on_disk.test_record import fill
from tests.study.on_disk.test_run import some_settings

SHARED = [None, "sqlite:///{}/shared.db", "journal:{}/shared.log"]


def _go_on(folder: Path, storage: str | None, budget: int, **changes: object) -> int:
    """Searches in the folder as the command does; returns how many were graded before."""
    known = folder / "settings.yaml"
    study = read_settings(folder).study if known.exists() else study_name(folder)
    settings = some_settings(study=study, **changes)
    with open_run(folder, settings) as run, claimed(run, storage) as record:
        before = record.graded_count()
        fill(record, notebook(), budget)
    return before


@pytest.mark.parametrize("scheme", SHARED)
def test_renamed_moved_and_copied(tmp_path: Path, scheme: str | None) -> None:
    storage = scheme and scheme.format(tmp_path)
    assert _go_on(tmp_path / "a", storage, 2) == 0
    (tmp_path / "a").rename(tmp_path / "b")
    assert _go_on(tmp_path / "b", storage, 3) == 2
    (tmp_path / "disk" / "deep").mkdir(parents=True)
    shutil.move(tmp_path / "b", tmp_path / "disk" / "deep" / "is it?")
    assert _go_on(tmp_path / "disk" / "deep" / "is it?", storage, 4) == 3
    shutil.copytree(tmp_path / "disk" / "deep" / "is it?", tmp_path / "c")
    assert _go_on(tmp_path / "c", storage, 5) == 4
    # With a storage of its own the first one stands where it stood; a shared one is one study.
    assert _go_on(tmp_path / "disk" / "deep" / "is it?", storage, 5) == (5 if storage else 4)


def test_a_copy_on_a_shared_storage_is_said_to_be_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = f"sqlite:///{tmp_path}/shared.db"
    _go_on(tmp_path / "a", storage, 2)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert "last searched" not in caplog.text
    _go_on(tmp_path / "b", storage, 3)
    assert f"the study was last searched from {tmp_path}/a on " in caplog.text
    with Record(storage, "a", identity(some_settings())).hold(tmp_path / "a"):
        with pytest.raises(StorageError, match="one search at a time"):
            _go_on(tmp_path / "b", storage, 4)
        assert read_settings(tmp_path / "b").budget == 10, "the copy is as it was"


@pytest.mark.parametrize("scheme", SHARED)
@pytest.mark.parametrize("others", [0, 2])
def test_a_run_begun_before_settings_named_the_study(
    tmp_path: Path, scheme: str | None, others: int
) -> None:
    storage = scheme and scheme.format(tmp_path)
    _go_on(tmp_path / "a", storage, 3)
    for number in range(others if storage else 0):
        _go_on(tmp_path / f"other{number}", storage, 1, seed=1 + number)
    path = tmp_path / "a" / "settings.yaml"
    document = yaml.safe_load(path.read_text())
    del document["study"]
    path.write_text(yaml.safe_dump(document))
    (tmp_path / "a").rename(tmp_path / "b")
    assert _go_on(tmp_path / "b", storage, 4) == 3
    assert read_settings(tmp_path / "b").study == "a", "from now on it is said"


def test_the_larger_of_two_that_the_old_fault_left(tmp_path: Path) -> None:
    """It was renamed, began at 0 beside the old study, and is renamed once more."""
    mark = identity(some_settings())
    with open_run(tmp_path / "c", some_settings()):
        pass
    for name, budget in (("a", 4), ("b", 2)):
        fill(Record(tmp_path / "c" / "study.db", name, mark), notebook(), budget)
    assert _go_on(tmp_path / "c", None, 5) == 4


@pytest.mark.parametrize("scheme", SHARED[1:])
def test_a_new_run_that_is_refused_leaves_nothing(tmp_path: Path, scheme: str) -> None:
    storage = scheme.format(tmp_path)
    _go_on(tmp_path / "1" / "a", storage, 2)
    for changes in ({"seed": 1}, {"max_latency_ms": 1.0}):
        with pytest.raises(StorageError, match="Name another --run or --storage"):
            _go_on(tmp_path / "2" / "a", storage, 2, **changes)
        assert not (tmp_path / "2" / "a").exists()
    # The remedy, and the same run from another folder: its trials would be the same ones.
    assert _go_on(tmp_path / "2" / "b", storage, 2, seed=1) == 0
    assert _go_on(tmp_path / "3" / "a", storage, 3) == 2


def test_somebody_elses_study_is_not_ours(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/shared.db"
    study = optuna.create_study(study_name="a", storage=storage)
    study.ask()
    with pytest.raises(StorageError, match="a study that no search of this kind has begun"):
        _go_on(tmp_path / "a", storage, 2)
    assert optuna.load_study(study_name="a", storage=storage).user_attrs == {}


def test_a_damaged_study_is_left_as_it_is(tmp_path: Path) -> None:
    _go_on(tmp_path / "a", None, 2)
    (tmp_path / "a" / "study.db").write_bytes(b"")
    kept = {p.name: p.read_bytes() for p in (tmp_path / "a").iterdir()}
    with pytest.raises(StorageError, match="an empty file"):
        _go_on(tmp_path / "a", None, 3)
    assert {p.name: p.read_bytes() for p in (tmp_path / "a").iterdir()} == kept
    (tmp_path / "a" / "study.db").unlink()
    assert _go_on(tmp_path / "a", None, 3) == 0


def test_a_study_has_a_name_that_any_database_takes() -> None:
    assert study_name(Path("x/数据 ü")) == "数据 ü"
    assert study_name(Path("x/b\udcff")) == "b\\xff"
