"""The modules of the YOLO families.

Attribute names (cv1, cv2, cv3, m) are those of YOLOv5's and YOLOv8's state dicts, so that weights
can be carried over by name.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas.detector.convolution import Conv
from nas.space.blocks import Block


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
