"""A detector as a model YAML in YOLOv5 v6 form, in and out.

    nc: 80
    depth_multiple: 1.0        # applied on reading, written as 1.0
    width_multiple: 1.0
    channel_multiple: 1        # optional: what widths are rounded up to a multiple of, 8 (YOLOv5's
                               # key and rule). Written as 1: a file of ours states true widths
    max_channels: 1024         # optional cap before the width multiple; scale.py: YOLOv8's `scales`
    activation: nn.SiLU()      # optional; activation.py
    image_size: 320            # optional: the pixels that it was made for, multiples of 32;
                               # 320x192 is a rectangle, width x height
    anchors: [[10,13, 16,30, 33,23], [30,61, ...], [116,90, ...]]    # pixels, P3 P4 P5; or 3: so
                               # many for each level, which nas.train fits to the data; none
                               # under a head without: Detect, [nc] or LightDetect
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

from nas import places
from nas.documents import decoded, parse_yaml
from nas.space.anchors import DEFAULT_ANCHORS, Anchors, read_anchors
from nas.space.image_size import ImageSize, by_area, read_image_size
from nas.space.modules import (
    MODULES,
    Module,
    SpecError,
    check_module,
)
from nas.space.modules.activation import read_activation, written_activation
from nas.space.modules.argument import is_int
from nas.space.modules.yolov5_lite import translated
from nas.space.scale import DIVISOR, SCALE_KEYS, Scale, family_file, read_scale

__all__ = [
    "KEYS",
    "USUAL_CLASSES",
    "USUAL_IMAGE_SIZE",
    "ModelSpec",
    "Row",
    "dump_spec",
    "image_size_of",
    "make_row",
    "model_text",
    "parse_spec",
    "parse_written",
    "read_spec",
    "with_anchors",
    "with_classes",
]

USUAL_CLASSES: Final = 80
"""Classes of a detector where nothing is said of them (COCO's)."""

USUAL_IMAGE_SIZE: Final = 320
"""Pixels of the image where neither a flag nor a model says it."""

MOST_CLASSES: Final = 10_000
MOST_REPEATS: Final = 1000
WIDEST: Final = 100_000
"""Far above any detector: a slip of the finger is met where it is read, not by a full memory."""

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
    image_size  of the images that it was made for; None: not said
    has_open_anchors   its file says only how many anchors a level has: those here are no data's
    where       its file, for messages
    """

    num_classes: int
    backbone: tuple[Row, ...]
    head: tuple[Row, ...]
    anchors: Anchors = DEFAULT_ANCHORS
    activation: str = "SiLU"
    image_size: ImageSize | None = None
    has_open_anchors: bool = False
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
    return replace(spec, anchors=anchors, has_open_anchors=False) if spec.anchors else spec


def image_size_of(asked: int | str | None, specs: Sequence[ModelSpec]) -> ImageSize:
    """The image size that is asked for, else the one that all specs say, else 320.

    asked   as a flag has it: 320, or 320x192 for width x height

    SpecError where it is none, or specs differ.
    """
    said = {spec.image_size for spec in specs if spec.image_size is not None}
    if asked is None and len(said) > 1:
        raise SpecError(
            "--image-size",
            "models of different image sizes are told one for all, or come one size at a time",
            ", ".join(map(str, sorted(said, key=by_area))),
        )
    if asked is not None:
        return read_image_size(asked, "--image-size")
    return next(iter(said), USUAL_IMAGE_SIZE)


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
        content = family_file(path).read_bytes()
    except FileNotFoundError:
        raise SpecError(
            str(path),
            "the model YAML exists",
            "no such file",
            "A model that ships goes by its name without an ending, as yolov5n does",
        ) from None
    except OSError as error:
        raise SpecError(str(path), "the model YAML can be read", str(error)) from None
    return decoded(content, str(path), SpecError)


def parse_written(text: str, where: str = "model YAML") -> ModelSpec:
    """The detector in text that `dump_spec` wrote: true widths, also where it is of a time before
    this stood in it."""
    return parse_spec(text, where, channel_multiple=1)


def parse_spec(
    text: str,
    where: str = "model YAML",
    name: str = "",
    multiples: tuple[float, float] | None = None,
    channel_multiple: int = DIVISOR,
) -> ModelSpec:
    """The detector described by YAML text; `where` names it in errors (SpecError).

    name       of the file, without its ending: it may say which of the `scales` is meant
    multiples  of depth and width, in place of the file's own
    channel_multiple   what widths are rounded up to a multiple of where the file doesn't say it
    """
    document = _mapping(parse_yaml(text, where, SpecError), where)
    num_classes, image_size = document["nc"], document.get("image_size")
    if not is_int(num_classes) or not 1 <= num_classes <= MOST_CLASSES:
        rule = f"the number of classes is at least 1 and at most {MOST_CLASSES}"
        raise SpecError(f"{where}, nc", rule, repr(num_classes))
    if image_size is not None:
        image_size = read_image_size(image_size, f"{where}, image_size")
    scale = read_scale({"channel_multiple": channel_multiple, **document}, where, name)
    if multiples is not None:
        scale = scale.at(*multiples)
    head = _read_rows(document["head"], f"{where}, head", scale)
    activation = document.get("activation")
    return ModelSpec(
        num_classes=num_classes,
        backbone=_read_rows(document["backbone"], f"{where}, backbone", scale),
        head=head,
        anchors=_anchors_of(document, head[-1], where),
        activation="SiLU"
        if activation is None
        else read_activation(activation, f"{where}, activation"),
        image_size=image_size,
        has_open_anchors=is_int(document.get("anchors")),
        where=where,
    )


def _mapping(document: Any, where: str) -> dict[Any, Any]:
    """The document, if its keys are those of a model."""
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
    return document


def dump_spec(spec: ModelSpec, comment: str = "") -> str:
    """YAML text in YOLOv5 v6 form, true widths; `parse_spec` gives the same spec back."""
    lines = [f"# {line}" for line in comment.splitlines()]
    lines += [f"nc: {spec.num_classes}", "depth_multiple: 1.0", "width_multiple: 1.0"]
    lines.append("channel_multiple: 1  # widths as they stand, no multiples of 8")
    if spec.activation != "SiLU":
        lines.append(f"activation: {written_activation(spec.activation)}")
    if spec.image_size is not None:
        lines.append(f"image_size: {spec.image_size}")
    lines += _anchor_lines(spec)
    for name, rows in (("backbone", spec.backbone), ("head", spec.head)):
        lines.append(f"{name}:")
        lines.append("  # [from, number, module, args]")
        lines += [f"  - {_row_text(row)}" for row in rows]
    return "\n".join(lines) + "\n"


def _anchors_of(document: dict[Any, Any], last: Row, where: str) -> Anchors:
    """The anchors; none where the last row says that its head has none."""
    if not MODULES[last.module].is_head or "anchors" in last.args:
        stated = document.get("anchors", [list(level) for level in DEFAULT_ANCHORS])
        return read_anchors(stated, len(last.source), f"{where}, anchors")
    if "anchors" in document:
        raise SpecError(
            f"{where}, anchors",
            f"a model whose head has no anchors, {last.module} [nc], states none",
            "the key anchors",
            "Remove it, or write Detect, [nc, anchors]",
        )
    return ()


def _anchor_lines(spec: ModelSpec) -> list[str]:
    if not spec.anchors:
        return []
    if spec.has_open_anchors:
        return [f"anchors: {len(spec.anchors[0]) // 2}  # for each level, to be fitted to the data"]
    levels = (", ".join(map(_number, level)) for level in spec.anchors)
    return ["anchors:", *(f"  - [{level}]" for level in levels)]


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
    if not sources or not all(map(is_int, sources)):
        raise SpecError(where, "'from' is a row's number or a list of them", repr(source))
    if not is_int(number) or not 1 <= number <= MOST_REPEATS:
        rule = f"the number of repeats is at least 1 and at most {MOST_REPEATS}"
        raise SpecError(where, rule, repr(number))
    module, args = translated(module, [_read_name(arg) for arg in args], where)
    known = check_module(module, where)
    _name_activation(known, args, where)
    known.read(tuple(args), where)
    if known.has_channels:
        args[0] = scale.channels(args[0])
        if args[0] > WIDEST:
            rule = f"a row's channels are at most {WIDEST}, multiplied"
            raise SpecError(where, rule, str(args[0]), "Correct the row or the width multiple")
        known.read(tuple(args), where)
    return Row(
        source=tuple(sources), number=scale.number(number), module=known.name, args=tuple(args)
    )


def _name_activation(module: Module, args: list[Any], where: str) -> None:
    """Puts the name here in the place of a row's activation as people write it."""
    place = module.position_of("activation")
    if place is not None and place < len(args) and args[place] is not None:
        args[place] = read_activation(
            args[place], f"{where}, argument 'activation' of {module.name}"
        )


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
