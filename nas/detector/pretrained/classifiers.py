"""State dicts of timm's and torchvision's classifiers, recognised by names and shapes.

EfficientNet (arXiv 1905.11946), EfficientNetV2 (2104.00298), MobileNetV2 (1801.04381), MobileNetV3
(1905.02244) and, of timm, EfficientNet-Lite. Names say where a block's parts lie; which network it
is follows from what the blocks have:

    a fused block                 EfficientNetV2
    SE in every block             EfficientNet
    SE in some                    MobileNetV3
    no SE, a 5 x 5 kernel         EfficientNet-Lite
    no SE, 3 x 3 alone            MobileNetV2

What no tensor says is a guess: pictures normalised by ImageNet's mean and deviation (Lite: by 0.5),
and the epsilon that the library has for that network. timm's `tf_` variants differ in both and
in their padding; measuring the batch norms again takes most of that away.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from torch import Tensor

from nas.detector.pretrained.seed import Seed, SeedBlock, SeedConv, SeedError, SeedGate, stages_of
from nas.detector.pretrained.state import REMEDY, Tensors

MEAN: Final = (0.485, 0.456, 0.406)
DEVIATION: Final = (0.229, 0.224, 0.225)
"""ImageNet's, of pixels in 0..1."""

STRIDES: Final = {7: (1, 2, 2, 2, 1, 2, 1), 6: (1, 2, 2, 2, 1, 2), 5: (2, 2, 2, 1, 2)}
"""Number of stages (runs of one width) -> their strides behind a stem of stride 2: EfficientNet,
MobileNetV2 and the larger EfficientNetV2; EfficientNetV2-S and MobileNetV3-Large; V3-Small."""


@dataclass(frozen=True, kw_only=True)
class Names:
    """Where a block's parts lie, and its SE; empty where it has none."""

    convs: tuple[tuple[str, str], ...]
    reduce: str = ""
    expand: str = ""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What a network's tensors don't say.

    activation   of a stage, by its number and the number of stages
    """

    name: str
    stem_activation: str
    activation: Callable[[int, int], str]
    inside: str = "SiLU"
    gate: str = "Sigmoid"
    eps: float = 1e-5
    mean: tuple[float, float, float] = MEAN
    deviation: tuple[float, float, float] = DEVIATION


def _mobilenet_v3(stage: int, stages: int) -> str:
    """ReLU in the first three stages of V3-Large (tables 1, 2), in the first two of V3-Small."""
    return "ReLU" if stage < (3 if stages == 6 else 2) else "Hardswish"


HALVES: Final = (0.5, 0.5, 0.5)
FAMILIES: Final = {
    "v1": Architecture(name="EfficientNet", stem_activation="SiLU", activation=lambda s, n: "SiLU"),
    "v2": Architecture(
        name="EfficientNetV2", stem_activation="SiLU", activation=lambda s, n: "SiLU", eps=1e-3
    ),
    "lite": Architecture(
        name="EfficientNet-Lite", stem_activation="ReLU6", activation=lambda s, n: "ReLU6",
        mean=HALVES, deviation=HALVES,
    ),
    "m2": Architecture(
        name="MobileNetV2", stem_activation="ReLU6", activation=lambda s, n: "ReLU6",
    ),
    "m3": Architecture(
        name="MobileNetV3", stem_activation="Hardswish", activation=_mobilenet_v3, inside="ReLU",
        gate="Hardsigmoid", eps=1e-3,
    ),
}  # fmt: skip


def is_classifier(weights: Mapping[str, Tensor]) -> bool:
    """Whether tensors have timm's or torchvision's names."""
    return "conv_stem.weight" in weights or "features.0.0.weight" in weights


def read_classifier(weights: Mapping[str, Tensor], where: str) -> Seed:
    """The seed of a classifier's tensors; SeedError names the one that is missing or odd."""
    is_timm = "conv_stem.weight" in weights
    stem_names = ("conv_stem", "bn1") if is_timm else ("features.0.0", "features.0.1")
    found = list(_timm(weights) if is_timm else _torchvision(weights, where))
    plain = Tensors(weights, where, eps=1e-5)
    plain.refuse_none(found, "blocks.0.0.conv_dw.weight" if is_timm else "features.1.block.0.0")
    family = _family(plain, found)
    stem_width = len(plain.get(f"{stem_names[0]}.weight"))
    if family.name == "EfficientNet" and not is_timm and stem_width >= 48:
        family = replace(family, eps=1e-3)  # torchvision's B5 to B7
    if family.name == "MobileNetV3" and is_timm:
        family = replace(family, eps=1e-5)
    tensors = Tensors(weights, where, eps=family.eps)
    blocks = _blocks(tensors, found, family)
    stem = tensors.conv(*stem_names, stride=2)
    tensors.check_chain(stem, blocks)
    scale = [1 / own for own in family.deviation]
    offset = [-mean / own for mean, own in zip(family.mean, family.deviation, strict=True)]
    return Seed(
        name=family.name,
        stem=tensors.with_input(stem, scale, offset),
        stem_activation=family.stem_activation,
        stages=stages_of(blocks),
    )


def _timm(weights: Mapping[str, Tensor]) -> Iterator[Names]:
    """The names of each block, `blocks.STAGE.BLOCK.`."""
    places = {m.group(1, 2) for name in weights if (m := re.match(r"blocks\.(\d+)\.(\d+)\.", name))}
    for stage, block in sorted((int(a), int(b)) for a, b in places):
        own = f"blocks.{stage}.{block}."
        ways = (
            (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3")),
            (("conv_dw", "bn1"), ("conv_pw", "bn2")),
            (("conv_exp", "bn1"), ("conv_pwl", "bn2")),
            (("conv", "bn1"),),
        )
        for way in ways:
            if all(f"{own}{conv}.weight" in weights for conv, _ in way):
                convs = tuple((own + conv, own + norm) for conv, norm in way)
                gated = f"{own}se.conv_reduce.weight" in weights
                yield Names(
                    convs=convs,
                    reduce=f"{own}se.conv_reduce" if gated else "",
                    expand=f"{own}se.conv_expand" if gated else "",
                )
                break


def _torchvision(weights: Mapping[str, Tensor], where: str) -> Iterator[Names]:
    """The names of each block: `features.I.conv.`, `features.I.block.`, `features.I.J.block.`."""
    pattern = re.compile(r"(features\.\d+(?:\.\d+)?\.(?:block|conv)\.)")
    own = {m.group(1) for name in weights if (m := pattern.match(name))}
    for prefix in sorted(own, key=lambda text: [int(n) for n in re.findall(r"\d+", text)]):
        convs, reduce = [], ""
        for part in range(4):
            at = f"{prefix}{part}"
            if f"{at}.fc1.weight" in weights:
                reduce = at
            elif f"{at}.0.weight" in weights:
                convs.append((f"{at}.0", f"{at}.1"))
            elif f"{at}.weight" in weights and weights[f"{at}.weight"].ndim == 4:
                convs.append((at, f"{prefix}{part + 1}"))
        if not convs:
            raise SeedError(f"{where}: {prefix}0.0.weight", "the tensor is there", "none", REMEDY)
        yield Names(
            convs=tuple(convs),
            reduce=f"{reduce}.fc1" if reduce else "",
            expand=f"{reduce}.fc2" if reduce else "",
        )


def _family(tensors: Tensors, found: list[Names]) -> Architecture:
    first = [tensors.get(f"{names.convs[0][0]}.weight") for names in found]
    kernels = [
        tensors.get(f"{conv}.weight").shape[-1] for names in found for conv, _ in names.convs
    ]
    gates = sum(bool(names.reduce) for names in found)
    if any(_is_dense(weight) for weight in first):
        return FAMILIES["v2"]
    if gates:
        return FAMILIES["v1" if gates == len(found) else "m3"]
    return FAMILIES["lite" if 5 in kernels else "m2"]


def _is_dense(weight: Tensor) -> bool:
    """Whether a block's first convolution is neither 1x1 nor depthwise."""
    return weight.shape[-1] > 1 and weight.shape[1] > 1


def _blocks(tensors: Tensors, found: list[Names], family: Architecture) -> list[SeedBlock]:
    """The blocks with strides and activations, which follow from their stages."""
    read = [(names, [tensors.conv(*pair) for pair in names.convs]) for names in found]
    # MobileNetV3's last convolution is a block of timm's; it is the classifier's.
    read = [pair for pair in read if len(pair[1]) > 1 or pair[1][0].kernel > 1]
    widths = [len(convs[-1].weight) for _, convs in read]
    starts = [i for i, width in enumerate(widths) if i == 0 or widths[i - 1] != width]
    if len(starts) not in STRIDES:
        raise SeedError(
            tensors.where,
            f"an {family.name} has {', '.join(map(str, sorted(STRIDES)))} widths in a row",
            str(len(starts)),
            REMEDY,
        )
    strides = dict(zip(starts, STRIDES[len(starts)], strict=True))
    blocks, stage = [], -1
    for number, (names, convs) in enumerate(read):
        stage += number in strides
        stride = strides.get(number, 1)
        gate = None
        if names.reduce:
            gate = tensors.gate(names.reduce, names.expand, family.inside, family.gate)
        activation = family.activation(stage, len(starts))
        blocks.append(_block(tensors, names, convs, gate, stride, activation))
    return blocks


def _block(
    tensors: Tensors,
    names: Names,
    convs: list[SeedConv],
    gate: SeedGate | None,
    stride: int,
    activation: str,
) -> SeedBlock:
    *before, project = convs
    first = (before or convs)[0]
    has_sum = stride == 1 and first.weight.shape[1] == len(project.weight)
    expand: SeedConv | None = None
    depthwise: SeedConv | None = None
    if not before:
        project = replace(project, stride=stride)
        return SeedBlock(kind="dense", project=project, activation=activation, has_sum=has_sum)
    if len(before) == 2:
        expand, depthwise = before[0], replace(before[1], stride=stride)
    elif first.weight.shape[1] == 1:
        depthwise = replace(first, stride=stride)
        has_sum = stride == 1 and len(first.weight) == len(project.weight)
    else:
        expand = replace(first, stride=stride)
    if project.kernel != 1:
        raise SeedError(
            f"{tensors.where}: {names.convs[-1][0]}.weight",
            "a block ends with a 1 x 1 convolution",
            str(tuple(project.weight.shape)),
            REMEDY,
        )
    kind = "fused" if depthwise is None else "inverted" if expand is not None else "depthwise"
    return SeedBlock(
        kind=kind,  # type: ignore[arg-type]
        project=project,
        activation=activation,
        has_sum=has_sum,
        expand=expand,
        depthwise=depthwise,
        gate=gate,
    )
