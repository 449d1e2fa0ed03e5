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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
import yaml
from pydantic import BaseModel, Field, ValidationError

from nas.space.arguments import ACTIVATIONS
from nas.space.blocks import Block, blocks
from nas.space.choices import (
    Choose,
    Depth,
    Kernel,
    Option,
    Options,
    Size,
    SpaceError,
    Strict,
    Width,
)
from nas.space.scaled import ScaledDefinition, ScaledModel
from nas.space.spec import (
    DEFAULT_ANCHORS,
    Anchors,
    ModelSpec,
    Row,
    with_anchors,
    with_classes,
)

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

SPACES: Final = Path(__file__).resolve().parents[2] / "search_spaces"
"""Where a space is looked for when it is given by name."""

USUAL_CLASSES: Final = 80
"""Classes of a candidate where nothing is said of them (COCO's)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One architecture of a space: its model, its image size (pixels) and what was chosen.

    digest   16 hex digits of what is built (rows, activation, image size), blind to the classes,
             the anchors and to how it was chosen: equal digests are equal architectures
    """

    spec: ModelSpec
    image_size: int
    choices: tuple[tuple[str, int | float | str], ...]
    digest: str


Operator = Literal["FusedMBConv", "MBConv"]


class Stem(Strict):
    """The first convolution, stride 2."""

    width: Options[Width]
    kernel: Options[Kernel] = (3,)


class Stage(Strict):
    """One stage of the backbone: a first block with the stage's stride, then equal ones."""

    stride: Literal[1, 2]
    operator: Options[Operator]
    expand_ratio: Options[Annotated[float, Field(ge=1, le=16)]]
    se_ratio: Options[Annotated[float, Field(ge=0, le=1)]]
    kernel: Options[Kernel]
    depth: Options[Depth]
    width: Options[Width]


class Neck(Strict):
    """The PAN: `width` of its inner maps, `depth` of its C3s, `pool` of the SPPF before it."""

    width: Options[Width]
    depth: Options[Depth]
    pool: Options[Kernel] = (5,)


class Head(Strict):
    """What Detect reads: the width of the neck's three outputs, and the head's kind.

    plain      Detect reads the neck's outputs, as in YOLOv5
    separable  a depthwise-separable 3x3 stands between, at each level
    """

    width: Options[Width]
    kind: Options[Literal["plain", "separable"]]


class SpaceDefinition(Strict):
    """The YAML of a space, whole."""

    format: Literal[1]
    image_size: Options[Size]
    activation: Options[Literal["SiLU", "ReLU", "Hardswish", "LeakyReLU"]] = ("SiLU",)
    stem: Stem
    stages: Annotated[tuple[Stage, ...], Field(min_length=3)]
    neck: Neck
    head: Head


assert set(ACTIVATIONS) == {"SiLU", "ReLU", "Hardswish", "LeakyReLU"}


class SearchSpace:
    """A validated space: it builds candidates, counts them and lists every block they can have."""

    def __init__(
        self, name: str, definition: SpaceDefinition | ScaledDefinition, where: str
    ) -> None:
        self.name = name
        self.definition = definition
        self._scaled: ScaledModel | None = None
        if isinstance(definition, ScaledDefinition):
            self._scaled = ScaledModel(definition, where)
        else:
            self._levels = _levels(definition, where)

    @cached_property
    def digest(self) -> str:
        """16 hex digits of the space's content, blind to the layout of its file."""
        content = self.definition.model_dump(mode="json")
        if self._scaled is not None:
            content["model"] = self._scaled.content()
        return _digest(content)

    def options(self) -> dict[str, tuple[Any, ...]]:
        """Every choice's name with its options, in the order in which `build` asks."""
        found: dict[str, tuple[Any, ...]] = {}

        def record(name: str, options: tuple[Option, ...]) -> Option:
            found[name] = options
            return options[0]

        self._build(record)
        return found

    def size(self) -> int:
        """How many combinations of choices there are."""
        return math.prod(len(options) for options in self.options().values())

    def build(
        self, choose: Choose, num_classes: int = 80, anchors: Anchors = DEFAULT_ANCHORS
    ) -> Candidate:
        """The candidate that `choose` picks: its rows state true widths, multiples are 1."""
        asked: list[tuple[str, int | float | str]] = []

        def ask(name: str, options: tuple[Option, ...]) -> Option:
            value = choose(name, options)
            assert value in options, f"{value!r} is no option of {name}: {options}"
            asked.append((name, value))
            return value

        spec, image_size = self._build(ask)
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
        num_classes: int = 80,
        anchors: Anchors = DEFAULT_ANCHORS,
    ) -> Candidate:
        """A candidate with every choice drawn uniformly."""

        def draw(name: str, options: tuple[Option, ...]) -> Option:
            return options[int(rng.integers(len(options)))]

        return self.build(draw, num_classes, anchors)

    def rebuild(
        self,
        choices: Mapping[str, Any],
        num_classes: int = 80,
        anchors: Anchors = DEFAULT_ANCHORS,
    ) -> Candidate:
        """The candidate with these choices; SpaceError where one is missing or no option."""

        def look_up(name: str, options: tuple[Option, ...]) -> Option:
            if name not in choices or choices[name] not in options:
                got = repr(choices[name]) if name in choices else "nothing"
                raise SpaceError(f"{self.name}, {name}", f"the choice is one of {options}", got)
            return options[options.index(choices[name])]

        return self.build(look_up, num_classes, anchors)

    def blocks(self, num_classes: int = 80) -> tuple[Block, ...]:
        """Every distinct block that a candidate of this space can have, at every image size.

        A block depends on a few neighbouring choices only, so a covering family of candidates
        finds them all without enumerating the space (see `_covering`).
        """
        found: dict[Block, None] = {}
        for choices in self._covering():
            candidate = self.rebuild(choices, num_classes)
            found.update(dict.fromkeys(blocks(candidate.spec, candidate.image_size)))
        return tuple(found)

    def _build(self, ask: Choose) -> tuple[ModelSpec, int]:
        """The model that is chosen, of the usual classes and anchors, and its image size."""
        if self._scaled is not None:
            return self._scaled.build(ask)
        definition = self.definition
        assert isinstance(definition, SpaceDefinition)
        image_size = ask("image_size", definition.image_size)
        activation = ask("activation", definition.activation)
        stem = definition.stem
        rows = [
            _row(-1, 1, "Conv", ask("stem.width", stem.width), ask("stem.kernel", stem.kernel), 2)
        ]
        ends: list[int] = []
        for number, stage in enumerate(definition.stages, start=1):
            rows += _stage_rows(ask, f"stage{number}", stage)
            ends.append(len(rows) - 1)
        width = rows[-1].args[0]
        rows.append(_row(-1, 1, "SPPF", width, ask("neck.pool", definition.neck.pool)))
        taps = [ends[level] for level in self._levels[:2]]
        head = _neck_rows(ask, definition.neck, definition.head, taps, len(rows))
        spec = ModelSpec(
            num_classes=USUAL_CLASSES, backbone=tuple(rows), head=head, activation=activation
        )
        return spec, image_size

    def _covering(self) -> Iterator[dict[str, Any]]:
        """Choices that together show every block.

        A stage's blocks depend on the width before it and on its own operator, expansion, SE,
        kernel and width. With the widths of odd and even stages run through all pairs, and all
        stages run through their own variants at once, every such combination comes up. The
        neck's and head's blocks depend on their own choices and on one backbone width each.
        Everything repeats at every image size and activation. A scaled model has few choices, of
        which all combinations are taken.
        """
        options = self.options()
        if not isinstance(self.definition, SpaceDefinition):
            for picked in itertools.product(*options.values()):
                yield dict(zip(options, picked, strict=True))
            return
        first = {name: values[0] for name, values in options.items()}
        deepest = {n: v[-1] for n, v in options.items() if n.endswith(".depth")}
        stages = range(1, len(self.definition.stages) + 1)
        widths = ["stem.width", *(f"stage{i}.width" for i in stages)]
        most = max(len(options[name]) for name in widths)
        variants = [
            list(itertools.product(*(options[f"stage{i}.{field}"] for field in _VARIANT)))
            for i in stages
        ]
        around = [
            "stem.kernel",
            "neck.pool",
            *(n for n in options if n.startswith(("neck.", "head."))),
        ]
        around = list(dict.fromkeys(around))
        for size, activation in itertools.product(options["image_size"], options["activation"]):
            base = {**first, **deepest, "image_size": size, "activation": activation}
            for pair in itertools.product(range(most), repeat=2):
                chain = {
                    name: options[name][pair[i % 2] % len(options[name])]
                    for i, name in enumerate(widths)
                }
                for turn in range(max(map(len, variants))):
                    chosen = dict(base, **chain)
                    for i, own in zip(stages, variants, strict=True):
                        picked = own[turn % len(own)]
                        chosen.update(
                            {f"stage{i}.{f}": v for f, v in zip(_VARIANT, picked, strict=True)}
                        )
                    yield chosen
            for index in range(most):
                chain = {name: options[name][index % len(options[name])] for name in widths}
                for values in itertools.product(*(options[name] for name in around)):
                    yield {**base, **chain, **dict(zip(around, values, strict=True))}


_VARIANT: Final = ("operator", "expand_ratio", "se_ratio", "kernel")


def architecture_digest(spec: ModelSpec, image_size: int) -> str:
    """16 hex digits of what is built: rows, activation and image size; not classes or anchors."""
    rows = [[list(row.source), row.number, row.module, list(row.args)] for row in spec.rows]
    return _digest([rows, spec.activation, image_size])


def read_space(name_or_path: str | Path) -> SearchSpace:
    """The space of a YAML file, or of `search_spaces/<name>.yaml`.

    SpaceError names the file, the stage and the field, with the rule and what was got.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = SPACES / f"{name_or_path}.yaml"
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in SPACES.glob("*.yaml")))
            raise SpaceError(
                f"space {name_or_path}",
                "a space is a YAML file, or the name of one in search_spaces/",
                "no such space",
                f"There are: {known}",
            )
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpaceError(str(path), "the search space exists", "no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpaceError(str(path), "the search space can be read", str(error)) from None
    return parse_space(text, path.stem, str(path))


def parse_space(text: str, name: str, where: str) -> SearchSpace:
    """The space described by YAML text; `where` names it in errors (SpaceError)."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise SpaceError(where, "the file is plain YAML (no code, no tags)", reason) from None
    if not isinstance(document, dict):
        raise SpaceError(where, "a space is a mapping", type(document).__name__)
    try:
        kind = ScaledDefinition if "model" in document else SpaceDefinition
        definition = kind.model_validate(document)
    except ValidationError as error:
        raise _space_error(error, where, kind) from None
    return SearchSpace(name, definition, where)


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


def _levels(definition: SpaceDefinition, where: str) -> tuple[int, int, int]:
    """The stages that end P3, P4 and P5: the last ones at strides 8, 16 and 32."""
    stride, at = 2, {}
    for index, stage in enumerate(definition.stages):
        stride *= stage.stride
        at[stride] = index
    if stride != 32 or not {8, 16, 32} <= at.keys():
        raise SpaceError(
            f"{where}, stages",
            "the strides of stem (2) and stages multiply to 32, passing 8 and 16 (P3, P4, P5)",
            " x ".join(["2", *(str(stage.stride) for stage in definition.stages)]) + f" = {stride}",
        )
    return at[8], at[16], at[32]


def _row(source: int | tuple[int, ...], number: int, module: str, *args: Any) -> Row:
    sources = source if isinstance(source, tuple) else (source,)
    return Row(source=sources, number=number, module=module, args=args)


def _stage_rows(ask: Choose, name: str, stage: Stage) -> list[Row]:
    """The first block in a row of its own, the rest (equal ones) in a second row."""
    operator = ask(f"{name}.operator", stage.operator)
    expand = ask(f"{name}.expand_ratio", stage.expand_ratio)
    squeeze = ask(f"{name}.se_ratio", stage.se_ratio)
    kernel = ask(f"{name}.kernel", stage.kernel)
    depth = ask(f"{name}.depth", stage.depth)
    width = ask(f"{name}.width", stage.width)
    rows = [_row(-1, 1, operator, width, kernel, stage.stride, expand, squeeze)]
    if depth > 1:
        rows.append(_row(-1, depth - 1, operator, width, kernel, 1, expand, squeeze))
    return rows


def _neck_rows(ask: Choose, neck: Neck, head: Head, taps: list[int], start: int) -> tuple[Row, ...]:
    """YOLOv5 v6's PAN on one inner width (G1 of ShuffleNetV2), then the head.

    taps    rows of the backbone that end P3 and P4
    start   the row number of the first row here
    """
    inner, depth = ask("neck.width", neck.width), ask("neck.depth", neck.depth)
    out, kind = ask("head.width", head.width), ask("head.kind", head.kind)
    p3, p4 = taps
    rows = [
        _row(-1, 1, "Conv", inner, 1, 1),
        _row(-1, 1, "nn.Upsample", None, 2, "nearest"),
        _row((-1, p4), 1, "Concat", 1),
        _row(-1, depth, "C3", inner, False),
        _row(-1, 1, "Conv", inner, 1, 1),
        _row(-1, 1, "nn.Upsample", None, 2, "nearest"),
        _row((-1, p3), 1, "Concat", 1),
        _row(-1, depth, "C3", out, False),
        _row(-1, 1, "Conv", inner, 3, 2),
        _row((-1, start + 4), 1, "Concat", 1),
        _row(-1, depth, "C3", out, False),
        _row(-1, 1, "Conv", inner, 3, 2),
        _row((-1, start), 1, "Concat", 1),
        _row(-1, depth, "C3", out, False),
    ]
    ends = (start + 7, start + 10, start + 13)
    if kind == "separable":
        rows += [_row(end, 1, "DWConvBlock", out, 3, 1) for end in ends]
        ends = (start + 14, start + 15, start + 16)
    rows.append(_row(ends, 1, "Detect", "nc", "anchors"))
    return tuple(rows)


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
