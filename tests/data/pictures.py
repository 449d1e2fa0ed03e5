"""Small data sets and detectors that the tests of this room teach."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
import yaml

from nas.data.images import ImageSet, Labels, gather
from nas.detector.builder import Detector, build_detector
from nas.space.search_space import read_space
from nas.space.spec import ModelSpec, with_anchors, with_classes

ANCHORS = ((10.0, 10, 16, 16, 12, 20), (24, 24, 30, 20, 20, 30), (40, 40, 56, 40, 40, 56))


def write_data(
    folder: Path,
    labels: Mapping[str, Mapping[str, str | None]],
    *,
    names: object = ("cat", "dog"),
    size: tuple[int, int] = (40, 30),
    **keys: object,
) -> Path:
    """A data.yaml with an image (width, height) for each label text; None means no label file.

    `labels` maps part -> image name without suffix -> label text. Keys of None are left out.
    """
    rng = np.random.default_rng(0)
    for part, images in labels.items():
        for name, text in images.items():
            picture = folder / "images" / part / f"{name}.png"
            picture.parent.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            assert cv2.imwrite(str(picture), pixels)
            if text is not None:
                label = folder / "labels" / part / f"{name}.txt"
                label.parent.mkdir(parents=True, exist_ok=True)
                label.write_text(text)
    listed = list(names) if isinstance(names, tuple) else names
    document = {part: f"images/{part}" for part in labels} | {"names": listed} | keys
    file = folder / "data.yaml"
    file.write_text(yaml.safe_dump({k: v for k, v in document.items() if v is not None}))
    return file


def squares(count: int, size: int = 64, seed: int = 0) -> ImageSet:
    """Bright squares of two classes (red, green) on dark noise: learnt in seconds."""
    rng = np.random.default_rng(seed)

    def load(index: int) -> tuple[np.ndarray, Labels]:
        image = rng.integers(0, 60, (size, size, 3), dtype=np.uint8)
        boxes, classes = [], []
        for corner in rng.permutation(4)[:2]:
            side = int(rng.integers(size // 5, size // 3))
            low = np.array([corner % 2, corner // 2]) * (size // 2)
            left, top = (int(v) for v in low + rng.integers(0, size // 2 - side, 2))
            kind = int(rng.integers(0, 2))
            image[top : top + side, left : left + side, kind] = 230
            boxes.append((left, top, left + side, top + side))
            classes.append(kind)
        return image, Labels(
            classes=np.array(classes, np.int64), boxes=np.array(boxes, np.float64) / size
        )

    return gather([f"square-{i}" for i in range(count)], load, ("red", "green"), size)


def image_set(
    boxes: list[list[tuple[float, ...]]], names: tuple[str, ...], size: int = 100
) -> ImageSet:
    """Grey images with objects given as (class, left, top, right, bottom) in pixels."""

    def load(index: int) -> tuple[np.ndarray, Labels]:
        table = np.array(boxes[index], np.float64).reshape(-1, 5)
        labels = Labels(classes=table[:, 0].astype(np.int64), boxes=table[:, 1:] / size)
        return np.full((size, size, 3), 90, np.uint8), labels

    return gather([f"image-{i}" for i in range(len(boxes))], load, names, size)


def tiny_spec(num_classes: int = 2) -> ModelSpec:
    """The default choices of the tiny space: a detector of some ten thousand parameters."""
    candidate = read_space("tiny").build(lambda name, options: options[0])
    return with_anchors(with_classes(candidate.spec, num_classes), ANCHORS)


def tiny_detector(num_classes: int = 2, seed: int = 0) -> Detector:
    """That detector, freshly initialised."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_detector(tiny_spec(num_classes))
