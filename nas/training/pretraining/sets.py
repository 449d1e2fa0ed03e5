"""The sets that a starter is taught on: each gives batches of its own, in its own classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from nas import NasError
from nas.data.dataset import DataConfig, load_part
from nas.data.drawings.classes import NAMES
from nas.data.drawings.source import COUNTS, NAME, drawing, version
from nas.data.images import ImageSet, letterbox
from nas.training.augment import AugmentSettings, Batch, jitter_colour, make_batch

Rng = np.random.Generator

DRAWN_SHARE: Final = 0.5
"""Of a batch, where drawings and other sets are taught together: drawings have no end, and would
otherwise count as one small set among many."""


class PretrainError(NasError):
    """Sets, or a space, that no starter can be taught on."""


class TaughtSet(Protocol):
    """A set that batches are made of."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Its class names, one for each of its class numbers from 0 on."""
        ...

    def __len__(self) -> int:
        """Its pictures, or how many of them a pass shows where they have no end."""
        ...

    def batch(
        self, numbers: Sequence[int], settings: AugmentSettings, rng: Rng, image_size: int
    ) -> Batch:
        """A picture for each number, at an image size in pixels; the same for the same rng state.

        numbers   those of the pictures in a training of endless ones, counted from 0 on; a set
                  of so many pictures draws its own, by the rng
        """
        ...


@dataclass(frozen=True, kw_only=True)
class PictureSet:
    """A set of pictures in memory."""

    name: str
    part: ImageSet

    @property
    def classes(self) -> tuple[str, ...]:
        return self.part.names

    def __len__(self) -> int:
        return len(self.part)

    def batch(
        self, numbers: Sequence[int], settings: AugmentSettings, rng: Rng, image_size: int
    ) -> Batch:
        """Pictures drawn at random, augmented; a mosaic is made of this set's alone."""
        chosen = rng.integers(0, len(self.part), len(numbers))
        return make_batch(self.part, chosen, settings, rng, image_size)


@dataclass(frozen=True, kw_only=True)
class EndlessDrawings:
    """The drawings, each shown once: picture after picture, drawn when it is asked for.

    first   number of the first; trainings with other seeds begin elsewhere
    """

    first: int = 0

    @property
    def name(self) -> str:
        return NAME

    @property
    def classes(self) -> tuple[str, ...]:
        return NAMES

    def __len__(self) -> int:
        return COUNTS["train"]

    def batch(
        self, numbers: Sequence[int], settings: AugmentSettings, rng: Rng, image_size: int
    ) -> Batch:
        """The pictures of these numbers. They vary as they are; their colours by the settings."""
        images = np.empty((len(numbers), image_size, image_size, 3), np.uint8)
        owners, classes, boxes = [], [], []
        for place, number in enumerate(numbers):
            image, labels = drawing("train", self.first + number, image_size)
            images[place] = letterbox(image, image_size)[0]
            jitter_colour(images[place], settings, rng)
            owners.append(np.full(len(labels.classes), place, np.int64))
            classes.append(labels.classes)
            boxes.append(labels.boxes * image_size)
        return Batch(
            images=images,
            owners=np.concatenate(owners),
            classes=np.concatenate(classes),
            boxes=np.concatenate(boxes),
        )


def taught_sets(
    configs: Sequence[DataConfig], image_size: int, threads: int, seed: int
) -> tuple[TaughtSet, ...]:
    """The training parts of the sets, decoded at an image size in pixels.

    Raises PretrainError for a class without a box, since nothing would teach it; DataError.
    """
    found: list[TaughtSet] = []
    for config in configs:
        if config.name == NAME:
            found.append(EndlessDrawings(first=seed * 1_000_000_000))
            continue
        part = load_part(config, "train", image_size, threads)
        _refuse_empty_classes(config.name, part)
        found.append(PictureSet(name=config.name, part=part))
    return tuple(found)


def _refuse_empty_classes(name: str, part: ImageSet) -> None:
    counts = np.bincount(part.classes, minlength=len(part.names))
    empty = [one for one, count in zip(part.names, counts, strict=True) if count == 0]
    if empty:
        raise PretrainError(
            f"{name}: train",
            "every class has a box that teaches it",
            f"none of {', '.join(empty)}",
            "Take the class out of `names:` and the labels, or give it pictures",
        )


def set_shares(sets: Sequence[TaughtSet]) -> NDArray[np.float64]:
    """Each set's share (n,) of the pictures shown: by the root of its size, drawings DRAWN_SHARE.

    So a large set teaches more than a small one, and does not drown it.
    """
    is_drawn = np.array([one.name == NAME for one in sets])
    weights = np.sqrt(np.array([len(one) for one in sets], np.float64))
    for group, share in ((is_drawn, DRAWN_SHARE), (~is_drawn, 1 - DRAWN_SHARE)):
        if group.any():
            weights[group] *= (share if is_drawn.any() and not is_drawn.all() else 1.0) / weights[
                group
            ].sum()
    return weights


def describe(one: TaughtSet) -> str:
    """A set in a line, for the text beside a starter."""
    if one.name == NAME:
        return f"{version()}: drawn afresh for every step, {len(one.classes)} classes"
    classes = f"{len(one.classes)} class" + ("es" if len(one.classes) > 1 else "")
    return f"{one.name}: {len(one)} pictures, {classes}"
