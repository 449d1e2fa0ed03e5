"""The one walk over a model, which yields its blocks.

`layers` is the only place that resolves `from`, channels and map sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from nas.space.block import BOX_BINS, Block
from nas.space.image_size import ImageSize, sides
from nas.space.modules import HEADS, MODULES, RowInput, SpecError, output_size
from nas.space.modules.detect import OUTPUTS_PER_ANCHOR
from nas.space.spec import ModelSpec, Row, with_classes

__all__ = [
    "BOX_BINS",
    "OUTPUTS_PER_ANCHOR",
    "Block",
    "Layer",
    "blocks",
    "detect_blocks",
    "layers",
    "output_size",
    "strides",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One row with its wiring resolved: inputs as absolute rows (-1: the image), true blocks.

    A row repeated n times has n equal blocks in sequence. `Detect` has one for each level,
    side by side, each reading one input.
    """

    index: int
    row: Row
    inputs: tuple[int, ...]
    blocks: tuple[Block, ...]
    channels: int
    height: int
    width: int


@lru_cache(maxsize=4)
def blocks(spec: ModelSpec, image_size: ImageSize) -> tuple[Block, ...]:
    """Every block of a detector in the order of its rows, for images of a size."""
    return tuple(block for layer in layers(spec, image_size) for block in layer.blocks)


def layers(spec: ModelSpec, image_size: ImageSize, where: str | None = None) -> tuple[Layer, ...]:
    """The rows with inputs, blocks, output channels and output map resolved: the one walk.

    SpecError where the rows do not fit together, naming `where` (None: the model's file), the
    part, the row and the rule.
    """
    where = spec.where if where is None else where
    walked: list[Layer] = []
    for index, row in enumerate(spec.rows):
        place = f"{where}, {_row_name(spec, index)}"
        sources = tuple(_resolve(source, index, place) for source in row.source)
        feeds = [walked[s] if s >= 0 else None for s in sources]
        read = _row_input(
            row,
            spec,
            channels=tuple(feed.channels if feed else 3 for feed in feeds),
            sizes=tuple((feed.height, feed.width) if feed else sides(image_size) for feed in feeds),
            where=place,
        )
        found = _blocks_of(read)
        height, width = output_size(found[-1])
        if height < 1 or width < 1:
            raise SpecError(
                place, "the map has at least one cell", f"{height}x{width} at {image_size} px"
            )
        walked.append(
            Layer(
                index=index,
                row=row,
                inputs=sources,
                blocks=found,
                channels=found[-1].channels_out,
                height=height,
                width=width,
            )
        )
    _check_detect(spec, walked, where)
    return tuple(walked)


def detect_blocks(layer: Layer, spec: ModelSpec, num_classes: int) -> tuple[Block, ...]:
    """The blocks of a detector's last layer for another number of classes.

    An anchor-free head's inner widths follow the classes too, so that no block alone says it.
    """
    read = _row_input(
        layer.row,
        with_classes(spec, num_classes),
        channels=tuple(block.channels_in[0] for block in layer.blocks),
        sizes=tuple((block.height, block.width) for block in layer.blocks),
        where=spec.where,
    )
    return _blocks_of(read)


def strides(walked: tuple[Layer, ...], image_size: ImageSize) -> tuple[int, ...]:
    """Stride in pixels of each level that the detector's last row, Detect, reads."""
    height, _ = sides(image_size)
    return tuple(height // block.height for block in walked[-1].blocks)


def _row_input(
    row: Row,
    spec: ModelSpec,
    *,
    channels: tuple[int, ...],
    sizes: tuple[tuple[int, int], ...],
    where: str,
) -> RowInput:
    return RowInput(
        module=row.module,
        number=row.number,
        args=row.args,
        channels=channels,
        sizes=sizes,
        activation=spec.activation,
        num_classes=spec.num_classes,
        anchors=tuple(len(level) // 2 for level in spec.anchors),
        where=where,
    )


def _blocks_of(row: RowInput) -> tuple[Block, ...]:
    module = MODULES[row.module]
    return module.blocks(module, row)


def _row_name(spec: ModelSpec, index: int) -> str:
    part, offset = ("backbone", 0) if index < len(spec.backbone) else ("head", len(spec.backbone))
    return f"{part} row {index - offset} (row {index}, {spec.rows[index].module})"


def _resolve(source: int, index: int, where: str) -> int:
    absolute = index + source if source < 0 else source
    if not (0 <= absolute < index or (absolute == -1 and index == 0)):
        raise SpecError(where, "'from' names an earlier row", str(source))
    return absolute


def _check_detect(spec: ModelSpec, walked: list[Layer], where: str) -> None:
    places = [layer.index for layer in walked if MODULES[layer.row.module].is_head]
    if places != [len(walked) - 1]:
        raise SpecError(
            spec.where,
            f"the last row, and no other, is {' or '.join(HEADS)}",
            f"such in rows {places or 'none'}",
        )
    areas = [block.height * block.width for block in walked[-1].blocks]
    if sorted(set(areas), reverse=True) != areas:
        raise SpecError(
            f"{where}, {_row_name(spec, len(walked) - 1)}",
            "the head reads the levels from the largest map to the smallest (P3, P4, P5)",
            ", ".join(f"{b.height}x{b.width}" for b in walked[-1].blocks),
        )
