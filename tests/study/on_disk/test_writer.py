"""One search at a time writes to a study, on one machine or several; a dead one gives way."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.study.on_disk.record import Record
from nas.study.on_disk.storage import StorageError, open_storage
from nas.study.on_disk.writer import (
    WRITER,
    Claim,
    Life,
    holding,
    life,
    own_claim,
    read_claim,
)
from tests.study.boards import candidates_of, notebook
from tests.study.on_disk.test_record import fill

SCHEMES = ["sqlite:///{}/study.db", "journal:{}/study.log"]

HOLDER = """
import sys, time
from pathlib import Path
from nas.study.on_disk.record import Record
record = Record(sys.argv[1], "run")
with record.hold(Path(sys.argv[2])):
    print("holds", flush=True)
    time.sleep(600)
"""


class Elsewhere:
    """Another machine's search, as far as its study shows it: it beats while time passes here."""

    def __init__(self, url: str, name: str = "run", *, beats: bool) -> None:
        self.place = url
        self.storage = open_storage(url)
        self.study_id = self.storage.get_study_id_from_name(name)
        # Its clock is a century off: nothing may depend on it.
        self.claim = own_claim(Path("/home/other/a")).model_copy(
            update={"machine": "another", "host": "pi", "since": "1926-01-01 00:00:00 +0000"}
        )
        self.beats = beats
        self.waited = 0.0
        self.write()

    def write(self) -> None:
        self.storage.set_study_user_attr(self.study_id, WRITER, self.claim.model_dump())

    def pause(self, seconds: float) -> None:
        self.waited += seconds
        if self.beats and self.waited % 15 == 0:
            self.claim = self.claim.model_copy(update={"beat": self.claim.beat + 1})
            self.write()


def _hold(other: Elsewhere) -> None:
    with holding(
        other.storage,
        other.study_id,
        other.place,
        Path("b"),
        settle_s=0.0,
        pause=other.pause,
    ):
        pass


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_second_one_is_refused_by_name(tmp_path: Path, scheme: str) -> None:
    url = scheme.format(tmp_path)
    first, second = Record(url, "run"), Record(url, "run")
    with first.hold(tmp_path / "a"):
        before = first.asked()
        with (
            pytest.raises(StorageError, match="one search at a time writes to a study") as error,
            second.hold(tmp_path / "b"),
        ):
            pass
        assert f"in {tmp_path}/a, since" in str(error.value)
        assert "Wait for the other search to end, or name another --run" in str(error.value)
        assert first.asked() == before
        fill(first, notebook(), 3)
    with second.hold(tmp_path / "b"):
        fill(second, notebook(), 5)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_killed_one_gives_way_at_once(tmp_path: Path, scheme: str) -> None:
    url = scheme.format(tmp_path)
    running = subprocess.Popen(
        [sys.executable, "-c", HOLDER, url, str(tmp_path / "a")], stdout=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "holds\n"
    record = Record(url, "run")
    with pytest.raises(StorageError, match=f"process {running.pid} on "), record.hold(tmp_path):
        pass
    running.send_signal(signal.SIGKILL)
    while life(_claim(url)) is Life.LIVES:  # not reaped yet: a zombie is dead
        time.sleep(0.05)
    begin = time.monotonic()
    with record.hold(tmp_path):
        assert time.monotonic() - begin < 20
    running.communicate()


def _claim(url: str) -> Claim:
    storage = open_storage(url)
    found = read_claim(storage, storage.get_study_id_from_name("run"), url)
    assert found is not None
    return found


@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_that_beats_on_another_machine_is_refused(tmp_path: Path, scheme: str) -> None:
    url = scheme.format(tmp_path)
    Record(url, "run")
    other = Elsewhere(url, beats=True)
    with pytest.raises(StorageError, match="on pi searches, in /home/other/a"):
        _hold(other)
    assert other.waited <= 20
    assert _claim(url) == other.claim


@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_that_is_silent_on_another_machine_gives_way(tmp_path: Path, scheme: str) -> None:
    url = scheme.format(tmp_path)
    Record(url, "run")
    other = Elsewhere(url, beats=False)
    _hold(other)
    assert 55 <= other.waited <= 65
    assert _claim(url).token is None


def test_one_that_ends_meanwhile_gives_way(tmp_path: Path) -> None:
    url = SCHEMES[0].format(tmp_path)
    Record(url, "run")
    other = Elsewhere(url, beats=False)
    other.claim = other.claim.model_copy(update={"token": None})
    pause: Callable[[float], None] = other.pause

    def end(seconds: float) -> None:
        pause(seconds)
        other.write()

    other.pause = end  # type: ignore[method-assign]
    _hold(other)
    assert other.waited <= 2


@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_that_was_overtaken_writes_nothing(tmp_path: Path, scheme: str) -> None:
    """It slept for so long that another one took over."""
    url = scheme.format(tmp_path)
    record = Record(url, "run")
    with record.hold(tmp_path / "a"):
        fill(record, notebook(), 2)
        Elsewhere(url, beats=False)
        before = record.asked()
        with pytest.raises(StorageError, match=r"one search at a time.*on pi"):
            fill(record, notebook(), 4)
        assert record.asked() == before
    assert _claim(url).host == "pi", "it does not give back what is not its own"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_of_two_that_begin_together_one_writes(tmp_path: Path, scheme: str) -> None:
    url = scheme.format(tmp_path)
    records = [Record(url, "run") for _ in range(3)]
    together = threading.Barrier(3)
    held: list[int] = []
    refused: list[str] = []

    def begin(index: int) -> None:
        together.wait()
        try:
            with records[index].hold(tmp_path / f"{index}"):
                held.append(index)
                time.sleep(2.5)
        except StorageError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=begin, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(held) == 1, refused
    assert all("one search at a time" in text for text in refused)


def test_a_trial_lands_on_its_own_number_or_nowhere(tmp_path: Path) -> None:
    """Two records of one study without a holder: what another one wrote is never scored."""
    url = SCHEMES[0].format(tmp_path)
    mine, other = Record(url, "run"), Record(url, "run")
    heard = 0

    def interfere(standing: object) -> None:
        nonlocal heard
        heard += 1
        if heard == 2:
            fill(other, notebook(), 8)

    with pytest.raises(StorageError, match="one search at a time"):
        fill(mine, notebook(), 8, observe=interfere)
    right = notebook()
    for asked in Record(url, "run").asked():
        if asked.score is not None:
            candidate = candidates_of("tiny").rebuild(asked.choices)
            assert asked.score.score == right.score(candidate, 0).score


def test_a_beat_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.study.on_disk.writer.BEAT_S", 0.05)
    url = SCHEMES[1].format(tmp_path)
    record = Record(url, "run")
    with record.hold(tmp_path):
        first = _claim(url).beat
        deadline = time.monotonic() + 20
        while _claim(url).beat == first and time.monotonic() < deadline:
            time.sleep(0.05)
        assert _claim(url).beat > first
