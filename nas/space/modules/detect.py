"""The heads: YOLOv5's with anchors, YOLOv8's without, and a lighter one without.

LightDetect, `[nc, width, depth, bins, kernel, operator]`, is YOLOv8's decoupled head with lighter
branches: so many convolutions before the last 1x1, dense ones or depthwise-separable ones
(EfficientDet's, arXiv 1911.09070: a depthwise k x k, a 1x1 with batch norm and activation).

    LightDetect, [nc]                            as wide as the first level, one 3x3, 16 bins
    LightDetect, [nc, 24, 2, 8]                  24 wide, two of 3x3, 8 bins a distance
    LightDetect, [nc, None, 2, 8, 5, separable]  two separable ones of 5x5
    LightDetect, [nc, None, 0, 1]                the last 1x1 alone; a distance is a number
"""

from __future__ import annotations

from typing import Any, Final

from nas.space.block import BOX_BINS, Block
from nas.space.graph import Drawing
from nas.space.modules.argument import Argument, SpecError, is_int, kernel
from nas.space.modules.module import Module, RowInput, refuse_repeats

OUTPUTS_PER_ANCHOR: Final = 5
"""x, y, w, h and objectness, before the classes (YOLOv5's Detect)."""

BRANCHES: Final = ("dense", "separable")
"""What the branches of a LightDetect are made of."""

CLASSES: Final = Argument(
    name="classes",
    rule="the number of classes is the name nc",
    check=lambda v: v == "nc",
    is_required=True,
)


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
    for hidden, channels in _branches(block):
        x = drawing.convolution(inputs[0], hidden, 3, activation=block.activation)
        x = drawing.convolution(x, hidden, 3, activation=block.activation)
        maps.append(drawing.convolution(x, channels, has_batch_norm=False))
    return drawing.concat(tuple(maps))


def _branches(block: Block) -> tuple[tuple[int, int], tuple[int, int]]:
    """Hidden width and outputs of the branch of boxes, and of that of classes."""
    boxes = 4 * block.bins
    return (block.branches[0], boxes), (block.branches[1], block.channels_out - boxes)


DETECT: Final = Module(
    name="Detect",
    arguments=(
        CLASSES,
        Argument(
            name="anchors",
            rule="the anchors are the name anchors, or nothing (an anchor-free head as YOLOv8's)",
            check=lambda v: v == "anchors",
        ),
    ),
    blocks=_detect_blocks,
    draw=_draw_detect,
    is_head=True,
)
"""One block a level, side by side, each reading one map."""


def _light_detect_blocks(module: Module, row: RowInput) -> tuple[Block, ...]:
    """One block a level, the branches of all equally wide."""
    refuse_repeats(row)
    values = module.read(row.args, row.where)
    width, depth = values["width"], values["depth"]
    made_of: dict[str, Any] = {name: values[name] for name in ("kernel", "operator")}
    made_of["activation"] = row.activation
    if depth == 0:
        if len(row.args) > 4 or width is not None:
            raise SpecError(
                row.where,
                "a LightDetect of depth 0 is a 1x1 convolution, of no width, kernel or operator",
                f"{list(row.args)}",
                "Write it as [nc, None, 0, bins]",
            )
        made_of = {}
    return tuple(
        Block(
            module=module.name,
            channels_in=(channels,),
            channels_out=4 * values["bins"] + row.num_classes,
            height=height,
            width=cells,
            depth=depth,
            branches=(width or row.channels[0],) * 2 if depth else (channels,) * 2,
            bins=values["bins"],
            **made_of,
        )
        for channels, (height, cells) in zip(row.channels, row.sizes, strict=True)
    )


def _draw_light_detect(drawing: Drawing, block: Block, inputs: tuple[int, ...]) -> int:
    """YOLOv8's of fewer convolutions, separable or dense; of depth 0, the last 1x1 alone."""
    maps = []
    for hidden, channels in _branches(block):
        x = inputs[0]
        for _ in range(block.depth):
            size = block.kernel
            if block.operator == "separable":
                own = drawing.shapes[x].channels
                x = drawing.convolution(x, own, size, groups=own, has_batch_norm=False)
                size = 1
            x = drawing.convolution(x, hidden, size, activation=block.activation)
        maps.append(drawing.convolution(x, channels, has_batch_norm=False))
    return drawing.concat(tuple(maps))


LIGHT_DETECT: Final = Module(
    name="LightDetect",
    arguments=(
        CLASSES,
        Argument(
            name="width",
            rule="the width of the branches is null (that of the first level) or a whole number "
            "from 8 to 1024",
            check=lambda v: v is None or (is_int(v) and 8 <= v <= 1024),
        ),
        Argument(
            name="depth",
            rule="the depth of the branches is a whole number from 0 (a 1x1 convolution alone) "
            "to 4",
            check=lambda v: is_int(v) and 0 <= v <= 4,
            default=1,
        ),
        Argument(
            name="bins",
            rule="a distance is 1 number, or a distribution over 4 to 32 bins",
            check=lambda v: is_int(v) and (v == 1 or 4 <= v <= 32),
            default=BOX_BINS,
        ),
        kernel(3),
        Argument(
            name="operator",
            rule=f"the branches are made of one of {', '.join(BRANCHES)}",
            check=lambda v: v in BRANCHES,
            default=BRANCHES[0],
        ),
    ),
    blocks=_light_detect_blocks,
    draw=_draw_light_detect,
    is_head=True,
)
"""YOLOv8's with lighter branches; one block a level, as Detect's."""
