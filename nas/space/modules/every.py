"""Every module that the house can build, by name."""

from __future__ import annotations

from typing import Any, Final

from nas.space.block import Block
from nas.space.modules import detect, efficientnet, light, plain, yolo
from nas.space.modules.argument import SpecError
from nas.space.modules.module import Module

MODULES: Final[dict[str, Module]] = {
    module.name: module
    for module in (
        plain.CONV,
        light.DW_CONV_BLOCK,
        efficientnet.FUSED_MBCONV,
        efficientnet.MBCONV,
        light.SHUFFLE_BLOCK,
        light.LC_BLOCK,
        light.INVERTED_RESIDUAL,
        light.REP_VGG_BLOCK,
        light.CONV_MAX_POOL,
        light.DENSE,
        plain.ADD,
        yolo.C3,
        yolo.SPPF,
        yolo.FOCUS,
        yolo.BOTTLENECK,
        yolo.C2F,
        yolo.SPP,
        plain.MAX_POOL,
        plain.ZERO_PAD,
        plain.ROUTE_GROUP,
        plain.UPSAMPLE,
        plain.CONCAT,
        detect.DETECT,
        detect.LIGHT_DETECT,
    )
}
"""Module name -> its record."""

HEADS: Final = tuple(name for name, module in MODULES.items() if module.is_head)
"""Modules of which a model has one, as its last row."""


def check_module(name: Any, where: str) -> Module:
    """The module of that name; SpecError where the house can't build it."""
    if not isinstance(name, str) or name not in MODULES:
        raise SpecError(
            where,
            "the module is one that is known here",
            repr(name),
            f"Known: {', '.join(MODULES)}",
        )
    return MODULES[name]


def output_size(block: Block) -> tuple[int, int]:
    """Height and width of the block's output map, in cells."""
    return MODULES[block.module].output_size(block)
