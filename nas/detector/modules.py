"""The modules that rows of a model YAML name, each built from its `Block`.

One file a family. `nas.space.ops` expands the same blocks into primitive ops; tests hold the two
against each other, op by op.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from torch import nn

from nas.detector.convolution import Conv
from nas.detector.efficientnet import FusedMBConv, MBConv
from nas.detector.light import (
    Add,
    ConvMaxPool,
    Dense,
    DWConvBlock,
    InvertedResidual,
    LCBlock,
    RepVGGBlock,
    ShuffleBlock,
)
from nas.detector.yolo import C3, SPP, SPPF, C2f, Concat, Focus, RouteGroup, bottleneck
from nas.space.blocks import Block
from nas.space.ops import has_residual


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
    "ShuffleBlock": ShuffleBlock,
    "LCBlock": LCBlock,
    "InvertedResidual": InvertedResidual,
    "RepVGGBlock": RepVGGBlock,
    "ConvMaxPool": ConvMaxPool,
    "Dense": Dense,
    "Add": lambda block: Add(),
    "C3": C3,
    "SPPF": SPPF,
    "nn.Upsample": lambda block: nn.Upsample(scale_factor=2, mode="nearest"),
    "Concat": lambda block: Concat(),
    "Focus": Focus,
    "Bottleneck": bottleneck,
    "C2f": C2f,
    "SPP": SPP,
    "nn.MaxPool2d": lambda block: nn.MaxPool2d(block.kernel, block.stride, block.padding or 0),
    "nn.ZeroPad2d": lambda block: nn.ZeroPad2d((0, block.padding or 0, 0, block.padding or 0)),
    "RouteGroup": RouteGroup,
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
