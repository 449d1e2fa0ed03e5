"""Heads without anchors: boxes and classes in branches of their own, YOLOv8's and a light one.

Each of a box's four distances from a cell's centre is a distribution over bins, 16 in YOLOv8's,
whose mean it is (generalised focal loss, arXiv 2006.04388, section 3). With one bin it is a number
of its own, a softplus of what the branch gives. Attribute names (cv2 for boxes, cv3 for classes)
are those of YOLOv8's state dicts; its `dfl.conv.weight`, a constant, is not kept.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.detector.convolution import Conv
from nas.detector.head import OBJECTS_PER_IMAGE_PRIOR
from nas.space.blocks import Block

FRESH_DISTANCE: Final = 2.0
"""Cells from its centre to each side of a fresh head's box, where a distance is one number."""

BIN_DECAY: Final = 0.4
"""A fresh head's bins fall by this in their logits: their mean is two cells.

Equal bins mean 7.5 cells to each side. A small object's cells then overlap it so little that they
are hardly told to answer for it, and a short training never comes to them (LOG.md has figures).
"""


class AnchorFreeDetect(nn.Module):
    """Distances and classes for each cell of each level.

    blocks    of Detect or LightDetect, one a level
    strides   pixels of the input a cell, for each level
    """

    def __init__(self, num_classes: int, blocks: tuple[Block, ...], strides: tuple[int, ...]):
        super().__init__()
        self.num_classes = num_classes
        self.num_levels = len(blocks)
        self.bins = blocks[0].bins
        self.num_outputs = 4 * self.bins + num_classes
        self.strides = strides
        self.cv2 = nn.ModuleList(
            _branch(block, block.branches[0], 4 * self.bins) for block in blocks
        )
        self.cv3 = nn.ModuleList(_branch(block, block.branches[1], num_classes) for block in blocks)
        self.initialise_biases()

    def maps(self, features: list[Tensor]) -> list[Tensor]:
        """The raw maps as the board computes them, each (B, num_outputs, ny, nx)."""
        return [
            torch.cat((boxes(x), classes(x)), 1)
            for boxes, classes, x in zip(self.cv2, self.cv3, features, strict=True)
        ]

    def forward(self, features: list[Tensor]) -> list[Tensor] | Tensor:
        """Training: the raw maps. Eval: `decode` of them."""
        raw = self.maps(features)
        return raw if self.training else self.decode(raw)

    def decode(self, raw: list[Tensor]) -> Tensor:
        """Boxes (B, N, 5 + classes) of raw maps."""
        return decode_without_anchors(raw, self.bins, self.strides)

    @torch.no_grad()
    def initialise_biases(self) -> None:
        """Sets class biases to their prior (arXiv 1708.02002, 3.3), boxes to a few cells."""
        bins = -BIN_DECAY * torch.arange(self.bins)
        if self.bins == 1:
            bins = torch.tensor([math.log(math.expm1(FRESH_DISTANCE))])
        for branch in self.cv2:
            last_bias(branch).copy_(bins.repeat(4))
        for branch, stride in zip(self.cv3, self.strides, strict=True):
            bias = last_bias(branch)
            rate = OBJECTS_PER_IMAGE_PRIOR / self.num_classes / (640 / stride) ** 2
            bias.fill_(math.log(rate / (1 - rate)))


def _branch(block: Block, hidden: int, channels: int) -> nn.Sequential:
    act = block.activation
    if block.module == "LightDetect":
        widths = (block.channels_in[0], *[hidden] * block.depth)
        parts: list[nn.Module] = []
        for c_in, c_out in pairwise(widths):
            kernel = block.kernel
            if block.operator == "separable":
                parts.append(nn.Conv2d(c_in, c_in, kernel, padding=kernel // 2, groups=c_in))
                kernel = 1
            parts.append(Conv(c_in, c_out, kernel, activation=act))
        return nn.Sequential(*parts, nn.Conv2d(widths[-1], channels, 1))
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


def decode_without_anchors(raw: list[Tensor], bins: int, strides: tuple[int, ...]) -> Tensor:
    """Boxes (B, N, 5 + classes): centre x, y, width, height in pixels, 1, probabilities.

    The 1 stands where a head with anchors has its objectness, which this one does without.
    """
    flat = flatten(raw)
    centres, widths = cell_centres(raw, strides)
    corners = boxes_of(flat[..., : 4 * bins], centres, widths)
    low, high = corners[..., :2], corners[..., 2:]
    classes = flat[..., 4 * bins :].sigmoid()
    certain = torch.ones_like(classes[..., :1])
    return torch.cat(((low + high) / 2, high - low, certain, classes), -1)


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

    The bins stand for distances of 0, 1, ... cells from the centre to the left, top, right, bottom;
    a single one is the distance, before its softplus.
    """
    count = bins.shape[2] // 4
    if count == 1:
        distances = F.softplus(bins) * strides
    else:
        shares = bins.reshape(*bins.shape[:2], 4, count).softmax(3)
        places = torch.arange(count, dtype=bins.dtype, device=bins.device)
        distances = (shares @ places) * strides
    return torch.cat((centres - distances[..., :2], centres + distances[..., 2:]), -1)
