"""Oracles and inputs of the tests on pretrained weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.detector.convolution import BN_EPS, activation_module
from nas.detector.pretrained.seed import Seed, SeedBlock, SeedConv
from nas.space.spec import ModelSpec, Row, make_row

LITE2 = ((16, 1, 3, 1, 1), (24, 3, 3, 2, 6), (48, 3, 5, 2, 6), (88, 4, 3, 2, 6),
         (120, 4, 5, 1, 6), (208, 5, 5, 2, 6))  # fmt: skip
"""EfficientNet-Lite2's stages 1 to 6: width, blocks, kernel, stride, expansion."""


def plain_lite(weights: Mapping[str, Tensor], x: Tensor, same: bool = False) -> list[Tensor]:
    """What each block of EfficientNet-Lite2 gives, by torch's functions alone.

    x      (B, 3, S, S) as the network reads it: (pixel - 127) / 128
    same   TensorFlow's padding in place of half the kernel on each side; else black lies behind
           the border, as it does for our detectors
    """

    def conv(y: Tensor, name: str, stride: int = 1, groups: int = 1) -> Tensor:
        w = weights[f"{name}.weight"]
        k = w.shape[-1]
        if not same or stride == 1:
            return F.conv2d(y, w, None, stride, k // 2, 1, groups)
        total = k - stride
        edges = (total // 2, total - total // 2)
        return F.conv2d(F.pad(y, edges + edges), w, None, stride, 0, 1, groups)

    def norm(y: Tensor, name: str) -> Tensor:
        parts = [weights[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(y, *parts, False, 0.0, 1e-3)

    if same:
        y = conv(x, "_conv_stem", 2)
    else:
        y = F.conv2d(
            F.pad(x, (1, 1, 1, 1), value=-127 / 128), weights["_conv_stem.weight"], None, 2
        )
    y = F.relu6(norm(y, "_bn0"))
    given, index = [y], 0
    for _, depth, _, stride, _ in LITE2:
        for number in range(depth):
            own, z = f"_blocks.{index}.", y
            if f"{own}_expand_conv.weight" in weights:
                z = F.relu6(norm(conv(z, f"{own}_expand_conv"), f"{own}_bn0"))
            z = conv(z, f"{own}_depthwise_conv", stride if number == 0 else 1, z.shape[1])
            z = norm(conv(F.relu6(norm(z, f"{own}_bn1")), f"{own}_project_conv"), f"{own}_bn2")
            y = y + z if number else z
            given.append(y)
            index += 1
    return given


def forward(seed: Seed, x: Tensor) -> list[Tensor]:
    """What stem and stages of a seed give, for images (B, 3, S, S) in 0..1."""
    y = _act(seed.stem_activation)(_conv(seed.stem, x))
    given = [y]
    for stage in seed.stages:
        for block in stage.blocks:
            z = _block(block, y)
            y = y + z if block.has_sum else z
        given.append(y)
    return given


def _act(name: str) -> nn.Module:
    return activation_module(name)


def _conv(conv: SeedConv, x: Tensor) -> Tensor:
    groups = x.shape[1] // conv.weight.shape[1]
    y = F.conv2d(x, conv.weight, None, conv.stride, conv.kernel // 2, 1, groups)
    return F.batch_norm(y, conv.mean, conv.var, conv.gamma, conv.beta, False, 0.0, BN_EPS)


def _block(block: SeedBlock, x: Tensor) -> Tensor:
    act = _act(block.activation)
    for part in (block.expand, block.depthwise):
        if part is not None:
            x = act(_conv(part, x))
    if block.gate is not None:
        g = block.gate
        z = _act(g.activation)(x.mean((2, 3)) @ g.reduce.T + g.reduce_bias)
        x = x * _act(g.gate)(z @ g.expand.T + g.expand_bias)[:, :, None, None]
    x = _conv(block.project, x)
    return act(x) if block.kind == "dense" else x


def backbone_spec(
    rows: list[Row], activation: str = "ReLU6", classes: int = 2, neck: int = 16
) -> ModelSpec:
    """A detector of backbone rows that end at stride 32, with a head upon its last map alone."""
    last = len(rows)
    head = (
        make_row(-1, 1, "Conv", neck, 1, 1),
        make_row((last,), 1, "Detect", "nc", "anchors"),
    )
    return ModelSpec(
        num_classes=classes, backbone=tuple(rows), head=head, activation=activation,
        anchors=((10, 13, 16, 30, 33, 23),),
    )  # fmt: skip


def lite2_rows(module: str = "MBConv") -> list[Row]:
    """Rows of Lite2's own geometry, one a block."""
    rows = [make_row(-1, 1, "Conv", 32, 3, 2)]
    for width, depth, kernel, stride, expand in LITE2:
        for number in range(depth):
            own = stride if number == 0 else 1
            rows.append(make_row(-1, 1, module, width, kernel, own, expand, 0))
    return rows


def backbone_maps(detector: nn.Module, x: Tensor, count: int) -> list[Tensor]:
    """What a detector's first rows give, which stand in a chain."""
    given = []
    with torch.no_grad():
        for module in list(detector.model)[:count]:  # type: ignore[arg-type]
            x = module(x)
            given.append(x)
    return given
