"""The drawings as a data set: parts of fixed length, and any number of pictures beyond."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from nas.data.drawings.classes import NAMES
from nas.data.drawings.picture import draw
from nas.data.images import ImageSet, Picture, gather
from nas.space.image_size import ImageSize

NAME: Final = "drawings"

VERSION: Final = "drawings 1"
"""Changes with anything that changes a pixel or a box. 1: the first."""

SIZE: Final = 256
"""Side of the drawn square in pixels, where a part of the set is drawn."""

SEEDS: Final = {"train": 11, "val": 12, "test": 13}
COUNTS: Final = {"train": 2048, "val": 256, "test": 256}


@dataclass(frozen=True, kw_only=True)
class DrawingsSource:
    """One part of the drawings."""

    part: str
    count: int

    def load(self, image_size: ImageSize, threads: int) -> ImageSet:
        """The part's images, drawn now; some 5 ms each."""
        files = [f"{NAME}/{self.part}/{index:05d}" for index in range(self.count)]
        return gather(files, lambda i: drawing(self.part, i), NAMES, image_size, threads)


def drawing(part: str, index: int, size: int = SIZE) -> Picture:
    """Picture `index` of a part, drawn at any size; indices have no end."""
    return draw(np.random.default_rng([SEEDS[part], index]), size)


def version() -> str:
    """What the pictures are made by: OpenCV 5 writes letters by other fonts than OpenCV 4."""
    return f"{VERSION}, OpenCV {cv2.__version__.partition('.')[0]}"


def drawings() -> Mapping[str, DrawingsSource]:
    """The parts of the drawings by name."""
    return {part: DrawingsSource(part=part, count=count) for part, count in COUNTS.items()}
