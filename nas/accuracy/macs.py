"""The number of multiply-accumulates as a score: what any score that costs more has to beat."""

from __future__ import annotations

import time

from nas.accuracy.proxy import Score
from nas.space.ops import macs, model_graph
from nas.space.search_space import Candidate


class Macs:
    """More computation is better. Nothing is trained, no image is looked at."""

    @property
    def kind(self) -> str:
        """The same for all."""
        return "macs, not a mAP: 10^9 multiply-accumulates at the candidate's image size"

    def score(self, candidate: Candidate, seed: int) -> Score:
        """10^9 multiply-accumulates; the same under every seed."""
        begin = time.perf_counter()
        count = macs(model_graph(candidate.spec, candidate.image_size))
        return Score(
            score=count / 1e9,
            kind=self.kind,
            is_map=False,
            seconds=time.perf_counter() - begin,
        )
