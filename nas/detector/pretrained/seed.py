"""A seed: the weights of a network that knows pictures, in one form whatever they came from.

Every seed reads RGB in 0..1 and has our batch norms' epsilon: its own input scale and epsilon are
folded into its weights when it is made, so that nobody downstream thinks of them again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import torch
from torch import Tensor

from nas import NasError
from nas.detector.convolution import BN_EPS

if TYPE_CHECKING:
    from nas.detector.builder import Detector

Kind = Literal["inverted", "depthwise", "fused", "dense"]
KINDS: Final[tuple[Kind, ...]] = ("inverted", "depthwise", "fused", "dense")
"""What a block is made of: expansion, depthwise and projection; the same without an expansion;
a k x k expansion and a projection; one k x k convolution with an activation."""


class SeedError(NasError):
    """Weights that are no seed, or that do not suit the detector they are wanted for."""


@dataclass(frozen=True, kw_only=True)
class SeedConv:
    """A convolution without bias and its batch norm, of epsilon BN_EPS.

    weight                  (out, in / groups, k, k)
    gamma, beta, mean, var  (out,)
    """

    weight: Tensor
    gamma: Tensor
    beta: Tensor
    mean: Tensor
    var: Tensor
    stride: int = 1

    @property
    def kernel(self) -> int:
        return self.weight.shape[-1]

    @property
    def scale(self) -> Tensor:
        """(out,) what the batch norm multiplies by, float64."""
        return self.gamma.double() / (self.var.double() + BN_EPS).sqrt()


@dataclass(frozen=True, kw_only=True)
class SeedGate:
    """A squeeze-and-excitation: reduce (s, c) and (s,), expand (c, s) and (c,).

    activation  inside, gate at its end: names that convolution.activation_module knows
    """

    reduce: Tensor
    reduce_bias: Tensor
    expand: Tensor
    expand_bias: Tensor
    activation: str
    gate: str


@dataclass(frozen=True, kw_only=True)
class SeedBlock:
    """One block: what its kind has of expansion, depthwise convolution, gate and projection.

    activation  behind expansion and depthwise convolution (of a dense block behind its one
                convolution, `project`)
    has_sum     whether it adds its input
    """

    kind: Kind
    project: SeedConv
    activation: str
    has_sum: bool
    expand: SeedConv | None = None
    depthwise: SeedConv | None = None
    gate: SeedGate | None = None

    @property
    def stride(self) -> int:
        parts = (self.expand, self.depthwise, self.project)
        return max(part.stride for part in parts if part is not None)

    @property
    def hidden(self) -> int:
        """Channels that the projection (of a dense block, its convolution) reads."""
        return self.project.weight.shape[1]

    @property
    def channels_in(self) -> int:
        if self.expand is not None:
            return self.expand.weight.shape[1]
        return self.hidden


@dataclass(frozen=True, kw_only=True)
class SeedStage:
    """Blocks of one width: the first with the stage's stride, the others adding their input."""

    blocks: tuple[SeedBlock, ...]

    @property
    def stride(self) -> int:
        return self.blocks[0].stride

    @property
    def width(self) -> int:
        return self.blocks[0].project.weight.shape[0]


@dataclass(frozen=True, kw_only=True)
class Starter:
    """A trained detector with its class names, in eval mode, whose neck and head can be cut.

    stages   row of its backbone -> the stage that it belongs to, -1 of the stem; None where
             strides and sums tell them apart
    """

    detector: Detector
    names: tuple[str, ...]
    stages: Mapping[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Seed:
    """A backbone that knows pictures; of a detector of ours, its neck and head too.

    stem        of stride 2, with its activation
    stages      in order; the strides of stem and stages multiply
    starter     the detector whose neck and head can be cut as well; None of a classifier
    may_lack    stages that a detector may leave out, since the next was taught to read what they
                read as well
    """

    name: str
    stem: SeedConv
    stem_activation: str
    stages: tuple[SeedStage, ...]
    starter: Starter | None = None
    may_lack: frozenset[int] = frozenset()


def stages_of(blocks: Sequence[SeedBlock]) -> tuple[SeedStage, ...]:
    """Blocks in stages: a new one begins at a stride of 2 or where a block adds no input."""
    groups: list[list[SeedBlock]] = []
    for block in blocks:
        if not groups or block.stride == 2 or not block.has_sum:
            groups.append([])
        groups[-1].append(block)
    return tuple(SeedStage(blocks=tuple(group)) for group in groups)


def with_eps(conv: SeedConv, eps: float) -> SeedConv:
    """The same function of a batch norm whose epsilon was `eps`, by its gamma."""
    if eps == BN_EPS:
        return conv
    var = conv.var.double()
    return replace(conv, gamma=(conv.gamma * ((var + BN_EPS) / (var + eps)).sqrt()).float())


def with_input(stem: SeedConv, scale: Sequence[float], offset: Sequence[float]) -> SeedConv:
    """The stem for images in 0..1, of one that reads scale * image + offset, a value a channel.

    Exact where no padding is read: behind the border the seed saw 0, here it is -offset / scale.
    """
    a = torch.tensor(scale, dtype=torch.float64).view(1, 3, 1, 1)
    b = torch.tensor(offset, dtype=torch.float64).view(1, 3, 1, 1)
    constant = (stem.weight.double() * b).sum((1, 2, 3))
    return replace(
        stem,
        weight=(stem.weight.double() * a).float(),
        mean=(stem.mean.double() - constant).float(),
    )


def mirrored(seed: Seed) -> Seed:
    """The seed of the same pictures seen in a mirror.

    TensorFlow pads at the right and below where its stride is 2, our modules at the left and above.
    Of a mirrored picture its horizontal padding is ours, to the pixel, and what was taught on
    pictures and their mirror images knows both. Measured by what is recognised: LOG.md.
    """

    def turned(conv: SeedConv | None) -> SeedConv | None:
        return None if conv is None else replace(conv, weight=conv.weight.flip(-1))

    def block(one: SeedBlock) -> SeedBlock:
        project = turned(one.project)
        assert project is not None
        return replace(
            one, expand=turned(one.expand), depthwise=turned(one.depthwise), project=project
        )

    stem = turned(seed.stem)
    assert stem is not None
    stages = tuple(SeedStage(blocks=tuple(map(block, stage.blocks))) for stage in seed.stages)
    return replace(seed, stem=stem, stages=stages)
