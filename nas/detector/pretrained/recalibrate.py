"""Batch norm statistics measured again: those of a cut network are not its own."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack

import torch
from torch import Tensor, nn


@torch.no_grad()
def recalibrate(detector: nn.Module, batches: Iterable[Tensor]) -> int:
    """Sets every batch norm's mean and variance to their plain means over batches (B, 3, H, W).

    Only the norms are in training mode meanwhile (precise BN, arXiv 2105.07576, section 3). Modes
    and momenta are afterwards as they were. Returns the number of batches; of none at all the
    statistics stay.
    """
    count = 0
    with ExitStack() as back:
        norms = [module for module in detector.modules() if isinstance(module, nn.BatchNorm2d)]
        for module in detector.modules():
            back.callback(setattr, module, "training", module.training)
        for norm in norms:
            back.callback(setattr, norm, "momentum", norm.momentum)
        detector.eval()
        for images in batches:
            if count == 0:
                for norm in norms:
                    norm.reset_running_stats()
                    norm.momentum = None  # the plain mean over the batches
                    norm.train()
            detector(images)
            count += 1
    return count
