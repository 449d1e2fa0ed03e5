"""YOLOv8's Detect: boxes and classes in branches of their own, without anchors.

Each of a box's four distances from a cell's centre is a distribution over 16 bins, whose mean it
is (generalised focal loss, arXiv 2006.04388, section 3). Attribute names (cv2 for boxes, cv3 for
classes) are those of YOLOv8's state dicts; its `dfl.conv.weight`, a constant, is not kept.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn

from nas.detector.convolution import Conv
from nas.detector.head import OBJECTS_PER_IMAGE_PRIOR
from nas.space.blocks import BOX_BINS, Block

BIN_DECAY: Final = 0.4
"""A fresh head's bins fall by this in their logits: their mean is two cells.

Equal bins mean 7.5 cells to each side. A small object's cells then overlap it so little that they
are hardly told to answer for it, and a short training never comes to them (LOG.md has figures).
"""


class AnchorFreeDetect(nn.Module):
    """Distances and classes for each cell of each level.

    strides   pixels of the input a cell, for each level
    """

    def __init__(self, num_classes: int, blocks: tuple[Block, ...], strides: tuple[int, ...]):
        super().__init__()
        self.num_classes = num_classes
        self.num_levels = len(blocks)
        self.num_outputs = 4 * BOX_BINS + num_classes
        self.strides = strides
        self.cv2 = nn.ModuleList(
            _branch(block, block.branches[0], 4 * BOX_BINS) for block in blocks
        )
        self.cv3 = nn.ModuleList(_branch(block, block.branches[1], num_classes) for block in blocks)
        self.initialise_biases()

    def maps(self, features: list[Tensor]) -> list[Tensor]:
        """The raw maps as the board computes them, each (B, 4 * bins + classes, ny, nx)."""
        return [
            torch.cat((boxes(x), classes(x)), 1)
            for boxes, classes, x in zip(self.cv2, self.cv3, features, strict=True)
        ]

    def forward(self, features: list[Tensor]) -> list[Tensor] | Tensor:
        """Training: the raw maps. Eval: `decode` of them."""
        raw = self.maps(features)
        return raw if self.training else self.decode(raw)

    def decode(self, raw: list[Tensor]) -> Tensor:
        """Boxes (B, N, 5 + classes): centre x, y, width, height in pixels, 1, probabilities.

        The 1 stands where a head with anchors has its objectness, which this one does without.
        """
        flat = flatten(raw)
        centres, strides = cell_centres(raw, self.strides)
        corners = boxes_of(flat[..., : 4 * BOX_BINS], centres, strides)
        low, high = corners[..., :2], corners[..., 2:]
        classes = flat[..., 4 * BOX_BINS :].sigmoid()
        certain = torch.ones_like(classes[..., :1])
        return torch.cat(((low + high) / 2, high - low, certain, classes), -1)

    @torch.no_grad()
    def initialise_biases(self) -> None:
        """Sets class biases to their prior (arXiv 1708.02002, 3.3), bins by BIN_DECAY."""
        bins = -BIN_DECAY * torch.arange(BOX_BINS)
        for branch in self.cv2:
            last_bias(branch).copy_(bins.repeat(4))
        for branch, stride in zip(self.cv3, self.strides, strict=True):
            bias = last_bias(branch)
            rate = OBJECTS_PER_IMAGE_PRIOR / self.num_classes / (640 / stride) ** 2
            bias.fill_(math.log(rate / (1 - rate)))


def _branch(block: Block, hidden: int, channels: int) -> nn.Sequential:
    act = block.activation
    return nn.Sequential(
        Conv(block.channels_in[0], hidden, 3, activation=act),
        Conv(hidden, hidden, 3, activation=act),
        nn.Conv2d(hidden, channels, 1),
    )


def last_bias(branch: nn.Module) -> Tensor:
    """The bias (channels,) of a branch's last convolution."""
    assert isinstance(branch, nn.Sequential)
    bias = branch[-1].bias
    assert isinstance(bias, Tensor)
    return bias


def flatten(raw: list[Tensor]) -> Tensor:
    """Raw maps [(B, outputs, ny, nx)] as (B, N, outputs): level by level, row by row."""
    return torch.cat([level.flatten(2) for level in raw], 2).transpose(1, 2)


def cell_centres(raw: list[Tensor], strides: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Centres (N, 2) of all cells as x, y, and strides (N, 1), in pixels, as `flatten` orders."""
    centres, widths = [], []
    for level, stride in zip(raw, strides, strict=True):
        ny, nx = level.shape[2:]
        rows = torch.arange(ny, dtype=torch.float32, device=level.device)
        columns = torch.arange(nx, dtype=torch.float32, device=level.device)
        cells = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1).view(-1, 2)
        centres.append((cells + 0.5) * stride)
        widths.append(torch.full((ny * nx, 1), float(stride), device=level.device))
    return torch.cat(centres), torch.cat(widths)


def boxes_of(bins: Tensor, centres: Tensor, strides: Tensor) -> Tensor:
    """Boxes (B, N, 4) as left, top, right, bottom in pixels, of logits of bins (B, N, 4 * bins).

    The bins stand for distances of 0, 1, ... cells from the centre to the left, top, right, bottom.
    """
    shares = bins.reshape(*bins.shape[:2], 4, BOX_BINS).softmax(3)
    places = torch.arange(BOX_BINS, dtype=bins.dtype, device=bins.device)
    distances = (shares @ places) * strides
    return torch.cat((centres - distances[..., :2], centres + distances[..., 2:]), -1)
