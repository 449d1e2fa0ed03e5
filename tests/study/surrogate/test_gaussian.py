"""The Gaussian process: against its formula, and what it must do with what it is told."""

from __future__ import annotations

import numpy as np
from scipy.optimize import check_grad

from nas.study.surrogate.gaussian import JITTER, GaussianProcess, Hyperparameters


def _told(count: int = 24, inputs: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, inputs))
    scores = 0.3 + 0.1 * rows[:, 0] + 0.05 * np.sin(3 * rows[:, 1]) + 0.01 * rng.normal(size=count)
    return rows, scores


def test_the_gradient_of_the_posterior_is_its_slope() -> None:
    rows, scores = _told()
    process = GaussianProcess(rows, scores)
    means, spreads = np.full(8, 0.4), np.full(8, 1.3)
    for seed in range(3):
        at = np.random.default_rng(seed).normal(scale=0.5, size=8)
        away = check_grad(
            lambda x: process._cost(x, means, spreads)[0],
            lambda x: process._cost(x, means, spreads)[1],
            at,
        )
        slope = np.linalg.norm(process._cost(at, means, spreads)[1])
        assert away < 1e-5 * max(slope, 1.0)


def test_what_is_believed_is_the_textbook_formula() -> None:
    rows, scores = _told(count=12)
    settings = Hyperparameters(lengths=np.full(5, 0.7), variances=np.array([0.1, -0.5, -3.0]))
    process = GaussianProcess(rows, scores, settings=settings)
    asked = _told(count=4, seed=1)[0]
    scale = rows.std(axis=0)
    known, new = (rows - rows.mean(axis=0)) / scale, (asked - rows.mean(axis=0)) / scale

    def covariance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        away = np.sqrt((((a[:, None] - b[None]) / np.exp(0.7)) ** 2).sum(-1))
        root = np.sqrt(5) * away
        matern = (1 + root + root**2 / 3) * np.exp(-root)
        return np.exp(0.1) * matern + np.exp(-0.5) * a @ b.T / 5 + 1.0

    inverse = np.linalg.inv(covariance(known, known) + (np.exp(-3.0) + 1e-6) * np.eye(12))
    across = covariance(new, known)
    mean = across @ inverse @ (scores - scores.mean()) + scores.mean()
    variance = np.diag(covariance(new, new) - across @ inverse @ across.T) * scores.std() ** 2
    believed = process.believe(asked)
    np.testing.assert_allclose(believed.mean, mean, rtol=1e-9)
    np.testing.assert_allclose(believed.deviation**2, variance, rtol=1e-7)


def test_it_predicts_what_it_was_not_told_within_its_own_deviation() -> None:
    rows, scores = _told(count=80)
    process = GaussianProcess(rows[:60], scores[:60])
    believed = process.believe(rows[60:])
    off = scores[60:] - believed.mean
    assert np.abs(off).mean() < 0.3 * scores.std()
    noise = 0.01
    assert np.mean(np.abs(off) < 2 * np.hypot(believed.deviation, noise)) >= 0.8


def test_what_it_expects_is_the_mean_that_it_believes() -> None:
    process = GaussianProcess(*_told())
    asked = _told(count=7, seed=1)[0]
    np.testing.assert_allclose(process.expect(asked), process.believe(asked).mean, rtol=1e-12)


def test_what_is_explained_is_what_leaving_each_one_out_shows() -> None:
    rows, scores = _told(count=14)
    process = GaussianProcess(rows, scores)
    # By hand, in the scale of all: the others' mean, level and scale unchanged.
    noise = np.exp(process.settings.variances[2])
    covariance = process._across(process._inputs, process.settings)
    covariance += (JITTER + noise) * np.eye(14)
    off = []
    for place in range(14):
        rest = np.delete(np.arange(14), place)
        told = np.linalg.solve(covariance[np.ix_(rest, rest)], process._scores[rest])
        off.append(process._scores[place] - covariance[place, rest] @ told)
    expected = 1 - np.sum(np.square(off)) / np.sum(process._scores**2)
    np.testing.assert_allclose(process.explained(), expected, rtol=1e-9)
    shuffled = np.random.default_rng(3).permutation(scores)
    assert GaussianProcess(rows, shuffled).explained() < 0.25 < process.explained()
    assert GaussianProcess(rows, np.full(14, 0.2)).explained() == 0.0


def test_equal_scores_and_one_score_are_no_error() -> None:
    rows, scores = _told()
    flat = GaussianProcess(rows, np.full(len(rows), 0.2)).believe(rows)
    np.testing.assert_allclose(flat.mean, 0.2, atol=1e-9)
    alone = GaussianProcess(rows[:1], scores[:1]).believe(rows[:3])
    assert np.isfinite(alone.mean).all()
    assert (alone.deviation > 0).all()
