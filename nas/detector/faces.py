"""The largest detectors of a space, which together have all the weights that its candidates share.

What differs in kind has weights of its own: an operator's (FusedMBConv, MBConv, either at expansion
1), a stem's, a block's between neck and head, a head's. A face has one kind of each; what two faces
have in common is one slot, and is stored once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import nn

from nas import NasError
from nas.detector.builder import Detector, build_detector
from nas.detector.convolution import Conv
from nas.detector.pretrained.plan import Place, backbone, kind_of
from nas.space.choices import Choose, Option
from nas.space.modules import ACTIVATIONS
from nas.space.search_space import Candidate
from nas.space.spec import ModelSpec
from nas.space.staged import LEFT_OUT, LITE, SpaceDefinition, Stage

OPERATORS: Final = ("MBConv", "FusedMBConv", "InvertedResidual")
"""What a stage can be: a space's other operators have no weights here."""

STEMS: Final = (LITE, "Conv")

ACTIVATION: Final = "ReLU6" if "ReLU6" in ACTIVATIONS else "ReLU"
"""Of the faces. Which weights a candidate reads does not depend on its activation."""

ROLES: Final = ("weights", "norms", "biases", "statistics")
"""Of slots: weight decay is for the first alone, the last are no parameters."""

OWN: Final = ("num_batches_tracked", "anchors")
"""Ends of the names of tensors that every candidate has for itself."""

Build = Callable[[Choose], Candidate]
"""How candidates are made: with the classes and the anchors of the data."""


Told = str | float
"""An option that is chosen for a face."""


class SupernetError(NasError):
    """A space whose candidates can't share weights, or a file that does not hold such weights."""


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A tensor that is shared: where it begins among all the numbers, and its shape.

    depth   0 in the stem, 1 and on in the stages, behind them one more than the last
    """

    role: str
    depth: int
    start: int
    shape: tuple[int, ...]

    @property
    def stop(self) -> int:
        return self.start + torch.Size(self.shape).numel()


@dataclass(frozen=True, kw_only=True)
class Face:
    """One of the largest detectors.

    candidate  what it was made as; its own activation apart
    detector   its weights are whatever was written there last
    slots      name in its state dict -> name of the slot
    depths     blocks of each stage, the stem's own first where it has one
    stem       its kind
    """

    candidate: Candidate
    detector: Detector
    slots: Mapping[str, str]
    depths: tuple[int, ...]
    stem: str


def make_faces(definition: SpaceDefinition, build: Build, where: str) -> list[Face]:
    """The faces of a space, those of its first stem first: a kind of each thing at least once.

    Drawn by torch's global generator. SupernetError where a stage or the stem has no kind that
    can be shared; `where` names the space.
    """
    stages = [_kinds(stage, n, where) for n, stage in enumerate(definition.stages, 1)]
    stems: list[str] = [one for one in STEMS if one in (definition.stem.operator or ("Conv",))]
    if not stems:
        raise SupernetError(
            f"{where}, stem", f"a stem is one of {', '.join(STEMS)}",
            ", ".join(definition.stem.operator or ()), "Offer one of them, or take another proxy",
        )  # fmt: skip
    ends = _ends(definition, build)
    faces = []
    for n in range(max(len(ends), *(len(kinds) for kinds in stages))):
        faces.append(_face(definition, build, stems[0], _nth(stages, n), _nth([ends], n)[0]))
    for stem in stems[1:]:
        faces.append(_face(definition, build, stem, _nth(stages, 0), ends[0]))
    return faces


def _nth(kinds: Sequence[list[dict[str, Told]]], n: int) -> list[dict[str, Told]]:
    """The n-th of each, or its last."""
    return [own[min(n, len(own) - 1)] for own in kinds]


def _kinds(stage: Stage, number: int, where: str) -> list[dict[str, Told]]:
    """The choices of each kind of weights that a stage's blocks can have, at its widest."""
    ratios = stage.expand_ratio or (LEFT_OUT["expand_ratio"],)
    pairs: list[tuple[str, float]] = []
    for operator in (one for one in stage.operator if one in OPERATORS):
        pairs += [(operator, ratios[-1])] if ratios[-1] > 1 else []
        pairs += [(operator, 1)] if 1 in ratios else []
    if not pairs:
        raise SupernetError(
            f"{where}, stage {number}", f"one of its operators is {', '.join(OPERATORS)}",
            ", ".join(stage.operator), "Offer one of them, or take another proxy",
        )  # fmt: skip
    name = f"stage{number}"
    return [{f"{name}.operator": one, f"{name}.expand_ratio": ratio} for one, ratio in pairs]


def _ends(definition: SpaceDefinition, build: Build) -> list[dict[str, Told]]:
    """The choices of each kind of head, with each kind of block before it."""
    heads: dict[str, dict[str, Told]] = {}
    detects = definition.head.detect or (LEFT_OUT["head.detect"],)
    for detect, size in itertools.product(detects, reversed(definition.image_size)):
        own: dict[str, Told] = {"head.detect": detect, "image_size": size}
        heads.setdefault(head_kind(build(_chooser(own)).spec), own)
    kinds = definition.head.kind
    return [{"head.kind": kind, **own} for kind in kinds for own in heads.values()]


def head_kind(spec: ModelSpec) -> str:
    """What kind of weights a detector's last row has: light ones differ by their bins."""
    last = spec.head[-1]
    if spec.anchors:
        return "anchors"
    return "decoupled" if last.module == "Detect" else f"light{last.args[-1]}"


def _chooser(own: Mapping[str, Told]) -> Choose:
    """Chooses what is told, and of everything else the widest."""

    def choose(name: str, options: tuple[Option, ...]) -> Option:
        return next((one for one in options if one == own.get(name)), widest(options))

    return choose


def widest(options: tuple[Option, ...]) -> Option:
    """The largest number, the first name."""
    return options[0] if isinstance(options[0], str) else options[-1]


def _face(
    definition: SpaceDefinition,
    build: Build,
    stem: str,
    stages: Sequence[Mapping[str, Told]],
    end: Mapping[str, Told],
) -> Face:
    own: dict[str, Told] = {"stem.operator": stem, **end}
    for stage in stages:
        own |= stage
    candidate = build(_chooser(own))
    detector = build_detector(replace(candidate.spec, activation=ACTIVATION))
    depths = tuple(stage.depth[-1] for stage in definition.stages)
    depths = (1, *depths) if stem == LITE else depths
    return Face(
        candidate=candidate, detector=ordered(detector), slots=_named(detector, depths, stem),
        depths=depths, stem=stem,
    )  # fmt: skip


def ordered(detector: Detector) -> Detector:
    """The detector as others are cut from it: in eval mode, by its first channels."""
    for module in detector.modules():
        if isinstance(module, Conv):
            module.is_ordered = True
    return detector.eval().requires_grad_(False)


def places(detector: Detector, depths: tuple[int, ...]) -> Iterator[tuple[int, int, Place]]:
    """Stage, number within it, and place of each block of a face's stages."""
    _, chain, _ = backbone(detector.spec)
    numbers = [(stage, block) for stage, depth in enumerate(depths) for block in range(depth)]
    for (stage, block), place in zip(numbers, chain, strict=True):
        yield stage, block, place


def _named(detector: Detector, depths: tuple[int, ...], stem: str) -> dict[str, str]:
    """Name in a face's state dict -> slot."""
    lacking = int(stem != LITE)
    prefixes = {"model.0.": f"stem.{stem}."}
    last = 0
    for stage, block, place in places(detector, depths):
        module = detector.model[place.row]
        part = f"{place.part}." if isinstance(module, nn.Sequential) else ""
        kind = kind_of(place.block)
        where = f"stage{stage + lacking}.{block}.{kind}."
        prefixes[f"model.{place.row}.{part}"] = where
        last = place.row
    end = len(detector.model) - 1
    sources = set(detector.spec.rows[-1].source)
    for row in range(last + 1, end):
        is_between = row in sources and detector.spec.rows[row].module == "DWConvBlock"
        prefixes[f"model.{row}."] = f"{'between' if is_between else 'neck'}{row - last}."
    prefixes[f"model.{end}."] = f"head.{head_kind(detector.spec)}."
    found = {}
    for name in detector.state_dict():
        if not name.endswith(OWN):
            prefix = max((one for one in prefixes if name.startswith(one)), key=len)
            found[name] = prefixes[prefix] + name.removeprefix(prefix)
    return found


def slots_of(faces: Sequence[Face], where: str) -> dict[str, Slot]:
    """Every slot, by role, then by depth, then as the faces come.

    SupernetError where two operators of a stage have one kind of weights in two shapes.
    """
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {}
    for face in faces:
        parameters = dict(face.detector.named_parameters())
        for name, value in face.detector.state_dict().items():
            if name not in face.slots:
                continue
            role = "weights" if value.ndim > 1 else "norms"
            role = "biases" if name.endswith("bias") else role
            role = role if name in parameters else "statistics"
            own, slot = (role, tuple(value.shape)), face.slots[name]
            before = shapes.setdefault(slot, own)
            if before != own:
                raise SupernetError(
                    f"{where}, {slot}", "two operators of a stage share it in one shape",
                    f"{before[1]} and {own[1]}", "Leave one of them out, or take another proxy",
                )  # fmt: skip
    found: dict[str, Slot] = {}
    start, stages = 0, len(faces[0].depths)
    depths = {name: _depth(name, stages) for name in shapes}
    for name in sorted(shapes, key=lambda name: (ROLES.index(shapes[name][0]), depths[name])):
        role, shape = shapes[name]
        found[name] = Slot(role=role, depth=depths[name], start=start, shape=shape)
        start = found[name].stop
    return found


def _depth(name: str, stages: int) -> int:
    """The depth of a slot: the block of a Lite stem is stage 0."""
    where = name.split(".")[0]
    if where.startswith("stage"):
        return int(where.removeprefix("stage"))
    return 0 if where == "stem" else stages + 1
