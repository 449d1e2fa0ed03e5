"""What a detector's outputs are made of, and how far each part may be off torch's.

A box counts in pixels, a share (objectness, a class) in hundredths, a raw map in logits, and a
part may hardly vary where another does: one tolerance for all would let a small part be anything.
So each is judged by its own scale:

a raw map    ROUNDING of what that part varies by at that level, and FLOAT of its largest value
a share      the same as a logit, and what a sigmoid rounds
x, y         ROUNDING of the cell's stride, and FLOAT of the coordinate
width, height   the same, and ROUNDING of the side itself, which a small change multiplies
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nas.deploy.decode import layout_of
from nas.detector.builder import Detector
from nas.detector.head import Detect
from nas.space.image_size import ImageSize, sides

ROUNDING: Final = 2e-3
"""The share of its scale that a part of a right file may be off by: fp32 sums in another order,
and Winograd's convolutions, are at some 1e-5 of the largest here."""

FLOAT: Final = 1e-5
"""The share of its largest value, which may be a bias that all cells have alike."""

SIGMOID: Final = 5e-7
"""What runtimes' sigmoids are off by, near 0 and 1 too."""

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputPart:
    """One part of an output: a file's values, torch's, and how far each may be off."""

    name: str
    ours: Values
    torchs: Values
    allowed: Values

    @property
    def excess(self) -> float:
        """The largest difference in units of what is allowed: above 1 the file is wrong; NaN where
        a value is no number."""
        return float(np.max(np.abs(self.ours - self.torchs) / self.allowed))

    @property
    def worst(self) -> tuple[float, float]:
        """The difference that exceeds most, and what is allowed there."""
        off = np.abs(self.ours - self.torchs)
        place = np.nanargmax(np.where(np.isfinite(off), off / self.allowed, np.inf))
        return float(off.flat[place]), float(np.broadcast_to(self.allowed, off.shape).flat[place])


def map_parts(detector: Detector, level: int, ours: Values, torchs: Values) -> Iterator[OutputPart]:
    """The parts of a level's raw map, (1, channels, height, width), in logits."""
    head, cells = detector.head, ours.shape[2] * ours.shape[3]
    names: tuple[str, ...] = ("left", "top", "right", "bottom", "classes")
    if isinstance(head, Detect):
        names = ("x", "y", "width", "height", "objectness", "classes")
        shape, step = (head.num_anchors, head.num_outputs, cells), 1
    else:
        shape, step = (1, head.num_outputs, cells), head.bins
    mine, right = ours.reshape(shape), torchs.reshape(shape)
    for place, name in enumerate(names):
        start, stop = place * step, shape[1] if name == "classes" else (place + 1) * step
        part = right[:, start:stop]
        allowed = np.full_like(part, _logit_tolerance(part))
        yield OutputPart(
            name=f"{name} of level {level}", ours=mine[:, start:stop], torchs=part, allowed=allowed
        )


def box_parts(
    detector: Detector, image_size: ImageSize, ours: Values, torchs: Values
) -> Iterator[OutputPart]:
    """The parts of decoded boxes in the layout of the detector's files, for images of a size."""
    head = detector.head
    if layout_of(detector) == "yolov8":
        ours, torchs = ours.transpose(0, 2, 1), torchs.transpose(0, 2, 1)
    per_cell = head.num_anchors if isinstance(head, Detect) else 1
    height, width = sides(image_size)
    counts = [per_cell * (height // stride) * (width // stride) for stride in head.strides]
    strides = np.repeat(head.strides, counts)
    for channel, name in enumerate(("x", "y", "width", "height")):
        right = torchs[..., channel]
        allowed = ROUNDING * strides + FLOAT * np.abs(right)
        if channel > 1:
            allowed = allowed + ROUNDING * np.abs(right)
        yield OutputPart(name=name, ours=ours[..., channel], torchs=right, allowed=allowed)
    shares = [("objectness", 4, 5)] if isinstance(head, Detect) else []
    first = 4 + len(shares)
    for name, start, stop in (*shares, ("classes", first, first + head.num_classes)):
        yield _share_part(name, ours[..., start:stop], torchs[..., start:stop])


def _share_part(name: str, ours: Values, torchs: Values) -> OutputPart:
    """Probabilities: their logits' tolerance, as it shows in them."""
    inside = np.clip(torchs, 1e-12, 1 - 1e-9)
    slope = inside * (1 - inside)
    logits = np.log(inside) - np.log1p(-inside)
    return OutputPart(
        name=name, ours=ours, torchs=torchs, allowed=_logit_tolerance(logits) * slope + SIGMOID
    )


def _logit_tolerance(values: Values) -> float:
    """Of a part's values, (..., channels, cells) or (..., cells, channels)."""
    spread = float(np.abs(values - np.median(values)).max())
    return ROUNDING * spread + FLOAT * max(float(np.abs(values).max()), 1.0)
