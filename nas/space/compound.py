"""EfficientNet detectors of any size by compound scaling: one builder for B0 to B7 and between.

EfficientNet (arXiv 1905.11946) scales the widths and depths of one network, B0, and its image size
together. Under it stands YOLOv5's PAN in the form that MMYOLO gives it there: its three levels have
the widths of the backbone's (B3: 48, 136, 384), its C3s a depth of YOLOv5s's, and there is no SPPF.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import Field

from nas.documents import Strict
from nas.space.block import nearest_multiple
from nas.space.choices import Choose, Options, Sizes
from nas.space.image_size import ImageSize, read_image_size
from nas.space.pan import Pan, pan_rows
from nas.space.spec import USUAL_CLASSES, ModelSpec, Row, make_row


class CompoundStage(NamedTuple):
    """One of B0's stages (arXiv 1905.11946, table 1)."""

    kernel: int
    depth: int
    stride: int
    expand_ratio: int
    width: int


B0: Final = (
    CompoundStage(3, 1, 1, 1, 16),
    CompoundStage(3, 2, 2, 6, 24),
    CompoundStage(5, 2, 2, 6, 40),
    CompoundStage(3, 3, 2, 6, 80),
    CompoundStage(5, 3, 1, 6, 112),
    CompoundStage(5, 4, 2, 6, 192),
    CompoundStage(3, 1, 1, 6, 320),
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


def scaled_stages(width: float, depth: float) -> tuple[CompoundStage, ...]:
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
    rows = [make_row(-1, 1, "Conv", nearest_multiple(STEM_WIDTH * width), 3, 2)]
    ends = []
    for stage in scaled_stages(width, depth):
        for number, stride in ((1, stage.stride), (stage.depth - 1, 1)):
            if number:
                args = (stage.width, stage.kernel, stride, stage.expand_ratio, SE_RATIO)
                rows.append(make_row(-1, number, "MBConv", *args))
        ends.append(len(rows) - 1)
    p3, p4, p5 = level_widths(width)
    pan = Pan(inner=(p4, p3), out=(p3, p4, p5), depth=neck_depth)
    head, levels = pan_rows(pan, (ends[LEVELS[0]], ends[LEVELS[1]]), len(rows))
    return tuple(rows), (*head, make_row(levels, 1, "Detect", "nc", "anchors"))


def compound_spec(name: str, num_classes: int = USUAL_CLASSES, neck_depth: int = 1) -> ModelSpec:
    """EfficientNet `name` (b0 to b7) as a detector, at the first size that its strides divide."""
    one = EFFICIENTNETS[name]
    backbone, head = compound_rows(one.width, one.depth, neck_depth)
    return ModelSpec(
        num_classes=num_classes,
        backbone=backbone,
        head=head,
        image_size=detector_size(one.resolution),
    )


Coefficient = Annotated[float, Field(gt=0, le=4)]


class CompoundDefinition(Strict):
    """The YAML of a space of compound scaling, whole.

    format: 1
    family: efficientnet
    image_size: [192, 224, 256]   # the coefficient of resolution, in pixels
    depth: [1.0, 1.1, 1.2]        # of B0's
    width: [0.5, 1.0, 1.1]
    """

    format: Literal[1]
    family: Literal["efficientnet"]
    image_size: Sizes
    depth: Options[Coefficient]
    width: Options[Coefficient]


class CompoundModel:
    """The networks of such a space."""

    def __init__(self, definition: CompoundDefinition) -> None:
        self.definition = definition

    def content(self) -> Any:
        """What the space's digest is made of."""
        return self.definition.model_dump(mode="json")

    def build(self, ask: Choose) -> tuple[ModelSpec, ImageSize]:
        """The detector of the coefficients that are chosen, and its image size (pixels)."""
        definition = self.definition
        image_size = read_image_size(ask("image_size", definition.image_size), "image_size")
        depth = ask("model.depth", definition.depth)
        width = ask("model.width", definition.width)
        backbone, head = compound_rows(width, depth)
        return ModelSpec(num_classes=USUAL_CLASSES, backbone=backbone, head=head), image_size
