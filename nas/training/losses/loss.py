"""The loss of a YOLOv5 head: box by CIoU, objectness, class; of an anchor-free one see aligned.py.

Clean-room, from the published description. Raw outputs t of the cell (column, row) of a level with
stride s and anchor (aw, ah) mean
    x = (2 sigmoid(tx) - 0.5 + column) s        w = (2 sigmoid(tw))^2 aw
    y = (2 sigmoid(ty) - 0.5 + row) s           h = (2 sigmoid(th))^2 ah
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.space.image_size import side_of
from nas.training.losses.aligned import Objects, aligned_parts
from nas.training.losses.aligned_anchors import Reachable, anchored_parts
from nas.training.losses.assign import HeadGrid, Targets
from nas.training.losses.overlap import ciou

LEVEL_BALANCE = (4.0, 1.0, 0.4)
"""Weight of a level's objectness, P3 first: it has four times the cells of the next."""


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """Gains of the parts, as YOLOv5 v6 states them for 640 px, 80 classes and three levels.

    Those of an anchor-free head are YOLOv8's, for any size, classes and levels.
    """

    box: float = 0.05
    """Gain of 1 - CIoU."""
    objectness: float = 1.0
    """Gain of the objectness at 640 px; scaled with the area of the image."""
    classes: float = 0.5
    """Gain of the class at 80 classes; scaled with their number."""
    label_smoothing: float = 0.0
    """Share of the class target that is spread evenly over yes and no; of a head with anchors."""
    aligned_box: float = 7.5
    """Of an anchor-free head: gain of 1 - CIoU."""
    aligned_distances: float = 1.5
    """Of an anchor-free head: gain of the distances, by the cross entropy of their distribution, or
    by how far plain ones are off."""
    aligned_classes: float = 0.5
    """Of an anchor-free head: gain of the class."""
    aligned_anchors_box: float = 2.0
    """Of a head with anchors that is taught task-aligned: gain of 1 - CIoU. One convolution gives
    boxes and scores there; 7.5, an anchor-free head's gain, gave a lower mAP50 on the one set and
    seed that it was tried on (LOG.md)."""
    aligned_anchors_score: float = 1.0
    """Of such a head: gain of the score."""

    def __post_init__(self) -> None:
        aligned = (
            self.aligned_box,
            self.aligned_distances,
            self.aligned_classes,
            self.aligned_anchors_box,
            self.aligned_anchors_score,
        )
        if min(self.box, self.objectness, self.classes, *aligned) < 0:
            raise ValueError("gains are at least 0")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing lies in 0..1 (not 1); got {self.label_smoothing}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Losses:
    """The loss of a batch and its parts, gains applied, each a mean and not yet times the batch."""

    total: Tensor
    """Scalar to go backward from: the parts' sum times the batch size, as YOLOv5 scales it."""
    parts: Tensor
    """(3,) box, objectness (0 of a head without), class; detached."""


def head_loss(
    raw: Sequence[Tensor],
    targets: Targets | Objects | Reachable,
    grid: HeadGrid,
    settings: LossSettings,
) -> Losses:
    """The loss of what a head gives in training, with anchors or without."""
    if isinstance(targets, Targets):
        return detection_loss(raw, targets, grid, settings)
    if isinstance(targets, Reachable):
        box, score = anchored_parts(raw, targets)
        gains = (settings.aligned_anchors_box, settings.aligned_anchors_score)
        parts = torch.stack((gains[0] * box, box.new_zeros(()), gains[1] * score))
        return Losses(total=parts.sum() * raw[0].shape[0], parts=parts.detach())
    box, distances, classes = aligned_parts(raw, targets, grid)
    parts = torch.stack(
        [
            settings.aligned_box * box + settings.aligned_distances * distances,
            box.new_zeros(()),
            settings.aligned_classes * classes,
        ]
    )
    return Losses(total=parts.sum() * raw[0].shape[0], parts=parts.detach())


def detection_loss(
    raw: Sequence[Tensor], targets: Targets, grid: HeadGrid, settings: LossSettings
) -> Losses:
    """The loss of raw outputs [(B, anchors, rows, columns, 5 + classes)] against their targets."""
    images, device = raw[0].shape[0], raw[0].device
    flat = torch.cat([level.reshape(-1, level.shape[-1]) for level in raw]).float()
    objectness = flat[:, 4]
    wanted = torch.zeros_like(objectness)
    box_loss = class_loss = flat.new_zeros(())
    if len(targets.cells):
        cells = torch.from_numpy(targets.cells).to(device)
        chosen = flat.index_select(0, cells)
        overlap = ciou(_decode(chosen, targets), torch.from_numpy(targets.boxes).to(device))
        box_loss = (1.0 - overlap).mean()
        # Where two objects want one prediction it is the better overlap that it should report.
        wanted.scatter_reduce_(0, cells, overlap.detach().clamp(min=0.0), "amax")
        if grid.num_classes > 1:
            class_loss = _class_loss(chosen[:, 5:], targets, settings.label_smoothing)
    objectness_loss = _objectness_loss(objectness, wanted, grid, images)
    levels = 3 / len(grid.strides)
    parts = torch.stack(
        [
            settings.box * levels * box_loss,
            settings.objectness * levels * (side_of(grid.image_size) / 640) ** 2 * objectness_loss,
            settings.classes * levels * (grid.num_classes / 80) * class_loss,
        ]
    )
    return Losses(total=parts.sum() * images, parts=parts.detach())


def _decode(chosen: Tensor, targets: Targets) -> Tensor:
    """Boxes (P, 4): centre from the cell's corner, width and height, in pixels."""
    device = chosen.device
    strides = torch.from_numpy(targets.strides).to(device)[:, None]
    anchors = torch.from_numpy(targets.anchors).to(device)
    doubled = 2.0 * chosen[:, :4].sigmoid()
    return torch.cat([(doubled[:, :2] - 0.5) * strides, doubled[:, 2:].square() * anchors], dim=1)


def _class_loss(logits: Tensor, targets: Targets, smoothing: float) -> Tensor:
    """Binary cross entropy of class logits (P, classes)."""
    classes = torch.from_numpy(targets.classes).to(logits.device)
    wanted = torch.full_like(logits, 0.5 * smoothing)
    wanted.scatter_(1, classes[:, None], 1.0 - 0.5 * smoothing)
    return F.binary_cross_entropy_with_logits(logits, wanted)


def _objectness_loss(logits: Tensor, wanted: Tensor, grid: HeadGrid, images: int) -> Tensor:
    """Binary cross entropy of objectness, averaged within each level, the levels balanced."""
    losses = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    counts = [images * cells for cells in grid.cells]
    balance = LEVEL_BALANCE if len(counts) == len(LEVEL_BALANCE) else (1.0,) * len(counts)
    levels = torch.split(losses, counts)
    return torch.stack([w * level.mean() for w, level in zip(balance, levels, strict=True)]).sum()
