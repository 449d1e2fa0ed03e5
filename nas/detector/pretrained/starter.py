"""A detector of ours as a seed: its backbone as any other's, its neck and head as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from nas.detector.builder import Detector, build_detector
from nas.detector.convolution import Conv, SqueezeExcite
from nas.detector.efficientnet import FusedMBConv, MBConv
from nas.detector.light import InvertedResidual
from nas.detector.pretrained.plan import Place, backbone, kind_of
from nas.detector.pretrained.seed import (
    Seed,
    SeedBlock,
    SeedConv,
    SeedError,
    SeedGate,
    Starter,
    stages_of,
)
from nas.space.ops import has_residual
from nas.space.spec import parse_written


def stages_of_rows(starter: Starter) -> dict[int, int]:
    """Row of a starter's backbone -> the seed's stage that it belongs to; -1 of the stem."""
    if starter.stages is not None:
        return dict(starter.stages)
    _, chain, _ = backbone(starter.detector.spec)
    found, stage = {0: -1}, -1
    for place in chain:
        stage += place.block.stride == 2 or not has_residual(place.block)
        stage = max(stage, 0)
        found[place.row] = stage
    return found


def seed_of(detector: Detector, names: tuple[str, ...], name: str) -> Seed:
    """The seed of a detector of ours. Raises SeedError where its backbone has no such blocks."""
    stem, chain, end = backbone(detector.spec)
    first = detector.model[0]
    if stem is None or end or not chain or not isinstance(first, Conv):
        raise SeedError(
            name,
            "a detector that others are cut from has a Conv and then MBConv or FusedMBConv stages",
            end or "another backbone",
            "Give its weights to a detector of the same rows by --weights",
        )
    blocks = [block_of(detector, place) for place in chain]
    return Seed(
        name=name,
        stem=conv_of(first),
        stem_activation=stem.block.activation,
        stages=stages_of(blocks),
        starter=Starter(detector=detector.eval(), names=names),
    )


def block_of(detector: Detector, place: Place) -> SeedBlock:
    """A block of a detector of ours as a seed's; it shares the detector's weights."""
    module = detector.model[place.row]
    own = module[place.part] if isinstance(module, nn.Sequential) else module
    assert isinstance(own, MBConv | FusedMBConv | InvertedResidual)
    return SeedBlock(
        kind=kind_of(place.block),
        expand=conv_of(own.expand) if isinstance(own.expand, Conv) else None,
        depthwise=None if isinstance(own, FusedMBConv) else conv_of(own.depthwise),
        project=conv_of(own.project),
        gate=_gate_of(own.se, place.block.activation, own),
        activation=place.block.activation,
        has_sum=has_residual(place.block),
    )


def conv_of(module: nn.Module) -> SeedConv:
    """A Conv of ours as a seed's."""
    assert isinstance(module, Conv)
    norm = module.bn
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return SeedConv(
        weight=module.conv.weight.detach(),
        gamma=norm.weight.detach(),
        beta=norm.bias.detach(),
        mean=norm.running_mean,
        var=norm.running_var,
        stride=module.conv.stride[0],
    )


def _gate_of(module: nn.Module, activation: str, block: nn.Module) -> SeedGate | None:
    if not isinstance(module, SqueezeExcite):
        return None
    assert module.reduce.bias is not None
    assert module.expand.bias is not None
    with torch.no_grad():
        return SeedGate(
            reduce=module.reduce.weight[:, :, 0, 0],
            reduce_bias=module.reduce.bias.detach(),
            expand=module.expand.weight[:, :, 0, 0],
            expand_bias=module.expand.bias.detach(),
            activation="ReLU" if isinstance(block, InvertedResidual) else activation,
            gate="Hardsigmoid" if isinstance(block, InvertedResidual) else "Sigmoid",
        )


def is_ours(document: Mapping[str, Any]) -> bool:
    """Whether a file's content is a checkpoint of ours."""
    return isinstance(document.get("model"), str) and isinstance(document.get("weights"), Mapping)


def read_ours(document: Mapping[str, Any], where: str) -> Seed:
    """The seed, with its starter, of a checkpoint. Raises SeedError; half precision is widened."""
    detector = build_detector(parse_written(document["model"], where=f"{where}: model"))
    own, given = detector.state_dict(), document["weights"]
    for name, value in own.items():
        found = given.get(name)
        if found is None or tuple(found.shape) != tuple(value.shape):
            raise SeedError(
                f"{where}: {name}",
                f"the checkpoint holds its model's tensor of shape {tuple(value.shape)}",
                "none" if found is None else str(tuple(found.shape)),
                "Give a best.pt of this version of nas.train",
            )
    detector.load_state_dict({name: given[name] for name in own})
    return seed_of(detector, tuple(document.get("names", ())), where)
