"""Which rows of a detector learn, and how fast: frozen stages, learning rates by depth."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from nas.detector.builder import Detector
from nas.space.blocks import layers
from nas.training.progress import TrainingError

_SIZE = 256
"""Pixels at which rows are walked; their strides are the same at any."""


def stage_rows(detector: Detector, stages: int) -> int:
    """How many of the first rows make so many stages of the backbone; 0 for 0.

    A stage ends before the row that halves the map again: stage 1 is the stem, at half the image's
    size. Raises TrainingError where the backbone has fewer.
    """
    if stages == 0:
        return 0
    backbone = layers(detector.spec, _SIZE)[: len(detector.spec.backbone)]
    limit = _SIZE >> stages
    rows = sum(layer.height >= limit for layer in backbone)
    found = {layer.height for layer in backbone}
    if limit not in found or rows == len(backbone):
        raise TrainingError(
            "frozen_stages",
            "at least one stage of the backbone learns",
            f"{stages} frozen of {len(found)}",
            "Freeze fewer",
        )
    return rows


def freeze(detector: Detector, rows: int) -> None:
    """Stops the first rows from learning, in eval mode: their norms stay as they are."""
    for module in list(detector.model)[:rows]:
        module.eval().requires_grad_(False)


def rate_shares(detector: nn.Module, first: float) -> dict[str, float]:
    """Each parameter's share of the learning rate, by name: `first` at row 0, 1 from the neck on.

    In between it rises by the same factor from row to row (discriminative fine-tuning, arXiv
    1801.06146, section 3.2): what is near the image changes least from task to task.
    """
    depth = len(detector.spec.backbone) if isinstance(detector, Detector) else 0
    shares = {}
    for name, _ in detector.named_parameters():
        row = int(name.split(".")[1]) if depth else 0
        shares[name] = first ** (1 - row / depth) if row < depth else 1.0
    return shares


def measure_norms(detector: Detector, batches: Iterable[torch.Tensor], first_row: int = 0) -> None:
    """Sets batch norm statistics to their plain mean over batches (B, 3, S, S) in 0..1, in place.

    Those of rows before `first_row` stay. Precise BN, arXiv 2105.07576, section 3; nothing else
    that training has (stochastic depth) is at work, and each module's mode stays.
    """
    rows = list(detector.model)[first_row:]
    norms = [m for row in rows for m in row.modules() if isinstance(m, nn.BatchNorm2d)]
    modes = [(module, module.training) for module in detector.modules()]
    momenta = [norm.momentum for norm in norms]
    detector.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    if norms:
        with torch.no_grad():
            for batch in batches:
                detector(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    for module, mode in modes:
        module.training = mode
