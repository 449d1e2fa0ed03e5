"""The head's biases before the first step: the base rates of this very data."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from nas.detector.anchor_free import AnchorFreeDetect, last_bias
from nas.detector.builder import Detector
from nas.detector.head import Detect
from nas.training.batches import BatchPlan
from nas.training.losses.aligned import CELLS_PER_OBJECT, Objects
from nas.training.losses.aligned_anchors import Reachable
from nas.training.losses.assign import Targets

BATCHES = 4
"""Batches that the rates are counted on."""

FRESH_OVERLAP = 0.3
"""About the IoU of an untrained head's boxes with their objects: what objectness should report."""


def set_priors(detector: Detector, plan: BatchPlan) -> None:
    """Sets objectness and class biases to the logits of their rates in the first batches.

    The usual prior (focal loss, arXiv 1708.02002, section 3.3) supposes eight objects on 640 px. On
    small images objects fill far more of the grid, and a training of a hundred steps would spend
    a good part of them on raising biases.
    """
    targets = [plan.make(step)[1] for step in range(BATCHES)]
    images = plan.seen(BATCHES)
    head = detector.head
    if isinstance(head, Detect):
        if plan.assignment == "aligned":
            reachable = [one for one in targets if isinstance(one, Reachable)]
            _set_aligned(head, plan, reachable, images)
        else:
            _set_anchored(head, plan, [one for one in targets if isinstance(one, Targets)], images)
    else:
        _set_anchor_free(head, plan, [one for one in targets if isinstance(one, Objects)], images)


def _set_anchored(head: Detect, plan: BatchPlan, targets: list[Targets], images: int) -> None:
    classes = np.concatenate([one.classes for one in targets])
    class_bias = torch.from_numpy(_logit(_shares(classes, plan.grid.num_classes))).float()
    for conv, stride, cells in zip(head.m, plan.grid.strides, plan.grid.cells, strict=True):
        assert isinstance(conv, nn.Conv2d)
        assert conv.bias is not None
        answering = [len(np.unique(one.cells[one.strides == stride])) for one in targets]
        rate = FRESH_OVERLAP * np.mean(answering) / (images / BATCHES * cells)
        with torch.no_grad():
            bias = conv.bias.view(head.num_anchors, -1)
            bias[:, 4] = float(_logit(np.array([rate]))[0])
            bias[:, 5:] = class_bias.to(bias.device)


def _set_aligned(head: Detect, plan: BatchPlan, targets: list[Reachable], images: int) -> None:
    """Objectness: a prediction's mean score to reach. Classes: their shares of the objects."""
    classes = np.concatenate([one.classes for one in targets])
    class_bias = torch.from_numpy(_logit(_shares(classes, plan.grid.num_classes))).float()
    answering = CELLS_PER_OBJECT * len(classes) / images
    rate = min(1.0, answering / sum(plan.grid.cells)) * FRESH_OVERLAP / 2
    with torch.no_grad():
        for conv in head.m:
            assert isinstance(conv, nn.Conv2d)
            assert conv.bias is not None
            bias = conv.bias.view(head.num_anchors, -1)
            bias[:, 4] = float(_logit(np.array([rate]))[0])
            bias[:, 5:] = class_bias.to(bias.device)


def _set_anchor_free(
    head: AnchorFreeDetect, plan: BatchPlan, targets: list[Objects], images: int
) -> None:
    """A cell's mean score to reach: ten cells an object, half of a fresh overlap each."""
    classes = np.concatenate([one.classes[one.is_real] for one in targets])
    answering = CELLS_PER_OBJECT * len(classes) / images
    rate = min(1.0, answering / sum(plan.grid.cells)) * FRESH_OVERLAP / 2
    class_bias = torch.from_numpy(_logit(rate * _shares(classes, plan.grid.num_classes))).float()
    with torch.no_grad():
        for branch in head.cv3:
            last_bias(branch).copy_(class_bias)


def _shares(
    classes: np.ndarray[tuple[int], np.dtype[np.int64]], num_classes: int
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Each class's share of the objects, none of them 0."""
    counts = np.bincount(classes, minlength=num_classes) + 1
    return counts / (len(classes) + num_classes)


def _logit(
    probability: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Log odds, kept away from certainty."""
    inside = np.clip(probability, 1e-4, 1 - 1e-4)
    return np.log(inside / (1 - inside))
