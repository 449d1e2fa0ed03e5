"""What moves a block's time in a ring: the order of the ring, the loading, or the moment.

    python benchmarks/order.py [--blocks 32] [--rounds 60] [--seed 0]

The same random blocks of the default space are loaded three times into one process and run in
three fixed orders, one run each, round after round; the second half of the rounds is compared with
the first. Printed: by how much a block's time (the 0.3 quantile, on a machine that others use too)
differs on average between two orders, two loadings and the two halves.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import sys
from dataclasses import dataclass

import numpy as np

from nas.latency.device import TableKey
from nas.latency.measured.campaign import block_job, plan
from nas.latency.on_board.board import RUNTIMES
from nas.latency.reach.pack import Pack, pack_lines
from nas.space.search_space import read_space
from nas.terminal import command_line


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Compare orders, loadings and moments."""

    blocks: int = 32
    """How many random blocks are in the ring."""
    rounds: int = 60
    """Rounds for each loading, order and half."""
    seed: int = 0
    """Draws the blocks and the orders."""


def run(arguments: Arguments) -> None:
    """Times, and prints the three differences."""
    found = plan(read_space("fused_mbconv"), 8).blocks
    rng = np.random.default_rng(arguments.seed)
    some = [found[i] for i in rng.permutation(len(found))[: arguments.blocks]]
    jobs = tuple(block_job(block) for block in some)
    pack = Pack(key=TableKey(device="host"), jobs=jobs, gauges=(), seed=0)
    header, *lines = (json.loads(line) for line in pack_lines(pack))
    runtime = RUNTIMES["ncnn"](header)
    loadings = [[runtime.load(line) for line in lines] for _ in range(3)]
    orders = [random.Random(i).sample(range(len(jobs)), len(jobs)) for i in range(3)]
    samples = np.zeros((2, arguments.rounds, len(loadings), len(orders), len(jobs)))
    for half, turn in itertools.product(range(2), range(arguments.rounds)):
        for (i, loaded), (j, order) in itertools.product(enumerate(loadings), enumerate(orders)):
            for place in order:
                loaded[place].forget()
                loaded[place].sample()
                samples[half, turn, i, j, place] = loaded[place].samples_ms[0]
    logs = np.log(np.quantile(samples, 0.3, axis=1))
    for name, axis in (("orders", 2), ("loadings", 1), ("halves", 0)):
        others = tuple(i for i in range(3) if i != axis)
        means = logs.mean(axis=others)
        pairs = itertools.combinations(means, 2)
        print(f"two {name} differ by {np.mean([np.abs(a - b).mean() for a, b in pairs]):.1%}")
    # ncnn's allocators have to outlive its nets (board.py ends in the same way).
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    command_line(Arguments, run)
