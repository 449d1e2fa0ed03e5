"""What stands behind a backbone: YOLOv5 v6's PAN, its joins concatenations or sums, its blocks C3s
or others; and the last row, YOLOv5's head, YOLOv8's, or a light one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from nas.space.image_size import ImageSize, longest
from nas.space.modules import MODULES
from nas.space.spec import Row, make_row

DetectKind = Literal["anchors", "decoupled", "light"]
"""anchors: YOLOv5's Detect; decoupled: YOLOv8's, without anchors, of wide branches; light: the same
of one 3x3 convolution a branch, as wide as the map, at two fifths of the cost (LOG.md has figures).
"""

COARSEST_STRIDE: Final = 32
"""Pixels a cell of P5."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pan:
    """What a PAN is made of.

    inner      widths of its inner maps, at P4 and at P3
    out        widths of the three maps that it leaves, P3, P4 and P5
    depth      bottlenecks inside each block, or blocks in a row
    join       concat, or add: the backbone's maps are brought to the inner width first
    operator   C3, C2f or DWConvBlock
    """

    inner: tuple[int, int]
    out: tuple[int, int, int]
    depth: int
    join: str = "concat"
    operator: str = "C3"


def pan_rows(pan: Pan, taps: tuple[int, int], start: int) -> tuple[list[Row], tuple[int, int, int]]:
    """Its rows, and the numbers of those that end P3, P4 and P5.

    taps    rows of the backbone that end P3 and P4; P5 ends right before
    start   the row number of the first row here
    """
    drawing = _Rows(pan, start)
    p3, p4 = taps
    (inner4, inner3), (out3, out4, out5) = pan.inner, pan.out
    deep = drawing.add(-1, "Conv", inner4, 1, 1)
    drawing.joined_up(p4, inner4)
    drawing.block(inner4)
    middle = drawing.add(-1, "Conv", inner3, 1, 1)
    drawing.joined_up(p3, inner3)
    end3 = drawing.block(out3)
    drawing.joined_down(middle, inner3)
    end4 = drawing.block(out4)
    drawing.joined_down(deep, inner4)
    end5 = drawing.block(out5)
    return drawing.rows, (end3, end4, end5)


class _Rows:
    """Rows while they are written, each knowing its number."""

    def __init__(self, pan: Pan, start: int) -> None:
        self.pan = pan
        self.start = start
        self.rows: list[Row] = []

    def add(
        self, source: int | tuple[int, ...], module: str, *args: object, number: int = 1
    ) -> int:
        """The number of the row that was added."""
        self.rows.append(make_row(source, number, module, *args))
        return self.start + len(self.rows) - 1

    def block(self, width: int) -> int:
        """The number of the last row of a block that reads the row before."""
        pan = self.pan
        if MODULES[pan.operator].has_depth:
            return self.add(-1, pan.operator, width, False, number=pan.depth)
        last = self.add(-1, pan.operator, width, 3, 1)
        if pan.depth > 1:
            last = self.add(-1, pan.operator, width, 3, 1, number=pan.depth - 1)
        return last

    def joined_up(self, tap: int, width: int) -> None:
        """The row before at twice its size, joined with a map of the backbone."""
        up = self.add(-1, "nn.Upsample", None, 2, "nearest")
        if self.pan.join == "concat":
            self.add((-1, tap), "Concat", 1)
        else:
            self.add(tap, "Conv", width, 1, 1)
            self.add((-1, up), "Add")

    def joined_down(self, other: int, width: int) -> None:
        """The row before at half its size, joined with an inner map."""
        module = "DWConvBlock" if self.pan.operator == "DWConvBlock" else "Conv"
        self.add(-1, module, width, 3, 2)
        if self.pan.join == "concat":
            self.add((-1, other), "Concat", 1)
        else:
            self.add((-1, other), "Add")


def detect_row(kind: str, ends: tuple[int, int, int], image_size: ImageSize) -> Row:
    """The last row of a DetectKind; it reads the rows that end P3, P4 and P5.

    image_size  of the images that it is for
    """
    args: dict[str, tuple[Any, ...]] = {
        "anchors": ("Detect", "nc", "anchors"),
        "decoupled": ("Detect", "nc"),
        "light": ("LightDetect", "nc", None, 1, enough_bins(image_size)),
    }
    module, *values = args[kind]
    return make_row(ends, 1, module, *values)


def enough_bins(image_size: ImageSize) -> int:
    """Bins (8, 16 or 32) by which a box from the middle of an image reaches its edges.

    At the coarsest level, whose cells see an object that large: 8 bins do up to 448 px.
    """
    side = longest(image_size)
    return next((b for b in (8, 16) if 2 * (b - 1) * COARSEST_STRIDE >= side), 32)
