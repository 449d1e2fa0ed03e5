"""The finalists' step: who is graded again, under which seeds, and what the front then is."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.accuracy import Regrade
from nas.study.after.finalists import Front, Point, choose_finalists, plain_front, regrade_front
from nas.study.on_disk.record import REGRADE, Record
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
        digest = point.trial.candidate.digest
        new = [proxy.proxy.score(point.trial.candidate, 6 + i).score for i in range(seeds)]
        assert [s.score for s in point.again] == new, digest
        assert point.score == pytest.approx(sum(new) / seeds)
        assert point.score_kind.endswith(f"mean of {seeds} new seeds")
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
    from nas.data.dataset import read_data

    noisy = Notebook(build_proxy(FakeSettings(noise=0.2), read_data("shapes")))
    (tmp_path / "search").mkdir()
    ending = search(tmp_path / "search", noisy, budget=40, sampler="random")
    front = _regrade(tmp_path, ending, Regrade(share=1.0, seeds=3), noisy)
    assert front.flattery is not None
    assert front.flattery > 0.05


def test_nothing_graded_is_an_empty_front(tmp_path: Path) -> None:
    nothing = Ending(trials=(), is_exhausted=False)
    assert _regrade(tmp_path, nothing, Regrade(), notebook()).points == ()


def test_a_finalists_reported_score_is_unbiased(tmp_path: Path) -> None:
    """Against the same proxy without noise: new seeds alone, never the score that chose it."""
    from nas.accuracy import FakeSettings, build_proxy
    from nas.data.dataset import read_data

    data = read_data("shapes")
    noise = 0.05
    noisy = Notebook(build_proxy(FakeSettings(noise=noise), data))
    true = build_proxy(FakeSettings(noise=0.0), data)
    off, of_the_search = [], []
    regrade = Regrade(share=1.0, seeds=3)
    for seed in range(12):
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        ending = search(folder, noisy, budget=30, sampler="random", seed=seed)
        record = Record(f"journal:{folder / 'further.log'}", "further")
        regrade_front(ending.graded, regrade, seed, record, Inline(noisy), lambda *_: None)
        scores = record.scores(REGRADE)
        for trial in choose_finalists(ending.graded, regrade)[0]:
            own = tuple(s for (d, _), s in scores.items() if d == trial.candidate.digest)
            right = true.score(trial.candidate, 0).score
            off.append(Point(trial=trial, again=own).score - right)
            of_the_search.append(Point(trial=trial).score - right)
    allowed = 3 * noise / (3 * len(off)) ** 0.5
    assert abs(sum(off) / len(off)) < allowed
    assert sum(of_the_search) / len(of_the_search) > 3 * allowed


def test_a_front_of_one_grading_says_so(ending: Ending) -> None:
    for point in plain_front(ending.graded).points:
        assert point.trial.score is not None
        assert (point.score, point.score_kind) == (
            point.trial.score.score,
            point.trial.score.kind,
        )
