"""The record that says everything of a module, and what rows of several modules share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from nas.space.block import Block, convolved_size
from nas.space.graph import Drawing
from nas.space.modules.argument import CHANNELS, Argument, SpecError


@dataclass(frozen=True, kw_only=True, slots=True)
class RowInput:
    """A row with its wiring resolved: what it says, what it reads, and what holds for its model.

    channels, sizes   of each map that it reads; a size is (height, width) in cells
    activation        the model's
    anchors           how many (w, h) pairs each level has; empty where the head has none
    where             the row, for messages
    """

    module: str
    number: int
    args: tuple[Any, ...]
    channels: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...]
    activation: str
    num_classes: int
    anchors: tuple[int, ...]
    where: str


class Family(str, Enum):
    """Modules of which a network's share is a quantity when sums of blocks are corrected.

    The values stand in fitted tables.
    """

    FUSED = "FusedMBConv"
    SEPARABLE = "MBConv+DWConvBlock"
    CROSS_STAGE = "C3+SPPF"
    JOINING = "Concat+nn.Upsample"


Values = dict[str, Any]
Blocks = Callable[["Module", RowInput], tuple[Block, ...]]
Draw = Callable[[Drawing, Block, tuple[int, ...]], int]


def _no_rule(values: Values, where: str) -> None:
    """Nothing beyond the rule of each argument."""


@dataclass(frozen=True, kw_only=True)
class Module:
    """A module: the list of them is the list of what the house can build.

    arguments       what each position of a row's `args` means
    check           a rule over several arguments; raises SpecError
    blocks          the blocks of a row, once it is known what the row reads; raises SpecError
    draw            a block in primitive ops: its inputs' tensors -> its output's
    output_size     height and width of a block's output map, in cells
    has_depth       its `number` is a depth inside one block, not copies of the block
    stage_choices   of a stage's operator: the choices, beside the widths, that its blocks differ
                    by; None where it is no operator of a stage
    stem_stride     of a module that may stand at a network's beginning
    is_head         a model has one such, as its last row: it has a block a level, side by side
    family          its group in the correction of sums of blocks, if any
    """

    name: str
    arguments: tuple[Argument, ...]
    draw: Draw
    blocks: Blocks
    check: Callable[[Values, str], None] = _no_rule
    output_size: Callable[[Block], tuple[int, int]] = convolved_size
    has_depth: bool = False
    stage_choices: tuple[str, ...] | None = None
    stem_stride: int | None = None
    is_head: bool = False
    family: Family | None = None

    @property
    def has_channels(self) -> bool:
        """Whether its first argument is its output channels (and so scales with the width)."""
        return self.arguments[:1] == (CHANNELS,)

    def position_of(self, argument: str) -> int | None:
        """Where an argument stands in a row's `args`; None where it takes none of that name."""
        names = [one.name for one in self.arguments]
        return names.index(argument) if argument in names else None

    def read(self, args: tuple[Any, ...], where: str) -> Values:
        """Argument name -> value for one row, defaults filled in; SpecError names the position."""
        table = self.arguments
        if len(args) > len(table):
            names = ", ".join(argument.name for argument in table)
            raise SpecError(
                where,
                f"{self.name} takes at most {len(table)} arguments ({names})",
                f"{len(args)}: {list(args)}",
            )
        values: Values = {}
        for position, argument in enumerate(table):
            if position >= len(args):
                if argument.is_required:
                    raise SpecError(
                        where, f"{self.name} needs its argument '{argument.name}'", f"{list(args)}"
                    )
                values[argument.name] = argument.default
                continue
            value = args[position]
            if not argument.check(value):
                raise SpecError(
                    f"{where}, argument '{argument.name}' of {self.name}",
                    argument.rule,
                    repr(value),
                )
            values[argument.name] = value
        self.check(values, where)
        return values


def single_map(row: RowInput) -> tuple[int, int, int]:
    """Channels, height and width of the one map that a row reads; SpecError for several."""
    if len(row.channels) != 1:
        raise SpecError(
            row.where, "the module reads one row", f"{len(row.channels)} rows in 'from'"
        )
    return row.channels[0], *row.sizes[0]


def common_size(row: RowInput) -> tuple[int, int]:
    """Height and width of the maps that a row joins; SpecError where they differ."""
    if len(set(row.sizes)) != 1:
        sizes = ", ".join(f"{h}x{w}" for h, w in row.sizes)
        raise SpecError(
            row.where,
            "the maps that are joined are of one size",
            sizes,
            "Check 'from', and that the image size is a multiple of the largest stride",
        )
    return row.sizes[0]


def refuse_repeats(row: RowInput) -> None:
    """SpecError for a row that is repeated."""
    if row.number != 1:
        raise SpecError(row.where, f"{row.module} is not repeated", f"number {row.number}")


def usual_blocks(module: Module, row: RowInput) -> tuple[Block, ...]:
    """One block for a row, or `number` equal ones, each reading the one before."""
    values = module.read(row.args, row.where)
    channels_in, height, width = single_map(row)
    channels_out = values.pop("channels")
    activation = values.pop("activation", None) or row.activation
    if values.get("groups", 1) > 1 and channels_in % values["groups"]:
        raise SpecError(
            row.where,
            "the groups divide the input channels",
            f"{channels_in} in {values['groups']}",
        )
    block = Block(
        module=module.name,
        channels_in=(channels_in,),
        channels_out=channels_out,
        height=height,
        width=width,
        activation=activation,
        depth=row.number if module.has_depth else 1,
        **values,
    )
    if module.has_depth or row.number == 1:
        return (block,)
    if channels_in != channels_out or module.output_size(block) != (height, width):
        raise SpecError(
            row.where,
            "a row that repeats a block keeps its channels and its map size",
            f"{channels_in} -> {channels_out} channels, stride {block.stride}, {row.number} times",
            "Put the first block in a row of its own",
        )
    return (block,) * row.number


def one_block(
    row: RowInput, *, channels_out: int | None = None, **values: Any
) -> tuple[Block, ...]:
    """The one block of a row that reads one map; its channels stay unless they are given."""
    refuse_repeats(row)
    channels, height, width = single_map(row)
    return (
        Block(
            module=row.module,
            channels_in=(channels,),
            channels_out=channels if channels_out is None else channels_out,
            height=height,
            width=width,
            **values,
        ),
    )
