"""One network over a space of stages, from whose weights every candidate's are read.

A candidate takes the first channels, the first blocks and the middle of the kernels of the largest
one (once for all, arXiv 1908.09791; BigNAS, arXiv 2003.11142). What differs in kind has weights of
its own (nas.detector.faces). SE is one gate that a candidate has or leaves out, and one set of
weights serves all activations.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Final

import torch
from torch import Tensor

from nas.detector.builder import Detector, build_detector
from nas.detector.faces import (
    OPERATORS,
    OWN,
    STEMS,
    Build,
    SupernetError,
    make_faces,
    slots_of,
)
from nas.detector.numbered import Numbered, number
from nas.detector.pretrained.cut import Notes, cut_backbone
from nas.detector.pretrained.neck import cut_neck
from nas.space.search_space import SearchSpace
from nas.space.spec import ModelSpec
from nas.space.staged import SpaceDefinition

MOST: Final = 1 << 24
"""Weights that a network may have: whole numbers up to it are exact in single precision."""

ONE_OPTION: Final = ("neck.operator", "neck.join", "neck.pooling", "neck.pool")
"""Choices of which a space offers one: another would need weights of its own, and has none."""


class Supernet:
    """The weights of all candidates of a space, as one vector (numbers,) float32.

    space   of stages
    build   makes its candidates, with the classes and the anchors of the data

    SupernetError where some candidate would have no weights here: it names the stage or choice.
    """

    def __init__(self, space: SearchSpace, build: Build) -> None:
        self.space, self.build = space, build
        where = f"--space {space.name}"
        definition = space.definition
        if not isinstance(definition, SpaceDefinition):
            raise SupernetError(
                where, "weights are shared by the candidates of a space of stages",
                "a space of scaled models", "Name a space that has `stages:`, or another proxy",
            )  # fmt: skip
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.faces = make_faces(definition, build, where)
        _check_options(space, where)
        self.slots = slots_of(self.faces, where)
        self.size = max(slot.stop for slot in self.slots.values())
        if self.size >= MOST:
            raise SupernetError(
                where, f"its candidates share at most {MOST} weights", str(self.size),
                "Offer smaller widths or depths, or take another proxy",
            )  # fmt: skip

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

    def indices(self, spec: ModelSpec) -> dict[str, Tensor]:
        """Name in a candidate's state dict -> which of the numbers it is, int64 of its shape.

        SupernetError where some of the candidate is not of this network.
        """
        return self._numbers(_built(spec))

    @torch.no_grad()
    def read(self, spec: ModelSpec, values: Tensor) -> tuple[Detector, Mapping[str, Tensor]]:
        """A candidate, of its own activation, with copies of its weights; and their numbers.

        values   (size,) which stay as they are
        """
        detector = _built(spec)
        indices = self._numbers(detector)
        for name, value in detector.state_dict().items():
            if name in indices:
                value.copy_(values[indices[name].to(values.device)])
        return detector, indices

    @torch.no_grad()
    def _numbers(self, detector: Detector) -> dict[str, Tensor]:
        """The indices of a detector, whose weights are lost."""
        for name, value in detector.state_dict().items():
            if not name.endswith(OWN):
                value.zero_()
        reason = "another head"
        seed = self._numbered.seed_for(detector)
        if seed is not None and seed.starter is not None:
            notes = Notes(detector)
            taken, end = cut_backbone(seed, detector, notes, "first")
            reason, _ = cut_neck(seed.starter, detector, notes, taken, seed.starter.names)
            reason = end or reason
        found = {}
        for name, value in detector.state_dict().items():
            if name.endswith(OWN):
                continue
            found[name] = value.long() - 1
            if reason or bool((found[name] < 0).any()):
                raise SupernetError(
                    name, f"the detector is one of {self.space.name}",
                    reason or "weights that it does not have",
                )  # fmt: skip
        return found

    @cached_property
    def _numbered(self) -> Numbered:
        kept = self.gathered()
        self.scatter(torch.arange(1, self.size + 1, dtype=torch.float32))
        with torch.random.fork_rng(devices=[]):
            found = number(self.faces)
        self.scatter(kept)
        return found


def _built(spec: ModelSpec) -> Detector:
    """The detector of a model; the generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        return build_detector(spec)


def _check_options(space: SearchSpace, where: str) -> None:
    """SupernetError where a choice offers what there are no weights for; it names the choice."""
    for name, options in space.options().items():
        rule, known = "there is one option", options
        if name == "stem.operator":
            rule, known = f"every option is one of {', '.join(STEMS)}", STEMS
        elif name.startswith("stage") and name.endswith(".operator"):
            rule, known = f"every option is one of {', '.join(OPERATORS)}", OPERATORS
        elif name in ONE_OPTION:
            known = options[:1]
        if any(option not in known for option in options):
            raise SupernetError(
                f"{where}, {name}", rule, ", ".join(map(str, options)),
                "Leave the others out, or take another proxy",
            )  # fmt: skip
