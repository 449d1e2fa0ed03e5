"""The two doors: a seed by its name or file, and a detector cut from it."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.detector.builder import Detector
from nas.detector.pretrained.classifiers import is_classifier, read_classifier
from nas.detector.pretrained.cut import Notes, cut_backbone
from nas.detector.pretrained.lite import is_lite, read_lite
from nas.detector.pretrained.neck import cut_neck
from nas.detector.pretrained.report import Report
from nas.detector.pretrained.seed import Seed, SeedError
from nas.detector.pretrained.starter import is_ours, read_ours
from nas.detector.pretrained.streams import Order
from nas.places import LITE2, STARTER, weights_of


def load_seed(name: str | Path) -> Seed:
    """The seed `starter` or `lite2`, or that of a file of weights.

    Raises SeedError; runs no code of it.
    """
    path = weights_of(str(name))
    document = _read(path)
    if is_ours(document):
        ours = read_ours(document, str(path))
        return replace(ours, name=STARTER) if str(name) == STARTER else ours
    weights = _state_dict(document)
    if is_lite(weights):
        return read_lite(weights, LITE2 if str(name) == LITE2 else path.name, str(path))
    if is_classifier(weights):
        return replace(read_classifier(weights, str(path)), name=path.name)
    raise SeedError(
        str(path),
        "the names of the tensors are those of timm's or torchvision's EfficientNet, "
        "EfficientNetV2, MobileNetV2 or MobileNetV3, or of a best.pt of nas.train",
        f"{', '.join(list(weights)[:3]) or 'no tensors'}",
        "Give such a state dict, starter, lite2 or none",
    )


def _state_dict(document: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a state dict, or of one under `state_dict`, without DataParallel's prefix."""
    inner = document.get("state_dict")
    weights = inner if isinstance(inner, Mapping) else document
    return {
        str(name).removeprefix("module."): value
        for name, value in weights.items()
        if isinstance(value, Tensor)
    }


def cut(
    seed: Seed,
    detector: Detector,
    *,
    names: tuple[str, ...] | None = None,
    order: Order = "importance",
    must_fit: bool = False,
) -> Report:
    """Fills a detector's weights from a seed, in place; what the seed lacks stays as it is.

    names      the detector's class names: a starter's layer of classes comes along where equal
    order      which channels are kept where the detector is narrower than the seed
    must_fit   raise SeedError where nothing could be taken, instead of a report that says so

    The same seed and detector give the same weights. Batch norm statistics are the seed's, and
    wrong where anything was cut: `recalibrate` measures them again. Raises SeedError.
    """
    notes = Notes(detector)
    indices, end = cut_backbone(seed, detector, notes, order)
    keeps_classes = False
    if indices and seed.starter is not None:
        reason, keeps_classes = cut_neck(seed.starter, detector, notes, indices, names)
        if reason and must_fit:
            raise SeedError(
                "--pretrained",
                "the detector's neck and head are of the starter's layout",
                reason,
                "Give a starter of that layout, or a classifier's weights",
            )
        end = end or reason
    report = Report(seed=seed.name, rows=notes.rows(), end=end, keeps_classes=keeps_classes)
    if must_fit and not report.taken:
        raise SeedError(
            "--pretrained",
            f"the detector's backbone is one that {seed.name} has weights for",
            end,
            "Give --pretrained none, or a detector with MBConv or FusedMBConv stages",
        )
    return report


def _read(path: Path) -> dict[str, Any]:
    try:
        # All of it first: of a file that was cut short torch tells an error of the disk's kind.
        content = path.read_bytes()
    except OSError as error:
        raise SeedError(
            str(path),
            "a file of weights is readable",
            str(error.strerror or error),
            "Correct the path, or give starter, lite2 or none",
        ) from error
    try:
        document: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise SeedError(
            str(path),
            "a file of weights holds tensors, numbers and text alone, whole",
            f"something else, or a part of it ({type(error).__name__})",
            "Save the network's state_dict() with torch.save",
        ) from error
    if not isinstance(document, Mapping):
        raise SeedError(str(path), "a file of weights is a state dict", type(document).__name__)
    return dict(document)
