"""The space's candidates for the data at hand: its classes, its anchors at each image size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from nas.space.anchors import Anchors, scale_anchors
from nas.space.image_size import ImageSize, longest
from nas.space.search_space import Candidate, Choose, SearchSpace
from nas.space.spec import with_anchors

REFERENCE_SIZE: Final = 320
"""The image size (pixels) that `Candidates.anchors` are stated for."""


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Builds the candidates of a space with the number of classes and the anchors of a data set.

    anchors   in pixels at REFERENCE_SIZE; a candidate gets them at its own image size
    """

    space: SearchSpace
    num_classes: int
    anchors: Anchors

    def build(self, choose: Choose) -> Candidate:
        """The candidate that `choose` picks."""
        return self._fit(self.space.build(choose, self.num_classes))

    def rebuild(self, choices: Mapping[str, Any]) -> Candidate:
        """The candidate with these choices; SpaceError where one is missing or no option."""
        return self._fit(self.space.rebuild(choices, self.num_classes))

    def random(self, rng: np.random.Generator) -> Candidate:
        """A candidate with every choice drawn uniformly."""
        return self._fit(self.space.random(rng, self.num_classes))

    def mutate(
        self, choices: Mapping[str, Any], changes: int, rng: np.random.Generator
    ) -> Candidate:
        """The candidate of these choices with so many drawn anew, each to another option."""
        choices = dict(choices)
        names = [name for name, options in self.space.options().items() if len(options) > 1]
        for index in rng.choice(len(names), size=min(changes, len(names)), replace=False):
            name = names[int(index)]
            others = [o for o in self.space.options()[name] if o != choices[name]]
            choices[name] = others[int(rng.integers(len(others)))]
        return self.rebuild(choices)

    def shuffled(self, rng: np.random.Generator) -> Iterator[Candidate]:
        """Every combination of choices once, in a random order. For small spaces."""
        options = self.space.options()
        for code in rng.permutation(self.space.size()):
            rest = int(code)
            choices = {}
            for name, values in options.items():
                rest, index = divmod(rest, len(values))
                choices[name] = values[index]
            yield self.rebuild(choices)

    def _fit(self, candidate: Candidate) -> Candidate:
        anchors = anchors_at(self.anchors, candidate.image_size)
        return replace(candidate, spec=with_anchors(candidate.spec, anchors))


def anchors_at(anchors: Anchors, image_size: ImageSize) -> Anchors:
    """Anchors that are stated for REFERENCE_SIZE, in pixels at another image size.

    A picture's longer side is taken to fill that of a rectangle, as it does where they are alike.
    """
    scaled = scale_anchors(anchors, longest(image_size) / REFERENCE_SIZE)
    return tuple(tuple(_round(value) for value in level) for level in scaled)


def anchors_like(anchors: Anchors, own: Anchors) -> Anchors:
    """As many of `anchors` as `own` has, level by level, evenly over their areas.

    A detector of two levels gets the smallest, the largest, and those evenly between.
    """
    if [len(level) for level in anchors] == [len(level) for level in own] or not own:
        return anchors
    pairs = [pair for level in anchors for pair in zip(level[::2], level[1::2], strict=True)]
    pairs.sort(key=math.prod)
    count = sum(len(level) // 2 for level in own)
    places = [round(i * (len(pairs) - 1) / max(1, count - 1)) for i in range(count)]
    chosen = iter([pairs[place] for place in places])
    return tuple(
        tuple(value for _ in range(len(level) // 2) for value in next(chosen)) for level in own
    )


def _round(pixels: float) -> float:
    """To three significant digits: what a model YAML should show, and far below what matters."""
    return float(f"{pixels:.3g}") if math.isfinite(pixels) else pixels
