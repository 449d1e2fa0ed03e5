"""EfficientNet detectors of any size by compound scaling: one builder for B0 to B7 and between.

EfficientNet (arXiv 1905.11946) scales the widths and depths of one network, B0, and its image size
together. Under it stands YOLOv5's PAN in the form that MMYOLO gives it there: its three levels have
the widths of the backbone's (B3: 48, 136, 384), its C3s a depth of YOLOv5s's, and there is no SPPF.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

from nas.space.spec import ModelSpec, Row
from nas.space.widths import nearest_multiple


class Stage(NamedTuple):
    """One of B0's stages (arXiv 1905.11946, table 1)."""

    kernel: int
    depth: int
    stride: int
    expand_ratio: int
    width: int


B0: Final = (
    Stage(3, 1, 1, 1, 16),
    Stage(3, 2, 2, 6, 24),
    Stage(5, 2, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(5, 3, 1, 6, 112),
    Stage(5, 4, 2, 6, 192),
    Stage(3, 1, 1, 6, 320),
)
STEM_WIDTH: Final = 32
SE_RATIO: Final = 0.25
LEVELS: Final = (2, 4, 6)
"""The stages that end P3, P4 and P5."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Coefficients:
    """How much wider and deeper than B0, and the image size that it was trained at (pixels)."""

    width: float
    depth: float
    resolution: int


EFFICIENTNETS: Final[dict[str, Coefficients]] = {
    "b0": Coefficients(width=1.0, depth=1.0, resolution=224),
    "b1": Coefficients(width=1.0, depth=1.1, resolution=240),
    "b2": Coefficients(width=1.1, depth=1.2, resolution=260),
    "b3": Coefficients(width=1.2, depth=1.4, resolution=300),
    "b4": Coefficients(width=1.4, depth=1.8, resolution=380),
    "b5": Coefficients(width=1.6, depth=2.2, resolution=456),
    "b6": Coefficients(width=1.8, depth=2.6, resolution=528),
    "b7": Coefficients(width=2.0, depth=3.1, resolution=600),
}
"""As its authors publish them."""


def scaled_stages(width: float, depth: float) -> tuple[Stage, ...]:
    """B0's stages, widths to the nearest multiple of 8 and depths rounded up, as its authors do."""
    return tuple(
        stage._replace(
            width=nearest_multiple(stage.width * width), depth=math.ceil(stage.depth * depth)
        )
        for stage in B0
    )


def level_widths(width: float) -> tuple[int, int, int]:
    """Channels of P3, P4 and P5 (MMYOLO's `channels`)."""
    p3, p4, p5 = (nearest_multiple(B0[stage].width * width) for stage in LEVELS)
    return p3, p4, p5


def detector_size(resolution: int) -> int:
    """The smallest multiple of 32, the largest stride, that is not below a resolution (pixels)."""
    return math.ceil(resolution / 32) * 32


def compound_rows(
    width: float, depth: float, neck_depth: int = 1
) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Backbone and head of an EfficientNet scaled by these coefficients of width and depth."""
    rows = [_row(-1, 1, "Conv", nearest_multiple(STEM_WIDTH * width), 3, 2)]
    ends = []
    for stage in scaled_stages(width, depth):
        for number, stride in ((1, stage.stride), (stage.depth - 1, 1)):
            if number:
                args = (stage.width, stage.kernel, stride, stage.expand_ratio, SE_RATIO)
                rows.append(_row(-1, number, "MBConv", *args))
        ends.append(len(rows) - 1)
    taps = (ends[LEVELS[0]], ends[LEVELS[1]])
    return tuple(rows), _neck(level_widths(width), taps, len(rows), neck_depth)


def compound_spec(name: str, num_classes: int = 80, neck_depth: int = 1) -> ModelSpec:
    """EfficientNet `name` (b0 to b7) as a detector, at the first size that its strides divide."""
    one = EFFICIENTNETS[name]
    backbone, head = compound_rows(one.width, one.depth, neck_depth)
    return ModelSpec(
        num_classes=num_classes,
        backbone=backbone,
        head=head,
        image_size=detector_size(one.resolution),
    )


def _row(source: int | tuple[int, ...], number: int, module: str, *args: object) -> Row:
    sources = source if isinstance(source, tuple) else (source,)
    return Row(source=sources, number=number, module=module, args=args)


def _neck(
    widths: tuple[int, int, int], taps: tuple[int, int], start: int, depth: int
) -> tuple[Row, ...]:
    """YOLOv5's PAN with these widths of its levels.

    taps    rows of the backbone that end P3 and P4
    start   the row number of the first row here
    """
    w3, w4, w5 = widths
    p3, p4 = taps
    return (
        _row(-1, 1, "Conv", w4, 1, 1),
        _row(-1, 1, "nn.Upsample", None, 2, "nearest"),
        _row((-1, p4), 1, "Concat", 1),
        _row(-1, depth, "C3", w4, False),
        _row(-1, 1, "Conv", w3, 1, 1),
        _row(-1, 1, "nn.Upsample", None, 2, "nearest"),
        _row((-1, p3), 1, "Concat", 1),
        _row(-1, depth, "C3", w3, False),
        _row(-1, 1, "Conv", w3, 3, 2),
        _row((-1, start + 4), 1, "Concat", 1),
        _row(-1, depth, "C3", w4, False),
        _row(-1, 1, "Conv", w4, 3, 2),
        _row((-1, start), 1, "Concat", 1),
        _row(-1, depth, "C3", w5, False),
        _row((start + 7, start + 10, start + 13), 1, "Detect", "nc", "anchors"),
    )
