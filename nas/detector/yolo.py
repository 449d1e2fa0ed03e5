"""The modules of the YOLO families.

Attribute names (cv1, cv2, cv3, m) are those of YOLOv5's and YOLOv8's state dicts, so that weights
can be carried over by name.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas.detector.convolution import Conv
from nas.space.blocks import Block
from nas.space.modules.yolo import has_sum, pyramid


class Bottleneck(nn.Module):
    """Two convolutions, the second 3x3, with the input added where `shortcut` says so.

    channels   in, between the two, and out; the first convolution has `kernel`
    """

    def __init__(
        self, channels: tuple[int, int, int], shortcut: bool, activation: str, kernel: int = 1
    ) -> None:
        super().__init__()
        c_in, hidden, c_out = channels
        self.cv1 = Conv(c_in, hidden, kernel, activation=activation)
        self.cv2 = Conv(hidden, c_out, 3, activation=activation)
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
            *(Bottleneck((hidden,) * 3, block.shortcut, act) for _ in range(block.depth))
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


class SPP(nn.Module):
    """Spatial pyramid pooling by max pools of three sizes side by side (YOLOv5 v5)."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        (c_in,), act = block.channels_in, block.activation
        self.cv1 = Conv(c_in, c_in // 2, activation=act)
        self.cv2 = Conv(c_in // 2 * 4, block.channels_out, activation=act)
        self.m = nn.ModuleList(
            nn.MaxPool2d(kernel, stride=1, padding=kernel // 2) for kernel in pyramid(block.kernel)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.cv1(x)
        out: Tensor = self.cv2(torch.cat([y, *(pool(y) for pool in self.m)], 1))
        return out


class C2f(nn.Module):
    """YOLOv8's CSP block: half of cv1's map through bottlenecks in a chain, all read by cv2.

    cv1's whole map stands in the concat for its two halves: the same numbers, one copy less.
    """

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.hidden, act = block.channels_out // 2, block.activation
        self.cv1 = Conv(block.channels_in[0], 2 * self.hidden, activation=act)
        self.cv2 = Conv((2 + block.depth) * self.hidden, block.channels_out, activation=act)
        self.m = nn.ModuleList(
            Bottleneck((self.hidden,) * 3, block.shortcut, act, kernel=3)
            for _ in range(block.depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.cv1(x)]
        y = maps[0][:, self.hidden : 2 * self.hidden]
        for part in self.m:
            y = part(y)
            maps.append(y)
        out: Tensor = self.cv2(torch.cat(maps, 1))
        return out


class Focus(nn.Module):
    """Each 2x2 cells as channels, then a convolution (YOLOv5 up to v5): half the height and width.

    YOLOv5 cuts four strided slices, column by column. Once its batch norm is folded the weights
    stand in the order of `pixel_unshuffle`, for which runtimes have an operator.
    """

    def __init__(self, block: Block) -> None:
        super().__init__()
        c_in = block.channels_in[0]
        self.conv = Conv(4 * c_in, block.channels_out, block.kernel, activation=block.activation)
        self.is_folded = False

    def forward(self, x: Tensor) -> Tensor:
        if self.is_folded:
            cells = nn.functional.pixel_unshuffle(x, 2)
        else:
            slices = [x[..., row::2, column::2] for column in (0, 1) for row in (0, 1)]
            cells = torch.cat(slices, 1)
        out: Tensor = self.conv(cells)
        return out

    def fold_batch_norm(self) -> None:
        """Puts the batch norm into the convolution, and its weights into the other order."""
        if self.is_folded:
            return
        self.conv.fold_batch_norm()
        weight = self.conv.conv.weight
        c_out, c_in, kernel, _ = weight.shape
        ordered = weight.data.view(c_out, 2, 2, c_in // 4, kernel, kernel).permute(0, 3, 2, 1, 4, 5)
        weight.data = ordered.reshape(weight.shape).contiguous()
        self.is_folded = True


class RouteGroup(nn.Module):
    """One of so many equal parts of the channels (Darknet's route with groups)."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.start = block.index * block.channels_out
        self.stop = self.start + block.channels_out

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.start : self.stop]


def bottleneck(block: Block) -> Bottleneck:
    """Darknet-53's bottleneck as a row of its own: 1x1 to half the width, 3x3 back."""
    channels = (block.channels_in[0], block.channels_out // 2, block.channels_out)
    return Bottleneck(channels, has_sum(block), block.activation)


class Concat(nn.Module):
    """Joins maps along their channels; the one module (with Detect) that reads several rows."""

    def forward(self, maps: list[Tensor]) -> Tensor:
        return torch.cat(maps, 1)
