"""What a run takes over of earlier ones: read whole, described as here, kept, and never doubled."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.accuracy import FakeSettings, MacsSettings, SharedWeightsSettings, ShortTrainingSettings
from nas.space.search_space import SearchSpace, parse_space
from nas.study.conduct import opening
from nas.study.loop import Search, SearchPlan
from nas.study.on_disk.claim import claimed
from nas.study.on_disk.folder import RunError
from nas.study.on_disk.run import SpaceSettings, open_run, read_settings
from nas.study.on_disk.warm_start import (
    FILE,
    FRONT,
    EarlierRun,
    TakenRun,
    described,
    kept_runs,
    read_earlier,
    take_over,
)
from nas.study.pareto import non_dominated
from nas.study.surrogate.description import NAMES
from nas.study.surrogate.pool import CandidatePool
from nas.study.workers import Inline
from tests.study.boards import LARGE, MacBoard, candidates_of, notebook
from tests.study.on_disk.test_run import some_settings

BOARD = MacBoard(25.0)
"""Another board than that of the earlier runs."""


def searched(folder: Path, budget: int = 16, **changes: Any) -> Path:
    """A run of the tiny space, graded by the fake proxy on a board of its own."""
    candidates = candidates_of("tiny")
    named = SpaceSettings(name="tiny", digest=candidates.space.digest)
    settings = some_settings(**({"space": named, "proxy": FakeSettings()} | changes))
    with open_run(folder, settings) as run, claimed(run, None) as record:
        Search(
            candidates=candidates,
            model=MacBoard(),
            grader=Inline(notebook()),
            record=record,
            plan=SearchPlan(sampler="random", seed=0, limit_ms=None, in_flight=2),
        ).run(budget)
    return folder


def _read(folder: Path, space: SearchSpace | None = None, **changes: Any) -> EarlierRun:
    given: dict[str, Any] = {"proxy": FakeSettings(), "own": Path("elsewhere")} | changes
    return read_earlier(folder, space or candidates_of("tiny").space, 6, **given)


def _taken(folder: Path, limit_ms: float | None = None) -> TakenRun:
    return described(_read(folder), candidates_of("tiny"), BOARD, limit_ms)


def test_what_was_graded_is_described_as_it_would_be_here(tmp_path: Path) -> None:
    found = _taken(searched(tmp_path / "a"))
    assert len(found.scores) == len(found.rows) == 16
    candidates = candidates_of("tiny")
    pool = CandidatePool(candidates, BOARD, None, 0)
    run = _read(tmp_path / "a")
    for row, candidate in zip(found.rows, run.candidates, strict=True):
        own = candidates.rebuild(dict(candidate.choices))
        np.testing.assert_array_equal(row, pool.member(own).row)
    assert found.earlier.rows.shape == (16, len(pool.member(own).row))


def test_the_front_on_this_board_is_asked_first_and_each_once(tmp_path: Path) -> None:
    found, run = _taken(searched(tmp_path / "a")), _read(tmp_path / "a")
    candidates = candidates_of("tiny")
    latencies = [BOARD.predict(one.spec, one.image_size).ms for one in run.candidates]
    front = [run.candidates[place] for place in non_dominated(latencies, run.scores)]
    asked = opening([found, found], candidates, [front[0], run.candidates[0]])
    digests = [one.digest for one in asked]
    assert len(digests) == len(set(digests))
    assert set(digests[: len(found.front)]) <= {one.digest for one in front}
    assert 1 <= len(found.front) <= FRONT
    assert {front[0].digest, front[-1].digest} <= set(digests[: len(found.front)])
    limit_ms = float(np.median(latencies))
    for choices in _taken(tmp_path / "a", limit_ms).front:
        one = candidates.rebuild(choices)
        assert BOARD.predict(one.spec, one.image_size).ms <= limit_ms
    nothing = _taken(tmp_path / "a", 1e-6)
    assert nothing.front == ()
    assert nothing.scores == found.scores
    assert "none of its front" in nothing.words("surrogate")
    assert "3 of its front are asked first" in found.words("tpe")


def test_a_run_of_another_space_carries_its_description(tmp_path: Path) -> None:
    run = _read(searched(tmp_path / "a"), parse_space(LARGE, "large", "tests"))
    found = described(run, candidates_of("large"), BOARD, None)
    assert {len(row) for row in found.rows} == {len(NAMES)}
    assert found.front == ()
    assert found.scores == _read(tmp_path / "a").scores


def test_what_is_kept_needs_the_earlier_folder_no_more(tmp_path: Path) -> None:
    run = _read(searched(tmp_path / "a"))
    (tmp_path / "b").mkdir()
    given: Any = ((run.digest,), {run.digest: run}, candidates_of("tiny"), BOARD, None)
    first = take_over(tmp_path / "b", *given)
    written = (tmp_path / "b" / FILE).read_bytes()
    shutil.rmtree(tmp_path / "a")
    assert take_over(tmp_path / "b", (run.digest,), {}, *given[2:]) == first
    assert (tmp_path / "b" / FILE).read_bytes() == written
    assert kept_runs(tmp_path / "b") == {run.digest: first[0]}
    assert take_over(tmp_path / "c", (), {}, *given[2:]) == ()
    assert not (tmp_path / "c").exists()
    (tmp_path / "b" / FILE).write_text('{"format": 1}')
    with pytest.raises(RunError, match=r"what a run took over .* Delete it"):
        kept_runs(tmp_path / "b")


def test_the_digest_is_of_what_was_graded_and_of_no_folder(tmp_path: Path) -> None:
    searched(tmp_path / "a")
    before = _read(tmp_path / "a").digest
    (tmp_path / "a").rename(tmp_path / "moved")
    assert _read(tmp_path / "moved").digest == before
    searched(tmp_path / "moved", budget=18)
    assert _read(tmp_path / "moved").digest != before


@pytest.mark.parametrize(
    ("theirs", "ours", "is_alike"),
    [
        (SharedWeightsSettings(), ShortTrainingSettings(steps=3), True),
        (FakeSettings(), FakeSettings(noise=0.5), True),
        (MacsSettings(), ShortTrainingSettings(), False),
        (FakeSettings(), SharedWeightsSettings(), False),
        (ShortTrainingSettings(), MacsSettings(), False),
    ],
)
def test_a_score_of_another_kind_is_refused(
    tmp_path: Path, theirs: Any, ours: Any, *, is_alike: bool
) -> None:
    searched(tmp_path / "a", 4, proxy=theirs)
    if is_alike:
        assert len(_read(tmp_path / "a", proxy=ours).scores) == 4
        return
    with pytest.raises(RunError, match=f"got one by {theirs.kind} for one by {ours.kind}"):
        _read(tmp_path / "a", proxy=ours)


def test_what_is_no_earlier_run_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match=r"^--warm-start .*nowhere: .* got no such folder"):
        _read(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"got a folder without settings\.yaml"):
        _read(tmp_path / "empty")
    with pytest.raises(RunError, match="from another run; got the run that begins or goes on"):
        _read(searched(tmp_path / "a"), own=tmp_path / "." / "a")
    with open_run(tmp_path / "new", some_settings(proxy=FakeSettings())):
        pass
    with pytest.raises(RunError, match="has graded some architectures; got none"):
        _read(tmp_path / "new")
    assert not (tmp_path / "new" / "study.db").exists(), "looking leaves nothing there"


def test_a_space_that_is_gone_or_changed_is_one_message(tmp_path: Path) -> None:
    for name, named in (
        ("gone", SpaceSettings(name="gone", digest="1" * 16, where=str(tmp_path / "no.yaml"))),
        ("changed", SpaceSettings(name="grid", digest="1" * 16)),
    ):
        searched(tmp_path / name, 4, space=named)
        with pytest.raises(RunError, match=r"as it was searched; got .* or name a run"):
            _read(tmp_path / name)


def test_a_run_without_it_is_the_run_that_it_was(tmp_path: Path) -> None:
    settings = some_settings()
    with open_run(tmp_path / "a", settings):
        pass
    text = (tmp_path / "a" / "settings.yaml").read_text()
    (tmp_path / "a" / "settings.yaml").write_text(text.replace("warm_start: {}\n", ""))
    assert read_settings(tmp_path / "a") == settings
    with (
        pytest.raises(RunError, match=r"warm_start\.abc: nothing there, /runs/b now"),
        open_run(tmp_path / "a", some_settings(warm_start={"abc": "/runs/b"})),
    ):
        pass
