"""One network over a space of stages, from whose weights every candidate's are read.

A candidate takes the first channels, the first blocks and the middle of the kernels of the largest
one (once for all, arXiv 1908.09791; BigNAS, arXiv 2003.11142). What differs in kind has weights of
its own: an operator's (FusedMBConv, MBConv, either at expansion 1), a stem's, a block's between
neck and head. SE is one gate that a candidate has or leaves out.

`faces` are the largest detectors, of which each has one kind a stage: together they have them all.
What two of them share is one slot. `Supernet.indices` says of every tensor of a candidate which
weights it is. It is found by cutting the candidate from faces that hold the weights' numbers in
their places (nas.detector.pretrained), so that there is one set of rules for both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor, nn

from nas import NasError
from nas.detector.builder import Detector, build_detector
from nas.detector.convolution import Conv
from nas.detector.pretrained.cut import Notes, cut_backbone
from nas.detector.pretrained.neck import cut_neck
from nas.detector.pretrained.plan import Place, backbone, kind_of, plan
from nas.detector.pretrained.seed import Kind, Seed, SeedConv, SeedStage, Starter
from nas.detector.pretrained.starter import block_of, conv_of
from nas.space.choices import Option
from nas.space.modules import ACTIVATIONS
from nas.space.ops import has_residual
from nas.space.search_space import SearchSpace
from nas.space.spec import ModelSpec, make_row, with_classes
from nas.space.staged import LEFT_OUT, LITE, SpaceDefinition, Stage

OPERATORS: Final = ("MBConv", "FusedMBConv", "InvertedResidual")
"""What a stage of the network can be: the others of a space have no weights here."""

STEMS: Final = (LITE, "Conv")

ACTIVATION: Final = "ReLU6" if "ReLU6" in ACTIVATIONS else "ReLU"
"""Lite2's own; weights taught under it serve ReLU and SiLU too (nas/detector/pretrained)."""

ROLES: Final = ("weights", "norms", "biases", "statistics")
"""Of slots: weight decay is for the first alone, the last are no parameters."""


class SupernetError(NasError):
    """A space over which no weights can be shared."""


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A tensor of the network: where it begins among all its numbers, and its shape.

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

    detector   its weights are whatever was written there last
    slots      name in its state dict -> name of the slot
    depths     blocks of each stage, the stem's own first where it has one
    """

    detector: Detector
    slots: Mapping[str, str]
    depths: tuple[int, ...]


class Supernet:
    """The weights of all candidates of a space, as one vector (numbers,) float32.

    space         of stages; SupernetError where it isn't, or where a stage has no operator here
    num_classes   of its head, whose last layer no other data can use
    """

    def __init__(self, space: SearchSpace, num_classes: int) -> None:
        definition = space.definition
        if not isinstance(definition, SpaceDefinition):
            raise SupernetError(
                f"--space {space.name}",
                "neck and head of a space of stages can be taught for all its candidates",
                "a space of scaled models",
                "Name a space that has `stages:`",
            )
        self.space = space
        self.num_classes = num_classes
        stages = [_kinds(stage, n, space.name) for n, stage in enumerate(definition.stages, 1)]
        stems: list[str] = [one for one in STEMS if one in (definition.stem.operator or ("Conv",))]
        if not stems:
            raise SupernetError(
                f"--space {space.name}, stem",
                f"a stem is one of {', '.join(STEMS)}",
                ", ".join(definition.stem.operator or ()),
            )
        self._stems: dict[str, Face] = {}
        between: tuple[str, ...] = definition.head.kind
        count = max(len(between), *(len(kinds) for kinds in stages))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.faces = [
                self._face(n, stems[0], stages, between[min(n, len(between) - 1)])
                for n in range(count)
            ]
            self._stems = {stems[0]: self.faces[0]}
            if len(stems) > 1:
                self.faces.append(self._face(0, stems[1], stages, between[0]))
                self._stems[stems[1]] = self.faces[-1]
        self.has_lite = stems[0] == LITE
        self.slots = _slots(self.faces)
        self.size = max(slot.stop for slot in self.slots.values())
        self._numbered: _Filled | None = None

    def _face(self, n: int, stem: str, stages: list[list[tuple[str, float]]], between: str) -> Face:
        """The largest detector of the n-th kind of each stage, or its last."""
        own: dict[str, str | float] = {"stem.operator": stem, "head.kind": between}
        for number, kinds in enumerate(stages, start=1):
            operator, ratio = kinds[min(n, len(kinds) - 1)]
            own |= {f"stage{number}.operator": operator, f"stage{number}.expand_ratio": ratio}

        def choose(name: str, options: tuple[Option, ...]) -> Option:
            if name in own:
                return options[options.index(own[name])]
            return _widest(name, options)

        spec = self.adapted(self.space.build(choose).spec)
        definition = self.space.definition
        assert isinstance(definition, SpaceDefinition)
        depths = tuple(stage.depth[-1] for stage in definition.stages)
        detector = build_detector(spec).eval().requires_grad_(False)
        for module in detector.modules():
            if isinstance(module, Conv):
                module.is_ordered = True
        depths = (1, *depths) if stem == LITE else depths
        return Face(detector=detector, slots=_named(detector, depths, stem), depths=depths)

    def offered(self, name: str, options: tuple[Option, ...]) -> tuple[Option, ...]:
        """Those of a choice's options that there are weights for."""
        field = name.split(".")[-1]
        if name == "stem.operator":
            return tuple(one for one in options if one in self._stems)
        if field == "operator" and name.startswith("stage"):
            return tuple(one for one in options if one in OPERATORS)
        if name in ("neck.operator", "neck.join", "neck.pooling", "neck.pool", "head.detect"):
            return (_widest(name, options),)
        return options

    def adapted(self, spec: ModelSpec) -> ModelSpec:
        """A candidate's model with the classes, activation and head that are taught here."""
        spec = replace(spec, activation=ACTIVATION, image_size=None)
        return without_anchors(with_classes(spec, self.num_classes))

    def gathered(self) -> Tensor:
        """(size,) the weights that stand in the faces; of a shared one those of the first face."""
        values = torch.zeros(self.size)
        for face in reversed(self.faces):
            for name, value in face.detector.state_dict().items():
                if name in face.slots:
                    slot = self.slots[face.slots[name]]
                    values[slot.start : slot.stop] = value.flatten()
        return values

    @torch.no_grad()
    def scatter(self, values: Tensor) -> None:
        """Writes weights (size,) into the faces."""
        for face in self.faces:
            for name, value in face.detector.state_dict().items():
                if name in face.slots:
                    slot = self.slots[face.slots[name]]
                    value.copy_(values[slot.start : slot.stop].view(slot.shape))

    def named(self, values: Tensor) -> dict[str, Tensor]:
        """Slot -> a copy of its part of the weights (size,)."""
        return {
            name: values[slot.start : slot.stop].view(slot.shape).clone()
            for name, slot in self.slots.items()
        }

    def seed(self, names: tuple[str, ...], name: str) -> Seed:
        """The seed whose weights are those of the faces now; every detector is cut from its own.

        names   the classes; name: what reports call it
        """
        filled = self._filled(names, name)
        return replace(filled.seed_for(self.faces[0].detector.spec), shared=filled)

    @torch.no_grad()
    def indices(self, detector: Detector) -> dict[str, Tensor]:
        """Name in a candidate's state dict -> which of the numbers it is, int64 of its shape.

        The candidate's own weights are lost. SupernetError where some of it is not of this network.
        """
        if self._numbered is None:
            kept = self.gathered()
            self.scatter(torch.arange(1, self.size + 1, dtype=torch.float32))
            self._numbered = self._filled(tuple(str(n) for n in range(self.num_classes)), "numbers")
            self.scatter(kept)
        for value in detector.state_dict().values():
            value.zero_()
        seed = self._numbered.seed_for(detector.spec)
        assert seed.starter is not None
        notes = Notes(detector)
        taken, end = cut_backbone(seed, detector, notes, "first")
        reason, _ = cut_neck(seed.starter, detector, notes, taken, seed.starter.names)
        found = {}
        for name, value in detector.state_dict().items():
            if name.endswith("num_batches_tracked"):
                continue
            found[name] = value.long() - 1
            if end or reason or bool((found[name] < 0).any()):
                raise SupernetError(
                    name, f"the detector is one of {self.space.name}",
                    end or reason or "weights that it does not have",
                )  # fmt: skip
        return found

    def _filled(self, names: tuple[str, ...], name: str) -> _Filled:
        """What detectors are cut from: copies of the faces' weights as they are now."""
        variants: dict[int, dict[Kind, SeedStage]] = {}
        for face in self.faces:
            lacking = int(self.has_lite and len(face.depths) < len(self.faces[0].depths))
            for number, (kind, stage) in enumerate(_stages(face), start=lacking):
                variants.setdefault(number, {}).setdefault(kind, stage)
        stems: dict[str, SeedConv] = {}
        for stem, face in self._stems.items():
            first = face.detector.model[0]
            stems[stem] = _copied(conv_of(first))
        detectors: dict[int, tuple[Detector, Mapping[int, int]]] = {}
        for face in self.faces:
            if len(face.depths) == len(self.faces[0].depths):
                rows = len(face.detector.spec.head)
                places = _places(face.detector, face.depths)
                of_rows = {0: -1} | {place.row: stage for stage, _, place in places}
                detectors.setdefault(rows, (_copy(face.detector), of_rows))
        return _Filled(
            name=name, names=names, variants=variants, stems=stems, detectors=detectors,
            may_lack=frozenset({0} if len(stems) > 1 else ()),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Filled:
    """Weights by stage and kind; faces, and the stages of their rows, by how many rows are behind
    the backbone."""

    name: str
    names: tuple[str, ...]
    variants: Mapping[int, Mapping[Kind, SeedStage]]
    stems: Mapping[str, SeedConv]
    detectors: Mapping[int, tuple[Detector, Mapping[int, int]]]
    may_lack: frozenset[int]

    def seed_for(self, spec: ModelSpec) -> Seed:
        """The seed for a detector: of each stage the kind that it has, with its gates or without.

        A stage of a kind that is not here is that of the first, which a cut brings to its kind.
        """
        stages = [next(iter(kinds.values())) for _, kinds in sorted(self.variants.items())]
        whole = Seed(
            name=self.name,
            stem=next(iter(self.stems.values())),
            stem_activation=ACTIVATION,
            stages=tuple(stages),
            starter=self._starter(spec),
            may_lack=self.may_lack,
        )
        planned = plan(spec, whole)
        for group in planned.groups:
            block = group.places[0].block  # whose sum depends on the widths on both sides
            stage = self.variants[group.stage].get(kind_of(block), stages[group.stage])
            first = replace(stage.blocks[0], has_sum=has_residual(block))
            own = (first, *stage.blocks[1:])
            if block.se_ratio == 0:
                own = tuple(replace(one, gate=None) for one in own)
            stages[group.stage] = SeedStage(blocks=own)
        has_first = any(group.stage == 0 for group in planned.groups)
        stem = whole.stem if has_first or len(self.stems) == 1 else self.stems["Conv"]
        return replace(whole, stem=stem, stages=tuple(stages))

    def _starter(self, spec: ModelSpec) -> Starter:
        detector, stages = next(iter(self.detectors.values()))
        detector, stages = self.detectors.get(len(spec.head), (detector, stages))
        return Starter(detector=detector, names=self.names, stages=stages)


def _kinds(stage: Stage, number: int, space: str) -> list[tuple[str, float]]:
    """Operator and largest expansion of each kind of weights that a stage's blocks have."""
    ratios = stage.expand_ratio or (LEFT_OUT["expand_ratio"],)
    found = []
    for operator in (one for one in stage.operator if one in OPERATORS):
        found += [(operator, ratios[-1])] if ratios[-1] > 1 else []
        found += [(operator, 1)] if 1 in ratios else []
    if not found:
        raise SupernetError(
            f"--space {space}, stage {number}",
            f"one of its operators is {', '.join(OPERATORS)}",
            ", ".join(stage.operator),
        )
    return found


def _widest(name: str, options: tuple[Option, ...]) -> Option:
    """The largest number, the first name; where names say what detects, one without anchors."""
    if name == "head.detect":
        return next((one for one in options if one != "anchors"), options[0])
    return options[0] if isinstance(options[0], str) else options[-1]


def without_anchors(spec: ModelSpec) -> ModelSpec:
    """The model with a head that has no anchors, where it has them: these depend on the data."""
    if not spec.anchors:
        return spec
    last = spec.head[-1]
    row = make_row(last.source, 1, "Detect", "nc")
    return replace(spec, head=(*spec.head[:-1], row), anchors=())


def _places(detector: Detector, depths: tuple[int, ...]) -> Iterator[tuple[int, int, Place]]:
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
    for stage, block, place in _places(detector, depths):
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
    prefixes[f"model.{end}."] = "head."
    found = {}
    for name in detector.state_dict():
        if not name.endswith("num_batches_tracked"):
            prefix = max((one for one in prefixes if name.startswith(one)), key=len)
            found[name] = prefixes[prefix] + name.removeprefix(prefix)
    return found


def _slots(faces: list[Face]) -> dict[str, Slot]:
    """Every slot, by role, then by depth, then as the faces come."""
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {}
    for face in faces:
        parameters = dict(face.detector.named_parameters())
        for name, value in face.detector.state_dict().items():
            if name not in face.slots:
                continue
            role = "weights" if value.ndim > 1 else "norms"
            role = "biases" if name.endswith("bias") else role
            role = role if name in parameters else "statistics"
            own = (role, tuple(value.shape))
            assert shapes.setdefault(face.slots[name], own) == own, face.slots[name]
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


def _stages(face: Face) -> list[tuple[Kind, SeedStage]]:
    """A face's stages as a seed's, with copies of its weights."""
    blocks: dict[int, list[Place]] = {}
    for stage, _, place in _places(face.detector, face.depths):
        blocks.setdefault(stage, []).append(place)
    detector = _copy(face.detector)
    return [
        (kind_of(own[0].block), SeedStage(blocks=tuple(block_of(detector, p) for p in own)))
        for own in blocks.values()
    ]


def _copy(detector: Detector) -> Detector:
    """The detector with weights of its own."""
    other = build_detector(detector.spec).eval().requires_grad_(False)
    other.load_state_dict(detector.state_dict())
    for module in other.modules():
        if isinstance(module, Conv):
            module.is_ordered = True
    return other


def _copied(conv: SeedConv) -> SeedConv:
    """The convolution with weights of its own."""
    return replace(
        conv,
        weight=conv.weight.clone(), gamma=conv.gamma.clone(), beta=conv.beta.clone(),
        mean=conv.mean.clone(), var=conv.var.clone(),
    )  # fmt: skip
