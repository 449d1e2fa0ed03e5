"""How many architectures a minute an estimated table answers for.

    python benchmarks/estimate_speed.py                  # the default space, on a Raspberry Pi 4
    python benchmarks/estimate_speed.py --space tiny

Random architectures, drawn before the clock starts; one core. Seconds are those that the process
computed for (CPU time), so that other work on the machine does not count. The walk over a model is
told apart from the answer for its blocks, each of which is worked out once and remembered.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import tyro

from nas.latency.device import TableKey
from nas.latency.estimated.predictor import EstimatedPredictor
from nas.latency.estimated.tables import read_estimate
from nas.space.blocks import blocks
from nas.space.search_space import read_space


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Time estimates."""

    space: str = "fused_mbconv"
    """A search space."""
    count: int = 2000
    """Random architectures of it, after as many that fill the memory."""
    threads: int = 4
    """Of the Raspberry Pi 4's table in ncnn fp32."""


def main(arguments: Arguments) -> None:
    """Architectures a minute: the walk alone, the answers alone, both."""
    table = read_estimate(TableKey(device="rpi4", threads=arguments.threads))
    assert table is not None
    predictor = EstimatedPredictor(table)
    space, random = read_space(arguments.space), np.random.default_rng(0)
    first, second = ([space.random(random) for _ in range(arguments.count)] for _ in range(2))
    start = time.process_time()
    for one in first:
        predictor.predict(one.spec, one.image_size)
    cold = time.process_time()
    walks = [blocks(one.spec, one.image_size) for one in second]
    walked = time.process_time()
    for walk in walks:
        predictor.predict_blocks(walk)
    done = time.process_time()
    print(
        f"{space.name}: {len(walks)} architectures of {len({b for w in walks for b in w})} blocks"
    )
    for title, seconds in (
        ("walk and answer, nothing known before", cold - start),
        ("the walk over the model", walked - cold),
        ("the answer for its blocks", done - walked),
        ("walk and answer, most blocks known", done - cold),
    ):
        print(f"  {title}: {60 * len(walks) / seconds:,.0f} a minute")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
