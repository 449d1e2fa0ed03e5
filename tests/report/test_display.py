"""What a search says of itself while it runs."""

from __future__ import annotations

import functools
import io

import numpy as np
from rich.console import Console

from nas.accuracy import AnyProxy, MacsSettings, Score, SharedWeightsSettings
from nas.report.display import EARLY, Display
from nas.report.files import SILENT, silent_words
from nas.study.trial import Outcome, SearchStanding, Trial
from tests.study.boards import MacBoard, candidates_of


def standing(graded: int, best: float, *, is_map: bool = True) -> SearchStanding:
    one = candidates_of("large").random(np.random.default_rng(0))
    trial = Trial(
        number=graded, candidate=one, latency=MacBoard().predict(one.spec, 64),
        outcome=Outcome.GRADED,
        score=Score(
            score=best, kind="made up", is_map=is_map, seconds=1.0,
            map50_95=best if is_map else None, map50=1.0 if is_map else None,
        ),
    )  # fmt: skip
    return SearchStanding(budget=40, graded=graded, refused=0, repeated=0, trial=trial, best=trial)


def told(proxy: AnyProxy, *standings: SearchStanding) -> str:
    out = io.StringIO()
    doubt = functools.partial(silent_words, proxy)
    with Display(Console(file=out, width=200), doubt) as display:
        for one in standings:
            display.search(one)
    return out.getvalue()


def test_scores_that_say_nothing_are_told_early_and_once() -> None:
    low = [standing(graded, SILENT / 2) for graded in range(EARLY - 2, EARLY + 3)]
    text = told(SharedWeightsSettings(steps=700), *low)
    assert text.count("no detector has learnt enough") == 1
    assert f"{EARLY} of 40 are graded so far. The best score is 0.0100" in text
    assert "kind: shared_weights and steps: 2800" in text
    assert "has learnt" not in told(SharedWeightsSettings(), *low[:2])


def test_scores_that_rank_or_are_no_map_are_not_doubted() -> None:
    for proxy, one in (
        (SharedWeightsSettings(), standing(EARLY, SILENT)),
        (SharedWeightsSettings(), standing(EARLY, 0.001, is_map=False)),
        (MacsSettings(), standing(EARLY, 0.001)),
        # At the end the summary says it.
        (SharedWeightsSettings(), standing(40, 0.001)),
    ):
        assert "has learnt" not in told(proxy, one)
