"""What answers where more than one table counts: several ways to run, and several boards.

A runtime, a precision or a number of threads is a choice that costs no evaluation: how well a
detector detects is graded without it, and each table says at once how long it takes that way. So
each detector takes the fastest of several ways to run on its board.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from nas import NasError
from nas.latency.answer import Latency, LatencyKind, LatencyModel, LayerTime, TableModel
from nas.latency.device import TableKey
from nas.space.blocks import Block
from nas.space.image_size import ImageSize
from nas.space.spec import ModelSpec


class FastestModel:
    """A `TableModel` whose every answer is the least of several tables', and says which (`way`).

    others      of further boards, whose answers stand beside it (`Latency.others`)
    key         of the first table
    kind        of all of them: NasError where one is measured and another estimated, since the two
                are not comparable
    provenance  under `doubts` those of each table, behind its way
    """

    def __init__(self, models: Sequence[TableModel], others: Sequence[LatencyModel] = ()) -> None:
        self.models, self.others = tuple(models), tuple(others)
        first = self.models[0]
        self.key: TableKey = first.key
        self.kind: LatencyKind = first.kind
        for model in self.models[1:]:
            if model.kind is not self.kind:
                raise NasError(
                    f"{first.key.device}, {model.key.stem}",
                    "all choices of runtime, precision and threads stand on tables of one kind,"
                    " which alone can be compared",
                    f"{self.kind.value} times of {first.key} and {model.kind.value} ones of"
                    f" {model.key}",
                    "Make the other table by nas.profile too, or leave that choice out",
                )
        self.provenance: dict[str, Any] = first.provenance
        if len(self.models) > 1:
            self.provenance = {
                "ways": {model.key.stem: model.provenance for model in self.models},
                "doubts": [
                    f"{model.key.stem}: {doubt}"
                    for model in self.models
                    for doubt in model.provenance["doubts"]
                ],
            }
        self._fastest = lru_cache(maxsize=2)(self._compare)

    def predict(self, spec: ModelSpec, image_size: ImageSize) -> Latency:
        """How long the detector takes in its fastest way; of two that tie in the first named."""
        model, latency = self._fastest(spec, image_size)
        return replace(
            latency,
            way=self._way(model),
            others=tuple(other.predict(spec, image_size).ms for other in self.others),
        )

    def precision(self, spec: ModelSpec, image_size: ImageSize) -> str:
        """The number format of the detector's fastest way."""
        return self._fastest(spec, image_size)[0].key.precision

    def parts(self, spec: ModelSpec, image_size: ImageSize) -> tuple[LayerTime, ...]:
        """Each layer's part in the detector's time in its fastest way, in order."""
        return self._fastest(spec, image_size)[0].parts(spec, image_size)

    def predict_blocks(self, walk: Sequence[Block]) -> Latency:
        """How long a network of these blocks takes in its fastest way (ms)."""
        model = self._of_blocks(walk)
        return replace(model.predict_blocks(walk), way=self._way(model))

    def doubts(self, walk: Sequence[Block]) -> list[str]:
        """Why the answer for such a network is doubtful, by the table that it comes from."""
        return self._of_blocks(walk).doubts(walk)

    def _way(self, model: TableModel) -> str | None:
        return model.key.stem if len(self.models) > 1 else None

    def _of_blocks(self, walk: Sequence[Block]) -> TableModel:
        return min(self.models, key=lambda model: model.predict_blocks(walk).ms)

    def _compare(self, spec: ModelSpec, image_size: ImageSize) -> tuple[TableModel, Latency]:
        found = [(model, model.predict(spec, image_size)) for model in self.models]
        return min(found, key=lambda pair: pair[1].ms)
