"""How good a detector is: NMS by OpenCV, average precision by faster-coco-eval.

Grading asks a function for predictions, not a torch module, so that an exported file is graded by
the same lines as the network that it came from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import torch
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray
from torch import nn

from nas.data.images import ImageSet

Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Images (B, H, W, 3) RGB -> (B, N, 5 + classes): centre x, y, width, height in pixels of the
image, then objectness and class probabilities."""

SCORE_THRESHOLD: Final = 0.001
IOU_THRESHOLD: Final = 0.6
"""YOLO's thresholds for grading: keep nearly all, so that precision is known at every recall."""

CANDIDATES: Final = 1000
"""Best-scored pairs of box and class of an image that NMS looks at; its cost is quadratic."""

DETECTIONS: Final = 100
"""Best-scored boxes of an image that are graded: COCO's limit."""

ANY_AREA: Final = (0.0, 1e10)
"""Pixels of an object of any size; COCO's own bounds."""

QUARTERS: Final = 4
"""Parts of the images that a standard error is told from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Detections:
    """n boxes found on one image, best first."""

    boxes: NDArray[np.float64]
    """(n, 4) left, top, right, bottom in pixels."""
    scores: NDArray[np.float64]
    """(n,) objectness times class probability."""
    classes: NDArray[np.int64]
    """(n,) class indices."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassGrade:
    """Average precision of one class; None where the images show no object of it."""

    name: str
    objects: int
    map50_95: float | None
    map50: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Grades:
    """Mean average precision (0..1) over the classes that the images show, and each class's.

    Images without any object have no precision: both means are 0 and every class's is None.
    """

    map50_95: float
    map50: float
    per_class: tuple[ClassGrade, ...]
    images: int
    objects: int


def suppress(
    predictions: NDArray[np.float32],
    score_threshold: float = SCORE_THRESHOLD,
    iou_threshold: float = IOU_THRESHOLD,
    candidates: int = CANDIDATES,
    detections: int = DETECTIONS,
) -> Detections:
    """What is left of one image's predictions (N, 5 + classes) after NMS within each class.

    A box may be found as several classes. Not finite predictions are dropped.
    """
    predictions = predictions[predictions[:, 4] > score_threshold]
    pair_scores = predictions[:, 5:] * predictions[:, 4:5]
    rows, classes = np.nonzero(pair_scores > score_threshold)
    scores = pair_scores[rows, classes].astype(np.float64)
    sizes = predictions[rows, 2:4].astype(np.float64)
    corners = predictions[rows, :2] - sizes / 2
    finite = np.isfinite(scores) & np.isfinite(corners).all(axis=1) & np.isfinite(sizes).all(axis=1)
    best = np.nonzero(finite)[0]
    # Stable, so that equal scores keep their order and the result is the same everywhere.
    best = best[np.argsort(-scores[best], kind="stable")[:candidates]]
    scores, corners, sizes, classes = scores[best], corners[best], sizes[best], classes[best]
    keep = _not_overlapped(np.concatenate([corners, sizes], axis=1), scores, classes, iou_threshold)
    keep = keep[:detections]
    scores, corners, sizes, classes = scores[keep], corners[keep], sizes[keep], classes[keep]
    return Detections(
        boxes=np.concatenate([corners, corners + sizes], axis=1),
        scores=scores,
        classes=classes.astype(np.int64),
    )


def _not_overlapped(
    rectangles: NDArray[np.float64],
    scores: NDArray[np.float64],
    classes: NDArray[np.int64],
    iou_threshold: float,
) -> NDArray[np.int64]:
    """Which rectangles (n, 4: left, top, width, height; best first) survive NMS, best first.

    A class at a time: the cost is quadratic, and OpenCV's batched form compares across classes.
    """
    kept = [np.zeros(0, np.int64)]
    for number in np.unique(classes):
        members = np.nonzero(classes == number)[0]
        survivors = cv2.dnn.NMSBoxes(
            rectangles[members].tolist(), scores[members].tolist(), 0.0, iou_threshold
        )
        kept.append(members[np.asarray(survivors, np.int64).reshape(-1)])
    return np.sort(np.concatenate(kept))


def detect(predict: Predict, part: ImageSet, batch_size: int = 16) -> Iterator[Detections]:
    """The detections on each image of a part, boxes in pixels of the picture as it came."""
    for start in range(0, len(part), batch_size):
        for offset, predictions in enumerate(predict(part.images[start : start + batch_size])):
            found = suppress(predictions)
            index = np.full(len(found.scores), start + offset, np.int64)
            yield Detections(
                boxes=part.to_original(index, found.boxes),
                scores=found.scores,
                classes=found.classes,
            )


def evaluate(predict: Predict, part: ImageSet, batch_size: int = 16) -> Grades:
    """The grades of a predictor on one part of a data set."""
    return grade(list(detect(predict, part, batch_size)), part)


def evaluate_with_error(
    detector: nn.Module, part: ImageSet, batch_size: int = 16
) -> tuple[Grades, float | None]:
    """The grades, and the standard error of mAP50-95 that the choice of the images makes.

    From the grades of four interleaved quarters of the part: their standard deviation over two.
    None where a quarter has no object, or the part is too small to be quartered.
    """
    found = list(detect(torch_predictor(detector), part, batch_size))
    quarters = []
    for first in range(QUARTERS):
        places = np.arange(first, len(part), QUARTERS)
        own = part.subset(places)
        if not len(own.boxes):
            return grade(found, part), None
        quarters.append(grade([found[int(place)] for place in places], own).map50_95)
    return grade(found, part), float(np.std(quarters, ddof=1) / np.sqrt(QUARTERS))


def evaluate_detector(detector: nn.Module, part: ImageSet, batch_size: int = 16) -> Grades:
    """The grades of a torch detector, in eval mode on the device that it lies on."""
    return evaluate(torch_predictor(detector), part, batch_size)


def torch_predictor(detector: nn.Module) -> Predict:
    """A torch detector as a function of images. Each call leaves the detector's mode as it was."""
    device = next(detector.parameters()).device

    def predict(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        was_training = detector.training
        detector.eval()
        with torch.inference_mode():
            decoded = detector(to_input(images, device))
        detector.train(was_training)
        predictions: NDArray[np.float32] = decoded.float().cpu().numpy()
        return predictions

    return predict


def to_input(images: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """Images (B, H, W, 3) as a detector takes them: (B, 3, H, W) float in 0..1, channels last."""
    pixels = torch.from_numpy(images)
    if device.type == "cuda":  # bytes cross over, a quarter of the floats, and nothing waits
        pixels = pixels.pin_memory().to(device, non_blocking=True)
    return pixels.permute(0, 3, 1, 2).float().div_(255.0)


def grade(found: list[Detections], part: ImageSet) -> Grades:
    """The grades of detections, one for each image of the part in its order."""
    counts = np.bincount(part.classes, minlength=len(part.names))
    precision = precision_table(found, part)[..., 0] if counts.sum() else None
    per_class = []
    for index, name in enumerate(part.names):
        if precision is None or counts[index] == 0:
            per_class.append(ClassGrade(name=name, objects=0, map50_95=None, map50=None))
            continue
        of_class = precision[:, :, index]
        per_class.append(
            ClassGrade(
                name=name,
                objects=int(counts[index]),
                map50_95=float(of_class.mean()),
                map50=float(of_class[0].mean()),
            )
        )
    return Grades(
        map50_95=_mean([one.map50_95 for one in per_class]),
        map50=_mean([one.map50 for one in per_class]),
        per_class=tuple(per_class),
        images=len(part),
        objects=int(counts.sum()),
    )


def _mean(values: list[float | None]) -> float:
    """The mean of those that are known, 0 if none is."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else 0.0


def precision_table(
    found: list[Detections], part: ImageSet, areas: Sequence[tuple[float, float]] = (ANY_AREA,)
) -> NDArray[np.float64]:
    """Interpolated precision, (10 IoUs from 0.5, 101 recalls, classes, areas).

    areas   least and most pixels of an object, of the picture as it came; objects and boxes
            beyond them are not counted

    -1 where the part shows no object of a class in a range.
    """
    truth = COCO(_truth_document(part))
    results = truth.loadRes(_result_document(found))
    judge = COCOeval_faster(truth, results, iouType="bbox", print_function=_discard)
    judge.params.maxDets = [DETECTIONS]
    judge.params.areaRng = [list(area) for area in areas]
    judge.params.areaRngLbl = [str(area) for area in areas]
    judge.evaluate()
    judge.accumulate()
    precision: NDArray[np.float64] = np.asarray(judge.eval["precision"])[:, :, :, :, 0]
    return precision


def _truth_document(part: ImageSet) -> dict[str, Any]:
    """The part's objects as COCO writes them; ids count from 1 where 0 would mean none."""
    owners = np.repeat(np.arange(len(part)), np.diff(part.starts))
    boxes = part.to_original(owners, part.boxes)
    sizes = boxes[:, 2:] - boxes[:, :2]
    rows = zip(owners.tolist(), part.classes.tolist(), boxes.tolist(), sizes.tolist(), strict=True)
    return {
        "images": [
            {"id": index, "width": width, "height": height}
            for index, (width, height) in enumerate(part.sizes.tolist())
        ],
        "categories": [{"id": index, "name": name} for index, name in enumerate(part.names)],
        "annotations": [
            {
                "id": number,
                "image_id": owner,
                "category_id": kind,
                "bbox": [*box[:2], *size],
                "area": size[0] * size[1],
                "iscrowd": 0,
            }
            for number, (owner, kind, box, size) in enumerate(rows, start=1)
        ],
    }


def _result_document(found: list[Detections]) -> list[dict[str, Any]]:
    """The detections as COCO writes them."""
    document = []
    for index, one in enumerate(found):
        sizes = one.boxes[:, 2:] - one.boxes[:, :2]
        rectangles = np.concatenate([one.boxes[:, :2], sizes], axis=1).tolist()
        rows = zip(rectangles, one.scores.tolist(), one.classes.tolist(), strict=True)
        document += [
            {
                "image_id": index,
                "category_id": kind,
                "bbox": rectangle,
                "score": score,
                "segmentation": [],  # spares the library inventing one for each box
            }
            for rectangle, score, kind in rows
        ]
    return document


def _discard(*_: object) -> None:
    """Swallows the library's progress messages."""
