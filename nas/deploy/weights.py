"""A detector's weights in the order of its primitive ops, batch norms folded.

What is exported is the graph that was timed (`nas.space.ops.model_graph`, through the emitters of
`nas.latency`), with the trained weights put in. The convolutions of the torch network, in the
order in which a forward pass calls them, are those of the graph, in its order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nas import NasError
from nas.deploy.picture import picture
from nas.detector.builder import Detector, build_detector, fuse
from nas.space.image_size import ImageSize
from nas.space.ops import Graph, OpKind
from nas.space.spec import ModelSpec

Precision = Literal["fp32", "fp16"]
"""How weights are stored; fp16 halves a file, biases stay fp32."""


SEED: Final = 0
"""Of random weights."""


class DeployError(NasError):
    """A detector that can't be exported as asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvolutionWeights:
    """One convolution's numbers, batch norm folded in."""

    filters: NDArray[np.float32]
    """(channels out, channels in / groups, kernel, kernel)."""
    bias: NDArray[np.float32]
    """(channels out,)."""


def convolution_weights(
    detector: Detector, graph: Graph, precision: Precision = "fp32"
) -> tuple[ConvolutionWeights, ...]:
    """The weights of each convolution of the graph, in its order, as `precision` stores them.

    graph      the model graph of the same detector, at the image size that is exported
    precision  fp16 rounds the filters (DeployError where one is too large for it)
    """
    image = torch.zeros(1, *graph.input_shapes[0])
    called = _called(fuse(detector), image)
    ops = [op for op in graph.ops if op.kind is OpKind.CONVOLUTION]
    assert len(called) == len(ops), f"{len(called)} convolutions in torch, {len(ops)} in the graph"
    found = []
    for module, op in zip(called, ops, strict=True):
        filters = module.weight.detach()
        shape = (op.shape_out.channels, op.shapes_in[0].channels // op.groups, op.kernel, op.kernel)
        assert tuple(filters.shape) == shape, f"{tuple(filters.shape)} in torch, {shape} in {op}"
        bias = torch.zeros(shape[0]) if module.bias is None else module.bias.detach()
        found.append(
            ConvolutionWeights(
                filters=_stored(filters, precision).numpy().astype(np.float32),
                bias=bias.numpy().astype(np.float32),
            )
        )
    return tuple(found)


def as_stored(detector: Detector, precision: Precision) -> Detector:
    """A copy, batch norms folded, that computes with the weights as a file stores them."""
    fused = fuse(detector)
    for module in fused.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.copy_(_stored(module.weight, precision))
    return fused


def random_detector(spec: ModelSpec, image_size: ImageSize, seed: int = SEED) -> Detector:
    """The network untaught, with batch norms that suit its own maps at that size, in eval mode.

    As a fresh network leaves them, batch norms let signals fade from row to row, and a comparison
    of outputs would compare the biases of the last convolutions alone. Those of maps at another
    size let them grow: EfficientNet-B4's logits to 500, and what rounding does with them.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        detector = build_detector(spec).train()
        norms = [one for one in detector.modules() if isinstance(one, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():
            detector.maps(torch.cat([torch.from_numpy(picture(image_size, i)) for i in range(4)]))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    return detector.eval()


def _stored(filters: Tensor, precision: Precision) -> Tensor:
    if precision == "fp32":
        return filters
    rounded = filters.half().float()
    if not bool(torch.isfinite(rounded).all()):
        raise DeployError(
            "--precision fp16",
            "every weight lies within fp16's range of +-65504",
            f"{float(filters.abs().max()):.3g}",
            "Export in fp32; weights like that come from a training that diverged",
        )
    return rounded


def _called(fused: Detector, image: Tensor) -> list[nn.Conv2d]:
    """The convolutions in the order in which a forward pass calls them."""
    called: list[nn.Conv2d] = []

    def note(module: nn.Module, _: object) -> None:
        if isinstance(module, nn.Conv2d):
            called.append(module)
            return
        name = type(module).__name__
        assert not list(module.parameters(recurse=False)), f"{name} has weights of its own"

    handles = [module.register_forward_pre_hook(note) for module in fused.modules()]
    try:
        with torch.no_grad():
            fused.maps(image)
    finally:
        for handle in handles:
            handle.remove()
    return called
