"""EfficientNet's blocks and EfficientNetV2's fused ones."""

from __future__ import annotations

from torch import Tensor, nn

from nas.detector.convolution import Conv, DropPath, SqueezeExcite
from nas.space.blocks import Block
from nas.space.ops import has_residual, hidden_channels, squeeze_channels


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
