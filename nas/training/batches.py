"""The batch of each step, as a function of the step: nothing to save, nothing to restore."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nas.data.images import ImageSet
from nas.training.augment import AugmentSettings, make_batch
from nas.training.losses.aligned import Objects, objects_of
from nas.training.losses.assign import HeadGrid, Targets, assign


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """Which images a step sees, and how they are varied: by seed and step alone."""

    part: ImageSet
    grid: HeadGrid
    batch_size: int
    augment: AugmentSettings
    closing_step: int
    """From this step on there is no mosaic."""
    seed: int
    steps_per_pass: int | None = None
    """A pass is cut into so many batches of equal size (to one image); None: batches are full,
    and the last one of a pass runs into the next pass."""

    def seen(self, step: int) -> int:
        """Images that the steps before this one have seen, each as often as it was."""
        if self.steps_per_pass is None:
            return step * self.batch_size
        passes, rest = divmod(step, self.steps_per_pass)
        return passes * len(self.part) + rest * len(self.part) // self.steps_per_pass

    def indices(self, step: int) -> NDArray[np.int64]:
        """The images (B,) of a step. Passes follow each other without a gap."""
        count = len(self.part)
        positions = np.arange(self.seen(step), self.seen(step + 1))
        order = {
            lap: np.random.default_rng([self.seed, 0, lap]).permutation(count)
            for lap in np.unique(positions // count).tolist()
        }
        return np.array([order[p // count][p % count] for p in positions.tolist()], np.int64)

    def make(self, step: int) -> tuple[NDArray[np.uint8], Targets | Objects]:
        """Images (B, S, S, 3) and targets of a step."""
        augment = self.augment
        if step >= self.closing_step:
            augment = replace(augment, mosaic=0.0)
        rng = np.random.default_rng([self.seed, 1, step])
        batch = make_batch(self.part, self.indices(step), augment, rng)
        if self.grid.anchors is None:
            return batch.images, objects_of(batch)
        return batch.images, assign(batch, self.grid)

    def run(
        self, start: int, stop: int, workers: int
    ) -> Iterator[tuple[NDArray[np.uint8], Targets | Objects]]:
        """The batches from `start` to before `stop`, made ahead by `workers` threads if any."""
        if workers == 0:
            yield from map(self.make, range(start, stop))
            return
        ahead: deque[Future[tuple[NDArray[np.uint8], Targets | Objects]]] = deque()
        with ThreadPoolExecutor(workers, thread_name_prefix="batches") as pool:
            try:
                for step in range(start, stop):
                    ahead.append(pool.submit(self.make, step))
                    if len(ahead) > 2 * workers:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for future in ahead:
                    future.cancel()
