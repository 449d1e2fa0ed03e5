"""`Block`, the one row that the house turns on, and the one walk over a model that yields them.

The builder builds a block, the latency table keys on it, the predictor sums over it, MACs are
counted from it. `layers` is the only place that resolves `from`, channels and map sizes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Final

from nas.space.arguments import DEPTH_INSIDE, SpecError, read_arguments
from nas.space.spec import ModelSpec, Row

OUTPUTS_PER_ANCHOR: Final = 5
"""x, y, w, h and objectness, before the classes (YOLOv5's Detect)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """What is built, timed and counted as one: a module with its widths and the map it reads.

    channels_in   channels of each input (several for Concat)
    height, width of the input map(s), in cells
    expand_ratio  of MBConv and FusedMBConv; se_ratio of the *input* channels (0: no SE)
    depth         bottlenecks inside a C3
    padding       None: half the kernel
    """

    module: str
    channels_in: tuple[int, ...]
    channels_out: int
    height: int
    width: int
    kernel: int = 1
    stride: int = 1
    padding: int | None = None
    groups: int = 1
    expand_ratio: float = 1
    se_ratio: float = 0
    depth: int = 1
    shortcut: bool = False
    activation: str = "SiLU"

    def to_dict(self) -> dict[str, Any]:
        """The block as JSON-able fields; those at their default are left out."""
        found: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                found[field.name] = list(value) if isinstance(value, tuple) else value
        return found

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Block:
        """The block that `to_dict` wrote; TypeError where the fields are not a block's."""
        return cls(**{**values, "channels_in": tuple(values["channels_in"])})

    def key(self) -> str:
        """The block as one line of canonical JSON: equal keys are equal blocks."""
        values = {
            name: int(value) if isinstance(value, float) and value.is_integer() else value
            for name, value in self.to_dict().items()
        }
        return json.dumps(values, sort_keys=True, separators=(",", ":"))

    def __str__(self) -> str:
        text = f"{self.module} {'+'.join(map(str, self.channels_in))}->{self.channels_out}"
        text += f" k{self.kernel} s{self.stride}"
        if self.module in ("MBConv", "FusedMBConv"):
            text += f" e{self.expand_ratio:g} se{self.se_ratio:g}"
        if self.module in DEPTH_INSIDE:
            text += f" n{self.depth}"
        return f"{text} @{self.height}x{self.width}"


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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Input:
    """What a row reads: its sources' channels and map sizes, and where it stands."""

    channels: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...]
    where: str
    spec: ModelSpec


def blocks(spec: ModelSpec, image_size: int) -> tuple[Block, ...]:
    """Every block of a detector in the order of its rows, for a square image (pixels)."""
    return tuple(block for layer in layers(spec, image_size) for block in layer.blocks)


def layers(spec: ModelSpec, image_size: int, where: str = "model") -> tuple[Layer, ...]:
    """The rows with inputs, blocks, output channels and output map resolved: the one walk.

    SpecError where the rows do not fit together, naming the part, the row and the rule.
    """
    walked: list[Layer] = []
    for index, row in enumerate(spec.rows):
        place = f"{where}, {_row_name(spec, index)}"
        sources = tuple(_resolve(source, index, place) for source in row.source)
        feeds = [walked[s] if s >= 0 else None for s in sources]
        inputs = _Input(
            channels=tuple(feed.channels if feed else 3 for feed in feeds),
            sizes=tuple(
                (feed.height, feed.width) if feed else (image_size, image_size) for feed in feeds
            ),
            where=place,
            spec=spec,
        )
        found = _ROW_BLOCKS[row.module](row, inputs)
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


def output_size(block: Block) -> tuple[int, int]:
    """Height and width of the block's output map, in cells."""
    if block.module == "nn.Upsample":
        return 2 * block.height, 2 * block.width
    padding = block.kernel // 2 if block.padding is None else block.padding
    if block.module == "SPPF" or (block.stride == 1 and padding == block.kernel // 2):
        return block.height, block.width
    reach = 2 * padding - block.kernel
    return (block.height + reach) // block.stride + 1, (block.width + reach) // block.stride + 1


def strides(walked: tuple[Layer, ...], image_size: int) -> tuple[int, ...]:
    """Stride in pixels of each level that the detector's last row, Detect, reads."""
    return tuple(image_size // block.height for block in walked[-1].blocks)


def _row_name(spec: ModelSpec, index: int) -> str:
    part, offset = ("backbone", 0) if index < len(spec.backbone) else ("head", len(spec.backbone))
    return f"{part} row {index - offset} (row {index}, {spec.rows[index].module})"


def _resolve(source: int, index: int, where: str) -> int:
    absolute = index + source if source < 0 else source
    if not (0 <= absolute < index or (absolute == -1 and index == 0)):
        raise SpecError(where, "'from' names an earlier row", str(source))
    return absolute


def _single(inputs: _Input) -> tuple[int, int, int]:
    if len(inputs.channels) != 1:
        raise SpecError(
            inputs.where, "the module reads one row", f"{len(inputs.channels)} rows in 'from'"
        )
    return inputs.channels[0], *inputs.sizes[0]


def _same_size(inputs: _Input) -> tuple[int, int]:
    if len(set(inputs.sizes)) != 1:
        sizes = ", ".join(f"{h}x{w}" for h, w in inputs.sizes)
        raise SpecError(
            inputs.where,
            "the maps that are joined are of one size",
            sizes,
            "Check 'from', and that the image size is a multiple of the largest stride",
        )
    return inputs.sizes[0]


def _plain_row(row: Row, inputs: _Input) -> tuple[Block, ...]:
    """One block for a row, or `number` equal ones, each reading the one before."""
    values = read_arguments(row.module, row.args, inputs.where)
    channels_in, height, width = _single(inputs)
    channels_out = values.pop("channels")
    if values.get("groups", 1) > 1 and channels_in % values["groups"]:
        raise SpecError(
            inputs.where,
            "the groups divide the input channels",
            f"{channels_in} in {values['groups']}",
        )
    block = Block(
        module=row.module,
        channels_in=(channels_in,),
        channels_out=channels_out,
        height=height,
        width=width,
        activation=inputs.spec.activation,
        depth=row.number if row.module in DEPTH_INSIDE else 1,
        **values,
    )
    if row.module in DEPTH_INSIDE or row.number == 1:
        return (block,)
    if channels_in != channels_out or output_size(block) != (height, width):
        raise SpecError(
            inputs.where,
            "a row that repeats a block keeps its channels and its map size",
            f"{channels_in} -> {channels_out} channels, stride {block.stride}, {row.number} times",
            "Put the first block in a row of its own",
        )
    return (block,) * row.number


def _once(row: Row, inputs: _Input) -> None:
    if row.number != 1:
        raise SpecError(inputs.where, f"{row.module} is not repeated", f"number {row.number}")


def _concat_row(row: Row, inputs: _Input) -> tuple[Block, ...]:
    _once(row, inputs)
    read_arguments(row.module, row.args, inputs.where)
    height, width = _same_size(inputs)
    return (
        Block(
            module="Concat",
            channels_in=inputs.channels,
            channels_out=sum(inputs.channels),
            height=height,
            width=width,
        ),
    )


def _upsample_row(row: Row, inputs: _Input) -> tuple[Block, ...]:
    _once(row, inputs)
    read_arguments(row.module, row.args, inputs.where)
    channels, height, width = _single(inputs)
    return (
        Block(
            module="nn.Upsample",
            channels_in=(channels,),
            channels_out=channels,
            height=height,
            width=width,
        ),
    )


def _detect_row(row: Row, inputs: _Input) -> tuple[Block, ...]:
    _once(row, inputs)
    read_arguments(row.module, row.args, inputs.where)
    spec = inputs.spec
    if len(inputs.channels) != len(spec.anchors):
        raise SpecError(
            inputs.where,
            f"Detect reads one row for each of the {len(spec.anchors)} levels of anchors",
            f"{len(inputs.channels)} rows in 'from'",
        )
    per_level = len(spec.anchors[0]) // 2
    return tuple(
        Block(
            module="Detect",
            channels_in=(channels,),
            channels_out=per_level * (OUTPUTS_PER_ANCHOR + spec.num_classes),
            height=height,
            width=width,
        )
        for channels, (height, width) in zip(inputs.channels, inputs.sizes, strict=True)
    )


def _check_detect(spec: ModelSpec, walked: list[Layer], where: str) -> None:
    places = [layer.index for layer in walked if layer.row.module == "Detect"]
    if places != [len(walked) - 1]:
        raise SpecError(
            where, "the last row, and no other, is Detect", f"Detect in rows {places or 'none'}"
        )
    areas = [block.height * block.width for block in walked[-1].blocks]
    if sorted(set(areas), reverse=True) != areas:
        raise SpecError(
            f"{where}, {_row_name(spec, len(walked) - 1)}",
            "Detect reads the levels from the largest map to the smallest (P3, P4, P5)",
            ", ".join(f"{b.height}x{b.width}" for b in walked[-1].blocks),
        )


_ROW_BLOCKS: Final[dict[str, Callable[[Row, _Input], tuple[Block, ...]]]] = {
    "Conv": _plain_row,
    "DWConvBlock": _plain_row,
    "FusedMBConv": _plain_row,
    "MBConv": _plain_row,
    "C3": _plain_row,
    "SPPF": _plain_row,
    "nn.Upsample": _upsample_row,
    "Concat": _concat_row,
    "Detect": _detect_row,
}
