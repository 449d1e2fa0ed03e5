"""Teaching an anchor-free head: task-aligned assignment, and the loss of what it assigns.

Written from the papers: the assignment is TOOD's (arXiv 2108.07755, section 3.2), the distribution
of distances generalised focal loss's (arXiv 2006.04388, equation 6), the overlap CIoU (arXiv
1911.08287). The numbers (ten cells an object, exponents 0.5 and 6; gains 7.5, 1.5 and 0.5) are
those that YOLOv8 is published with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from nas.detector.anchor_free import boxes_of, cell_centres, flatten
from nas.training.augment import Batch
from nas.training.losses.assign import HeadGrid
from nas.training.losses.overlap import ciou, iou

CELLS_PER_OBJECT: Final = 10
"""An object is answered for by at most so many cells, those that are best aligned with it."""

SCORE_EXPONENT: Final = 0.5
OVERLAP_EXPONENT: Final = 6.0
"""Alignment is score^0.5 times overlap^6."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Objects:
    """The objects of a batch as an anchor-free head learns from them: by image, padded to G."""

    boxes: NDArray[np.float32]
    """(B, G, 4) left, top, right, bottom in pixels."""
    classes: NDArray[np.int64]
    """(B, G)."""
    is_real: NDArray[np.bool_]
    """(B, G): not padding."""
    is_told: NDArray[np.bool_] | None = None
    """(B, C): the classes that an image's labels speak of; None: of all. Of the others an object
    may stand there unlabelled, so that the image teaches nothing about them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Aligned:
    """Which of N cells answer for which object, and how good their score should be."""

    is_chosen: Tensor
    """(B, N) bool."""
    objects: Tensor
    """(B, N) the number of the object; of no meaning where a cell isn't chosen."""
    scores: Tensor
    """(B, N) in 0..1, 0 where a cell isn't chosen."""


def objects_of(batch: Batch) -> Objects:
    """The objects of a batch of images."""
    images = len(batch.images)
    counts = np.bincount(batch.owners, minlength=images)
    most = max(1, int(counts.max(initial=0)))
    is_real = np.arange(most) < counts[:, None]
    boxes = np.zeros((images, most, 4), np.float32)
    classes = np.zeros((images, most), np.int64)
    order = np.argsort(batch.owners, kind="stable")
    boxes[is_real] = batch.boxes[order]
    classes[is_real] = batch.classes[order]
    return Objects(boxes=boxes, classes=classes, is_real=is_real)


@torch.no_grad()
def align(
    scores: Tensor,
    boxes: Tensor,
    cells: tuple[Tensor, Tensor],
    truth: tuple[Tensor, Tensor, Tensor],
) -> Aligned:
    """The cells that answer for each object: inside it, those best aligned with it.

    scores  (B, N, C) probabilities; boxes (B, N, 4) corners in pixels: what the head says now
    cells   centres (N, 2) and strides (N, 1) in pixels
    truth   boxes (B, G, 4), classes (B, G) and whether they are real (B, G)

    A cell that two objects want answers for the one that it overlaps more. A score to reach is the
    alignment, scaled so that an object's best cell is to score its best overlap (TOOD, eq. 3).
    """
    objects, classes, is_real = truth
    own = scores.transpose(1, 2).gather(1, classes[..., None].expand(-1, -1, scores.shape[1]))
    overlap = iou(objects[:, :, None], boxes[:, None])
    may_answer = _is_inside(objects, *cells) & is_real[..., None]
    alignment = own**SCORE_EXPONENT * overlap**OVERLAP_EXPONENT * may_answer
    best = alignment.topk(min(CELLS_PER_OBJECT, alignment.shape[2]), dim=2).indices
    wanted = torch.zeros_like(may_answer).scatter_(2, best, value=True) & may_answer
    winner = overlap.masked_fill(~wanted, -1.0).argmax(1)
    wanted &= F.one_hot(winner, wanted.shape[1]).transpose(1, 2).bool()
    alignment, overlap = alignment * wanted, overlap * wanted
    peak = alignment.amax(2, keepdim=True).clamp(min=torch.finfo(alignment.dtype).tiny)
    reach = alignment / peak * overlap.amax(2, keepdim=True)
    return Aligned(is_chosen=wanted.any(1), objects=winner, scores=reach.amax(1))


def _is_inside(objects: Tensor, centres: Tensor, strides: Tensor) -> Tensor:
    """(B, G, N) whether a cell's centre lies in an object.

    None is taken to be smaller than a cell of the finest level: otherwise no cell might answer.
    """
    middle = (objects[..., :2] + objects[..., 2:]) / 2
    half = ((objects[..., 2:] - objects[..., :2]) / 2).clamp(min=float(strides.min()) / 2)
    near = [
        (centres[:, axis] - middle[..., axis, None]).abs() <= half[..., axis, None]
        for axis in (0, 1)
    ]
    return near[0] & near[1]


def aligned_parts(
    raw: Sequence[Tensor], objects: Objects, grid: HeadGrid
) -> tuple[Tensor, Tensor, Tensor]:
    """Box (1 - CIoU), distance and class losses of raw maps [(B, 4 * bins + classes, ny, nx)].

    Each is a sum over cells, the first two weighted by the score to reach, over the sum of those
    scores.
    """
    levels = [level.float() for level in raw]
    flat, (centres, strides) = flatten(levels), cell_centres(levels, grid.strides)
    bins, logits = flat[..., : -grid.num_classes], flat[..., -grid.num_classes :]
    boxes = boxes_of(bins, centres, strides)
    real = [torch.from_numpy(x).to(flat.device) for x in (objects.boxes, objects.classes)]
    is_real = torch.from_numpy(objects.is_real).to(flat.device)
    found = align(
        logits.detach().sigmoid(), boxes.detach(), (centres, strides), (real[0], real[1], is_real)
    )
    total = found.scores.sum().clamp(min=1.0)
    image, cell = found.is_chosen.nonzero(as_tuple=True)
    number, weight = found.objects[image, cell], found.scores[image, cell]
    wanted = torch.zeros_like(logits)
    wanted[image, cell, real[1][image, number]] = weight
    told = None if objects.is_told is None else torch.from_numpy(objects.is_told).to(flat.device)
    weights = None if told is None else told[:, None].to(logits.dtype)
    class_loss = F.binary_cross_entropy_with_logits(logits, wanted, weights, reduction="sum")
    target = real[0][image, number]
    overlap = ciou(_middle_and_size(boxes[image, cell]), _middle_and_size(target))
    box_loss = ((1.0 - overlap) * weight).sum() / total
    distances = torch.cat((centres[cell] - target[:, :2], target[:, 2:] - centres[cell]), 1)
    spread = _distances_loss(bins[image, cell], distances / strides[cell])
    return box_loss, (spread * weight).sum() / total, class_loss / total


def _middle_and_size(corners: Tensor) -> Tensor:
    """Boxes (P, 4) as centre, width, height."""
    low, high = corners[:, :2], corners[:, 2:]
    return torch.cat(((low + high) / 2, high - low), 1)


def _distances_loss(bins: Tensor, distances: Tensor) -> Tensor:
    """Cross entropy (P,) of logits of bins (P, 4 * bins) with the two bins around each distance.

    Of a single bin: how far its distance is off, as a share of the object's mean distance.

    distances  (P, 4) in cells; one beyond the last bin is drawn to it
    """
    count = bins.shape[1] // 4
    if count == 1:
        off = (F.softplus(bins) - distances).abs().mean(1)
        return off / distances.mean(1).clamp(min=0.5)
    inside = distances.clamp(0, count - 1 - 0.01)
    low = inside.long()
    share = inside - low
    logs = F.log_softmax(bins.view(-1, 4, count), dim=2)
    below = logs.gather(2, low[..., None])[..., 0]
    above = logs.gather(2, low[..., None] + 1)[..., 0]
    return -(below * (1 - share) + above * share).mean(1)
