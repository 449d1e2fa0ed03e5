"""The batch of each step, as a function of the step: nothing to save, nothing to restore."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nas.data.images import ImageSet
from nas.training.augment import AugmentSettings, make_batch
from nas.training.growth import GrowthSettings, weakened
from nas.training.losses.aligned import Objects, objects_of
from nas.training.losses.aligned_anchors import Reachable, reachable
from nas.training.losses.assign import HeadGrid, Targets, assign
from nas.training.losses.balance import image_weights, order_of_pass

Wanted = Targets | Objects | Reachable
"""What a head is taught of a batch: by its kind, and of one with anchors by the assignment."""

Assignment = Literal["yolov5", "aligned"]


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """Which images a step sees, and how they are varied: by seed and step alone."""

    part: ImageSet
    grid: HeadGrid
    """At the whole image size."""
    batch_size: int
    augment: AugmentSettings
    closing_step: int
    """From this step on there is no mosaic."""
    seed: int
    steps_per_pass: int | None = None
    """A pass is cut into so many batches of equal size (to one image); None: batches are full,
    and the last one of a pass runs into the next pass."""
    assignment: Assignment = "yolov5"
    """Of a head with anchors."""
    steps: int = 1
    """Of the whole training."""
    growth: GrowthSettings = field(default_factory=GrowthSettings)
    """Of image size and augmentation over the steps."""
    class_balance: float = 0.0
    """How much more often images with rare classes are shown; see nas.training.losses.balance."""

    def seen(self, step: int) -> int:
        """Images that the steps before this one have seen, each as often as it was."""
        if self.steps_per_pass is None:
            return step * self.batch_size
        passes, rest = divmod(step, self.steps_per_pass)
        return passes * len(self.part) + rest * len(self.part) // self.steps_per_pass

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """How often (N,) a pass shows each image."""
        return image_weights(self.part, self.class_balance)

    def grid_at(self, step: int) -> HeadGrid:
        """The head's grid at the image size of a step."""
        size, largest = self.grid.image_size, max(self.grid.strides)
        return replace(self.grid, image_size=self.growth.size_at(step, self.steps, size, largest))

    def augment_at(self, step: int) -> AugmentSettings:
        """How strongly the images of a step are varied."""
        augment = weakened(self.augment, self.growth.strength_at(step, self.steps))
        return replace(augment, mosaic=0.0) if step >= self.closing_step else augment

    def indices(self, step: int) -> NDArray[np.int64]:
        """The images (B,) of a step. Passes follow each other without a gap."""
        count = len(self.part)
        positions = np.arange(self.seen(step), self.seen(step + 1))
        order = {
            lap: order_of_pass(self.weights, np.random.default_rng([self.seed, 0, lap]))
            for lap in np.unique(positions // count).tolist()
        }
        return np.array([order[p // count][p % count] for p in positions.tolist()], np.int64)

    def make(self, step: int) -> tuple[NDArray[np.uint8], Wanted]:
        """Images (B, H, W, 3) and targets of a step."""
        rng, grid = np.random.default_rng([self.seed, 1, step]), self.grid_at(step)
        batch = make_batch(
            self.part, self.indices(step), self.augment_at(step), rng, grid.image_size
        )
        if self.grid.anchors is None:
            return batch.images, objects_of(batch)
        if self.assignment == "aligned":
            return batch.images, reachable(batch, grid)
        return batch.images, assign(batch, grid)

    def run(
        self, start: int, stop: int, workers: int
    ) -> Iterator[tuple[NDArray[np.uint8], Wanted]]:
        """The batches from `start` to before `stop`, made ahead by `workers` threads if any."""
        if workers == 0:
            yield from map(self.make, range(start, stop))
            return
        ahead: deque[Future[tuple[NDArray[np.uint8], Wanted]]] = deque()
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
