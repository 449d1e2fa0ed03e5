"""The head: YOLOv5's with anchors, and YOLOv8's without."""

from __future__ import annotations

from typing import Final

from nas.space.block import Block
from nas.space.graph import Drawing
from nas.space.modules.argument import Argument, SpecError
from nas.space.modules.module import Module, RowInput, refuse_repeats

OUTPUTS_PER_ANCHOR: Final = 5
"""x, y, w, h and objectness, before the classes (YOLOv5's Detect)."""

BOX_BINS: Final = 16
"""Bins of each of the four distances of a box, before the classes (YOLOv8's Detect: `reg_max`)."""


def _detect_blocks(module: Module, row: RowInput) -> tuple[Block, ...]:
    refuse_repeats(row)
    module.read(row.args, row.where)
    if not row.anchors:
        return _anchor_free_blocks(module, row)
    if len(row.channels) != len(row.anchors):
        raise SpecError(
            row.where,
            f"Detect reads one row for each of the {len(row.anchors)} levels of anchors",
            f"{len(row.channels)} rows in 'from'",
        )
    return tuple(
        Block(
            module=module.name,
            channels_in=(channels,),
            channels_out=row.anchors[0] * (OUTPUTS_PER_ANCHOR + row.num_classes),
            height=height,
            width=width,
        )
        for channels, (height, width) in zip(row.channels, row.sizes, strict=True)
    )


def _anchor_free_blocks(module: Module, row: RowInput) -> tuple[Block, ...]:
    """YOLOv8's Detect: branches for boxes and classes, whose widths follow from the first level."""
    classes, first = row.num_classes, row.channels[0]
    branches = (max(16, first // 4, 4 * BOX_BINS), max(first, min(classes, 100)))
    return tuple(
        Block(
            module=module.name,
            channels_in=(channels,),
            channels_out=4 * BOX_BINS + classes,
            height=height,
            width=width,
            activation=row.activation,
            branches=branches,
        )
        for channels, (height, width) in zip(row.channels, row.sizes, strict=True)
    )


def _draw_detect(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    if block.branches:
        return _draw_anchor_free(drawing, block, inputs)
    return drawing.convolution(inputs[0], block.channels_out, has_batch_norm=False)


def _draw_anchor_free(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """YOLOv8's decoupled head at one level: bins of distances, then logits of classes."""
    maps = []
    for hidden, channels in zip(
        block.branches, (4 * BOX_BINS, block.channels_out - 4 * BOX_BINS), strict=True
    ):
        x = drawing.convolution(inputs[0], hidden, 3, activation=block.activation)
        x = drawing.convolution(x, hidden, 3, activation=block.activation)
        maps.append(drawing.convolution(x, channels, has_batch_norm=False))
    return drawing.concat(tuple(maps))


DETECT: Final = Module(
    name="Detect",
    arguments=(
        Argument(
            name="classes",
            rule="the number of classes is the name nc",
            check=lambda v: v == "nc",
            is_required=True,
        ),
        Argument(
            name="anchors",
            rule="the anchors are the name anchors, or nothing (an anchor-free head as YOLOv8's)",
            check=lambda v: v == "anchors",
        ),
    ),
    blocks=_detect_blocks,
    draw=_draw_detect,
)
"""One block a level, side by side, each reading one map."""
