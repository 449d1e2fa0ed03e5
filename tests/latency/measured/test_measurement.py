"""Laws of samples and doubt."""

from __future__ import annotations

import numpy as np
import pytest

from nas.latency.measured.measurement import Measurement, Samples


def row(samples: Samples, **after: float) -> Measurement:
    return Measurement(session=1, window=0, samples=samples, before={}, after=after)


def test_the_median_leaves_out_disturbed_samples_and_the_overhead() -> None:
    quiet = (1.0, 1.1, 1.2) * 4
    samples = Samples(samples_ms=(*quiet, 9.0, 9.0), preempted=(12, 13), overhead_ms=0.1)
    assert samples.median_ms() == pytest.approx(1.0)
    assert samples.kept_ms() == sorted(quiet)


def test_where_all_are_disturbed_the_time_on_the_core_counts() -> None:
    samples = Samples(samples_ms=(8.0, 9.0, 7.0), preempted=(0, 1, 2), cpu_ms=(2.0, 2.2, 2.1))
    assert samples.median_ms() == pytest.approx(2.1)
    threads = Samples(samples_ms=(8.0, 9.0, 7.0), preempted=(0, 1, 2))
    assert threads.median_ms() == pytest.approx(8.0)


def test_a_time_stays_above_zero() -> None:
    assert Samples(samples_ms=(0.01, 0.01, 0.01), overhead_ms=0.02).median_ms() > 0


def test_rounds_keep_their_order() -> None:
    values = tuple(float(i) for i in range(1, 15))
    samples = Samples(samples_ms=values, preempted=(2,), cpu_ms=(2.5,))
    found = samples.by_round_ms()
    assert np.isnan(found[2])
    assert [*found[:2], *found[3:]] == [1.0, 2.0, *values[3:]]
    few = Samples(samples_ms=(5.0, 6.0, 7.0), preempted=(1,), cpu_ms=(4.0,))
    assert few.by_round_ms() == [5.0, 4.0, 7.0]


@pytest.mark.parametrize("seed", range(5))
def test_the_interval_holds_the_median_of_the_distribution(seed: int) -> None:
    rng = np.random.default_rng(seed)
    held = 0
    for _ in range(400):
        samples = Samples(samples_ms=tuple(1 + rng.exponential(0.1, 41)))
        middle, width = samples.median_ms(), samples.interval()
        held += abs(middle - (1 + 0.1 * np.log(2))) <= width * middle
    assert held / 400 > 0.9


def test_doubts_say_why_and_what_helps() -> None:
    sound = Samples(samples_ms=(1.0,) * 30)
    assert row(sound).doubts() == ()
    assert "power supply" in row(sound, throttled=0x1).doubts()[0]
    assert "cool" in row(sound, throttled=0x4).doubts()[0]
    # The bits of the past (since boot) are no doubt about this row.
    assert row(sound, throttled=0x50000).doubts() == ()
    busy = Samples(samples_ms=(1.0,) * 30, preempted=tuple(range(15)))
    assert "50% of the samples lost the core" in row(busy).doubts()[0]
    wide = Samples(samples_ms=tuple(1 + 0.1 * i for i in range(20)))
    assert "uncertain" in row(wide).doubts()[0]
