"""Teaching YOLOv5's own head by a better assignment: task-aligned, over its cells and anchors.

The graph, its decoding and its weights stay YOLOv5's; what changes is which predictions answer for
an object. TOOD's rule (arXiv 2108.07755, section 3.2; see aligned.py) chooses among those whose
decoding reaches the object: a prediction places a centre -0.5 to 1.5 cells from its cell's corner,
and sides up to four times its anchor's. Its score is objectness times class.
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

from nas.data.anchors import RATIO_THRESHOLD
from nas.training.augment import Batch
from nas.training.losses.aligned import CELLS_PER_OBJECT, OVERLAP_EXPONENT, SCORE_EXPONENT
from nas.training.losses.assign import HeadGrid
from nas.training.losses.overlap import ciou, iou

OFFSETS: Final = (-1, 0, 1)
"""Cells from the one that holds an object's centre which might place a box there, on an axis."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reachable:
    """M objects, and for each the up to K predictions whose decoding reaches it.

    Predictions are numbered as in `assign.Targets`. Where an object has fewer than K, `is_real` is
    False and the rest is of no meaning.
    """

    predictions: NDArray[np.int64]
    """(M, K) the number of the prediction."""
    is_real: NDArray[np.bool_]
    """(M, K): not padding."""
    classes: NDArray[np.int64]
    """(M,) the object's class."""
    sizes: NDArray[np.float32]
    """(M, 2) the object's width and height in pixels."""
    places: NDArray[np.float32]
    """(M, K, 5) x, y of the object's centre from the cell's corner, width and height of the anchor,
    the level's stride; pixels."""


def reachable(batch: Batch, grid: HeadGrid) -> Reachable:
    """The predictions that may answer for each object of a batch, for a head with anchors."""
    assert grid.anchors is not None
    centres = (batch.boxes[:, :2] + batch.boxes[:, 2:]) / 2
    sizes = batch.boxes[:, 2:] - batch.boxes[:, :2]
    first, parts = 0, []
    for level in range(len(grid.strides)):
        numbers, is_real, places = _of_level(centres, sizes, batch.owners, grid, level)
        parts.append((np.where(is_real, first + numbers, 0), is_real, places))
        first += len(batch.images) * grid.cells[level]
    numbers, is_real, places = (np.concatenate(group, axis=1) for group in zip(*parts, strict=True))
    # Those that count come first, so that the columns behind the fullest row can go.
    order = np.argsort(~is_real, axis=1, kind="stable")[:, : max(1, is_real.sum(1).max(initial=0))]
    return Reachable(
        predictions=np.take_along_axis(numbers, order, 1),
        is_real=np.take_along_axis(is_real, order, 1),
        classes=batch.classes.astype(np.int64),
        sizes=sizes.astype(np.float32),
        places=np.take_along_axis(places, order[..., None], 1).astype(np.float32),
    )


def _of_level(
    centres: NDArray[np.float64],
    sizes: NDArray[np.float64],
    owners: NDArray[np.int64],
    grid: HeadGrid,
    level: int,
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.float64]]:
    """Numbers within a level, whether they reach, and places of the 3 x 3 cells x anchors."""
    assert grid.anchors is not None
    anchors, stride = grid.anchors[level], grid.strides[level]
    rows, columns = grid.shapes[level]
    ends = np.array((columns, rows))
    steps = np.stack(np.meshgrid(OFFSETS, OFFSETS), -1).reshape(-1, 2)
    cells = np.clip((centres / stride).astype(np.int64), 0, ends - 1)[:, None] + steps
    within = centres[:, None] - cells * stride
    near = (within > -0.5 * stride) & (within < 1.5 * stride) & (cells >= 0) & (cells < ends)
    ratio = sizes[:, None] / anchors
    fits = (np.maximum(ratio, 1 / ratio) < RATIO_THRESHOLD).all(-1)
    shape = (len(centres), len(steps), len(anchors))
    block = owners[:, None, None] * len(anchors) + np.arange(len(anchors))
    numbers = (block * rows + cells[:, :, None, 1]) * columns + cells[:, :, None, 0]
    is_real = near.all(-1)[:, :, None] & fits[:, None]
    places = np.empty((*shape, 5))
    places[..., :2] = within[:, :, None]
    places[..., 2:4] = anchors
    places[..., 4] = stride
    count = shape[1] * shape[2]
    return numbers.reshape(-1, count), is_real.reshape(-1, count), places.reshape(-1, count, 5)


@torch.no_grad()
def choose(
    scores: Tensor, overlap: Tensor, predictions: Tensor, is_real: Tensor, count: int
) -> Tensor:
    """The score to reach (M, K) of each prediction that answers for an object, 0 of all others.

    scores       (M, K) of the object's class, in 0..1; overlap (M, K) with the object, in 0..1
    predictions  (M, K) numbers below `count`

    A prediction that two objects want answers for the one that it overlaps more.
    """
    alignment = scores**SCORE_EXPONENT * overlap**OVERLAP_EXPONENT * is_real
    best = alignment.topk(min(CELLS_PER_OBJECT, alignment.shape[1]), dim=1).indices
    wanted = torch.zeros_like(is_real).scatter_(1, best, value=True) & is_real
    claim = torch.where(wanted, overlap, -1.0)
    most = overlap.new_full((count,), -1.0)
    most.scatter_reduce_(0, predictions.flatten(), claim.flatten(), "amax")
    wanted &= claim >= most[predictions]
    alignment, overlap = alignment * wanted, overlap * wanted
    peak = alignment.amax(1, keepdim=True).clamp(min=torch.finfo(alignment.dtype).tiny)
    return alignment / peak * overlap.amax(1, keepdim=True)


def anchored_parts(raw: Sequence[Tensor], found: Reachable) -> tuple[Tensor, Tensor]:
    """Box (1 - CIoU) and score losses of raw outputs [(B, anchors, ny, nx, 5 + C)].

    The score is what a detection is ranked by, objectness times class, so that both learn from one
    cross entropy. Boxes are weighted by the score to reach; each loss is a sum over the sum of
    those.
    """
    flat = torch.cat([level.reshape(-1, level.shape[-1]) for level in raw]).float()
    wanted = torch.zeros_like(flat[:, 5:])
    if not len(found.classes):
        return flat.new_zeros(()), _entropy(flat, wanted)
    device = flat.device
    predictions = torch.from_numpy(found.predictions).to(device)
    is_real = torch.from_numpy(found.is_real).to(device)
    classes = torch.from_numpy(found.classes).to(device)[:, None].expand_as(predictions)
    sizes = torch.from_numpy(found.sizes).to(device)[:, None].expand(*predictions.shape, 2)
    chosen = flat[predictions]
    overlap, complete = _overlaps(chosen, torch.from_numpy(found.places).to(device), sizes)
    logits = torch.cat((chosen[..., 4:5], chosen.gather(2, classes[..., None] + 5)), 2)
    scores = logits.detach().sigmoid().prod(2)
    reach = choose(scores, overlap.detach(), predictions, is_real, len(flat))
    total = reach.sum().clamp(min=1.0)
    is_chosen = reach > 0
    wanted[predictions[is_chosen], classes[is_chosen]] = reach[is_chosen]
    box_loss = ((1.0 - complete) * reach).sum()
    return box_loss / total, _entropy(flat, wanted) / total


def _entropy(flat: Tensor, wanted: Tensor) -> Tensor:
    """Sum of the cross entropies of scores, of outputs (N, 5 + C), with those wanted (N, C)."""
    certain, kind = F.logsigmoid(flat[:, 4:5]), F.logsigmoid(flat[:, 5:])
    log_score = certain + kind
    # log(1 - e^x) for x < 0, kept from its pole: a score of 1 to float precision.
    log_rest = torch.log1p(-log_score.exp().clamp(max=1 - 1e-6))
    return -(wanted * log_score + (1 - wanted) * log_rest).sum()


def _overlaps(chosen: Tensor, places: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and CIoU (M, K) of predictions (M, K, 5 + C), decoded, with their object."""
    doubled = 2.0 * chosen[..., :4].sigmoid()
    strides, anchors = places[..., 4:], places[..., 2:4]
    boxes = torch.cat(((doubled[..., :2] - 0.5) * strides, doubled[..., 2:].square() * anchors), -1)
    objects = torch.cat((places[..., :2], sizes), -1)
    complete = ciou(boxes.reshape(-1, 4), objects.reshape(-1, 4)).view(chosen.shape[:2])
    return iou(_corners(boxes), _corners(objects)), complete


def _corners(boxes: Tensor) -> Tensor:
    """Boxes (..., 4) of centre, width, height as left, top, right, bottom."""
    half = boxes[..., 2:] / 2
    return torch.cat((boxes[..., :2] - half, boxes[..., :2] + half), -1)
