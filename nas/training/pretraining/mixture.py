"""Batches of several sets at once, each a function of seed and step as any training's are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from nas.data.images import ImageSet
from nas.detector.builder import Detector
from nas.space.image_size import ImageSize, sides
from nas.training.augment import Batch
from nas.training.batches import BatchPlan, Wanted
from nas.training.losses.aligned import objects_of
from nas.training.pretraining.sets import TaughtSet, set_shares
from nas.training.settings import TrainSettings
from nas.training.under_way import head_grid


@dataclass(frozen=True, kw_only=True)
class MixedPlan(BatchPlan):
    """A plan whose batches come from several sets; class numbers follow each other set by set.

    A picture of one set says nothing of another's classes, whose objects may stand in it without a
    label: what it is told of is in `Objects.is_told`. `part` only says names and sizes (`outline`).
    """

    sets: tuple[TaughtSet, ...]

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """The first class (n + 1,) of each set, and behind the last one their number."""
        return np.cumsum([0, *(len(one.classes) for one in self.sets)]).astype(np.int64)

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """How much of a batch each set has (n,)."""
        return set_shares(self.sets)

    def sets_at(self, step: int) -> NDArray[np.int64]:
        """Which set (B,) each picture of a step is of, in ascending order.

        Systematic sampling: a set's pictures differ by less than one from its share of the batch.
        """
        places = (np.arange(self.batch_size) + self._rng(2, step).random()) / self.batch_size
        edges = np.cumsum(self.shares)
        return np.minimum(np.searchsorted(edges, places, side="right"), len(self.sets) - 1)

    def _rng(self, purpose: int, step: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, purpose, step])

    def make(self, step: int) -> tuple[NDArray[np.uint8], Wanted]:
        """Images (B, H, W, 3) and objects of a step."""
        chosen, rng = self.sets_at(step), self._rng(1, step)
        size, augment = self.grid_at(step).image_size, self.augment_at(step)
        is_told = np.zeros((self.batch_size, int(self.offsets[-1])), np.bool_)
        batches = []
        for number in np.unique(chosen).tolist():
            places = np.flatnonzero(chosen == number)
            numbers = [step * self.batch_size + place for place in places.tolist()]
            own = self.sets[number].batch(numbers, augment, rng, size)
            first, last = self.offsets[number], self.offsets[number + 1]
            is_told[places, first:last] = True
            batches.append(_moved(own, int(places[0]), int(first)))
        whole = _joined(batches)
        objects = objects_of(whole)
        told = type(objects)(
            boxes=objects.boxes, classes=objects.classes, is_real=objects.is_real, is_told=is_told
        )
        return whole.images, told

    def run(
        self, start: int, stop: int, workers: int
    ) -> Iterator[tuple[NDArray[np.uint8], Wanted]]:
        """The batches from `start` to before `stop`, made ahead by `workers` processes if any.

        Drawing takes Python's own time, so that threads would wait for each other.
        """
        if workers == 0:
            yield from map(self.make, range(start, stop))
            return
        loader = DataLoader(
            Steps(self), batch_size=None, sampler=range(start, stop), num_workers=workers,
            collate_fn=unchanged, prefetch_factor=4, worker_init_fn=single_thread,
        )  # fmt: skip
        yield from loader


class Steps(Dataset[Any]):
    """A plan as torch's loader asks it: by the step's number."""

    def __init__(self, plan: MixedPlan) -> None:
        self.plan = plan

    def __getitem__(self, step: int) -> tuple[NDArray[np.uint8], Wanted]:
        return self.plan.make(step)


def unchanged(batch: Any) -> Any:
    """A batch as it is: arrays, which travel through pipes and need no shared memory."""
    return batch


def single_thread(_: int) -> None:
    """A worker process uses one core: there is one for each core."""
    import cv2

    cv2.setNumThreads(0)


def _moved(batch: Batch, place: int, first: int) -> Batch:
    """A set's batch as it stands in the whole: from a place on, in classes from `first` on."""
    return Batch(
        images=batch.images,
        owners=batch.owners + place,
        classes=batch.classes + first,
        boxes=batch.boxes,
    )


def _joined(batches: Sequence[Batch]) -> Batch:
    return Batch(
        images=np.concatenate([one.images for one in batches]),
        owners=np.concatenate([one.owners for one in batches]),
        classes=np.concatenate([one.classes for one in batches]),
        boxes=np.concatenate([one.boxes for one in batches]),
    )


def outline(sets: Sequence[TaughtSet], image_size: ImageSize) -> ImageSet:
    """What a training asks of its part: names, image size and the length of a pass. No pixel."""
    count = sum(len(one) for one in sets)
    height, width = sides(image_size)
    shape = (count, height, width, 3)
    return ImageSet(
        images=np.broadcast_to(np.zeros((), np.uint8), shape),
        frames=np.broadcast_to(np.array([0, 0, width, height]), (count, 4)),
        sizes=np.broadcast_to(np.array([width, height]), (count, 2)),
        boxes=np.zeros((0, 4)),
        classes=np.zeros(0, np.int64),
        starts=np.zeros(count + 1, np.int64),
        names=tuple(f"{one.name}: {label}" for one in sets for label in one.classes),
        files=(),
    )


def mixed_plan(
    detector: Detector,
    sets: Sequence[TaughtSet],
    part: ImageSet,
    settings: TrainSettings,
    seed: int,
) -> MixedPlan:
    """The plan of a training of these settings on several sets; `part` is their outline."""
    steps = settings.total_steps(len(part))
    return MixedPlan(
        part=part,
        grid=head_grid(detector, part.image_size),
        batch_size=settings.batch_size,
        augment=settings.augment,
        closing_step=steps - round(settings.closing_share * steps),
        seed=seed,
        steps=steps,
        growth=settings.growth,
        sets=tuple(sets),
    )
