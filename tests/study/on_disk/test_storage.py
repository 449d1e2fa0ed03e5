"""A storage that is damaged, away or full: one message with a remedy that works, nothing lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from nas.study.on_disk.record import BASELINE, Asked, Record
from nas.study.on_disk.storage import Place, StorageError, file_of, open_storage
from nas.study.trial import Outcome
from tests.study.boards import candidates_of, notebook
from tests.study.on_disk.test_record import fill

PAGE = 4096


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of some trials and further scores."""
    file = tmp_path_factory.mktemp("whole") / "study.db"
    _fill(file)
    return file


def _fill(place: Place) -> None:
    record = Record(place, "run", "mine")
    fill(record, notebook(), 6)
    candidate = candidates_of("tiny").build(lambda name, options: options[0])
    record.keep_score(BASELINE, candidate.digest, 0, notebook().score(candidate, 0))


def _read(place: Place) -> tuple[tuple[Asked, ...], object]:
    record = Record(place, "run", "mine", is_begun=True)
    return record.asked(), record.scores(BASELINE)


def test_any_page_damaged(tmp_path: Path, whole: Path) -> None:
    """Said when the study is opened; or the page is empty, and everything is there as it was."""
    rng = np.random.default_rng(0)
    file = tmp_path / "study.db"
    right = _read(whole)
    refused: list[str] = []
    for page in range(whole.stat().st_size // PAGE):
        for part in (slice(0, PAGE), slice(PAGE // 2, PAGE)):
            shutil.copy(whole, file)
            content = bytearray(file.read_bytes())
            place = slice(page * PAGE + part.start, page * PAGE + part.stop)
            content[place] = rng.bytes(part.stop - part.start)
            file.write_bytes(content)
            try:
                found = _read(file)
            except StorageError as error:
                refused.append(str(error))
                assert file.read_bytes() == content, "nothing was touched"
            else:
                assert found == right
    assert len(refused) > 20
    for message in refused:
        assert message.startswith(f"{file}")
        assert "damaged" in message
        assert f"Put a copy of {file} back" in message


@pytest.mark.parametrize("length", [0, 10, 4096, 30000])
def test_cut_off(tmp_path: Path, whole: Path, length: int) -> None:
    file = tmp_path / "study.db"
    file.write_bytes(whole.read_bytes()[:length])
    with pytest.raises(StorageError, match="damaged") as error:
        _read(file)
    assert "the same command begins anew" in str(error.value)
    # The two remedies.
    shutil.copy(whole, file)
    assert _read(file) == _read(whole)
    file.unlink()
    assert _read(file) == ((), {})


@pytest.mark.parametrize(
    "content", [b"no database\n", b"\0" * 5000, b"SQLite format 3\0" + b"x" * 90]
)
def test_no_database_at_all(tmp_path: Path, content: bytes) -> None:
    for place in (tmp_path / "study.db", f"sqlite:///{tmp_path}/study.db"):
        (tmp_path / "study.db").write_bytes(content)
        with pytest.raises(StorageError, match="damaged"):
            _read(place)
        assert (tmp_path / "study.db").read_bytes() == content


def test_a_file_that_somebody_made_ready_is_filled(tmp_path: Path) -> None:
    (tmp_path / "study.db").touch()
    assert Record(f"sqlite:///{tmp_path}/study.db", "run").asked() == ()


def test_a_folder_is_no_study(tmp_path: Path) -> None:
    for place in (tmp_path, f"journal:{tmp_path}"):
        with pytest.raises(StorageError, match="got a folder"):
            _read(place)


@pytest.mark.parametrize(
    "damage", [b"\0\xff\xfe", b"{", b'{"op_code":77}', b'{"op_code":5}', b"[]", b'{"worker_id":1}']
)
def test_a_damaged_journal(tmp_path: Path, damage: bytes) -> None:
    file = tmp_path / "study.log"
    _fill(f"journal:{file}")
    lines = file.read_bytes().split(b"\n")
    lines[len(lines) // 2] = damage
    file.write_bytes(b"\n".join(lines))
    with pytest.raises(StorageError, match="damaged"):
        _read(f"journal:{file}")
    assert file.read_bytes() == b"\n".join(lines)


def test_an_empty_journal_has_lost_its_trials(tmp_path: Path) -> None:
    (tmp_path / "study.log").touch()
    with pytest.raises(StorageError, match="an empty file"):
        _read(f"journal:{tmp_path}/study.log")
    assert Record(f"journal:{tmp_path}/study.log", "run").asked() == ()


def test_half_a_line_at_a_journals_end_is_taken_off(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk leaves it; the next line would be glued to it, and nothing be read any more."""
    file = tmp_path / "study.log"
    _fill(f"journal:{file}")
    right = _read(f"journal:{file}")
    with file.open("ab") as opened:
        opened.write(b'{"op_code":4,"study_id":0,')
    assert _read(f"journal:{file}") == right
    assert "ends in half a line" in caplog.text
    fill(Record(f"journal:{file}", "run", "mine"), notebook(), 9)
    found, _ = _read(f"journal:{file}")
    assert len([a for a in found if a.outcome is Outcome.GRADED]) == 9


def test_a_storage_that_goes_away_in_the_middle(tmp_path: Path) -> None:
    (tmp_path / "drive").mkdir()
    place = f"journal:{tmp_path}/drive/study.log"
    record = Record(place, "run", "mine")
    fill(record, notebook(), 2)
    (tmp_path / "drive").rename(tmp_path / "away")
    with pytest.raises(StorageError, match="Nothing is lost: the same command goes on") as error:
        fill(record, notebook(), 4)
    assert str(error.value).startswith(f"--storage {place}")
    (tmp_path / "away").rename(tmp_path / "drive")
    fill(Record(place, "run", "mine"), notebook(), 4)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:secret@127.0.0.1:1/nas",
        "postgresql://h:port/nas",
        "sqlite:///{nothing}/s.db",
        "nosuch://x",
        "journal:/nowhere/at/all.log",
        "",
        ":",
    ],
)
def test_a_url_that_leads_nowhere(url: str) -> None:
    with pytest.raises(StorageError) as error:
        open_storage(url)
    assert "secret" not in str(error.value)
    assert "Correct it, or see that it answers" in str(error.value)


@pytest.mark.parametrize("name", ["is it?", "50%", "%20", "#1", "a b", "{x}", "数据", "-x", "a\nb"])
def test_a_file_of_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    _fill(folder / "study.db")
    assert [p.name for p in folder.iterdir()] == ["study.db"]
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert len(_read(folder / "study.db")[0]) >= 6


def test_where_the_file_of_a_place_is(tmp_path: Path) -> None:
    assert file_of(tmp_path / "a?b") == tmp_path / "a?b"
    assert file_of(f"sqlite:///{tmp_path}/a.db") == tmp_path / "a.db"
    assert file_of(f"journal:{tmp_path}/a.log") == tmp_path / "a.log"
    for url in ("sqlite://", "sqlite:///:memory:", "mysql://me@host/nas", "nonsense"):
        assert file_of(url) is None
