"""Faces that hold the numbers of weights instead of weights: what candidates' are read off.

A candidate that is cut from them, by the rules by which every detector is cut from trained weights
(nas.detector.pretrained), has in each place the number of the weight that belongs there. So which
weights it reads is said nowhere a second time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from nas.detector.builder import Detector, build_detector
from nas.detector.faces import ACTIVATION, Face, head_kind, ordered, places
from nas.detector.pretrained.neck import units
from nas.detector.pretrained.plan import Place, kind_of, plan
from nas.detector.pretrained.seed import Kind, Seed, SeedConv, SeedStage, Starter
from nas.detector.pretrained.starter import block_of, conv_of
from nas.space.ops import has_residual
from nas.space.staged import LITE


@dataclass(frozen=True, kw_only=True)
class Numbered:
    """What the faces held when it was made.

    variants   stage -> kind of block -> the stage of that kind
    stems      kind of stem -> its convolution
    starters   blocks between neck and head, kind of head -> such a face, with its rows' stages
    may_lack   the block of a Lite stem, where there is another stem
    """

    variants: Mapping[int, Mapping[Kind, SeedStage]]
    stems: Mapping[str, SeedConv]
    starters: Mapping[tuple[int, str], Starter]
    may_lack: frozenset[int]

    def seed_for(self, detector: Detector) -> Seed | None:
        """The seed for a detector: of each stage the kind that it has, with its gates or without.

        None where no face has such a head.
        """
        starter = self.starters.get(_end_of(detector))
        if starter is None:
            return None
        stages = [next(iter(kinds.values())) for _, kinds in sorted(self.variants.items())]
        whole = Seed(
            name="numbers",
            stem=next(iter(self.stems.values())),
            stem_activation=ACTIVATION,
            stages=tuple(stages),
            starter=starter,
            may_lack=self.may_lack,
        )
        planned = plan(detector.spec, whole)
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


def number(faces: Sequence[Face]) -> Numbered:
    """What candidates are cut from: copies of what the faces hold now."""
    variants: dict[int, dict[Kind, SeedStage]] = {}
    stems: dict[str, SeedConv] = {}
    starters: dict[tuple[int, str], Starter] = {}
    for face in faces:
        own = _copy(face.detector)
        lacking = int(faces[0].stem == LITE and face.stem != LITE)
        for at, (kind, stage) in enumerate(_stages(own, face.depths), start=lacking):
            variants.setdefault(at, {}).setdefault(kind, stage)
        stems.setdefault(face.stem, conv_of(own.model[0]))
        if face.stem == faces[0].stem:
            rows = {0: -1} | {place.row: stage for stage, _, place in places(own, face.depths)}
            names = tuple(str(n) for n in range(own.head.num_classes))
            starters.setdefault(_end_of(own), Starter(detector=own, names=names, stages=rows))
    return Numbered(
        variants=variants, stems=stems, starters=starters,
        may_lack=frozenset({0} if len(stems) > 1 else ()),
    )  # fmt: skip


def _end_of(detector: Detector) -> tuple[int, str]:
    """What stands behind a detector's neck: blocks between, and the kind of head."""
    return sum(unit.is_between for unit in units(detector)), head_kind(detector.spec)


def _stages(detector: Detector, depths: tuple[int, ...]) -> list[tuple[Kind, SeedStage]]:
    """A face's stages as a seed's; they share its weights."""
    blocks: dict[int, list[Place]] = {}
    for stage, _, place in places(detector, depths):
        blocks.setdefault(stage, []).append(place)
    return [
        (kind_of(own[0].block), SeedStage(blocks=tuple(block_of(detector, p) for p in own)))
        for own in blocks.values()
    ]


def _copy(detector: Detector) -> Detector:
    """The detector with weights of its own."""
    other = ordered(build_detector(detector.spec))
    other.load_state_dict(detector.state_dict())
    return other
