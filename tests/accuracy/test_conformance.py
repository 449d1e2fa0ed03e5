"""What `nas.accuracy.proxy.Proxy` promises, asked of every proxy there is."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
import torch

from nas.accuracy import (
    PROXIES,
    FakeSettings,
    MacsSettings,
    NaswotSettings,
    Proxy,
    ProxySettings,
    Score,
    SharedWeightsSettings,
    ShortTrainingSettings,
    build_proxy,
    prepare_proxy,
)
from nas.space.search_space import read_space
from tests.accuracy.learnable import candidates, learnable_data, some_candidates

CASES: dict[str, ProxySettings] = {
    "short_training": ShortTrainingSettings(steps=3, batch_size=4, image_scale=1.0),
    "shared_weights": SharedWeightsSettings(steps=24, batch_size=4, image_scale=1.0, lr=0.01),
    "fake": FakeSettings(),
    "macs": MacsSettings(),
    "naswot": NaswotSettings(images=6),
}


@pytest.fixture(params=sorted(CASES))
def settings(request: pytest.FixtureRequest) -> ProxySettings:
    found: ProxySettings = CASES[request.param]
    return found


def made(settings: ProxySettings) -> Proxy:
    """The proxy by the way that a search goes: prepared once, then built in a worker."""
    data = learnable_data()
    prepared = prepare_proxy(settings, data, read_space("tiny"), candidates().build, 0)
    return build_proxy(settings, data, prepared)


@pytest.fixture
def proxy(settings: ProxySettings) -> Proxy:
    return made(settings)


def _but_for_time(score: Score) -> Score:
    return replace(score, seconds=0.0)


def test_every_proxy_is_asked() -> None:
    assert CASES.keys() == PROXIES.keys()


def test_a_score_follows_from_candidate_and_seed(proxy: Proxy, settings: ProxySettings) -> None:
    """Not from what was graded before, nor from the state of anybody's generator."""
    first, second = some_candidates(2)
    alone = _but_for_time(proxy.score(first, 0))
    proxy.score(second, 0)
    proxy.score(first, 1)
    torch.manual_seed(123)
    assert _but_for_time(proxy.score(first, 0)) == alone
    # And not from the process: a proxy built afresh, as in another worker, finds the same.
    again = made(pickle.loads(pickle.dumps(settings)))
    assert _but_for_time(again.score(first, 0)) == alone


def test_grading_leaves_the_generators_alone(proxy: Proxy) -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    proxy.score(some_candidates(1)[0], 0)
    assert torch.equal(torch.rand(1), expected)


def test_all_scores_are_of_one_kind(proxy: Proxy) -> None:
    scores = [proxy.score(candidate, 0) for candidate in some_candidates(3)]
    assert {score.kind for score in scores} == {proxy.kind}
    assert len({score.is_map for score in scores}) == 1
    for score in scores:
        assert score.seconds > 0
        assert ("mAP50-95" in score.kind) == score.is_map
        if score.is_map:
            assert score.map50 is not None
            assert 0 <= score.score <= score.map50 <= 1
        else:
            assert "not a mAP" in score.kind


def test_the_seed_matters_but_to_a_count(proxy: Proxy, settings: ProxySettings) -> None:
    candidate = some_candidates(1)[0]
    scores = {proxy.score(candidate, seed).score for seed in range(4)}
    assert (len(scores) > 1) == (settings.kind != "macs")


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"score": float("nan")}, "finite"),
        ({"is_map": True}, "stated if"),
        ({"map50_95": 0.2, "map50": 0.3}, "stated if"),
        ({"is_map": True, "map50_95": 0.2, "map50": 0.3}, "is the score"),
        ({"is_diverged": True}, "scores 0"),
    ],
)
def test_a_score_that_contradicts_itself_cannot_be_made(wrong: dict[str, object], why: str) -> None:
    score = Score(score=0.5, kind="k", is_map=False, seconds=1.0)
    with pytest.raises(AssertionError, match=why):
        replace(score, **wrong)  # type: ignore[arg-type]
