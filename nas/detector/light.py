"""The light families' blocks: ShuffleNetV2, MobileNetV3, PP-LCNet, RepVGG."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas.detector.convolution import BN_EPS, Conv, SqueezeExcite, activation_module
from nas.space.block import Block, has_residual, hidden_channels, squeeze_channels
from nas.space.modules.light import SHUFFLE_GROUPS, has_two_branches, inverted_squeeze


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


def shuffle_channels(x: Tensor, groups: int) -> Tensor:
    """The channels dealt from `groups` equal parts in turn, shape kept."""
    batch, channels, height, width = x.shape
    apart = x.view(batch, groups, channels // groups, height, width)
    return apart.transpose(1, 2).reshape(batch, channels, height, width)


class ShuffleBlock(nn.Module):
    """ShuffleNetV2's unit (arXiv 1807.11164, figure 3 c and d).

    At stride 1 and equal widths half of the channels pass as they are; otherwise they have a
    branch of their own. The depthwise convolutions have no activation.
    """

    def __init__(self, block: Block) -> None:
        super().__init__()
        (c_in,), half, act = block.channels_in, block.channels_out // 2, block.activation
        kernel, stride = block.kernel, block.stride
        self.is_split = not has_two_branches(block)
        self.branch1: nn.Module = nn.Identity()
        if not self.is_split:
            self.branch1 = nn.Sequential(
                Conv(c_in, c_in, kernel, stride, groups=c_in, activation=""),
                Conv(c_in, half, activation=act),
            )
        self.branch2 = nn.Sequential(
            Conv(half if self.is_split else c_in, half, activation=act),
            Conv(half, half, kernel, stride, groups=half, activation=""),
            Conv(half, half, activation=act),
        )

    def forward(self, x: Tensor) -> Tensor:
        side, own = x.chunk(2, 1) if self.is_split else (x, x)
        joined = torch.cat((self.branch1(side), self.branch2(own)), 1)
        return shuffle_channels(joined, SHUFFLE_GROUPS)


class LCBlock(nn.Module):
    """PP-LCNet's depthwise-separable block (arXiv 2109.15099): depthwise k x k, SE if set, 1x1."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        (c_in,), act, squeeze = block.channels_in, block.activation, squeeze_channels(block)
        self.depthwise = Conv(c_in, c_in, block.kernel, block.stride, groups=c_in, activation=act)
        self.se: nn.Module = (
            SqueezeExcite(c_in, squeeze, "ReLU", "Hardsigmoid") if squeeze else nn.Identity()
        )
        self.pointwise = Conv(c_in, block.channels_out, activation=act)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.pointwise(self.se(self.depthwise(x)))
        return out


class InvertedResidual(nn.Module):
    """MobileNetV3's block (arXiv 1905.02244): as MBConv, with an SE of its hidden channels.

    The SE has ReLU inside, a hard sigmoid for its gate, and a width rounded to multiples of 8.
    """

    def __init__(self, block: Block) -> None:
        super().__init__()
        (c_in,), hidden, act = block.channels_in, hidden_channels(block), block.activation
        squeeze = inverted_squeeze(block)
        self.expand: nn.Module = (
            Conv(c_in, hidden, activation=act) if block.expand_ratio != 1 else nn.Identity()
        )
        self.depthwise = Conv(
            hidden, hidden, block.kernel, block.stride, groups=hidden, activation=act
        )
        self.se: nn.Module = (
            SqueezeExcite(hidden, squeeze, "ReLU", "Hardsigmoid") if squeeze else nn.Identity()
        )
        self.project = Conv(hidden, block.channels_out, activation="")
        self.has_residual = has_residual(block)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.se(self.depthwise(self.expand(x))))
        return x + y if self.has_residual else y


class RepVGGBlock(nn.Module):
    """RepVGG's block (arXiv 2101.03697): 3x3, 1x1 and, where it fits, identity, each with its
    batch norm, summed before one activation.

    `fold_batch_norm` sums them into one 3x3 convolution that computes the same.
    """

    def __init__(self, block: Block) -> None:
        super().__init__()
        (c_in,), c_out = block.channels_in, block.channels_out
        self.kernel, self.stride = block.kernel, block.stride
        self.dense: nn.Module = Conv(c_in, c_out, self.kernel, self.stride, activation="")
        self.pointwise: nn.Module | None = Conv(c_in, c_out, 1, self.stride, activation="")
        self.identity: nn.Module | None = (
            nn.BatchNorm2d(c_in, eps=BN_EPS) if has_residual(block) else None
        )
        self.act = activation_module(block.activation)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.dense(x)
        for branch in (self.pointwise, self.identity):
            if branch is not None:
                y = y + branch(x)
        out: Tensor = self.act(y)
        return out

    @torch.no_grad()
    def fold_batch_norm(self) -> None:
        """Makes one 3x3 convolution with a bias of all branches (for eval alone)."""
        if not isinstance(self.dense, Conv):
            return
        assert isinstance(self.pointwise, Conv)
        own = self.dense.conv
        kernel, bias = _folded(own.weight, self.dense.bn)
        middle = self.kernel // 2
        point_kernel, point_bias = _folded(self.pointwise.conv.weight, self.pointwise.bn)
        kernel[:, :, middle, middle] += point_kernel[:, :, 0, 0]
        bias += point_bias
        if self.identity is not None:
            ones = torch.eye(len(kernel), device=kernel.device)
            own_kernel, own_bias = _folded(ones[:, :, None, None], self.identity)
            kernel[:, :, middle, middle] += own_kernel[:, :, 0, 0]
            bias += own_bias
        one = nn.Conv2d(
            own.in_channels, own.out_channels, self.kernel, self.stride, self.kernel // 2
        ).to(own.weight)
        one.weight.copy_(kernel)
        assert one.bias is not None
        one.bias.copy_(bias)
        self.dense, self.pointwise, self.identity = one, None, None


def _folded(kernel: Tensor, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Kernel and bias, in float64, of a convolution with the batch norm behind it folded in."""
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    bias = norm.bias.double() - norm.running_mean.double() * scale
    return kernel.double() * scale[:, None, None, None], bias


class ConvMaxPool(nn.Module):
    """Convolution, batch norm, activation and a 3x3 max pool of stride 2 (ShuffleNetV2's stem)."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.conv = Conv(
            block.channels_in[0],
            block.channels_out,
            block.kernel,
            block.stride,
            activation=block.activation,
        )
        self.pool = nn.MaxPool2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.pool(self.conv(x))
        return out


class Dense(nn.Module):
    """PP-LCNet's last convolution, on a map: convolution with bias, activation, dropout."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            block.channels_in[0], block.channels_out, block.kernel, padding=block.kernel // 2
        )
        self.act = activation_module(block.activation)
        self.drop = nn.Dropout(block.dropout)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.drop(self.act(self.conv(x)))
        return out


class Add(nn.Module):
    """Joins maps by their sum."""

    def forward(self, maps: list[Tensor]) -> Tensor:
        first, *others = maps
        for other in others:
            first = first + other
        return first
