"""The modules that rows of a model YAML name, each built from its `Block`.

Attribute names (conv, bn, cv1, cv2, cv3, m) are those of YOLOv5's state dicts where YOLOv5 has
the module, so that weights can be carried over by name. `nas.space.ops` expands the same blocks
into primitive ops; tests hold the two against each other, op by op.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

from nas.space.blocks import Block
from nas.space.ops import has_residual, hidden_channels, squeeze_channels

BN_EPS: Final = 1e-3
"""YOLOv5's and EfficientNetV2's."""

ACTIVATION_MODULES: Final[dict[str, Callable[[], nn.Module]]] = {
    "SiLU": lambda: nn.SiLU(inplace=True),
    "ReLU": lambda: nn.ReLU(inplace=True),
    "Hardswish": lambda: nn.Hardswish(inplace=True),
    "LeakyReLU": lambda: nn.LeakyReLU(0.1, inplace=True),
    "": nn.Identity,
}
"""Name in a model YAML -> module; LeakyReLU with Darknet's slope 0.1."""


class Conv(nn.Module):
    """Convolution without bias, batch norm, activation: (B, c_in, H, W) -> (B, c_out, H', W')."""

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
        self.act = ACTIVATION_MODULES[activation]()

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
    """Channel gate (arXiv 1709.01507): x * sigmoid(W2 act(W1 mean(x))), shape kept."""

    def __init__(self, channels: int, squeeze: int, activation: str) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, squeeze, 1)
        self.act = ACTIVATION_MODULES[activation]()
        self.expand = nn.Conv2d(squeeze, channels, 1)
        self.gate = nn.Sigmoid()

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


class FusedMBConv(nn.Module):
    """EfficientNetV2's fused block (arXiv 2104.00298, figure 2): k x k expansion, SE, 1x1.

    The projection has no activation (paper; the write-up that we start from has one there). At
    expansion 1 there is one k x k convolution, with activation, and SE (if any) before it.
    """

    def __init__(self, block: Block, drop_rate: float = 0.0) -> None:
        super().__init__()
        (c_in,), hidden, act = block.channels_in, hidden_channels(block), block.activation
        kernel, stride = block.kernel, block.stride
        squeeze = squeeze_channels(block)
        self.expand: nn.Module = nn.Identity()
        if block.expand_ratio != 1:
            self.expand = Conv(c_in, hidden, kernel, stride, activation=act)
            kernel, stride = 1, 1
        self.se: nn.Module = SqueezeExcite(hidden, squeeze, act) if squeeze else nn.Identity()
        self.project = Conv(
            hidden,
            block.channels_out,
            kernel,
            stride,
            activation="" if block.expand_ratio != 1 else act,
        )
        self.drop = DropPath(drop_rate)
        self.has_residual = has_residual(block)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.se(self.expand(x)))
        return self.drop(y) + x if self.has_residual else y


class MBConv(nn.Module):
    """Inverted residual with depthwise convolution and SE (arXiv 1801.04381, 1905.11946).

    1x1 expansion (none at ratio 1), depthwise k x k, SE on the hidden map, 1x1 projection
    without activation; the input is added at stride 1 and equal widths.
    """

    def __init__(self, block: Block, drop_rate: float = 0.0) -> None:
        super().__init__()
        (c_in,), hidden, act = block.channels_in, hidden_channels(block), block.activation
        squeeze = squeeze_channels(block)
        self.expand: nn.Module = (
            Conv(c_in, hidden, activation=act) if block.expand_ratio != 1 else nn.Identity()
        )
        self.depthwise = Conv(
            hidden, hidden, block.kernel, block.stride, groups=hidden, activation=act
        )
        self.se: nn.Module = SqueezeExcite(hidden, squeeze, act) if squeeze else nn.Identity()
        self.project = Conv(hidden, block.channels_out, activation="")
        self.drop = DropPath(drop_rate)
        self.has_residual = has_residual(block)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.se(self.depthwise(self.expand(x))))
        return self.drop(y) + x if self.has_residual else y


class DWConvBlock(nn.Module):
    """Depthwise k x k and 1x1, each with batch norm and activation."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        (c_in,), act = block.channels_in, block.activation
        self.depthwise = Conv(c_in, c_in, block.kernel, block.stride, groups=c_in, activation=act)
        self.pointwise = Conv(c_in, block.channels_out, activation=act)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.pointwise(self.depthwise(x))
        return out


class Bottleneck(nn.Module):
    """1x1 then 3x3, width kept, with the input added where `shortcut` says so."""

    def __init__(self, channels: int, shortcut: bool, activation: str) -> None:
        super().__init__()
        self.cv1 = Conv(channels, channels, activation=activation)
        self.cv2 = Conv(channels, channels, 3, activation=activation)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.cv2(self.cv1(x))
        return x + y if self.shortcut else y


class C3(nn.Module):
    """Cross-stage partial bottleneck with three convolutions (YOLOv5; CSPNet, arXiv 1911.11929)."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        (c_in,), hidden, act = block.channels_in, block.channels_out // 2, block.activation
        self.cv1 = Conv(c_in, hidden, activation=act)
        self.cv2 = Conv(c_in, hidden, activation=act)
        self.cv3 = Conv(2 * hidden, block.channels_out, activation=act)
        self.m = nn.Sequential(
            *(Bottleneck(hidden, block.shortcut, act) for _ in range(block.depth))
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1))
        return out


class SPPF(nn.Module):
    """Spatial pyramid pooling by three equal max pools in a chain (YOLOv5 v6)."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        (c_in,), act = block.channels_in, block.activation
        self.cv1 = Conv(c_in, c_in // 2, activation=act)
        self.cv2 = Conv(c_in // 2 * 4, block.channels_out, activation=act)
        self.m = nn.MaxPool2d(block.kernel, stride=1, padding=block.kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.cv1(x)]
        for _ in range(3):
            maps.append(self.m(maps[-1]))
        out: Tensor = self.cv2(torch.cat(maps, 1))
        return out


class Concat(nn.Module):
    """Joins maps along their channels; the one module (with Detect) that reads several rows."""

    def forward(self, maps: list[Tensor]) -> Tensor:
        return torch.cat(maps, 1)


def _conv(block: Block) -> Conv:
    return Conv(
        block.channels_in[0],
        block.channels_out,
        block.kernel,
        block.stride,
        block.padding,
        block.groups,
        block.activation,
    )


_PLAIN: Final[dict[str, Callable[[Block], nn.Module]]] = {
    "Conv": _conv,
    "DWConvBlock": DWConvBlock,
    "C3": C3,
    "SPPF": SPPF,
    "nn.Upsample": lambda block: nn.Upsample(scale_factor=2, mode="nearest"),
    "Concat": lambda block: Concat(),
}
_RESIDUAL: Final[dict[str, Callable[[Block, float], nn.Module]]] = {
    "FusedMBConv": FusedMBConv,
    "MBConv": MBConv,
}


def is_droppable(block: Block) -> bool:
    """Whether stochastic depth applies: a block of EfficientNetV2 that adds its input."""
    return block.module in _RESIDUAL and has_residual(block)


def build_block(block: Block, drop_rate: float = 0.0) -> nn.Module:
    """The torch module of any block but Detect's (which is built whole, nas.detector.head)."""
    if block.module in _RESIDUAL:
        return _RESIDUAL[block.module](block, drop_rate)
    return _PLAIN[block.module](block)
