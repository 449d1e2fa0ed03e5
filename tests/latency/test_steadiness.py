"""What the anchors see of the machine's state is taken off, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from nas.latency.measurement import Anchor, Measurement, Network, Samples
from nas.latency.steadiness import drifts, steadiness
from nas.space.blocks import Block

NAMES = {"a": 0.5, "b": 3.0, "c": 0.1}
BLOCK = Block(module="Conv", channels_in=(8,), channels_out=8, height=8, width=8)


def anchors(states: np.ndarray, noise: float, rng: np.random.Generator) -> list[Anchor]:
    return [
        Anchor(session=1, window=w, name=name, samples=samples(ms * state, noise, rng))
        for w, state in enumerate(states)
        for name, ms in NAMES.items()
    ]


def samples(ms: float, noise: float, rng: np.random.Generator) -> Samples:
    return Samples(samples_ms=(float(ms * np.exp(noise * rng.standard_normal())),))


def row(window: int, found: Samples, network: int | None = None) -> Measurement:
    what = None
    if network is not None:
        what = Network(digest=str(network), turn=0, image_size=64, space="", model="")
    return Measurement(
        session=1,
        window=window,
        samples=found,
        block=BLOCK if what is None else None,
        network=what,
        before={},
        after={},
    )


def test_drift_is_seen_from_the_anchors() -> None:
    states = np.array([1.0, 1.01, 0.99, 1.2, 1.0])
    found = drifts(anchors(states, 0.0, np.random.default_rng(0)))
    assert found[1, 3] == pytest.approx(0.2, abs=0.02)
    assert all(abs(found[1, w]) < 0.03 for w in (0, 1, 2, 4))


@pytest.mark.parametrize("follows", [1.0, 0.5, 0.0])
def test_times_are_steadied_as_far_as_they_follow(follows: float) -> None:
    rng = np.random.default_rng(1)
    states = np.exp(np.abs(0.15 * rng.standard_normal(60)))
    rows = {
        n: [row(w, samples(20 * states[w] ** follows, 0.01, rng), n) for w in range(n, 60, 20)]
        for n in range(20)
    }
    steady = steadiness(anchors(states, 0.01, rng), rows.values())
    assert steady.network_slope == pytest.approx(follows, abs=0.1)
    assert steady.block_slope > 0.9
    spread = [np.std([np.log(steady.ms([turn])) for turn in turns]) for turns in rows.values()]
    assert np.mean(spread) < 0.03


def test_a_quiet_machine_is_left_alone() -> None:
    rng = np.random.default_rng(2)
    found = anchors(np.ones(60), 0.003, rng)
    rows = [row(w, samples(2.0, 0.003, rng)) for w in range(60)]
    steady = steadiness(found, [])
    changes = [steady.ms([one]) / one.samples.median_ms() for one in rows]
    assert np.allclose(changes, 1, atol=0.003)
    assert steady.network_slope == 0


def test_several_rows_count_by_their_median() -> None:
    steady = steadiness([], [])
    rng = np.random.default_rng(3)
    rows = [row(w, samples(ms, 0.0, rng)) for w, ms in enumerate((1.0, 1.1, 5.0))]
    assert steady.ms(rows) == pytest.approx(1.1)
