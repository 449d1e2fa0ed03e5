"""The door for a YOLO data.yaml: what may stand in it, and which images it means."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from nas.documents import read_yaml
from nas.training.images import DataError

IMAGE_SUFFIXES: Final = frozenset(
    {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)

TOLERATED_KEYS: Final = frozenset(
    {
        "author", "channels", "colors", "date", "description", "download", "imgsz", "kaggle",
        "license", "minival", "roboflow", "stride", "task", "url", "version", "yaml_file",
    }
)  # fmt: skip
"""Keys that other tools write into a data.yaml and that change nothing here."""


class DataFile(BaseModel):
    """A data.yaml as it stands in the file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    path: str | None = None
    train: str | list[str]
    val: str | list[str]
    test: str | list[str] | None = None
    nc: int | None = None
    names: list[str] | dict[int, str]


def read_document(file: Path) -> DataFile:
    """The data.yaml, checked against its form."""
    raw = read_yaml(file, "--data, a data.yaml or the word `shapes`,", DataError)
    if not isinstance(raw, dict):
        raise DataError(
            str(file),
            "a data.yaml is a mapping with train, val and names",
            type(raw).__name__,
            "See a YOLO data.yaml for the form",
        )
    kept = {key: value for key, value in raw.items() if key not in TOLERATED_KEYS}
    try:
        return DataFile.model_validate(kept)
    except ValidationError as error:
        raise _form_error(file, error) from error


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
    }
    rule = forms.get(key, "a folder, a list of folders, or a .txt file that lists images")
    return DataError(f"{file}: {key}", f"`{key}:` is {rule}", repr(first["input"]), "Write it so")


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


def data_root(file: Path, path: str | None) -> Path:
    """The folder that the parts are relative to: `path:`, seen from the file or from here."""
    if path is None:
        return file.parent
    tried = [file.parent / path, Path(path)]
    for folder in tried:
        if folder.is_dir():
            return folder
    raise DataError(
        f"{file}: path",
        "`path:` is an existing folder, seen from the file's folder or from the current one",
        path,
        f"Correct it, or leave it out if the parts lie beside {file.name}",
    )


def list_images(file: Path, root: Path, part: str, entries: list[str]) -> tuple[Path, ...]:
    """The image files of a part, sorted within each folder, each once."""
    where = f"{file}: {part}"
    images: dict[Path, None] = {}
    for entry in entries:
        for image in _entry_images(where, root, entry):
            images[image] = None
    if not images:
        raise DataError(
            where,
            f"the {part} part has at least one image",
            f"none in {', '.join(entries) or 'an empty list'}",
            f"Put images there ({', '.join(sorted(IMAGE_SUFFIXES))}) or correct the path",
        )
    return tuple(images)


def _entry_images(where: str, root: Path, entry: str) -> Iterator[Path]:
    """The images of one folder or list file."""
    place = root / entry
    if not place.exists() and entry.startswith("../"):
        # Roboflow writes `../train/images` into a file that lies beside `train`.
        place = root / entry[3:]
    if place.is_dir():
        yield from sorted(
            image for image in place.rglob("*") if image.suffix.lower() in IMAGE_SUFFIXES
        )
    elif place.is_file() and place.suffix == ".txt":
        yield from _listed_images(place, root)
    else:
        raise DataError(
            where,
            "a part is an existing folder of images, or a .txt file that lists them",
            str(place),
            "Correct the path (it is relative to `path:`, or else to the file's folder)",
        )


def _listed_images(listing: Path, root: Path) -> Iterator[Path]:
    """The images that a list file names, relative to itself or to the data's root."""
    for number, line in enumerate(listing.read_text(encoding="utf-8").splitlines(), start=1):
        name = line.strip()
        if not name:
            continue
        tried = [listing.parent / name, root / name]
        found = next((place for place in tried if place.is_file()), None)
        if found is None:
            raise DataError(
                f"{listing}:{number}",
                "a listed image exists, seen from the list file or from the data's root",
                name,
                "Correct the line",
            )
        yield found
