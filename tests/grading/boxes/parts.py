"""Parts and detections whose grades are known."""

from __future__ import annotations

import numpy as np

from nas.data.images import ImageSet
from nas.training.metrics import Detections
from tests.data.pictures import image_set

NAMES = ("cat", "dog", "fox")

Box = tuple[float, ...]


def detections(*rows: Box) -> Detections:
    """From (class, score, left, top, right, bottom), best first."""
    table = np.array(sorted(rows, key=lambda row: -row[1]), np.float64).reshape(-1, 6)
    return Detections(boxes=table[:, 2:], scores=table[:, 1], classes=table[:, 0].astype(np.int64))


def random_part(seed: int, images: int = 6) -> tuple[ImageSet, list[Detections]]:
    """Objects and boxes at random places, many of them over one another, on images of 100 px."""
    rng = np.random.default_rng(seed)

    def boxes(count: int) -> np.ndarray:
        low = rng.integers(0, 5, (count, 2)) * 16 + rng.uniform(0, 3, (count, 2))
        return np.concatenate([low, low + rng.uniform(8, 30, (count, 2))], axis=1)

    objects, found = [], []
    for _ in range(images):
        own = boxes(int(rng.integers(0, 7)))
        kinds = rng.integers(0, 2, len(own))
        objects.append([(int(k), *box) for k, box in zip(kinds, own, strict=True)])
        near = own + rng.normal(0, 2, own.shape)
        wrong = rng.integers(0, 3, len(own))
        near_kinds = np.where(rng.random(len(own)) < 0.7, kinds, wrong)
        far = boxes(int(rng.integers(0, 6)))
        rows = np.concatenate([near, far])
        rows = np.clip(
            np.concatenate([rows[:, :2], np.maximum(rows[:, 2:], rows[:, :2] + 1)], 1), 0, 100
        )
        classes = np.concatenate([near_kinds, rng.integers(0, 3, len(far))])
        scores = rng.random(len(rows)).round(2)
        found.append(
            detections(*[(int(k), s, *b) for k, s, b in zip(classes, scores, rows, strict=True)])
        )
    if not any(objects):
        objects[0].append((0, 10, 10, 40, 40))
    return image_set(objects, NAMES), found


def perfect(part: ImageSet, score: float = 0.9) -> list[Detections]:
    """Detections of someone who knows the answers."""
    answers = []
    for index in range(len(part)):
        rows = part.of(index)
        boxes = part.to_original(np.full(rows.stop - rows.start, index), part.boxes[rows])
        answers.append(
            Detections(boxes=boxes, scores=np.full(len(boxes), score), classes=part.classes[rows])
        )
    return answers
