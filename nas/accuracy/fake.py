"""The fake proxy: a made-up score that costs nothing. For tests, trials of the tool and tutorials.

Like the fake device it ships as a product: a search with it runs through every room but the
training, on any machine, in seconds. Nothing is trained and no image is looked at, and every score
says so.
"""

from __future__ import annotations

import math
import time

import numpy as np

from nas.accuracy.proxy import Score
from nas.accuracy.settings import FakeSettings
from nas.space.image_size import side_of
from nas.space.ops import macs, model_graph, params
from nas.space.search_space import Candidate


class FakeProxy:
    """Grades by formula: more computation, parameters and pixels are better, with less and less
    return, plus noise drawn from the architecture's digest and the seed."""

    def __init__(self, settings: FakeSettings) -> None:
        self._settings = settings

    @property
    def kind(self) -> str:
        """The same whatever its settings."""
        return "fake, not a mAP: a formula, nothing is trained"

    def score(self, candidate: Candidate, seed: int) -> Score:
        """A made-up score in 0..1; sleeps `settings.seconds` as if it worked."""
        begin = time.perf_counter()
        time.sleep(self._settings.seconds)
        graph = model_graph(candidate.spec, candidate.image_size)
        # Saturating in each of the three, at the scale of detectors for small boards.
        quality = (
            0.5 * _saturate(macs(graph) / 1e9, 0.4)
            + 0.3 * _saturate(params(graph) / 1e6, 0.6)
            + 0.2 * _saturate(side_of(candidate.image_size) / 320, 0.5)
        )
        rng = np.random.default_rng([int(candidate.digest, 16), seed])
        noisy = quality + self._settings.noise * float(rng.standard_normal())
        return Score(
            score=min(max(noisy, 0.0), 1.0),
            kind=self.kind,
            is_map=False,
            seconds=time.perf_counter() - begin,
        )


def _saturate(value: float, scale: float) -> float:
    """0 at 0, towards 1 for values far above `scale`."""
    return 1.0 - math.exp(-value / scale)
