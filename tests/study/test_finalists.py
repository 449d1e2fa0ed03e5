"""The finalists' step: who is graded again, under which seeds, and what the front then is."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.accuracy import Regrade
from nas.study.finalists import Front, choose_finalists, plain_front, regrade_front
from nas.study.record import Record
from nas.study.trial import Ending
from nas.study.workers import Inline
from tests.study.boards import Notebook, notebook, search


@pytest.fixture(scope="module")
def ending(tmp_path_factory: pytest.TempPathFactory) -> Ending:
    return search(tmp_path_factory.mktemp("search"), notebook(), budget=40)


def _regrade(folder: Path, ending: Ending, regrade: Regrade, proxy: Notebook) -> Front:
    record = Record(f"journal:{folder / 'study.log'}", "further")
    return regrade_front(ending.graded, regrade, 5, record, Inline(proxy), lambda done, all_: None)


@pytest.mark.parametrize(
    "regrade", [Regrade(), Regrade(share=1.0, seeds=2), Regrade(share=0.01, least=2)]
)
def test_gradings_stay_within_the_share(ending: Ending, regrade: Regrade) -> None:
    finalists, seeds = choose_finalists(ending.graded, regrade)
    front = [point.trial.number for point in plain_front(ending.graded).points]
    assert {trial.number for trial in finalists} <= set(front)
    assert 1 <= seeds <= regrade.seeds
    allowed = max(regrade.least, int(regrade.share * len(ending.graded)))
    assert len(finalists) * seeds <= allowed
    if allowed >= len(front):
        assert len(finalists) == len(front)


def test_finalists_are_graded_under_seeds_new_to_them(tmp_path: Path, ending: Ending) -> None:
    proxy = notebook()
    regrade = Regrade(share=1.0, seeds=3)
    front = _regrade(tmp_path, ending, regrade, proxy)
    finalists, seeds = choose_finalists(ending.graded, regrade)
    assert sorted(proxy.asked) == sorted(
        (trial.candidate.digest, 6 + i) for trial in finalists for i in range(seeds)
    )
    assert front.finalists == len(finalists)
    for point in front.points:
        assert point.scores[0] == point.trial.score
        assert len(point.scores) == 1 + seeds
        assert point.score == pytest.approx(sum(s.score for s in point.scores) / (1 + seeds))
        assert point.score_kind.endswith(f"mean of {1 + seeds} seeds")
        assert point.map50_95 is None


def test_the_front_is_a_front_of_the_means(tmp_path: Path, ending: Ending) -> None:
    front = _regrade(tmp_path, ending, Regrade(share=1.0), notebook())
    points = [(p.trial.latency.ms, p.score) for p in front.points]
    assert points == sorted(points)
    assert [score for _, score in points] == sorted(score for _, score in points)
    names = [point.name for point in front.points]
    assert names == sorted(names)
    assert len(set(names)) == len(names)


def test_what_was_graded_again_is_not_graded_once_more(tmp_path: Path, ending: Ending) -> None:
    first = _regrade(tmp_path, ending, Regrade(), notebook())
    idle = notebook()
    assert _regrade(tmp_path, ending, Regrade(), idle) == first
    assert idle.asked == []


def test_selection_flatters(tmp_path: Path) -> None:
    """On pure noise the search's front is all luck, and the step says so."""
    from nas.accuracy import FakeSettings, build_proxy
    from nas.training.dataset import read_data

    noisy = Notebook(build_proxy(FakeSettings(noise=0.2), read_data("shapes")))
    (tmp_path / "search").mkdir()
    ending = search(tmp_path / "search", noisy, budget=40, sampler="random")
    front = _regrade(tmp_path, ending, Regrade(share=1.0, seeds=3), noisy)
    assert front.flattery is not None
    assert front.flattery > 0.05


def test_nothing_graded_is_an_empty_front(tmp_path: Path) -> None:
    nothing = Ending(trials=(), is_exhausted=False)
    assert _regrade(tmp_path, nothing, Regrade(), notebook()).points == ()
