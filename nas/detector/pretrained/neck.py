"""A detector's neck and head cut from a starter's, by the rules of the backbone.

Both are walked side by side. What stands at the same place and is of the same module is cut: the
channels that a row keeps are the liveliest of the starter's, and whoever reads the row reads them.
A row that reads anything without a counterpart keeps its own initialisation, and so on from there.
Depthwise-separable blocks that the starter does not have pass their map on at first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from torch import Tensor, nn

from nas.detector.builder import Detector
from nas.detector.light import DWConvBlock
from nas.detector.pretrained.cut import Notes
from nas.detector.pretrained.modules import CUTTERS, Carried, cut_head, pass_on
from nas.detector.pretrained.plan import backbone
from nas.detector.pretrained.seed import Starter
from nas.detector.pretrained.starter import stages_of_rows
from nas.space.blocks import Layer, layers

_SIZE: Final = 256


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Rows that are one thing: one row, or depthwise-separable blocks of one width in a chain.

    inputs   units (from 0), or rows of the backbone as -1 - row
    """

    module: str
    rows: tuple[int, ...]
    inputs: tuple[int, ...]
    is_between: bool = False
    """A separable block between neck and head."""


def units(detector: Detector) -> tuple[Unit, ...]:
    """The rows behind a detector's staged backbone."""
    walked = layers(detector.spec, _SIZE)
    _, chain, _ = backbone(detector.spec)
    start = chain[-1].row + 1 if chain else 1
    of_row: dict[int, int] = {row: -1 - row for row in range(start)}
    found: list[Unit] = []
    ends = set(walked[-1].inputs)
    for layer in walked[start:]:
        last = found[-1] if found else None
        if last is not None and _goes_on(layer, last, walked):
            found[-1] = Unit(module=last.module, rows=(*last.rows, layer.index), inputs=last.inputs)
        else:
            inputs = tuple(of_row[source] for source in layer.inputs)
            is_between = (
                layer.row.module == "DWConvBlock"
                and layer.index in ends
                and walked[layer.inputs[0]].row.module != "Concat"
                and walked[layer.inputs[0]].row.module != "Add"
            )
            found.append(
                Unit(module=layer.row.module, rows=(layer.index,), inputs=inputs,
                     is_between=is_between)
            )  # fmt: skip
        of_row[layer.index] = len(found) - 1
    return tuple(found)


def _goes_on(layer: Layer, last: Unit, walked: tuple[Layer, ...]) -> bool:
    before = walked[layer.index - 1]
    return (
        layer.row.module == last.module == "DWConvBlock"
        and layer.inputs == (layer.index - 1,)
        and layer.blocks[0].stride == 1
        and layer.channels == before.channels
        and before.row.source == (-1,)
    )


def cut_neck(
    starter: Starter,
    detector: Detector,
    notes: Notes,
    indices: dict[int, tuple[int, Tensor]],
    names: tuple[str, ...] | None,
) -> tuple[str, bool]:
    """Fills neck and head in place; why nothing or not all was taken, and whether classes were.

    indices   row of the backbone -> the seed's stage that it was cut from, and its channels
    names     the detector's classes; their layer comes along where they are the starter's
    """
    own, theirs = units(detector), units(starter.detector)
    pairs, reason = _paired(own, theirs)
    if reason:
        return reason, False
    stages = stages_of_rows(starter)
    known = {-1 - row: Carried(-1 - stage, index) for row, (stage, index) in indices.items()}
    is_tied = any(unit.module == "Add" for unit in own)
    keeps_classes = names is not None and names == starter.names
    for number, unit in enumerate(own):
        sources = [known.get(source) for source in unit.inputs]
        inputs = [source for source in sources if source is not None]
        other = pairs[number]
        if len(inputs) < len(sources):
            continue
        if other is None:
            _pass_on(detector, starter, unit, inputs[0], notes)
            known[number] = inputs[0]
            continue
        there = [_place(source, theirs, stages) for source in theirs[other].inputs]
        if [one.row for one in inputs] != there:
            continue
        if number == len(own) - 1:
            taken = cut_head(
                detector.head, starter.detector.head, [i.index for i in inputs], keeps_classes
            )
            _note(notes, unit, theirs[other], taken)
            return "", keeps_classes and taken is not None
        carried = _cut_unit(detector, starter, unit, theirs[other], inputs, notes, is_tied)
        if carried is not None:
            known[number] = Carried(row=_key(other), index=carried)
    return "", False


def _key(unit: int) -> int:
    """What a map of the starter is called: units from 1 on, stages of the backbone below 1."""
    return unit + 1


def _place(source: int, theirs: tuple[Unit, ...], stages: dict[int, int]) -> int | None:
    if source >= 0:
        return _key(source)
    stage = stages.get(-1 - source)
    return None if stage is None else -1 - stage


def _paired(own: tuple[Unit, ...], theirs: tuple[Unit, ...]) -> tuple[dict[int, int | None], str]:
    """Unit -> the starter's at its place, None for a block between that it lacks; or why not."""
    between = [sum(unit.is_between for unit in units) for units in (own, theirs)]
    is_equal = between[0] == between[1]
    left = [i for i, unit in enumerate(own) if is_equal or not unit.is_between]
    right = [i for i, unit in enumerate(theirs) if is_equal or not unit.is_between]
    for a, b in zip(left[:-1], right[:-1], strict=False):  # heads are compared by `cut_head`
        if own[a].module != theirs[b].module:
            return {}, (
                f"row {own[a].rows[0]} is {own[a].module} where the starter has {theirs[b].module}"
            )
    if len(left) != len(right):
        return {}, f"neck and head have {len(left)} rows, the starter's {len(right)}"
    pairs: dict[int, int | None] = dict.fromkeys(range(len(own)))
    pairs.update(zip(left, right, strict=True))
    return pairs, ""


def _parts(detector: Detector, unit: Unit) -> list[nn.Module]:
    """The modules of a unit, in their order."""
    parts: list[nn.Module] = []
    for row in unit.rows:
        module = detector.model[row]
        parts += module if isinstance(module, nn.Sequential) else [module]
    return parts


def _cut_unit(
    detector: Detector,
    starter: Starter,
    unit: Unit,
    other: Unit,
    inputs: list[Carried],
    notes: Notes,
    is_tied: bool,
) -> Tensor | None:
    """The channels (an index) of a unit that was cut; None where it can't be."""
    cutter = CUTTERS.get(unit.module)
    if cutter is None:
        return None
    walked = layers(starter.detector.spec, _SIZE)
    widths = [walked[source].channels for source in walked[other.rows[0]].inputs]
    own, theirs = _parts(detector, unit), _parts(starter.detector, other)
    index = [one.index for one in inputs]
    for module, source in zip(own, theirs, strict=False):
        found = cutter(module, source, index, widths, is_tied)
        if found is None:
            return None
        index, widths = [found], [walked[other.rows[-1]].channels]
    if len(own) > len(theirs):
        for module in own[len(theirs) :]:
            assert isinstance(module, DWConvBlock)
            pass_on(module, theirs[-1], index[0])
        notes.made(unit.rows[-1], "blocks more that pass their map on")
    _note(notes, unit, other, index[0], widths[0])
    return index[0]


def _pass_on(
    detector: Detector, starter: Starter, unit: Unit, source: Carried, notes: Notes
) -> None:
    """Fills a separable block that the starter lacks so that it changes next to nothing."""
    before = _parts(starter.detector, units(starter.detector)[source.row - 1])[-1]
    for module in _parts(detector, unit):
        assert isinstance(module, DWConvBlock)
        pass_on(module, before, source.index)
    notes.made(unit.rows[0], "a block more that passes its map on")


def _note(
    notes: Notes, unit: Unit, other: Unit, index: Tensor | None, there: int | None = None
) -> None:
    if index is None:
        return
    for row in unit.rows:
        notes.took(row, f"row {other.rows[0]}")
        if there is not None:
            notes.index(row, index, there, "channels")
        elif bool((index < 0).any()):
            notes.made(row, "a layer of classes")
