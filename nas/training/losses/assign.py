"""Which cells and anchors of the head answer for which object: YOLOv5's assignment.

Written from its published description (see also arXiv 2108.11539, section 3): an anchor answers
for a box if no side differs by more than a factor of four; it does so in the cell that holds the
box's centre and in the nearest neighbour on each axis, since the head can place a centre up to
half a cell outside its own. numpy, because hundreds of tiny tensor operations would cost more than
the loss itself, and because it can then run beside the network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.data.anchors import RATIO_THRESHOLD
from nas.space.image_size import ImageSize, sides
from nas.training.augment import Batch

NEIGHBOUR_REACH = 0.5
"""A neighbouring cell answers too if the centre lies within this part of a cell of it."""


@dataclass(frozen=True, kw_only=True)
class HeadGrid:
    """What assignment and loss know of a head at one image size."""

    anchors: NDArray[np.float64] | None
    """(levels, anchors, 2) widths and heights in pixels; None: a head without."""
    strides: tuple[int, ...]
    """(levels,) pixels per cell."""
    image_size: ImageSize
    num_classes: int

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of cells, for each level."""
        height, width = sides(self.image_size)
        return tuple((height // stride, width // stride) for stride in self.strides)

    @property
    def cells(self) -> tuple[int, ...]:
        """Predictions per image, for each level."""
        each = 1 if self.anchors is None else self.anchors.shape[1]
        return tuple(each * rows * columns for rows, columns in self.shapes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Targets:
    """P pairs of a prediction and the object that it answers for.

    Predictions are numbered level by level, within a level by image, anchor, row, column: the
    order of the raw outputs (B, anchors, rows, columns, 5 + classes) flattened and put together.
    """

    cells: NDArray[np.int64]
    """(P,) the number of the prediction."""
    classes: NDArray[np.int64]
    """(P,) the object's class."""
    boxes: NDArray[np.float32]
    """(P, 4) x, y of the object's centre from the cell's corner, its width and height; pixels."""
    anchors: NDArray[np.float32]
    """(P, 2) width and height of the prediction's anchor in pixels."""
    strides: NDArray[np.float32]
    """(P,) the stride of the prediction's level in pixels."""


def assign(batch: Batch, grid: HeadGrid) -> Targets:
    """The targets of a batch of images at `grid.image_size`, for a head with anchors."""
    assert grid.anchors is not None
    centres = (batch.boxes[:, :2] + batch.boxes[:, 2:]) / 2
    sizes = batch.boxes[:, 2:] - batch.boxes[:, :2]
    images = len(batch.images)
    first = 0
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = []
    for level, shape in enumerate(grid.shapes):
        objects, anchors = _fitting(sizes, grid.anchors[level])
        pairs, columns, rows = _answering(centres[objects] / grid.strides[level], shape)
        objects, anchors = objects[pairs], anchors[pairs]
        block = batch.owners[objects] * grid.anchors.shape[1] + anchors
        cells = first + (block * shape[0] + rows) * shape[1] + columns
        stride = grid.strides[level]
        corners = np.stack([columns, rows], axis=1) * stride
        values = np.concatenate(
            [
                centres[objects] - corners,
                sizes[objects],
                grid.anchors[level][anchors],
                np.full((len(objects), 1), stride),
            ],
            axis=1,
        )
        parts.append((cells, batch.classes[objects], values))
        first += images * grid.cells[level]
    values = np.concatenate([part[2] for part in parts]).astype(np.float32)
    return Targets(
        cells=np.concatenate([part[0] for part in parts]),
        classes=np.concatenate([part[1] for part in parts]),
        boxes=values[:, :4],
        anchors=values[:, 4:6],
        strides=values[:, 6],
    )


def _fitting(
    sizes: NDArray[np.float64], anchors: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of object and anchor, neither of whose sides differs by RATIO_THRESHOLD or more."""
    ratio = sizes[:, None] / anchors[None]
    worst = np.maximum(ratio, 1 / ratio).max(axis=2)
    objects, chosen = np.nonzero(worst < RATIO_THRESHOLD)
    return objects, chosen


def _answering(
    centres: NDArray[np.float64], shape: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Index of the pair, column and row of each cell that answers for a centre (in cells).

    shape   rows and columns of cells
    """
    last = np.array(shape[::-1]) - 1
    own = np.clip(centres.astype(np.int64), 0, last)
    within = centres - own
    low = (within < NEIGHBOUR_REACH) & (own > 0)
    high = (within > 1 - NEIGHBOUR_REACH) & (own < last)
    steps = ((0, 0), (-1, 0), (0, -1), (1, 0), (0, 1))
    masks = (np.ones(len(own), np.bool_), low[:, 0], low[:, 1], high[:, 0], high[:, 1])
    pairs = [np.nonzero(mask)[0] for mask in masks]
    cells = np.concatenate([own[pair] + step for pair, step in zip(pairs, steps, strict=True)])
    return np.concatenate(pairs), cells[:, 0], cells[:, 1]
