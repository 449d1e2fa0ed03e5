"""The detector that a starter is: the seed's backbone under a space's widest neck and head."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from nas.space.choices import Option
from nas.space.modules import ACTIVATIONS
from nas.space.search_space import SearchSpace
from nas.space.spec import ModelSpec, make_row, with_classes
from nas.space.staged import SpaceDefinition, Stage, Stem
from nas.training.pretraining.sets import PretrainError

LITE2: Final = ((2, 3, 3, 24), (2, 5, 3, 48), (2, 3, 4, 88), (1, 5, 4, 120), (2, 5, 5, 208))
"""EfficientNet-Lite2's stages 2 to 6 (arXiv 1905.11946, table 1): stride, kernel, depth, width."""

EXPAND_RATIO: Final = 6.0
STEM_WIDTH: Final = 16
ACTIVATION: Final = "ReLU6" if "ReLU6" in ACTIVATIONS else "ReLU"
"""Lite2's own; weights taught under it serve ReLU and SiLU too (nas/detector/pretrained)."""


def starter_spec(space: SearchSpace, num_classes: int) -> ModelSpec:
    """The model of Lite2's stem and stages under the widest neck and head that a space offers.

    Options that are names are the first ones (plain before separable); the head is without anchors,
    since these depend on the data. PretrainError for a space that is not one of stages.
    """
    definition = space.definition
    if not isinstance(definition, SpaceDefinition):
        raise PretrainError(
            f"--space {space.name}",
            "neck and head of a space of stages can be taught for all its candidates",
            "a space of scaled models",
            "Name a space that has `stages:`",
        )
    stages = tuple(
        Stage(
            stride=2 if stride == 2 else 1, operator=("MBConv",), expand_ratio=(EXPAND_RATIO,),
            se_ratio=(0.0,), kernel=(kernel,), depth=(depth,), width=(width,),
        )
        for stride, kernel, depth, width in LITE2
    )  # fmt: skip
    widened = definition.model_copy(
        update={
            "activation": (ACTIVATION,),
            "stem": Stem(width=(STEM_WIDTH,), operator=("Lite",)),
            "stages": stages,
        }
    )
    whole = SearchSpace(space.name, widened, space.where)
    return without_anchors(with_classes(whole.build(_widest).spec, num_classes))


def _widest(name: str, options: tuple[Option, ...]) -> Option:
    """The largest number, the first name; where names say what detects, one without anchors."""
    if name == "head.detect":
        return next((one for one in options if one != "anchors"), options[0])
    return options[0] if isinstance(options[0], str) else options[-1]


def without_anchors(spec: ModelSpec) -> ModelSpec:
    """The model with a head that has no anchors, where it has them."""
    if not spec.anchors:
        return spec
    last = spec.head[-1]
    row = make_row(last.source, 1, "Detect", "nc")
    return replace(spec, head=(*spec.head[:-1], row), anchors=())
