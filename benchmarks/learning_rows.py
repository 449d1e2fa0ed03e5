"""The rows of benchmarks/learning.py: head, assignment, start and recipe, alone and together."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, Literal

from nas.training.augment import AugmentSettings
from nas.training.growth import GrowthSettings
from nas.training.recipe import Recipe, read_recipe

SCRATCH: Final = "scratch"
LITE2: Final = "lite2"
STARTER: Final = "starter"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way of teaching the probe's detector."""

    head: Literal["anchors", "anchor-free", "light"]
    """YOLOv5's, YOLOv8's, or the light one of the default space."""
    start: str = SCRATCH
    """What weights begin with: scratch, lite2, or the starter that a flag names."""
    recipe: Recipe = field(default_factory=Recipe)


TODAY: Final = Recipe(
    optimizer="sgd", lr=0.01, batch_size=16, assignment="yolov5", cpu_bf16=False, evaluate_every=1
)
"""What nas.train did until 2026-11-26: YOLOv5's recipe."""

ADAMW: Final = replace(TODAY, optimizer="adamw", lr=0.004, batch_size=8)
"""The recipe that heads and starts were compared with while planning."""

ALIGNED: Final = replace(ADAMW, assignment="aligned")
BF16: Final = replace(ADAMW, cpu_bf16=True)
SIZES: Final = GrowthSettings(stages=3, first_size=0.67, first_strength=0.2)

TOGETHER: Final = replace(BF16, assignment="aligned", growth=SIZES)

SMALL: Final = read_recipe("small", knows_pictures=True)
"""What nas.train does where weights know pictures."""

ROWS: Final[dict[str, Row]] = {
    "today": Row(head="anchors", recipe=TODAY),
    # The head and its assignment, from scratch and from weights that know pictures.
    "yolov5": Row(head="anchors", recipe=ADAMW),
    "aligned": Row(head="anchors", recipe=ALIGNED),
    "free": Row(head="anchor-free", recipe=ADAMW),
    "yolov5-lite2": Row(head="anchors", start=LITE2, recipe=ADAMW),
    "aligned-lite2": Row(head="anchors", start=LITE2, recipe=ALIGNED),
    "free-lite2": Row(head="anchor-free", start=LITE2, recipe=ADAMW),
    # Each part of the recipe alone.
    "bf16": Row(head="anchor-free", start=LITE2, recipe=BF16),
    "sizes": Row(head="anchor-free", start=LITE2, recipe=replace(ADAMW, growth=SIZES)),
    "frozen": Row(head="anchor-free", start=LITE2, recipe=replace(ADAMW, frozen_stages=2)),
    "rates": Row(head="anchor-free", start=LITE2, recipe=replace(ADAMW, first_row_lr=0.1)),
    "balance": Row(head="anchor-free", start=LITE2, recipe=replace(ADAMW, class_balance=0.5)),
    "no-mosaic": Row(
        head="anchor-free",
        start=LITE2,
        recipe=replace(ADAMW, augment=AugmentSettings(mosaic=0.0, scale=0.3)),
    ),
    "starter": Row(head="anchor-free", start=STARTER, recipe=ADAMW),
    # Together.
    "together": Row(head="anchor-free", start=LITE2, recipe=TOGETHER),
    "together-anchors": Row(head="anchors", start=LITE2, recipe=TOGETHER),
    "together-frozen": Row(
        head="anchor-free", start=LITE2, recipe=replace(TOGETHER, frozen_stages=2)
    ),
    "together-starter": Row(head="anchor-free", start=STARTER, recipe=TOGETHER),
    # What nas.train does, with each head.
    "small": Row(head="light", start=LITE2, recipe=SMALL),
    "small-free": Row(head="anchor-free", start=LITE2, recipe=SMALL),
    "small-anchors": Row(head="anchors", start=LITE2, recipe=SMALL),
    "small-starter": Row(head="light", start=STARTER, recipe=SMALL),
    "small-free-starter": Row(head="anchor-free", start=STARTER, recipe=SMALL),
    "small-anchors-starter": Row(head="anchors", start=STARTER, recipe=SMALL),
}
