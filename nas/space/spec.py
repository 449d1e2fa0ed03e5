"""A detector as a model YAML in YOLOv5 v6 form, in and out.

    nc: 80
    depth_multiple: 1.0        # applied on reading; written as 1.0, so a file states true widths
    width_multiple: 1.0
    max_channels: 1024         # optional cap before the width multiple; scale.py: YOLOv8's `scales`
    activation: SiLU           # optional
    image_size: 320            # optional: the pixels that it was made for, a multiple of 32
    anchors: [[10,13, 16,30, 33,23], [30,61, ...], [116,90, ...]]    # pixels, P3 P4 P5; none
                               # where the last row is an anchor-free Detect, [nc]
    backbone: [[from, number, module, args], ...]
    head: [...]

Read with a safe YAML loader and no `eval`: the only names that may stand in `args` are `nc`,
`anchors` and `None`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import yaml

from nas import places
from nas.space.arguments import (
    ACTIVATIONS,
    SpecError,
    check_module,
    has_channels,
    read_arguments,
)
from nas.space.foreign import FOREIGN, translated
from nas.space.scale import SCALE_KEYS, Scale, family_file, make_divisible, read_scale

Anchors = tuple[tuple[float, ...], ...]

DEFAULT_ANCHORS: Final[Anchors] = (
    (10, 13, 16, 30, 33, 23),
    (30, 61, 62, 45, 59, 119),
    (116, 90, 156, 198, 373, 326),
)
"""YOLOv5's anchors for COCO at 640 px: (w, h) pairs in pixels for P3, P4, P5."""

USUAL_CLASSES: Final = 80
"""Classes of a detector where nothing is said of them (COCO's)."""

USUAL_IMAGE_SIZE: Final = 320
"""Pixels of the image where neither a flag nor a model says it."""

KEYS: Final = frozenset(
    {
        "nc",
        *SCALE_KEYS,
        "activation",
        "image_size",
        "anchors",
        "backbone",
        "head",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row `[from, number, module, args]`, multiples applied.

    `source` holds `from` as written: negative counts back from this row, else a row's index.
    """

    source: tuple[int, ...]
    number: int
    module: str
    args: tuple[Any, ...]


def make_row(source: int | tuple[int, ...], number: int, module: str, *args: Any) -> Row:
    """A row of a model that is built rather than read."""
    sources = source if isinstance(source, tuple) else (source,)
    return Row(source=sources, number=number, module=module, args=args)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """A detector's description: rows with true widths and depths, classes and anchors.

    anchors     none (an empty tuple) where the head is anchor-free
    image_size  pixels of the square image that it was made for; None: not said
    where       its file, for messages
    """

    num_classes: int
    backbone: tuple[Row, ...]
    head: tuple[Row, ...]
    anchors: Anchors = DEFAULT_ANCHORS
    activation: str = "SiLU"
    image_size: int | None = None
    where: str = field(default="model", compare=False, repr=False)

    @property
    def rows(self) -> tuple[Row, ...]:
        """Backbone and head in one sequence: the indices that `from` speaks of."""
        return self.backbone + self.head


def with_classes(spec: ModelSpec, num_classes: int) -> ModelSpec:
    """The same detector for another number of classes."""
    return replace(spec, num_classes=num_classes)


def with_anchors(spec: ModelSpec, anchors: Anchors) -> ModelSpec:
    """The same detector with other anchors (pixels); one without anchors stays as it is."""
    return replace(spec, anchors=anchors) if spec.anchors else spec


def image_size_of(asked: int | None, specs: Sequence[ModelSpec]) -> int:
    """The image size that is asked for, else the one that all specs say, else 320 (pixels).

    SpecError where it isn't a multiple of 32, or specs differ.
    """
    said = {spec.image_size for spec in specs} - {None}
    if asked is None and len(said) > 1:
        raise SpecError(
            "--image-size",
            "models of different image sizes are told one for all, or come one size at a time",
            ", ".join(map(str, sorted(size for size in said if size is not None))),
        )
    size = asked if asked is not None else next(iter(said), None) or USUAL_IMAGE_SIZE
    return check_image_size(size, "--image-size")


def check_image_size(value: Any, where: str) -> int:
    """An image size; SpecError where it isn't a multiple of 32."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 32 or value % 32:
        raise SpecError(where, "the image size is a multiple of 32", repr(value))
    return value


def read_spec(path: str | Path) -> ModelSpec:
    """The detector that a model YAML describes; SpecError names the file, row and rule.

    yolov8m.yaml, where there is no such file, is scale m of yolov8.yaml.
    """
    path = model_path(Path(path))
    return parse_spec(model_text(path), str(path), path.stem)


def model_path(path: Path) -> Path:
    """The path itself where it leads to a file; a name without an ending is looked up.

    `yolov5n` and `search_spaces/reference/yolov5n.yaml` mean the nearest file of that name in
    search_spaces/reference/ (nas.places).
    """
    if places.is_file(family_file(path)):
        return path
    if not path.suffix and places.is_name(str(path)):
        return places.find("search_spaces", f"reference/{path}.yaml") or path
    return places.found_path("search_spaces", path)


def model_text(path: Path) -> str:
    """The text of a model YAML; SpecError where it can't be read."""
    try:
        return family_file(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError(
            str(path),
            "the model YAML exists",
            "no such file",
            "A model that ships goes by its name without an ending, as yolov5n does",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(str(path), "the model YAML can be read", str(error)) from None


def parse_spec(
    text: str,
    where: str = "model YAML",
    name: str = "",
    multiples: tuple[float, float] | None = None,
) -> ModelSpec:
    """The detector described by YAML text; `where` names it in errors (SpecError).

    name       of the file, without its ending: it may say which of the `scales` is meant
    multiples  of depth and width, in place of the file's own
    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise SpecError(where, "the file is plain YAML (no code, no tags)", reason) from None
    if not isinstance(document, dict):
        raise SpecError(
            where, "the file is a mapping with nc, backbone and head", type(document).__name__
        )
    unknown = sorted(str(key) for key in document if key not in KEYS)
    if unknown:
        raise SpecError(
            where, f"the keys are {', '.join(sorted(KEYS))}", f"unknown {', '.join(unknown)}"
        )
    for key in ("nc", "backbone", "head"):
        if key not in document:
            raise SpecError(where, f"the key {key} is there", "none")
    num_classes = document["nc"]
    if not isinstance(num_classes, int) or isinstance(num_classes, bool) or num_classes < 1:
        raise SpecError(f"{where}, nc", "the number of classes is at least 1", repr(num_classes))
    image_size = document.get("image_size")
    if image_size is not None:
        check_image_size(image_size, f"{where}, image_size")
    scale = read_scale(document, where, name)
    if multiples is not None:
        scale = replace(scale, depth=multiples[0], width=multiples[1])
    head = _read_rows(document["head"], f"{where}, head", scale)
    return ModelSpec(
        num_classes=num_classes,
        backbone=_read_rows(document["backbone"], f"{where}, backbone", scale),
        head=head,
        anchors=_anchors_of(document, head, where),
        activation=_read_activation(document.get("activation", "SiLU"), where),
        image_size=image_size,
        where=where,
    )


def dump_spec(spec: ModelSpec, comment: str = "") -> str:
    """YAML text in YOLOv5 v6 form, both multiples 1.0; `parse_spec` gives the same spec back."""
    lines = [f"# {line}" for line in comment.splitlines()]
    lines += [f"nc: {spec.num_classes}", "depth_multiple: 1.0", "width_multiple: 1.0"]
    if spec.activation != "SiLU":
        lines.append(f"activation: {spec.activation}")
    if spec.image_size is not None:
        lines.append(f"image_size: {spec.image_size}")
    lines += ["anchors:"] if spec.anchors else []
    lines += [f"  - [{', '.join(_number(value) for value in level)}]" for level in spec.anchors]
    for name, rows in (("backbone", spec.backbone), ("head", spec.head)):
        lines.append(f"{name}:")
        lines.append("  # [from, number, module, args]")
        lines += [f"  - {_row_text(row)}" for row in rows]
    return "\n".join(lines) + "\n"


def _read_activation(value: Any, where: str) -> str:
    name = str(value).removeprefix("nn.").removesuffix("()")
    if name not in ACTIVATIONS:
        raise SpecError(
            f"{where}, activation",
            f"the activation is one of {', '.join(ACTIVATIONS)}",
            repr(value),
        )
    return name


def _anchors_of(document: dict[Any, Any], head: tuple[Row, ...], where: str) -> Anchors:
    """The anchors; none where the last row says that its head has none."""
    if head[-1].module != "Detect" or "anchors" in head[-1].args:
        return _read_anchors(document.get("anchors", [list(a) for a in DEFAULT_ANCHORS]), where)
    if "anchors" in document:
        raise SpecError(
            f"{where}, anchors",
            "a model whose head has no anchors, Detect [nc], states none",
            "the key anchors",
            "Remove it, or write Detect, [nc, anchors]",
        )
    return ()


def _read_anchors(value: Any, where: str) -> Anchors:
    rule = "the anchors are a list for each level, of as many (w, h) pairs in each, pixels above 0"
    remedy = "Example: [[10,13, 16,30, 33,23], [30,61, 62,45, 59,119], [116,90, 156,198, 373,326]]"
    error = SpecError(f"{where}, anchors", rule, repr(value), remedy)
    if not isinstance(value, list) or not value:
        raise error
    levels = []
    for level in value:
        if (
            not isinstance(level, list)
            or not level
            or len(level) % 2
            or len(level) != len(value[0])
        ):
            raise error
        if any(not isinstance(v, int | float) or isinstance(v, bool) or not v > 0 for v in level):
            raise error
        levels.append(tuple(level))
    return tuple(levels)


def _read_rows(value: Any, where: str, scale: Scale) -> tuple[Row, ...]:
    if not isinstance(value, list) or not value:
        raise SpecError(
            where, "the part is a list of rows [from, number, module, args]", repr(value)
        )
    return tuple(_read_row(row, f"{where} row {i}", scale) for i, row in enumerate(value))


def _read_row(value: Any, where: str, scale: Scale) -> Row:
    if not isinstance(value, list) or len(value) != 4 or not isinstance(value[3], list):
        raise SpecError(where, "a row is [from, number, module, args]", repr(value))
    source, number, module, args = value
    sources = source if isinstance(source, list) else [source]
    if not sources or any(not isinstance(s, int) or isinstance(s, bool) for s in sources):
        raise SpecError(where, "'from' is a row's number or a list of them", repr(source))
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise SpecError(where, "the number of repeats is at least 1", repr(number))
    is_foreign = module in FOREIGN if isinstance(module, str) else False
    module, args = translated(module, [_read_name(arg) for arg in args], where)
    module = check_module(module, where)
    read_arguments(module, tuple(args), where)
    if has_channels(module):
        args[0] = scale.channels(args[0])
        if is_foreign:
            args[0] = make_divisible(args[0])
    return Row(source=tuple(sources), number=scale.number(number), module=module, args=tuple(args))


def _read_name(value: Any) -> Any:
    """YOLOv5 writes Python's None as text; every other name stays text and meets its rule."""
    if isinstance(value, list):
        return tuple(value)
    return None if value == "None" else value


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _row_text(row: Row) -> str:
    source = str(row.source[0]) if len(row.source) == 1 else str(list(row.source))
    return f"[{source}, {row.number}, {row.module}, [{', '.join(_text(a) for a in row.args)}]]"


def _text(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, int | float):
        return _number(value)
    return f"'{value}'" if value not in ("nc", "anchors") else str(value)
