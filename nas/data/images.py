"""Images in memory as the detector sees them: of one size, letterboxed, uint8 RGB, with boxes."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from nas import NasError
from nas.space.image_size import ImageSize, of_sides, sides

GREY = 114
"""The value of the padding: YOLO's, near the mean of natural images."""

MEMORY_LIMIT_BYTES = 4 << 30
"""Above this the pixels lie in an unlinked temporary file, and the system pages them."""


class DataError(NasError):
    """A data set that can't be taught from: a wrong data.yaml, label file or image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Labels:
    """The objects of one image, relative to its width and height."""

    classes: NDArray[np.int64]
    """(n,) class indices."""
    boxes: NDArray[np.float64]
    """(n, 4) left, top, right, bottom in 0..1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSet:
    """One part of a data set at one image size, H x W, decoded. Boxes of all lie in one array."""

    images: NDArray[np.uint8]
    """(N, H, W, 3) RGB, the picture in the middle, grey around it."""
    frames: NDArray[np.int64]
    """(N, 4) left, top, width, height of the picture inside its image, in pixels."""
    sizes: NDArray[np.int64]
    """(N, 2) width, height of the picture as it came."""
    boxes: NDArray[np.float64]
    """(M, 4) left, top, right, bottom in pixels of the image."""
    classes: NDArray[np.int64]
    """(M,) class indices."""
    starts: NDArray[np.int64]
    """(N + 1,) image i owns boxes starts[i] to starts[i + 1]."""
    names: tuple[str, ...]
    """The class names."""
    files: tuple[str, ...]
    """(N,) where each image came from."""
    unreadable: tuple[str, ...] = ()
    """Files that could not be decoded and are not in here."""

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_size(self) -> ImageSize:
        """That of the images."""
        return of_sides(*(int(side) for side in self.images.shape[1:3]))

    def of(self, index: int) -> slice:
        """The rows of `boxes` and `classes` that belong to image `index`."""
        return slice(int(self.starts[index]), int(self.starts[index + 1]))

    def name_of(self, index: int) -> str:
        """What image `index` is called: its file's name, or its number."""
        return Path(self.files[index]).name if self.files else str(index)

    def spread(self, count: int) -> ImageSet:
        """At most `count` of the images, evenly over the part: the same ones every time."""
        if count >= len(self):
            return self
        return self.subset(np.linspace(0, len(self) - 1, count).round().astype(np.int64))

    def subset(self, places: NDArray[np.int64]) -> ImageSet:
        """The images at these places (n,), with their boxes."""
        rows = [np.arange(self.starts[one], self.starts[one + 1]) for one in places]
        owned = np.concatenate(rows) if rows else np.zeros(0, np.int64)
        return replace(
            self,
            images=self.images[places],
            frames=self.frames[places],
            sizes=self.sizes[places],
            boxes=self.boxes[owned],
            classes=self.classes[owned],
            starts=np.concatenate([[0], np.cumsum([len(own) for own in rows])]).astype(np.int64),
            files=tuple(self.files[int(one)] for one in places) if self.files else (),
        )

    def to_original(
        self, index: NDArray[np.int64], boxes: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Boxes (n, 4) of images `index` (n,), in pixels of the pictures as they came, clipped."""
        frames, sizes = self.frames[index], self.sizes[index].astype(np.float64)
        scale = sizes / frames[:, 2:]
        points = (boxes.reshape(-1, 2, 2) - frames[:, None, :2]) * scale[:, None]
        return np.clip(points, 0.0, sizes[:, None]).reshape(-1, 4)


def fit_frame(width: int, height: int, image_size: ImageSize) -> tuple[int, int, int, int]:
    """Left, top, width, height of a picture that fills `image_size` as far as its shape allows.

    A picture's long side fills a square's; of a rectangle it fills the width or the height.
    """
    height_there, width_there = sides(image_size)
    scale = min(width_there / width, height_there / height)
    # A scale that is rounded may lead a hair beyond the side that it comes from.
    inner_width = min(width_there, max(1, round(width * scale)))
    inner_height = min(height_there, max(1, round(height * scale)))
    left, top = (width_there - inner_width) // 2, (height_there - inner_height) // 2
    return left, top, inner_width, inner_height


def letterbox(
    image: NDArray[np.uint8], image_size: ImageSize
) -> tuple[NDArray[np.uint8], tuple[int, int, int, int]]:
    """The image (H, W, 3) in a grey image of `image_size`, and its frame there."""
    height, width = image.shape[:2]
    left, top, inner_width, inner_height = fit_frame(width, height, image_size)
    if (inner_width, inner_height) != (width, height):
        # Area averaging when shrinking: bilinear would skip pixels, and small objects with them.
        shrinks = inner_width < width
        resized = cv2.resize(
            image,
            (inner_width, inner_height),
            interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
        )
    else:
        resized = image
    canvas = np.full((*sides(image_size), 3), GREY, np.uint8)
    canvas[top : top + inner_height, left : left + inner_width] = resized
    return canvas, (left, top, inner_width, inner_height)


Picture = tuple[NDArray[np.uint8], Labels]


def gather(
    files: Sequence[str],
    load: Callable[[int], Picture | None],
    names: tuple[str, ...],
    image_size: ImageSize,
    threads: int = 1,
) -> ImageSet:
    """The image set of `load(0)`, `load(1)`, ...: RGB picture and labels, or None if unreadable.

    Pictures are loaded in order by `threads` threads and kept only in letterboxed form.
    """
    images = _pixels(len(files), image_size)
    frames, sizes, labels = [], [], []
    kept: list[str] = []
    lost: list[str] = []
    for index, picture in enumerate(_in_order(len(files), load, threads)):
        if picture is None:
            lost.append(files[index])
            continue
        image, label = picture
        images[len(kept)], frame = letterbox(image, image_size)
        frames.append(frame)
        sizes.append((image.shape[1], image.shape[0]))
        labels.append(label)
        kept.append(files[index])
    return _assemble(images[: len(kept)], frames, sizes, labels, names, tuple(kept), tuple(lost))


def _assemble(
    images: NDArray[np.uint8],
    frames: list[tuple[int, int, int, int]],
    sizes: list[tuple[int, int]],
    labels: list[Labels],
    names: tuple[str, ...],
    files: tuple[str, ...],
    unreadable: tuple[str, ...],
) -> ImageSet:
    """The image set of letterboxed images and relative labels."""
    frame_array = np.array(frames, np.int64).reshape(-1, 4)
    counts = [len(label.classes) for label in labels]
    relative = np.concatenate([label.boxes for label in labels]) if labels else np.zeros((0, 4))
    owner = np.repeat(frame_array, counts, axis=0)
    boxes = relative * owner[:, [2, 3, 2, 3]] + owner[:, [0, 1, 0, 1]]
    classes = np.concatenate([label.classes for label in labels]) if labels else np.zeros(0)
    return ImageSet(
        images=images,
        frames=frame_array,
        sizes=np.array(sizes, np.int64).reshape(-1, 2),
        boxes=boxes,
        classes=classes.astype(np.int64),
        starts=np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64),
        names=names,
        files=files,
        unreadable=unreadable,
    )


def _pixels(count: int, image_size: ImageSize) -> NDArray[np.uint8]:
    """Room for the images: in memory, or in a temporary file when they are many."""
    shape = (count, *sides(image_size), 3)
    if math.prod(shape) <= MEMORY_LIMIT_BYTES:
        return np.empty(shape, np.uint8)
    # Asked beforehand: a full disk under a mapped file kills the process without a word.
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if math.prod(shape) > free:
        raise DataError(
            tempfile.gettempdir(),
            f"decoded images need room for {math.prod(shape) / 1e9:.1f} GB in the temporary folder",
            f"{free / 1e9:.1f} GB",
            "Train at a smaller image size, or set TMPDIR to a folder with room",
        )
    with tempfile.TemporaryFile(prefix="nas-images-") as file:
        return np.memmap(file, np.uint8, mode="w+", shape=shape)


def _in_order(
    count: int, load: Callable[[int], Picture | None], threads: int
) -> Iterator[Picture | None]:
    """`load(0)` to `load(count - 1)`, a bounded number of them ahead of the reader."""
    if threads <= 1:
        yield from map(load, range(count))
        return
    chunk = 16 * threads
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, count, chunk):
            yield from pool.map(load, range(start, min(start + chunk, count)))
