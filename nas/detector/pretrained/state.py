"""Tensors of somebody's state dict, read by name and checked by shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nas.detector.pretrained.seed import (
    SeedBlock,
    SeedConv,
    SeedError,
    SeedGate,
    with_eps,
    with_input,
)

REMEDY = "Give the whole state dict of one of the networks that --help names"


@dataclass(frozen=True)
class Tensors:
    """A state dict; every reading raises SeedError with the tensor's name."""

    weights: Mapping[str, Tensor]
    where: str
    eps: float

    def has(self, name: str) -> bool:
        return name in self.weights

    def get(self, name: str, shape: Sequence[int] | None = None) -> Tensor:
        """A floating-point tensor in single precision, finite and of that shape."""
        value = self.weights.get(name)
        if value is None:
            raise SeedError(f"{self.where}: {name}", "the tensor is there", "none", REMEDY)
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise SeedError(
                f"{self.where}: {name}",
                "the tensor holds floating-point numbers",
                str(getattr(value, "dtype", type(value).__name__)),
                REMEDY,
            )
        if shape is not None and tuple(value.shape) != tuple(shape):
            raise SeedError(
                f"{self.where}: {name}",
                f"the tensor has the shape {tuple(shape)}",
                str(tuple(value.shape)),
                REMEDY,
            )
        if not bool(torch.isfinite(value).all()):
            raise SeedError(f"{self.where}: {name}", "its numbers are finite", "others", REMEDY)
        return value.detach().float()

    def conv(self, conv: str, norm: str, stride: int = 1) -> SeedConv:
        """A convolution and the batch norm behind it."""
        weight = self.get(f"{conv}.weight")
        if weight.ndim != 4 or weight.shape[2] != weight.shape[3]:
            raise SeedError(
                f"{self.where}: {conv}.weight",
                "the tensor is that of a convolution (out, in, k, k)",
                str(tuple(weight.shape)),
                REMEDY,
            )
        out = (len(weight),)
        found = SeedConv(
            weight=weight,
            gamma=self.get(f"{norm}.weight", out),
            beta=self.get(f"{norm}.bias", out),
            mean=self.get(f"{norm}.running_mean", out),
            var=self.get(f"{norm}.running_var", out),
            stride=stride,
        )
        return with_eps(found, self.eps)

    def gate(self, reduce: str, expand: str, activation: str, gate: str) -> SeedGate:
        """A squeeze-and-excitation of two 1x1 convolutions with biases."""
        inner = self.get(f"{reduce}.weight")
        outer = self.get(f"{expand}.weight", (inner.shape[1], inner.shape[0], 1, 1))
        return SeedGate(
            reduce=inner[:, :, 0, 0],
            reduce_bias=self.get(f"{reduce}.bias", (inner.shape[0],)),
            expand=outer[:, :, 0, 0],
            expand_bias=self.get(f"{expand}.bias", (inner.shape[1],)),
            activation=activation,
            gate=gate,
        )

    def with_input(self, stem: SeedConv, scale: list[float], offset: list[float]) -> SeedConv:
        """The stem for RGB in 0..1."""
        if stem.weight.shape[1] != 3:
            raise SeedError(
                f"{self.where}: the stem", "it reads three channels", str(stem.weight.shape[1])
            )
        return with_input(stem, scale, offset)

    def refuse_none(self, blocks: Sequence[object], first: str) -> None:
        if not blocks:
            raise SeedError(f"{self.where}: {first}", "the tensor is there", "none", REMEDY)

    def check_chain(self, stem: SeedConv, blocks: Sequence[SeedBlock]) -> None:
        """Every block reads what the one before it gives."""
        width = len(stem.weight)
        for number, block in enumerate(blocks):
            inside = block.expand if block.expand is not None else block.depthwise
            hidden = block.project.weight.shape[1]
            fits = block.channels_in == width
            if block.kind != "dense" and inside is not None:
                fits = fits and hidden == len((block.depthwise or inside).weight)
                fits = fits and (not block.depthwise or block.depthwise.weight.shape[1] == 1)
            if not fits:
                raise SeedError(
                    f"{self.where}: block {number}",
                    f"it reads the {width} channels of the block before it",
                    f"{block.channels_in} channels, {hidden} inside",
                    REMEDY,
                )
            width = len(block.project.weight)
