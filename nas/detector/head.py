"""YOLOv5 v6's Detect: a 1x1 convolution a level, decoded against anchors."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn

from nas.space.anchors import Anchors
from nas.space.blocks import OUTPUTS_PER_ANCHOR

OBJECTS_PER_IMAGE_PRIOR: Final = 8
"""Objects expected in an image of 640 x 640 px when training starts."""


class Detect(nn.Module):
    """Anchors x (x, y, w, h, objectness, classes) for each cell of each level.

    anchors   (levels, anchors, 2) tensor, width and height in pixels of the input
    strides   pixels of the input a cell, for each level
    """

    anchors: Tensor

    def __init__(
        self,
        num_classes: int,
        anchors: Anchors,
        channels: tuple[int, ...],
        strides: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.num_levels = len(anchors)
        self.num_anchors = len(anchors[0]) // 2
        self.num_outputs = OUTPUTS_PER_ANCHOR + num_classes
        self.strides = strides
        self.register_buffer(
            "anchors", torch.tensor(anchors, dtype=torch.float32).view(self.num_levels, -1, 2)
        )
        self.m = nn.ModuleList(
            nn.Conv2d(c, self.num_outputs * self.num_anchors, 1) for c in channels
        )
        self.initialise_biases()

    def maps(self, features: list[Tensor]) -> list[Tensor]:
        """The raw maps as the board computes them, each (B, anchors * outputs, ny, nx)."""
        return [conv(x) for conv, x in zip(self.m, features, strict=True)]

    def forward(self, features: list[Tensor]) -> list[Tensor] | Tensor:
        """Training: logits a level, (B, anchors, ny, nx, outputs). Eval: `decode` of them."""
        logits = [split_anchors(raw, self.num_anchors) for raw in self.maps(features)]
        return logits if self.training else self.decode(logits)

    def decode(self, logits: list[Tensor]) -> Tensor:
        """Boxes (B, N, 5 + classes) of `split_anchors` of each raw map."""
        return decode_with_anchors(logits, self.anchors, self.strides)

    @torch.no_grad()
    def initialise_biases(self) -> None:
        """Sets objectness and class biases to their priors (focal loss, arXiv 1708.02002, 3.3).

        A fresh head then starts near the base rate of objects instead of at one half, which a
        short training could not unlearn.
        """
        for conv, stride in zip(self.m, self.strides, strict=True):
            assert isinstance(conv, nn.Conv2d)
            assert conv.bias is not None
            bias = conv.bias.view(self.num_anchors, -1)
            cells = (640 / stride) ** 2
            bias[:, 4] = math.log(OBJECTS_PER_IMAGE_PRIOR / cells)
            # The logit of a probability of 0.6 / classes.
            bias[:, 5:] = math.log(0.6 / (self.num_classes - 0.6))


def split_anchors(raw: Tensor, num_anchors: int) -> Tensor:
    """A raw map (B, anchors * outputs, ny, nx) as (B, anchors, ny, nx, outputs)."""
    batch, channels, ny, nx = raw.shape
    shaped = raw.view(batch, num_anchors, channels // num_anchors, ny, nx)
    return shaped.permute(0, 1, 3, 4, 2).contiguous()


def decode_with_anchors(logits: list[Tensor], anchors: Tensor, strides: tuple[int, ...]) -> Tensor:
    """Boxes (B, N, 5 + classes): centre x, y, width, height in pixels, then probabilities.

    logits    a level, (B, anchors, ny, nx, 5 + classes)
    anchors   (levels, anchors, 2) width and height in pixels

    xy = (2 sigmoid - 0.5 + cell) * stride, wh = (2 sigmoid)^2 * anchor (YOLOv5 v5 and later).
    """
    decoded = []
    for level, stride, sizes in zip(logits, strides, anchors, strict=True):
        batch, _, ny, nx, outputs = level.shape
        rows = torch.arange(ny, dtype=level.dtype, device=level.device)
        columns = torch.arange(nx, dtype=level.dtype, device=level.device)
        cells = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)
        y = level.sigmoid()
        xy = (y[..., 0:2] * 2 - 0.5 + cells) * stride
        wh = (y[..., 2:4] * 2) ** 2 * sizes.to(y.dtype).view(1, -1, 1, 1, 2)
        decoded.append(torch.cat((xy, wh, y[..., 4:]), -1).view(batch, -1, outputs))
    return torch.cat(decoded, 1)
