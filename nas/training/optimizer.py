"""The optimiser, its schedule, and the moving average of the weights."""

from __future__ import annotations

import copy
import math
from typing import Final

import torch
from torch import Tensor, nn

from nas.detector.builder import Detector
from nas.training.freezing import rate_shares
from nas.training.settings import TrainSettings

ROLES: Final = ("weights", "norms", "biases")
"""Of parameters: weight decay applies to the first alone."""


def make_optimizer(detector: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """SGD or AdamW over three groups a learning rate: convolution weights, norm weights, biases.

    Fused: one kernel for all parameters, a few hundred of which would cost more in calls than in
    arithmetic on a small network.
    """
    groups = [
        {
            "params": weights,
            "weight_decay": settings.weight_decay if decays else 0.0,
            "role": role,
            "lr_share": share,
        }
        for role, decays, share, weights in _groups(detector, settings.first_row_lr)
    ]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            groups, lr=settings.lr, momentum=settings.momentum, nesterov=True, fused=True
        )
    betas = (settings.momentum, settings.beta2)
    return torch.optim.AdamW(groups, lr=settings.lr, betas=betas, fused=True)


def _groups(
    detector: nn.Module, first_row_lr: float
) -> list[tuple[str, bool, float, list[nn.Parameter]]]:
    """Role, whether weight decay applies, share of the learning rate, and parameters."""
    groups: dict[tuple[str, float], list[nn.Parameter]] = {}
    shares = rate_shares(detector, first_row_lr)
    for name, parameter in detector.named_parameters():
        if not parameter.requires_grad:
            continue
        kind = "norms" if parameter.ndim <= 1 else "weights"
        role = "biases" if name.endswith("bias") else kind
        groups.setdefault((role, shares[name]), []).append(parameter)
    order = sorted(groups, key=lambda key: (ROLES.index(key[0]), key[1]))
    return [(role, role == "weights", share, groups[role, share]) for role, share in order]


def set_schedule(
    optimizer: torch.optim.Optimizer, step: int, total: int, settings: TrainSettings
) -> float:
    """Sets learning rate and momentum for a step, and returns the learning rate of the weights.

    Cosine from the peak to its final share, times a linear warm-up. With SGD, as YOLOv5 does it,
    biases come down to the common rate from a higher one, and momentum comes up.
    """
    warmup = settings.warmup * total
    risen = min(1.0, (step + 1) / warmup) if warmup > 0 else 1.0
    wave = (1 + math.cos(math.pi * step / max(1, total - 1))) / 2
    peak = settings.lr * (settings.final_lr_share + (1 - settings.final_lr_share) * wave)
    is_sgd = settings.optimizer == "sgd"
    for group in optimizer.param_groups:
        first = settings.warmup_bias_lr if is_sgd and group["role"] == "biases" else 0.0
        group["lr"] = (first + (peak - first) * risen) * group["lr_share"]
        if is_sgd:
            rise = settings.momentum - settings.warmup_momentum
            group["momentum"] = settings.warmup_momentum + rise * risen
    return peak * risen


class MovingAverage:
    """A copy of a network whose weights trail those being trained; it is what gets graded.

    After t updates it averages over about the last `share` of t, so that the same setting suits
    eighty steps and eighty thousand.
    """

    def __init__(self, detector: Detector, share: float, largest_decay: float) -> None:
        self.detector = copy.deepcopy(detector).eval().requires_grad_(False)
        self.updates = 0
        self._share = share
        self._largest_decay = largest_decay
        self._averaged, self._trained = _float_pairs(self.detector, detector)

    def update(self) -> None:
        """Moves the average towards the network it trails."""
        self.updates += 1
        decay = min(self._largest_decay, 1 - 1 / (1 + self._share * self.updates))
        with torch.no_grad():
            torch._foreach_lerp_(self._averaged, self._trained, 1 - decay)


def _float_pairs(one: nn.Module, two: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """The floating-point weights and buffers of both modules, in the same order."""
    other = two.state_dict()
    state = one.state_dict()
    names = [name for name, value in state.items() if value.is_floating_point()]
    return [state[name] for name in names], [other[name] for name in names]
