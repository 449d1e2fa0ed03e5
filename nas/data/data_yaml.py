"""The door for a YOLO data.yaml: what may stand in it, and what it means."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from nas.data.images import DataError
from nas.documents import read_yaml

logger = logging.getLogger(__name__)

TOLERATED_KEYS: Final = frozenset(
    {
        "author", "channels", "colors", "date", "description", "download", "flip_idx", "imgsz",
        "is_coco", "kaggle", "kpt_names", "license", "minival", "roboflow", "stride", "url",
        "version", "yaml_file",
    }
)  # fmt: skip
"""Keys that other tools write into a data.yaml and that change nothing here."""

LIKENESS: Final = 0.75
"""An unknown key as like one of ours as this is taken for a misspelling."""


class DataFile(BaseModel):
    """A data.yaml as it stands in the file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    path: str | None = None
    train: str | list[str]
    val: str | list[str]
    test: str | list[str] | None = None
    nc: int | None = None
    names: list[str] | dict[int, str]
    kpt_shape: list[int] | None = None
    """Key points of an object, and the numbers of each: 2, or 3 with the visibility."""
    task: str | None = None
    """`segment` and `obb` say that long label rows are polygons."""


def read_document(file: Path) -> DataFile:
    """The data.yaml, checked against its form."""
    raw = _read_mapping(file)
    if "val" not in raw and "validation" in raw:
        logger.warning("%s: `validation:` is taken for `val:`, as Ultralytics does", file)
        raw["val"] = raw.pop("validation")
    if "names" not in raw and isinstance(raw.get("nc"), int) and raw["nc"] > 0:
        raw["names"] = [f"class_{number}" for number in range(raw["nc"])]
        logger.warning(
            "%s: no `names:`; the classes are called %s, as Ultralytics does",
            file, ", ".join(raw["names"][:3]) + (", ..." if raw["nc"] > 3 else ""),
        )  # fmt: skip
    ignored = _ignored(file, raw)
    kept = {key: value for key, value in raw.items() if key not in ignored}
    for part in ("train", "val"):
        if part in kept and not _is_given(kept[part]):
            del kept[part]
    if "test" in kept and (kept["test"] == [] or not _is_given(kept["test"])):
        del kept["test"]  # YOLOv5 and Ultralytics skip an empty one
    try:
        document = DataFile.model_validate(kept)
    except ValidationError as error:
        raise _form_error(file, error) from error
    _check_key_points(file, document)
    return document


def _is_given(part: Any) -> bool:
    """Whether a part's entry names anything."""
    if isinstance(part, str):
        return bool(part.strip())
    if isinstance(part, list) and part:
        return any(_is_given(entry) for entry in part)
    return part is not None


def _read_mapping(file: Path) -> dict[str, Any]:
    """The mapping that stands in the file, its names as they are spelled there."""
    raw = read_yaml(
        file,
        "--data, a data.yaml or the word `shapes`,",
        DataError,
        lambda tree: _keep_names(file, tree),
    )
    if not isinstance(raw, dict):
        raise DataError(
            str(file),
            "a data.yaml is a mapping with train, val and names",
            "nothing" if raw is None else type(raw).__name__,
            "See a YOLO data.yaml for the form",
        )
    return {str(key): value for key, value in raw.items()}


def _keep_names(file: Path, tree: yaml.Node) -> None:
    """Makes text of class names that YAML takes for something else, as they are spelled."""
    if not isinstance(tree, yaml.MappingNode):
        return
    changed = []
    for node in _name_nodes(tree):
        is_text = node.tag == "tag:yaml.org,2002:str"
        if not is_text and node.value.strip() not in ("", "~"):
            node.tag = "tag:yaml.org,2002:str"
            changed.append(node.value)
    if changed:
        quoted = ", ".join(f'"{name}"' for name in changed[:5])
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        logger.warning(
            "%s: names: %s%s taken as text (YAML without quotes makes true, false, numbers or "
            "dates of them; other tools then show those)",
            file, quoted, more,
        )  # fmt: skip


def _name_nodes(tree: yaml.MappingNode) -> Iterator[yaml.ScalarNode]:
    """The scalars that name classes."""
    for key, value in tree.value:
        if key.value != "names":
            continue
        if isinstance(value, yaml.SequenceNode):
            nodes = value.value
        elif isinstance(value, yaml.MappingNode):
            for number, _ in value.value:
                if isinstance(number, yaml.ScalarNode) and number.value.isdecimal():
                    number.tag = "tag:yaml.org,2002:int"  # "0" in quotes is 0, as elsewhere
            nodes = [node for _, node in value.value]
        else:
            nodes = []
        yield from (node for node in nodes if isinstance(node, yaml.ScalarNode))


def _ignored(file: Path, raw: dict[str, Any]) -> set[str]:
    """The keys that mean nothing here; those that no tool is known to write are named."""
    ours = list(DataFile.model_fields)
    unknown = [key for key in raw if key not in ours and key not in TOLERATED_KEYS]
    foreign = [
        key
        for key in unknown
        if not difflib.get_close_matches(key.lower(), ours, n=1, cutoff=LIKENESS)
    ]
    if foreign:
        logger.warning(
            "%s: not known here, and without effect: %s",
            file, ", ".join(f"`{key}:`" for key in foreign),
        )  # fmt: skip
    return {*TOLERATED_KEYS, *foreign}


def _form_error(file: Path, error: ValidationError) -> DataError:
    """The first thing pydantic found wrong, in our words."""
    first = error.errors()[0]
    key = str(first["loc"][0]) if first["loc"] else "data.yaml"
    allowed = ", ".join(DataFile.model_fields)
    if first["type"] == "extra_forbidden":
        return DataError(
            f"{file}: {key}",
            f"the keys of a data.yaml are {allowed}",
            f"the unknown key `{key}`",
            "Remove it or correct its spelling",
        )
    if first["type"] == "missing":
        return DataError(
            f"{file}: {key}", f"`{key}:` must be given", "nothing", "Add it to the file"
        )
    forms = {
        "names": "a list of class names, or a mapping of 0, 1, ... to them",
        "nc": "the number of classes, a whole number",
        "kpt_shape": "a list of two numbers, such as [17, 3]",
        "task": "a word, such as detect, pose or segment",
        "path": "a folder",
    }
    rule = forms.get(key, "a folder, a list of folders, or a .txt file that lists images")
    return DataError(f"{file}: {key}", f"`{key}:` is {rule}", repr(first["input"]), "Write it so")


def _check_key_points(file: Path, document: DataFile) -> None:
    """Raises DataError for a shape of key points that can't be."""
    shape = document.kpt_shape
    if shape is None:
        return
    if len(shape) != 2 or shape[0] < 1 or shape[1] not in (2, 3):
        raise DataError(
            f"{file}: kpt_shape",
            "`kpt_shape:` is the number of key points and 2 or 3 (x y, or x y visibility)",
            str(shape),
            "Write it so, for instance [17, 3]; leave it out if the labels have no key points",
        )


def class_names(file: Path, document: DataFile) -> tuple[str, ...]:
    """The class names in order; nc, where given, must count them."""
    given = document.names
    if isinstance(given, dict):
        if sorted(given) != list(range(len(given))):
            raise DataError(
                f"{file}: names",
                "the classes are numbered 0, 1, 2, ... without a gap",
                f"the numbers {sorted(given)}",
                "Renumber them",
            )
        given = [given[index] for index in range(len(given))]
    if not given:
        raise DataError(f"{file}: names", "at least one class is named", "none", "Name the classes")
    unnamed = next((index for index, name in enumerate(given) if not name.strip()), None)
    if unnamed is not None:
        raise DataError(
            f"{file}: names", "each class has a name", f"none for class {unnamed}", "Name it"
        )
    twice = next((name for name in given if given.count(name) > 1), None)
    if twice is not None:
        raise DataError(
            f"{file}: names", "the class names differ", f"`{twice}` twice", "Rename one of them"
        )
    if document.nc is not None and document.nc != len(given):
        raise DataError(
            f"{file}: nc",
            f"nc is the number of names ({len(given)})",
            str(document.nc),
            "Correct nc, or leave it out",
        )
    return tuple(given)
