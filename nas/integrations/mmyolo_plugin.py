"""Registers `NasBackbone` in MMYOLO; imported by its `custom_imports`, and only there.

This is the one module of the house that does something at import: MMYOLO's plug-ins are found by
importing them. It needs mmengine and mmyolo, which are no dependencies of ours.
"""

from __future__ import annotations

from typing import Any

from mmengine.model import BaseModule
from mmyolo.registry import MODELS
from torch import Tensor

from nas.detector.builder import build_detector
from nas.space.blocks import layers
from nas.space.spec import read_spec


class NasBackbone(BaseModule):  # type: ignore[misc]
    """The backbone of a model YAML: (B, 3, H, W) -> the maps of `out_indices`, in their order.

    model        path of the model YAML; rows keep their numbers: `model.<row>.<...>` in state dicts
    out_indices  rows of the backbone
    init_cfg     mmengine's, as for every backbone there
    """

    def __init__(
        self, model: str, out_indices: tuple[int, ...], init_cfg: dict[str, Any] | None = None
    ) -> None:
        super().__init__(init_cfg)
        spec = read_spec(model)
        rows = max(out_indices) + 1
        assert rows <= len(spec.backbone), f"row {rows - 1} lies outside the backbone of {model}"
        self.model = build_detector(spec).model[:rows]
        self.out_indices = tuple(out_indices)
        self._inputs = [layer.inputs for layer in layers(spec, 256, model)[:rows]]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        maps: dict[int, Tensor] = {-1: image}
        for row, module in enumerate(self.model):
            read = [maps[source] for source in self._inputs[row]]
            maps[row] = module(read if len(read) > 1 else read[0])
        return tuple(maps[row] for row in self.out_indices)


# Twice the same name is an error there; a configuration read twice in a process imports it once.
MODELS.register_module(module=NasBackbone)
