"""What every family of modules is made of: Conv, its activations, SE, stochastic depth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

from nas.space.modules.activation import kind_of, leaky_name, slope_of

BN_EPS: Final = 1e-3
"""YOLOv5's and EfficientNetV2's."""

_ACTIVATIONS: Final[dict[str, Callable[[], nn.Module]]] = {
    "SiLU": lambda: nn.SiLU(inplace=True),
    "ReLU": lambda: nn.ReLU(inplace=True),
    "ReLU6": lambda: nn.ReLU6(inplace=True),
    "Hardswish": lambda: nn.Hardswish(inplace=True),
    "Sigmoid": nn.Sigmoid,
    "Hardsigmoid": nn.Hardsigmoid,
    "": nn.Identity,
}
"""Name here, or of a gate -> module; LeakyReLU, which has a slope, apart."""


def activation_module(name: str) -> nn.Module:
    """The module of an activation by its name here (nas.space.modules.activation), or of a gate."""
    if kind_of(name) == "LeakyReLU":
        return nn.LeakyReLU(slope_of(name), inplace=True)
    return _ACTIVATIONS[name]()


def activation_name(module: nn.Module) -> str:
    """The name here of an activation's module."""
    if isinstance(module, nn.LeakyReLU):
        return leaky_name(module.negative_slope)
    return next(name for name, make in _ACTIVATIONS.items() if type(make()) is type(module))


class Conv(nn.Module):
    """Convolution without bias, batch norm, activation: (B, c_in, H, W) -> (B, c_out, H', W').

    is_ordered   of a supernet's: channels stand in the order in which they are given up, the last
                 first, so that whoever cuts it keeps the first ones
    """

    is_ordered = False

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int = 1,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        activation: str = "SiLU",
    ) -> None:
        super().__init__()
        padding = kernel // 2 if padding is None else padding
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, padding, groups=groups, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(c_out, eps=BN_EPS)
        self.act = activation_module(activation)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.bn(self.conv(x)))
        return out

    def fold_batch_norm(self) -> None:
        """Puts the batch norm into the convolution's weight and a bias (for eval alone)."""
        if not isinstance(self.bn, nn.BatchNorm2d):
            return
        self.conv = nn.utils.fuse_conv_bn_eval(self.conv.eval(), self.bn.eval())
        self.bn = nn.Identity()


class SqueezeExcite(nn.Module):
    """Channel gate (arXiv 1709.01507): x * gate(W2 act(W1 mean(x))), shape kept."""

    def __init__(self, channels: int, squeeze: int, activation: str, gate: str = "Sigmoid") -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, squeeze, 1)
        self.act = activation_module(activation)
        self.expand = nn.Conv2d(squeeze, channels, 1)
        self.gate = activation_module(gate)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.gate(self.expand(self.act(self.reduce(self.pool(x)))))
        out: Tensor = x * scale
        return out


class DropPath(nn.Module):
    """Stochastic depth (arXiv 1603.09382): in training drops whole samples of a residual branch.

    Survivors are scaled by 1 / (1 - rate), so that the expectation is kept; identity in eval.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        assert 0 <= rate < 1, rate
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        keep = 1 - self.rate
        mask = torch.empty(x.shape[0], 1, 1, 1, dtype=x.dtype, device=x.device).bernoulli_(keep)
        return x * mask.div_(keep)

    def extra_repr(self) -> str:
        return f"rate={self.rate:g}"
