"""Limits beside the latency: read by hand, never exceeded, and said where nothing meets them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from nas import NasError
from nas.emit.footprint import file_bytes, memory_bytes
from nas.latency.verified.residuals import Interval90
from nas.space.ops import macs, model_graph, params
from nas.study.after.closing import brought_under
from nas.study.feasible import LimitError, find_within
from nas.study.limits import QUANTITIES, limits_of, number_words, read_limits
from nas.study.loop import IDLE
from nas.study.sampling import SamplerName
from nas.study.surrogate.pool import CandidatePool
from nas.study.trial import Outcome
from tests.study.boards import MacBoard, candidates_of, notebook, search

TIGHT = limits_of({"params": 4e5, "macs": 2e8}, "fp32")
"""Of the space `large`, whose random architectures have 0.2 to 2 million parameters."""


def test_limits_are_read_by_hand_and_in_one_order() -> None:
    texts = ["memory_mb <= 64", "params<=2e6", " macs  <=  3E8 ", "file_mb <= 2.5"]
    assert list(read_limits(texts).items()) == [
        ("params", 2e6), ("macs", 3e8), ("file_mb", 2.5), ("memory_mb", 64.0),
    ]  # fmt: skip
    assert read_limits([]) == {}


@pytest.mark.parametrize(
    ("texts", "got"),
    [
        (["params"], "got no <= in it"),
        (["params >= 3"], "got no <= in it"),
        (["params = 3"], "got no <= in it"),
        (["weights <= 3"], "the name is one of params, macs, file_mb, memory_mb; got 'weights'"),
        (["<= 3"], "got ''"),
        (["latency_ms <= 3"], "Say it by --max-latency-ms"),
        (["params <= "], "followed by a number above 0, like 4, 2.5 or 3e8; got ''"),
        (["params <= 0"], "got '0'"),
        (["params <= -3"], "got '-3'"),
        (["params <= nan"], "got 'nan'"),
        (["params <= 1e999"], "got '1e999'"),
        (["params <= 2 * 3"], "got '2 * 3'"),
        (["params <= 2e6 <= 3"], "got '2e6 <= 3'"),
        (["params <= __import__('os')"], 'got "__import__('),
        (["params <= 3", "params <= 4"], "a quantity has one limit; got a second one of it"),
    ],
)
def test_a_bad_limit_says_what_is_wrong(texts: list[str], got: str) -> None:
    with pytest.raises(NasError) as error:
        read_limits(texts)
    assert str(error.value).startswith(f'--limit "{texts[-1]}": ')
    assert got in str(error.value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (2e6, "2e6"),
        (4.0, "4"),
        (2.5, "2.5"),
        (1.2e5, "1.2e5"),
        (3e8, "3e8"),
        (1234567.0, "1234567"),
    ],
)
def test_a_number_is_written_as_it_is_read(value: float, words: str) -> None:
    assert number_words(value) == words
    assert read_limits([f"params <= {words}"]) == {"params": value}


def test_a_share_is_of_what_the_graph_has() -> None:
    candidate = candidates_of("large").rebuild(
        {name: values[-1] for name, values in candidates_of("large").space.options().items()}
    )
    graph = model_graph(candidate.spec, candidate.image_size)
    for precision in ("fp32", "fp16", "int8"):
        shares = limits_of(dict.fromkeys(QUANTITIES, 8.0), precision).shares(candidate)
        assert {name: share * 8 for name, share in shares.items()} == pytest.approx(
            {
                "params": params(graph),
                "macs": macs(graph),
                "file_mb": file_bytes(graph, precision) / 1e6,
                "memory_mb": memory_bytes(graph, precision) / 1e6,
            }
        )
    exact = limits_of({"params": params(graph)}, "fp32")
    assert exact.is_met(candidate)
    assert not limits_of({"params": params(graph) - 1}, "fp32").is_met(candidate)


@pytest.mark.parametrize("sampler", ["surrogate", "tpe", "nsgaii", "random"])
def test_over_a_limit_nothing_is_ever_graded(tmp_path: Path, sampler: SamplerName) -> None:
    proxy = notebook()
    ending = search(tmp_path, proxy, budget=20, sampler=sampler, limit_ms=12.0, sizes=TIGHT)
    assert len(ending.graded) == len(proxy.asked) == 20
    assert all(TIGHT.is_met(t.candidate) and t.latency.ms <= 12 for t in ending.graded)
    refused = [t for t in ending.trials if t.outcome is Outcome.REFUSED]
    assert all(not TIGHT.is_met(t.candidate) or t.latency.ms > 12 for t in refused)
    # The surrogate knows the limits beforehand; the others are refused, and go on.
    assert bool(refused) == (sampler != "surrogate")


def test_killed_and_resumed_equals_never_killed(tmp_path: Path) -> None:
    def run(folder: str, stop: int | None = None) -> list[tuple[str, Outcome]]:
        (tmp_path / folder).mkdir(exist_ok=True)
        found = search(tmp_path / folder, notebook(stop), budget=16, sampler="tpe", sizes=TIGHT)
        return [(t.candidate.digest, t.outcome) for t in found.trials]

    for stop in (1, 6):
        with pytest.raises(KeyboardInterrupt):
            run("pieces", stop)
    assert run("pieces") == run("whole")


def test_the_pool_holds_nothing_over_a_limit() -> None:
    candidates = candidates_of("large")
    pool = CandidatePool(candidates, MacBoard(), 12.0, 0, None, TIGHT)
    assert len(pool) > 100
    assert all(TIGHT.is_met(candidates.rebuild(dict(member.choices))) for member in pool)


def test_limits_that_a_random_one_hardly_ever_meets_are_met(tmp_path: Path) -> None:
    space = candidates_of("large").space
    least = space.rebuild({name: values[0] for name, values in space.options().items()}, 6)
    graph = model_graph(least.spec, least.image_size)
    sizes = limits_of({"params": 1.1 * params(graph), "macs": 1.1 * macs(graph)}, "fp32")
    within = find_within(space, 6, MacBoard(), None, 0, sizes)
    assert sizes.is_met(within)
    ending = search(tmp_path, notebook(), budget=6, sampler="random", sizes=sizes, within=within)
    assert len(ending.graded) == 6
    assert len(ending.trials) < 6 * (IDLE + 2)


def test_what_can_not_be_met_is_told_limit_by_limit() -> None:
    space = candidates_of("large").space
    least = space.rebuild({name: values[0] for name, values in space.options().items()}, 6)
    fewest = params(model_graph(least.spec, least.image_size))
    sizes = limits_of({"params": 1e4, "memory_mb": 1000}, "fp32")
    with pytest.raises(LimitError) as error:
        find_within(space, 6, MacBoard(), 14.0, 0, sizes)
    text = str(error.value)
    assert text.startswith("--max-latency-ms and --limit: some architecture")
    assert "params <= 10000 leaves out 100% of 300 random ones" in text
    told = re.search(r"the least of large is (\d+);", text)
    assert told is not None, text
    assert 1e4 < int(told[1]) <= 1.01 * fewest
    assert "memory_mb <= 1000 leaves out 0% of 300" in text
    assert "14 ms (predicted latency) leaves out" in text
    assert "all limits together leave out 100% of 300" in text


def test_what_a_board_brings_under_the_latency_stays_refused_over_another(tmp_path: Path) -> None:
    class Halved:
        is_applied = True

        def corrected(self, predicted: Interval90) -> Interval90:
            return Interval90(ms=predicted.ms / 100, low_ms=0.0, high_ms=predicted.ms)

    ending = search(tmp_path, notebook(), budget=20, sampler="random", limit_ms=12.0, sizes=TIGHT)
    found = brought_under(ending, {None: Halved()}, 12.0, 400, TIGHT)  # type: ignore[dict-item]
    everything = brought_under(ending, {None: Halved()}, 12.0, 400)  # type: ignore[dict-item]
    assert all(TIGHT.is_met(trial.candidate) for trial in found)
    assert len(found) < len(everything)


def test_another_board_may_have_a_limit_by_its_name() -> None:
    assert read_limits(["rpi5_ms <= 20", "params <= 3"], ["rpi5"]) == {"params": 3, "rpi5_ms": 20}
    with pytest.raises(NasError, match="A board that is not the first may have") as error:
        read_limits(["rpi5_ms <= 20"])
    assert "--device rpi5" in str(error.value)
    board = MacBoard()
    candidate = candidates_of("large").random(np.random.default_rng(0))
    ms = board.predict(candidate.spec, candidate.image_size).ms
    exact = limits_of({"rpi5_ms": ms}, "fp32", {"rpi5": board})
    assert exact.is_met(candidate)
    assert exact.shares(candidate) == {"rpi5_ms": 1.0}
    assert not limits_of({"rpi5_ms": 0.99 * ms}, "fp32", {"rpi5": board}).is_met(candidate)
