"""A detector's backbone cut from a seed."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from nas.detector.builder import Detector
from nas.detector.convolution import Conv, SqueezeExcite
from nas.detector.efficientnet import FusedMBConv, MBConv
from nas.detector.light import InvertedResidual
from nas.detector.pretrained.conv import carry, carry_gate, carry_norm, make_gate
from nas.detector.pretrained.linear import affine, after, converted, without_gate
from nas.detector.pretrained.plan import Group, Place, kind_of, plan
from nas.detector.pretrained.report import RowCut
from nas.detector.pretrained.seed import Seed, SeedBlock, SeedConv
from nas.detector.pretrained.streams import Order, Streams
from nas.detector.yolo import Focus
from nas.space.ops import has_residual

Operator = MBConv | FusedMBConv | InvertedResidual


class Notes:
    """What is written down of the rows while they are filled."""

    def __init__(self, detector: Detector) -> None:
        self.modules = [row.module for row in detector.spec.rows]
        self.origin: dict[int, list[str]] = {}
        self.cut: dict[int, dict[str, None]] = {}
        self.made_up: dict[int, dict[str, None]] = {}

    def took(self, row: int, origin: str) -> None:
        self.origin.setdefault(row, []).append(origin)

    def index(self, row: int, index: Tensor, there: int, what: str) -> None:
        """Notes that channels were left out or added."""
        known = int((index >= 0).sum())
        if known < there:
            self.note_cut(row, f"{known} of {there} {what}")
        if known < len(index):
            self.made(row, f"{len(index) - known} {what}")

    def note_cut(self, row: int, note: str) -> None:
        self.cut.setdefault(row, {})[note] = None

    def made(self, row: int, note: str) -> None:
        self.made_up.setdefault(row, {})[note] = None

    def rows(self) -> tuple[RowCut, ...]:
        return tuple(
            RowCut(
                row=row,
                module=module,
                origin=", ".join(dict.fromkeys(self.origin.get(row, []))),
                cut=tuple(self.cut.get(row, {})),
                made_up=tuple(self.made_up.get(row, {})),
            )
            for row, module in enumerate(self.modules)
        )


def cut_backbone(
    seed: Seed, detector: Detector, notes: Notes, order: Order
) -> tuple[dict[int, tuple[int, Tensor]], str]:
    """Fills the backbone in place, and notes it.

    Returns of each row that was filled the seed's stage (the stem: -1) and the channels (a `conv`
    index) that it has, and why rows were left.
    """
    planned = plan(detector.spec, seed)
    if planned.stem is None or not planned.groups:
        return {}, planned.end or "its backbone has no block that a seed can stand for"
    filling = _Filling(seed, detector, notes, Streams(seed=seed, order=order))
    filling.stem(planned.stem)
    end = planned.end
    for group in planned.groups:
        reason = filling.group(group)
        if reason:
            end = reason
            break
    return filling.indices, end


class _Filling:
    """A backbone while it is filled: `stream` and `index` are those of the map that comes next."""

    def __init__(self, seed: Seed, detector: Detector, notes: Notes, streams: Streams) -> None:
        self.seed, self.detector, self.notes, self.streams = seed, detector, notes, streams
        self.stream = -1
        self.index = torch.empty(0, dtype=torch.long)
        self.indices: dict[int, tuple[int, Tensor]] = {}

    def stem(self, place: Place) -> None:
        module, source = self.detector.model[0], self.seed.stem
        self.index = self.streams.index(-1, place.block.channels_out)
        if isinstance(module, Focus):
            _carry_focus(module, source, self.index)
        else:
            assert isinstance(module, Conv)
            carry(module, source, self.index, torch.arange(3))
        self.notes.took(0, "its stem")
        self.notes.index(0, self.index, len(source.weight), "channels")
        self._kernel(0, source.kernel, place.block.kernel if not isinstance(module, Focus) else 3)
        self.indices[0] = (-1, self.index)

    def group(self, group: Group) -> str:
        """Fills the blocks of a group; why it couldn't, or nothing."""
        blocks = self.seed.stages[group.stage].blocks
        out = self.streams.index(group.stage, group.places[0].block.channels_out)
        for number, place in enumerate(group.places):
            source = blocks[min(number, len(blocks) - 1)]
            is_extra = number >= len(blocks)
            if is_extra:
                source = _silent(source)
            for crossed in group.crossed if number == 0 else ():
                if crossed not in self.seed.may_lack:
                    source = self._across(source, crossed, place)
            spread = self.streams.spread(self.stream, number or None)
            fitting = converted(source, kind_of(place.block), spread)
            if fitting is None:
                row, module, kind = place.row, place.block.module, source.kind
                return f"row {row} ({module}) cannot be made of the seed's {kind} block"
            self._note(place, group, source, fitting, is_extra)
            if is_extra and not source.has_sum:
                self._made_silent(place)
            else:
                self._fill(place, fitting, out)
            self.stream, self.index = group.stage, out
            self.indices[place.row] = (group.stage, out)
        return ""

    def _made_silent(self, place: Place) -> None:
        """A block more in a stage whose blocks have no sum, so that none can be copied."""
        norm = _operator(self.detector, place).project.bn
        assert isinstance(norm, nn.BatchNorm2d)
        nn.init.zeros_(norm.weight)
        nn.init.zeros_(norm.bias)

    def _across(self, source: SeedBlock, crossed: int, place: Place) -> SeedBlock:
        """The block reading over a stage that the detector doesn't have."""
        bridge = affine(self.seed.stages[crossed].blocks[0])
        self.notes.made(place.row, f"stage {crossed + 1} as a line")
        if source.expand is not None:
            return replace(source, expand=after(source.expand, bridge))
        dense = converted(source, "dense", torch.ones(source.channels_in))
        assert dense is not None
        return replace(dense, project=after(dense.project, bridge))

    def _note(
        self, place: Place, group: Group, source: SeedBlock, fitting: SeedBlock, is_extra: bool
    ) -> None:
        row, notes = place.row, self.notes
        notes.took(row, f"stage {group.stage + 1}")
        if is_extra:
            notes.made(row, "a block more, silent at first")
        if fitting.kind != source.kind:
            notes.made(row, f"{place.block.module} composed of {source.kind} weights")
        if has_residual(place.block) and not source.has_sum and not is_extra:
            notes.made(row, "a sum that the seed does not have")

    def _fill(self, place: Place, source: SeedBlock, out: Tensor) -> None:
        row, notes = place.row, self.notes
        module = _operator(self.detector, place)
        gated = isinstance(module.se, SqueezeExcite)
        if source.gate is not None and not gated:
            source = without_gate(source)
            notes.note_cut(row, "its SE")
        into = self.index
        if source.kind in ("depthwise", "dense"):
            hidden = into
        else:
            hidden = self.streams.hidden(source, round(len(into) * place.block.expand_ratio))
            notes.index(row, hidden, source.hidden, "hidden channels")
        columns = self._gate(row, module, source, hidden)
        _carry_parts(module, source, into, hidden)
        carry(module.project, source.project, out, hidden, columns)
        notes.index(row, out, len(source.project.weight), "channels")
        if bool((into < 0).any()):
            notes.made(row, "what reads added channels")
        self._kernel(row, max(part.kernel for part in _convs(source)), place.block.kernel)

    def _gate(self, row: int, module: Operator, source: SeedBlock, hidden: Tensor) -> Tensor | None:
        """Fills the gate, and returns by what the projection's columns make up for it."""
        if not isinstance(module.se, SqueezeExcite):
            return None
        if source.gate is not None:
            is_ordered = self.streams.order == "first"
            if not carry_gate(module.se, source.gate, hidden, is_ordered=is_ordered):
                self.notes.made(row, "a part of its SE")
            return None
        level = make_gate(module.se)
        self.notes.made(row, "its SE, open")
        return torch.full((source.hidden,), 1 / level, dtype=torch.float64)

    def _kernel(self, row: int, there: int, here: int) -> None:
        if there > here:
            self.notes.note_cut(row, f"kernel {there} to {here}")
        elif here > there:
            self.notes.note_cut(row, f"kernel {there} within {here}")


def _silent(block: SeedBlock) -> SeedBlock:
    """The block adding nothing to its input."""
    zero = torch.zeros_like(block.project.gamma)
    return replace(block, project=replace(block.project, gamma=zero, beta=zero))


def _convs(block: SeedBlock) -> list[SeedConv]:
    return [part for part in (block.expand, block.depthwise, block.project) if part is not None]


def _operator(detector: Detector, place: Place) -> Operator:
    module = detector.model[place.row]
    if isinstance(module, nn.Sequential):
        module = module[place.part]
    assert isinstance(module, MBConv | FusedMBConv | InvertedResidual)
    return module


def _carry_parts(module: Operator, source: SeedBlock, into: Tensor, hidden: Tensor) -> None:
    """Fills what lies before the projection."""
    if isinstance(module.expand, Conv):
        assert source.expand is not None
        carry(module.expand, source.expand, hidden, into)
    if not isinstance(module, FusedMBConv):
        assert source.depthwise is not None
        carry(module.depthwise, source.depthwise, hidden, None)


@torch.no_grad()
def _carry_focus(module: Focus, source: SeedConv, out: Tensor) -> None:
    """A strided kernel over pixels as one over cells of 2 x 2 (3 within 3: exact).

    Focus lays the four pixels of a cell column by column, three channels each.
    """
    target = module.conv.conv
    cells, taps = target.kernel_size[0], source.kernel
    known = out >= 0
    weight = torch.zeros_like(target.weight)
    for y in range(taps):
        for x in range(taps):
            (row, odd_y), (column, odd_x) = (divmod(t - taps // 2, 2) for t in (y, x))
            row, column = row + cells // 2, column + cells // 2
            if 0 <= row < cells and 0 <= column < cells:
                start = 3 * (2 * odd_x + odd_y)
                rows = source.weight[out.clamp(min=0), :, y, x]
                weight[:, start : start + 3, row, column] = rows
    target.weight[known] = weight[known]
    assert isinstance(module.conv.bn, nn.BatchNorm2d)
    carry_norm(module.conv.bn, source, out)
