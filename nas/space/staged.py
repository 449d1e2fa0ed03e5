"""A space of stages: a stem, stages of equal blocks, a PAN and a head, each with its choices.

The PAN has one inner width (G1 of ShuffleNetV2).

A key that a space leaves out is no choice of its: it is not asked for, and has the value that
stands beside it in `LEFT_OUT`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, Field

from nas.documents import Strict
from nas.space.anchors import DEFAULT_ANCHORS
from nas.space.choices import (
    Choose,
    Depth,
    Kernel,
    Options,
    Sizes,
    SpaceError,
    Width,
)
from nas.space.image_size import ImageSize, read_image_size
from nas.space.modules import ACTIVATIONS, MODULES
from nas.space.pan import DetectKind, Pan, detect_row, pan_rows
from nas.space.spec import USUAL_CLASSES, ModelSpec, Row, make_row

STAGE_OPERATORS: Final = tuple(
    name for name, module in MODULES.items() if module.stage_choices is not None
)
LITE: Final = "Lite"
"""EfficientNet's stem with its first block, as pretrained weights have them: a convolution of twice
the width and stride 2, then an MBConv of expansion 1 without SE (of width 16: 32 and 16)."""

STEM_STRIDES: Final = {
    **{name: one.stem_stride for name, one in MODULES.items() if one.stem_stride is not None},
    LITE: 2,
}
"""What may stand at a network's beginning -> its stride."""


def _one_of(known: tuple[str, ...]) -> AfterValidator:
    def check(value: str) -> str:
        if value not in known:
            raise ValueError(f"the value is one of {', '.join(known)}")
        return value

    return AfterValidator(check)


Operator = Annotated[str, _one_of(STAGE_OPERATORS)]
StemOperator = Annotated[str, _one_of(tuple(STEM_STRIDES))]
Activation = Annotated[str, _one_of(ACTIVATIONS)]


class Stem(Strict):
    """What reads the image: a convolution of stride 2 unless `operator` offers something else."""

    width: Options[Width]
    kernel: Options[Kernel] = (3,)
    operator: Options[StemOperator] | None = None


class Stage(Strict):
    """One stage of the backbone: a first block with the stage's stride, then equal ones.

    A C3 or C2f stands behind a convolution with the stage's kernel and stride, as in YOLOv5.
    """

    stride: Literal[1, 2]
    operator: Options[Operator]
    expand_ratio: Options[Annotated[float, Field(ge=1, le=16)]] | None = None
    se_ratio: Options[Annotated[float, Field(ge=0, le=1)]] | None = None
    kernel: Options[Kernel] | None = None
    depth: Options[Depth]
    width: Options[Width]


class Neck(Strict):
    """The PAN: `width` of its inner maps, `depth` of its blocks, and what is before it.

    pool      kernel of the pyramid pooling that ends the backbone
    pooling   its kind, or none
    join      whether maps are joined by concatenation or, brought to one width, by their sum
    operator  its blocks; with DWConvBlock its convolutions of stride 2 are depthwise-separable too
    """

    width: Options[Width]
    depth: Options[Depth]
    pool: Options[Kernel] = (5,)
    pooling: Options[Literal["SPPF", "SPP", "none"]] | None = None
    join: Options[Literal["concat", "add"]] | None = None
    operator: Options[Literal["C3", "C2f", "DWConvBlock"]] | None = None


class Head(Strict):
    """The width of the neck's three outputs, what stands behind them, and what detects.

    kind    plain: the last row reads the neck's outputs, as in YOLOv5; separable: a
            depthwise-separable 3x3 stands between, at each level
    detect  the last row: with anchors as YOLOv5's, decoupled as YOLOv8's, or a light such
    """

    width: Options[Width]
    kind: Options[Literal["plain", "separable"]]
    detect: Options[DetectKind] | None = None


class SpaceDefinition(Strict):
    """The YAML of a space of stages, whole."""

    format: Literal[1]
    image_size: Sizes
    activation: Options[Activation] = ("SiLU",)
    stem: Stem
    stages: Annotated[tuple[Stage, ...], Field(min_length=3)]
    neck: Neck
    head: Head


LEFT_OUT: Final[dict[str, Any]] = {
    "stem.operator": "Conv",
    "expand_ratio": 4.0,
    "se_ratio": 0.0,
    "kernel": 3,
    "neck.pooling": "SPPF",
    "neck.join": "concat",
    "neck.operator": "C3",
    "head.detect": "anchors",
}
"""Choice that a space may leave out -> what then holds."""

_O = TypeVar("_O", int, float, str, int | str)


def _ask(ask: Choose, name: str, options: tuple[_O, ...] | None) -> _O:
    """What is chosen, or what holds where the space leaves it out."""
    if options is None:
        found: _O = LEFT_OUT[name if name in LEFT_OUT else name.split(".")[-1]]
        return found
    return ask(name, options)


class StagedModel:
    """The networks of such a space."""

    def __init__(self, definition: SpaceDefinition, where: str) -> None:
        self.definition = definition
        self._stem_stride = _stem_stride(definition.stem, where)
        self._levels = _levels(definition, self._stem_stride, where)

    def content(self) -> Any:
        """What the space's digest is made of."""
        return self.definition.model_dump(mode="json", exclude_none=True)

    def build(self, ask: Choose) -> tuple[ModelSpec, ImageSize]:
        """The model that is chosen, of the usual classes and anchors, and its image size."""
        definition, stem, neck = self.definition, self.definition.stem, self.definition.neck
        image_size = read_image_size(ask("image_size", definition.image_size), "image_size")
        activation = ask("activation", definition.activation)
        width, kernel = ask("stem.width", stem.width), ask("stem.kernel", stem.kernel)
        operator = _ask(ask, "stem.operator", stem.operator)
        rows = _stem_rows(operator, width, kernel)
        ends: list[int] = []
        for number, stage in enumerate(definition.stages, start=1):
            rows += _stage_rows(ask, f"stage{number}", stage)
            ends.append(len(rows) - 1)
        pool = ask("neck.pool", neck.pool)
        pooling = _ask(ask, "neck.pooling", neck.pooling)
        rows += _pooling_rows(pooling, rows[-1].args[0], pool)
        taps = (ends[self._levels[0]], ends[self._levels[1]])
        head = _head_rows(ask, definition, taps, len(rows), image_size)
        spec = ModelSpec(
            num_classes=USUAL_CLASSES,
            backbone=tuple(rows),
            head=head,
            anchors=DEFAULT_ANCHORS if "anchors" in head[-1].args else (),
            activation=activation,
        )
        return spec, image_size

    def covering(self, options: dict[str, tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
        """Choices that together show every block.

        A stage's blocks depend on the width before it and on its own operator, expansion, SE,
        kernel, width and, inside a C3 or C2f, depth. With the widths of odd and even stages run
        through all pairs, and all stages run through their own variants at once, every such
        combination comes up. The stem's and the pooling's blocks depend on their own choices and
        on one backbone width each, and so do the neck's and the head's, whose last row's blocks
        depend on the head alone. Everything repeats at every image size and activation.
        """
        first = {name: values[0] for name, values in options.items()}
        deepest = {n: v[-1] for n, v in options.items() if n.endswith(".depth")}
        stages = range(1, len(self.definition.stages) + 1)
        widths = ["stem.width", *(f"stage{i}.width" for i in stages)]
        most = max(len(options[name]) for name in widths)
        variants = [_variants(options, f"stage{i}.") for i in stages]
        ends = [n for n in options if n.startswith(("stem.", "neck.pool")) and n != "stem.width"]
        heads = [n for n in options if n.startswith("head.")]
        around = [n for n in options if n.startswith("neck.") and n not in ends]
        around += [n for n in heads if n != "head.detect"]
        for size, activation in itertools.product(options["image_size"], options["activation"]):
            base = {**first, **deepest, "image_size": size, "activation": activation}
            for pair in itertools.product(range(most), repeat=2):
                chain = {
                    name: options[name][pair[i % 2] % len(options[name])]
                    for i, name in enumerate(widths)
                }
                for turn in range(max(map(len, variants))):
                    chosen = dict(base, **chain)
                    for own in variants:
                        chosen.update(own[turn % len(own)])
                    yield chosen
            for index in range(most):
                chain = {name: options[name][index % len(options[name])] for name in widths}
                for names in (ends, around, heads):
                    for values in itertools.product(*(options[name] for name in names)):
                        yield {**base, **chain, **dict(zip(names, values, strict=True))}


def _choices_of(operator: str) -> tuple[str, ...]:
    """The choices of its stage that an operator's blocks differ by, beside the widths."""
    found = MODULES[operator].stage_choices
    assert found is not None, f"{operator} is an operator of a stage"
    return found


def _variants(options: dict[str, tuple[Any, ...]], prefix: str) -> list[dict[str, Any]]:
    """A stage's choices, but its width, that make different blocks; `prefix` is its name."""
    found: list[dict[str, Any]] = []
    for operator in options[f"{prefix}operator"]:
        names = [
            f"{prefix}{field}" for field in _choices_of(operator) if f"{prefix}{field}" in options
        ]
        for values in itertools.product(*(options[name] for name in names)):
            found.append({f"{prefix}operator": operator, **dict(zip(names, values, strict=True))})
    return found


def _stem_stride(stem: Stem, where: str) -> int:
    operators = stem.operator or (LEFT_OUT["stem.operator"],)
    found = {STEM_STRIDES[operator] for operator in operators}
    if len(found) != 1:
        strides = ", ".join(f"{name} {stride}" for name, stride in STEM_STRIDES.items())
        raise SpaceError(
            f"{where}, stem.operator",
            f"the operators of a stem have one stride ({strides})",
            ", ".join(operators),
        )
    return found.pop()


def _levels(definition: SpaceDefinition, stem_stride: int, where: str) -> tuple[int, int, int]:
    """The stages that end P3, P4 and P5: the last ones at strides 8, 16 and 32."""
    stride, at = stem_stride, {}
    for index, stage in enumerate(definition.stages):
        stride *= stage.stride
        at[stride] = index
    if stride != 32 or not {8, 16, 32} <= at.keys():
        strides = [str(stem_stride), *(str(stage.stride) for stage in definition.stages)]
        raise SpaceError(
            f"{where}, stages",
            f"the strides of stem ({stem_stride}) and stages multiply to 32, passing 8 and 16 "
            "(P3, P4, P5)",
            " x ".join(strides) + f" = {stride}",
        )
    return at[8], at[16], at[32]


def _stem_rows(operator: str, width: int, kernel: int) -> list[Row]:
    if operator == "Focus":
        return [make_row(-1, 1, operator, width, kernel)]
    if operator == "Lite":
        return [
            make_row(-1, 1, "Conv", 2 * width, kernel, 2),
            make_row(-1, 1, "MBConv", width, 3, 1, 1, 0),
        ]
    return [make_row(-1, 1, operator, width, kernel, 2)]


def _stage_rows(ask: Choose, name: str, stage: Stage) -> list[Row]:
    """The first block in a row of its own, the rest (equal ones) in a second row."""
    operator = ask(f"{name}.operator", stage.operator)
    expand = _ask(ask, f"{name}.expand_ratio", stage.expand_ratio)
    squeeze = _ask(ask, f"{name}.se_ratio", stage.se_ratio)
    kernel = _ask(ask, f"{name}.kernel", stage.kernel)
    depth = ask(f"{name}.depth", stage.depth)
    width = ask(f"{name}.width", stage.width)
    if MODULES[operator].has_depth:
        return [
            make_row(-1, 1, "Conv", width, kernel, stage.stride),
            make_row(-1, depth, operator, width, True),
        ]
    values = {"kernel": kernel, "expand_ratio": expand, "se_ratio": squeeze}
    more = [values[field] for field in _choices_of(operator) if field != "kernel"]
    own = values["kernel"] if "kernel" in _choices_of(operator) else 3
    rows = [make_row(-1, 1, operator, width, own, stage.stride, *more)]
    if depth > 1:
        rows.append(make_row(-1, depth - 1, operator, width, own, 1, *more))
    return rows


def _pooling_rows(kind: str, width: int, kernel: int) -> list[Row]:
    """The pyramid pooling at a backbone's end, width kept."""
    if kind == "none":
        return []
    if kind == "SPP":
        return [make_row(-1, 1, "SPP", width, (kernel, 2 * kernel - 1, 3 * kernel - 2))]
    return [make_row(-1, 1, "SPPF", width, kernel)]


def _head_rows(
    ask: Choose,
    definition: SpaceDefinition,
    taps: tuple[int, int],
    start: int,
    image_size: ImageSize,
) -> tuple[Row, ...]:
    """The PAN, the head and the last row; `taps` end P3 and P4, `start` is the first row here."""
    neck, head = definition.neck, definition.head
    inner, depth = ask("neck.width", neck.width), ask("neck.depth", neck.depth)
    join = _ask(ask, "neck.join", neck.join)
    operator = _ask(ask, "neck.operator", neck.operator)
    out, kind = ask("head.width", head.width), ask("head.kind", head.kind)
    detect = _ask(ask, "head.detect", head.detect)
    pan = Pan(inner=(inner, inner), out=(out, out, out), depth=depth, join=join, operator=operator)
    rows, ends = pan_rows(pan, taps, start)
    if kind == "separable":
        separable = start + len(rows)
        rows += [make_row(end, 1, "DWConvBlock", out, 3, 1) for end in ends]
        ends = (separable, separable + 1, separable + 2)
    return (*rows, detect_row(detect, ends, image_size))
