"""A space of one model's depth and width multiples and image sizes: YOLOv5's own way to scale.

format: 1
model: reference/yolov5n.yaml     # beside this file; its own multiples do not count
image_size: [192, 256, 320]       # pixels; 320x192 is a rectangle, width x height
depth: [0.33, 0.67, 1.0]
width: [0.25, 0.5, 0.75]
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from nas import places
from nas.documents import Strict
from nas.space.choices import Choose, Options, Sizes, SpaceError
from nas.space.image_size import ImageSize, read_image_size
from nas.space.modules.argument import SpecError
from nas.space.spec import ModelSpec, model_text, parse_spec

Multiple = Annotated[float, Field(gt=0, le=4)]

LEVELS = 3
"""Levels of anchors that every candidate of a search gets."""

PER_LEVEL = 3
"""Anchors in each of them."""


class ScaledDefinition(Strict):
    """The YAML of such a space, whole."""

    format: Literal[1]
    model: str
    image_size: Sizes
    depth: Options[Multiple]
    width: Options[Multiple]


class ScaledModel:
    """The model that such a space scales."""

    def __init__(self, definition: ScaledDefinition, where: str) -> None:
        self.definition = definition
        self._known: dict[tuple[float, float], ModelSpec] = {}
        path = Path(where).parent / definition.model
        if not places.is_file(path):
            # One's own space may scale a model that ships.
            path = places.find("search_spaces", definition.model) or path
        try:
            self._text, self.path = model_text(path), path
            self.spec = self._at(1.0, 1.0)
        except SpecError as error:
            raise SpaceError(f"{where}, model", "the model can be read", str(error)) from None
        per_level = {len(level) // 2 for level in self.spec.anchors}
        if self.spec.anchors and (len(self.spec.anchors), per_level) != (LEVELS, {PER_LEVEL}):
            raise SpaceError(
                f"{where}, model",
                f"the model's head has {LEVELS} levels of anchors, {PER_LEVEL} in each, or none",
                f"{len(self.spec.anchors)} levels of {per_level.pop()} in {path.name}",
                "Train such a model by nas.train: here every candidate gets the data's anchors",
            )

    def build(self, ask: Choose) -> tuple[ModelSpec, ImageSize]:
        """The model at the multiples that are chosen, and the image size."""
        definition = self.definition
        image_size = read_image_size(ask("image_size", definition.image_size), "image_size")
        depth = ask("model.depth", definition.depth)
        width = ask("model.width", definition.width)
        return self._at(depth, width), image_size

    def _at(self, depth: float, width: float) -> ModelSpec:
        # A dozen of them at most, each of which a search asks for a hundred times.
        if (depth, width) not in self._known:
            spec = parse_spec(self._text, str(self.path), self.path.stem, (depth, width))
            self._known[depth, width] = replace(spec, image_size=None)
        return self._known[depth, width]

    def content(self) -> Any:
        """What the space's digest is made of: its definition, and the model's rows."""
        rows = [[list(r.source), r.number, r.module, list(r.args)] for r in self.spec.rows]
        content = self.definition.model_dump(mode="json")
        return {**content, "model": [rows, self.spec.activation]}
