"""What ends the detectors of a space of stages: YOLOv5's head, YOLOv8's, or a light one."""

from __future__ import annotations

from typing import Any, Final, Literal

from nas.space.spec import Row, make_row

DetectKind = Literal["anchors", "decoupled", "light"]
"""anchors: YOLOv5's Detect; decoupled: YOLOv8's, without anchors, of wide branches; light: the same
of one 3x3 convolution a branch, as wide as the map, at two fifths of the cost (LOG.md has figures).
"""

COARSEST_STRIDE: Final = 32
"""Pixels a cell of P5."""


def detect_row(kind: str, ends: tuple[int, int, int], image_size: int) -> Row:
    """The last row of a DetectKind; it reads the rows that end P3, P4 and P5.

    image_size  pixels of the square image that it is for
    """
    args: dict[str, tuple[Any, ...]] = {
        "anchors": ("Detect", "nc", "anchors"),
        "decoupled": ("Detect", "nc"),
        "light": ("LightDetect", "nc", None, 1, enough_bins(image_size)),
    }
    module, *values = args[kind]
    return make_row(ends, 1, module, *values)


def enough_bins(image_size: int) -> int:
    """Bins (8, 16 or 32) by which a box from the middle of an image (pixels) reaches its edges.

    At the coarsest level, whose cells see an object that large: 8 bins do up to 448 px.
    """
    return next((b for b in (8, 16) if 2 * (b - 1) * COARSEST_STRIDE >= image_size), 32)
