"""Our rows as the model parsers of YOLOv5 and Ultralytics hand them over.

Both tools hold a model as a sequence of modules with an index, what each reads, a name and a
count of parameters, and a list of the rows that are read later than by the next one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml
from torch import nn

from nas.detector.builder import build_detector
from nas.space.blocks import Layer, layers
from nas.space.modules import MODULES, SpecError
from nas.space.spec import KEYS, ModelSpec, parse_spec

_SIZE: Final = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """The rows before the head, and what the head reads."""

    modules: tuple[nn.Module, ...]
    saved: tuple[int, ...]
    """Rows whose maps are read later than by the next row, in order."""
    head_index: int
    head_inputs: tuple[int, ...]
    head_channels: tuple[int, ...]


def is_ours(document: Mapping[str, Any]) -> bool:
    """Whether a model's mapping can be read here: every row's module is one that we know."""
    parts = [document.get(part) for part in ("backbone", "head")]
    rows = [row for part in parts if isinstance(part, list) for row in part]
    return bool(rows) and all(map(_is_known, rows))


def _is_known(row: Any) -> bool:
    is_row = isinstance(row, list) and len(row) == 4 and isinstance(row[2], str)
    return is_row and row[2] in MODULES


def read_mapping(document: Mapping[str, Any], where: str) -> ModelSpec:
    """The model of a mapping that another tool read from a YAML (SpecError); its own keys go."""
    kept = {key: value for key, value in document.items() if key in KEYS and value is not None}
    if not kept.get("scales"):
        # Ultralytics writes the scale that a file's name says, also where the file lists none.
        kept.pop("scale", None)
    elif not kept.get("scale"):
        kept["scale"] = next(iter(kept["scales"]))
    try:
        text = yaml.safe_dump(kept)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())[:200]
        rule = "a model's mapping holds numbers, text, lists and mappings alone"
        raise SpecError(where, rule, reason, "Give a checkpoint of an unchanged model") from None
    return parse_spec(text, where)


def build_rows(spec: ModelSpec, where: str) -> Rows:
    """Every row but the head, with the attributes that both tools read from it."""
    walked = layers(spec, _SIZE, where)
    modules = tuple(build_detector(spec).model)[:-1]
    for layer, module in zip(walked, modules, strict=False):
        mark(module, layer)
    saved = {s for layer in walked for s in layer.inputs if s not in (-1, layer.index - 1)}
    return Rows(
        modules=modules,
        saved=tuple(sorted(saved)),
        head_index=walked[-1].index,
        head_inputs=walked[-1].inputs,
        head_channels=tuple(walked[source].channels for source in walked[-1].inputs),
    )


def mark(module: nn.Module, layer: Layer) -> None:
    """Sets `i` (index), `f` (what it reads; -1: the row before), `type` and `np` (parameters)."""
    sources = [-1 if source == layer.index - 1 else source for source in layer.inputs]
    module.i = layer.index  # type: ignore[assignment]
    module.f = sources[0] if len(sources) == 1 else sources  # type: ignore[assignment]
    module.type = f"{type(module).__module__}.{type(module).__name__}"  # type: ignore[assignment]
    module.np = sum(one.numel() for one in module.parameters())  # type: ignore[assignment]


def mark_head(head: nn.Module, rows: Rows) -> nn.Module:
    """The same for the other tool's head."""
    head.i = rows.head_index  # type: ignore[assignment]
    head.f = list(rows.head_inputs)  # type: ignore[assignment]
    head.type = f"{type(head).__module__}.{type(head).__name__}"  # type: ignore[assignment]
    head.np = sum(one.numel() for one in head.parameters())  # type: ignore[assignment]
    return head
