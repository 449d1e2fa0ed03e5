"""From a model's description to the torch network that it describes."""

from __future__ import annotations

import copy
from typing import Final

from torch import Tensor, nn

from nas.detector.anchor_free import AnchorFreeDetect
from nas.detector.convolution import Conv
from nas.detector.head import Detect
from nas.detector.light import RepVGGBlock
from nas.detector.modules import build_block, is_droppable
from nas.detector.yolo import Focus
from nas.space.blocks import Layer, layers, strides
from nas.space.modules import MODULES
from nas.space.spec import ModelSpec

Head = Detect | AnchorFreeDetect

_REFERENCE_SIZE: Final = 256
"""Pixels; any multiple of the largest stride gives the same network and strides."""


class Detector(nn.Module):
    """A detector built from its rows: (B, 3, H, W) in 0..1 -> what `Detect` returns.

    `model` holds one module a row, so that state-dict names are `model.<row>.<...>` as in YOLOv5.
    """

    def __init__(self, spec: ModelSpec, drop_path_rate: float, bn_momentum: float) -> None:
        super().__init__()
        walked = layers(spec, _REFERENCE_SIZE)
        self.spec = spec
        self.model = nn.ModuleList(_build_rows(walked, spec, drop_path_rate))
        self._inputs = [layer.inputs for layer in walked]
        read_later = {s for i, layer in enumerate(walked) for s in layer.inputs if s != i - 1}
        self._kept = [i in read_later for i in range(len(walked))]
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = bn_momentum

    @property
    def head(self) -> Head:
        """The last row, Detect: its classes, strides and, if it has them, anchors."""
        last = self.model[-1]
        assert isinstance(last, Detect | AnchorFreeDetect)
        return last

    def features(self, x: Tensor) -> list[Tensor]:
        """The maps that Detect reads, from the largest (P3) to the smallest (P5)."""
        kept: dict[int, Tensor] = {-1: x}
        for index, module in enumerate(self.model):
            sources = self._inputs[index]
            maps = [x if source == index - 1 else kept[source] for source in sources]
            if index == len(self.model) - 1:
                break
            x = module(maps if len(maps) > 1 else maps[0])
            if self._kept[index]:
                kept[index] = x
        return maps

    def forward(self, x: Tensor) -> list[Tensor] | Tensor:
        """Training: raw logits (B, na, ny, nx, 5 + nc) a level, or of an anchor-free head its maps.

        Eval: decoded (B, N, 5 + nc).
        """
        return self.head(self.features(x))  # type: ignore[no-any-return]

    def maps(self, x: Tensor) -> list[Tensor]:
        """The raw maps a level, not decoded: what runs on a board.

        (B, na * (5 + nc), ny, nx); of a head without anchors (B, 4 * bins + nc, ny, nx).
        """
        return self.head.maps(self.features(x))


def build_detector(
    spec: ModelSpec, drop_path_rate: float = 0.0, bn_momentum: float = 0.03
) -> Detector:
    """The network of a model's description, freshly initialised by torch's global generator.

    drop_path_rate   stochastic depth of the last residual block; earlier ones have linearly less
                     (EfficientNet: 0.2). SpecError where the rows do not fit together.
    """
    return Detector(spec, drop_path_rate, bn_momentum)


def fuse(detector: Detector) -> Detector:
    """A copy in eval mode as on the board: batch norms folded, a RepVGG block one convolution."""
    fused = copy.deepcopy(detector).eval()
    fold_batch_norms(fused)
    return fused.requires_grad_(False)


def fold_batch_norms(model: nn.Module) -> None:
    """Folds every batch norm of our modules into its convolution, in place (for eval alone)."""
    for module in list(model.modules()):
        if isinstance(module, Conv | Focus | RepVGGBlock):
            module.fold_batch_norm()


def _build_head(layer: Layer, spec: ModelSpec, strides: tuple[int, ...]) -> Head:
    if not spec.anchors:
        return AnchorFreeDetect(spec.num_classes, layer.blocks, strides)
    channels = tuple(block.channels_in[0] for block in layer.blocks)
    return Detect(spec.num_classes, spec.anchors, channels, strides)


def _build_rows(
    walked: tuple[Layer, ...], spec: ModelSpec, drop_path_rate: float
) -> list[nn.Module]:
    droppable = sum(is_droppable(block) for layer in walked for block in layer.blocks)
    seen = 0
    rows: list[nn.Module] = []
    for layer in walked:
        if MODULES[layer.row.module].is_head:
            rows.append(_build_head(layer, spec, strides(walked, _REFERENCE_SIZE)))
            continue
        parts = []
        for block in layer.blocks:
            seen += is_droppable(block)
            parts.append(build_block(block, drop_path_rate * seen / max(droppable, 1)))
        rows.append(parts[0] if len(parts) == 1 else nn.Sequential(*parts))
    return rows
