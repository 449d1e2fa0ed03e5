"""A search space: a YAML of choices, whose `build` asks for each of them by name.

`build(choose)` asks `choose(name, options)` for *every* choice of the space, whatever was
answered before: the space is static. Give it a trial's suggestions to search, an rng's pick to
sample, a lookup to rebuild. Options that are numbers are ordinal, names are categorical.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import BaseModel, ValidationError

from nas import places
from nas.documents import parse_yaml, read_yaml
from nas.space.anchors import DEFAULT_ANCHORS, Anchors
from nas.space.blocks import Block, detect_blocks, layers
from nas.space.choices import Choose, Option, SpaceError
from nas.space.compound import CompoundDefinition, CompoundModel
from nas.space.image_size import ImageSize, by_area, written
from nas.space.scaled import ScaledDefinition, ScaledModel
from nas.space.spec import USUAL_CLASSES, ModelSpec, with_anchors, with_classes
from nas.space.staged import Head, Neck, SpaceDefinition, Stage, StagedModel, Stem

__all__ = [
    "SPACES",
    "Candidate",
    "Choose",
    "SearchSpace",
    "SpaceDefinition",
    "SpaceError",
    "architecture_digest",
    "parse_space",
    "read_space",
]

SPACES: Final = places.shipped("search_spaces")
"""The spaces that ship; a name is looked up nearer first (nas.places)."""

Definition = SpaceDefinition | ScaledDefinition | CompoundDefinition
"""What a space's file may hold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One architecture of a space: its model, its image size and what was chosen.

    digest   16 hex digits of what is built (rows, activation, image size), blind to the classes,
             the anchors and to how it was chosen: equal digests are equal architectures
    """

    spec: ModelSpec
    image_size: ImageSize
    choices: tuple[tuple[str, int | float | str], ...]
    digest: str


class SearchSpace:
    """A validated space: it builds candidates, counts them and lists every block they can have."""

    def __init__(self, name: str, definition: Definition, where: str) -> None:
        self.name = name
        self.where = where
        self.definition = definition
        self._model: StagedModel | ScaledModel | CompoundModel
        if isinstance(definition, ScaledDefinition):
            self._model = ScaledModel(definition, where)
        elif isinstance(definition, CompoundDefinition):
            self._model = CompoundModel(definition)
        else:
            self._model = StagedModel(definition, where)

    @property
    def flag(self) -> str:
        """What `--space` names it by: the name of one in search_spaces/, else its file."""
        try:
            is_known = read_space(self.name).digest == self.digest
        except SpaceError:
            is_known = False
        return self.name if is_known else self.where

    @cached_property
    def digest(self) -> str:
        """16 hex digits of the space's content, blind to the layout of its file."""
        return _digest(self._model.content())

    def document(self) -> dict[str, Any]:
        """What a file of this space holds, wherever it lies."""
        found = self.definition.model_dump(mode="json", exclude_none=True)
        if isinstance(self._model, ScaledModel):
            found["model"] = str(self._model.path.resolve())
        return found

    def options(self) -> dict[str, tuple[Any, ...]]:
        """Every choice's name with its options, in the order in which `build` asks."""
        return dict(self._options)

    @cached_property
    def _options(self) -> dict[str, tuple[Any, ...]]:
        found: dict[str, tuple[Any, ...]] = {}

        def record(name: str, options: tuple[Option, ...]) -> Option:
            found[name] = options
            return options[0]

        self._model.build(record)
        return found

    def size(self) -> int:
        """How many combinations of choices there are."""
        return math.prod(len(options) for options in self.options().values())

    def build(
        self, choose: Choose, num_classes: int = USUAL_CLASSES, anchors: Anchors = DEFAULT_ANCHORS
    ) -> Candidate:
        """The candidate that `choose` picks: its rows state true widths, multiples are 1."""
        asked: list[tuple[str, int | float | str]] = []

        def ask(name: str, options: tuple[Option, ...]) -> Option:
            value = choose(name, options)
            assert value in options, f"{value!r} is no option of {name}: {options}"
            asked.append((name, value))
            return value

        spec, image_size = self._model.build(ask)
        spec = with_anchors(with_classes(spec, num_classes), anchors)
        return Candidate(
            spec=spec,
            image_size=image_size,
            choices=tuple(asked),
            digest=architecture_digest(spec, image_size),
        )

    def random(
        self,
        rng: np.random.Generator,
        num_classes: int = USUAL_CLASSES,
        anchors: Anchors = DEFAULT_ANCHORS,
    ) -> Candidate:
        """A candidate with every choice drawn uniformly."""

        def draw(name: str, options: tuple[Option, ...]) -> Option:
            return options[int(rng.integers(len(options)))]

        return self.build(draw, num_classes, anchors)

    def rebuild(
        self,
        choices: Mapping[str, Any],
        num_classes: int = USUAL_CLASSES,
        anchors: Anchors = DEFAULT_ANCHORS,
    ) -> Candidate:
        """The candidate with these choices; SpaceError where one is missing or no option."""

        def look_up(name: str, options: tuple[Option, ...]) -> Option:
            if name not in choices or choices[name] not in options:
                got = repr(choices[name]) if name in choices else "nothing"
                raise SpaceError(f"{self.name}, {name}", f"the choice is one of {options}", got)
            return options[options.index(choices[name])]

        return self.build(look_up, num_classes, anchors)

    def blocks(self, *num_classes: int) -> tuple[Block, ...]:
        """Every distinct block that a candidate of this space can have, at every image size.

        num_classes   those of Detect: for one number (80, where none is given) or for each of more

        A block depends on a few neighbouring choices only, so a covering family of candidates
        finds them all without enumerating the space (see `_covering`).
        """
        found: dict[Block, None] = {}
        for choices in self._covering():
            candidate = self.rebuild(choices)
            *before, last = layers(candidate.spec, candidate.image_size)
            heads = [
                detect_blocks(last, candidate.spec, one) for one in num_classes or (USUAL_CLASSES,)
            ]
            found.update(dict.fromkeys(block for layer in before for block in layer.blocks))
            for level in zip(*heads, strict=True):
                found.update(dict.fromkeys(level))
        return tuple(found)

    def _covering(self) -> Iterator[dict[str, Any]]:
        """Choices that together show every block.

        Scaled models have few choices, of which all combinations are taken.
        """
        options = self.options()
        if isinstance(self._model, StagedModel):
            yield from self._model.covering(options)
            return
        for picked in itertools.product(*options.values()):
            yield dict(zip(options, picked, strict=True))


def architecture_digest(spec: ModelSpec, image_size: ImageSize) -> str:
    """16 hex digits of what is built: rows, activation and image size; not classes or anchors."""
    rows = [[list(row.source), row.number, row.module, list(row.args)] for row in spec.rows]
    return _digest([rows, spec.activation, written(image_size)])


def read_space(name_or_path: str | Path) -> SearchSpace:
    """The space of a YAML file, or of the nearest `search_spaces/<name>.yaml` (nas.places).

    SpaceError names the file, the stage and the field, with the rule and what was got.
    """
    path = _space_path(str(name_or_path))
    if not path.exists():
        raise SpaceError(str(path), "the search space exists", "no such file", _known_spaces())
    return make_space(read_yaml(path, "the search space", SpaceError), path.stem, str(path))


def _space_path(name_or_path: str) -> Path:
    """The file that is meant; SpaceError for a name that no place has."""
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") or (name_or_path and not places.is_name(name_or_path)):
        return places.found_path("search_spaces", path)
    found = places.find("search_spaces", f"{name_or_path}.yaml")
    if found is None:
        raise SpaceError(
            f"space {name_or_path}",
            "a space is a YAML file, or the name of one in search_spaces/",
            "no such space",
            _known_spaces(),
        )
    return found


def _known_spaces() -> str:
    known = places.listed("search_spaces", "*.yaml").values()
    return f"There are: {places.told({path.stem: path.parent for path in known})}"


def with_sizes(space: SearchSpace, sizes: Iterable[ImageSize], name: str) -> SearchSpace:
    """The same space with other image sizes, each once, under another name."""
    document = space.document()
    document["image_size"] = [written(size) for size in sorted(set(sizes), key=by_area)]
    return make_space(document, name, space.where)


def parse_space(text: str, name: str, where: str) -> SearchSpace:
    """The space described by YAML text; `where` names it in errors (SpaceError)."""
    return make_space(parse_yaml(text, where, SpaceError), name, where)


def make_space(document: Any, name: str, where: str) -> SearchSpace:
    """The space that a YAML's document describes (SpaceError)."""
    if not isinstance(document, dict):
        raise SpaceError(where, "a space is a mapping", type(document).__name__)
    try:
        kind = _kind(document)
        definition = kind.model_validate(document)
    except ValidationError as error:
        raise _space_error(error, where, kind) from None
    return SearchSpace(name, definition, where)


def _kind(document: dict[Any, Any]) -> type[Definition]:
    """Which kind of space a file describes, by the key that only this kind has."""
    if "model" in document:
        return ScaledDefinition
    return CompoundDefinition if "family" in document else SpaceDefinition


def _space_error(error: ValidationError, where: str, kind: type[BaseModel]) -> SpaceError:
    """The first finding of pydantic's as one of ours: file, stage and field, rule, what was got."""
    first = error.errors()[0]
    place = ""
    for part in first["loc"]:
        if isinstance(part, int):
            # Stages count from 1, as their choices are named (stage1.width).
            place += f" {part + 1}" if place == "stages" else f"[{part}]"
        else:
            place += f".{part}" if place else str(part)
    place = place.replace("stages ", "stage ")
    more = len(error.errors()) - 1
    remedy = f"{more} more like it follow" if more else ""
    if first["type"] == "extra_forbidden":
        known = _known_keys(first["loc"][:-1], kind)
        return SpaceError(
            f"{where}, {place}", f"the keys here are {known}", "an unknown key", remedy
        )
    message = first["msg"].removeprefix("Value error, ")
    got = "nothing" if first["type"] == "missing" else repr(first["input"])
    return SpaceError(f"{where}, {place}", message[0].lower() + message[1:], got, remedy)


def _known_keys(place: tuple[int | str, ...], whole: type[BaseModel]) -> str:
    parts: dict[str, type[BaseModel]] = {"stem": Stem, "stages": Stage, "neck": Neck, "head": Head}
    model = parts[str(place[0])] if place else whole
    return ", ".join(model.model_fields)


def _digest(value: Any) -> str:
    text = json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _canonical(value: Any) -> Any:
    """Whole floats as integers, so that 4 and 4.0 are one architecture."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    return value
