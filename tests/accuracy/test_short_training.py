"""Short training: a real mAP, on images decoded once, and a loss that may go astray."""

from __future__ import annotations

import pytest

from nas.accuracy import ShortTrainingSettings
from nas.accuracy.short_training import ShortTraining, proxy_image_size
from tests.accuracy.learnable import Squares, learnable_data, some_candidates


@pytest.mark.parametrize("scale", [0.1, 0.4, 0.5, 1.0])
def test_the_proxys_size_is_buildable_and_keeps_the_order(scale: float) -> None:
    sizes = [proxy_image_size(size, scale) for size in range(64, 1025, 32)]
    assert all(size % 32 == 0 and size >= 64 for size in sizes)
    assert sizes == sorted(sizes)
    assert all(found <= size for found, size in zip(sizes, range(64, 1025, 32), strict=True))
    if scale == 1.0:
        assert sizes == list(range(64, 1025, 32))


def test_more_steps_score_better() -> None:
    candidate = some_candidates(1)[0]
    scores = [
        ShortTraining(
            ShortTrainingSettings(steps=steps, batch_size=8, image_scale=1.0), learnable_data()
        ).score(candidate, 0)
        for steps in (1, 60)
    ]
    assert scores[0].score < 0.05
    assert scores[1].score > 0.1


def test_images_are_decoded_once_for_each_size() -> None:
    data = learnable_data()
    proxy = ShortTraining(ShortTrainingSettings(steps=1, batch_size=2, image_scale=1.0), data)
    candidates = some_candidates(6)
    for candidate in candidates:
        proxy.score(candidate, 0)
    for part in data.parts.values():
        assert isinstance(part, Squares)
        assert sorted(part.loads) == sorted({c.image_size for c in candidates})


def test_a_training_that_diverges_scores_zero_and_says_so() -> None:
    settings = ShortTrainingSettings(steps=6, batch_size=4, image_scale=1.0, lr=1e30)
    score = ShortTraining(settings, learnable_data()).score(some_candidates(1)[0], 0)
    assert score.is_diverged
    assert score.score == 0
