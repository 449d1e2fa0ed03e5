"""What an audit draws, and what it says of a score that is right, wrong, or cannot be told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas.accuracy import Score
from nas.study.after.audit import (
    AGAIN,
    LEAST,
    Audit,
    AuditError,
    choose_audited,
    choose_band,
    conclude,
    graded_trials,
    to_file,
    wanted,
    words,
)
from nas.study.on_disk.record import Record
from nas.study.trial import Trial
from tests.study.boards import candidates_of, notebook, search


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("audited")
    search(found, notebook(), budget=30)
    return found


@pytest.fixture(scope="module")
def trials(folder: Path) -> list[Trial]:
    record = Record(f"journal:{folder / 'study.log'}", "test")
    return graded_trials(record, candidates_of("large"))


def _reached(trials: list[Trial], values: list[float], seed: int = 0) -> Audit:
    """An audit of these, in which each reached a value, under every seed that is wanted."""
    own = {trial.candidate.digest: value for trial, value in zip(trials, values, strict=True)}
    scores = {
        (trial.candidate.digest, s): Score(
            score=own[trial.candidate.digest] + 0.01 * s,
            kind="taught", is_map=True, seconds=1.0,
            map50_95=own[trial.candidate.digest] + 0.01 * s, map50=1.0,
        )
        for trial, s in wanted(trials, seed)
    }  # fmt: skip
    return conclude(trials, (1.0, 2.0), scores, seed)


def test_the_record_gives_the_architectures_back(trials: list[Trial]) -> None:
    assert len(trials) == 30
    assert len({trial.candidate.digest for trial in trials}) == 30
    assert all(trial.score is not None for trial in trials)


def test_the_band_holds_enough_around_the_best(trials: list[Trial]) -> None:
    best = max(trials, key=lambda t: t.score.score if t.score else 0)
    low, high = choose_band(trials, 5)
    inside = [t for t in trials if low <= t.latency.ms <= high]
    assert low <= best.latency.ms <= high
    assert 10 <= len(inside) <= 12
    assert choose_band(trials, 100) == (
        min(t.latency.ms for t in trials),
        max(t.latency.ms for t in trials),
    )


def test_who_is_audited_follows_from_the_seed_and_lies_in_the_band(trials: list[Trial]) -> None:
    band = choose_band(trials, 8)
    first = choose_audited(trials, band, 8, seed=0)
    assert first == choose_audited(trials, band, 8, seed=0)
    assert first != choose_audited(trials, band, 8, seed=1)
    assert len({t.number for t in first}) == 8
    assert all(band[0] <= t.latency.ms <= band[1] for t in first)
    jobs = wanted(first, seed=3)
    assert [s for _, s in jobs] == [3] * 8 + [4] * (8 // AGAIN)


def test_too_few_in_a_band_is_one_message(trials: list[Trial]) -> None:
    with pytest.raises(AuditError, match=f"at least {LEAST} graded architectures") as error:
        choose_audited(trials, (1e-6, 2e-6), 8, seed=0)
    assert "0 of 30" in str(error.value)


def test_a_score_that_is_right_is_said_to_choose_better(trials: list[Trial]) -> None:
    by_size = sorted(trials, key=lambda t: -t.latency.ms)
    rng = np.random.default_rng(0)
    # Larger ones reach less here, so that MACs mislead; the score says what is reached.
    reached = [0.2 + 0.02 * place + 0.001 * rng.random() for place in range(len(by_size))]
    scored = [
        replace(trial, score=replace(trial.score, score=value, is_map=False))
        for trial, value in zip(by_size, reached, strict=True)
        if trial.score
    ]
    audit = _reached(scored, reached)
    own, *rivals = audit.judgements
    assert own.tau.value == 1.0
    assert own.regrets[1].value == 0.0
    macs = next(one for one in rivals if one.name == "MACs")
    assert macs.tau.value < -0.9
    text = " ".join(words(audit))
    assert "Against MACs: the score chose better" in text
    assert audit.seed_noise == pytest.approx(0.01 / np.sqrt(2))


def test_what_cannot_be_told_is_said(trials: list[Trial]) -> None:
    rng = np.random.default_rng(1)
    few = trials[:5]
    audit = _reached(few, [0.3 + 0.001 * rng.random() for _ in few])
    text = " ".join(words(audit))
    assert "cannot tell which chooses better from 5 architectures" in text
    assert "was not shown to beat image size and MACs" in text
    kept = to_file(audit)
    assert kept.words == tuple(words(audit))
    assert [one["name"] for one in kept.rankings] == ["score", "MACs", "latency", "image size"]
    assert type(kept).model_validate_json(kept.model_dump_json()) == kept
