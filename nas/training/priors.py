"""The head's biases before the first step: the base rates of this very data."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from nas.detector.builder import Detector
from nas.training.batches import BatchPlan

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
    classes = np.concatenate([one.classes for one in targets])
    share = (np.bincount(classes, minlength=plan.grid.num_classes) + 1) / (
        len(classes) + plan.grid.num_classes
    )
    class_bias = torch.from_numpy(_logit(share)).float()
    head = detector.head
    for conv, stride, cells in zip(head.m, plan.grid.strides, plan.grid.cells, strict=True):
        assert isinstance(conv, nn.Conv2d)
        assert conv.bias is not None
        answering = [len(np.unique(one.cells[one.strides == stride])) for one in targets]
        rate = FRESH_OVERLAP * np.mean(answering) / (plan.batch_size * cells)
        with torch.no_grad():
            bias = conv.bias.view(head.num_anchors, -1)
            bias[:, 4] = float(_logit(np.array([rate]))[0])
            bias[:, 5:] = class_bias.to(bias.device)


def _logit(
    probability: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Log odds, kept away from certainty."""
    inside = np.clip(probability, 1e-4, 1 - 1e-4)
    return np.log(inside / (1 - inside))
