"""Data sets: a YOLO data.yaml, or the built-in drawn one, read, checked and decoded."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import cv2
import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from nas.training import shapes
from nas.training.images import DataError, ImageSet, Labels, Picture, gather
from nas.training.labels import Flaw, read_labels, refuse

logger = logging.getLogger(__name__)

Part = Literal["train", "val", "test"]

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

UNREADABLE_SHARE: Final = 0.05
"""A part goes on without its unreadable images up to this share of it, or one image."""


class Source(Protocol):
    """Where one part of a data set comes from."""

    def load(self, image_size: int, threads: int) -> ImageSet:
        """The part's images at `image_size`; the same on every call. Raises DataError."""
        ...


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """A data set that has been read and checked; its pixels are decoded by `load_part`."""

    name: str
    """What reports call it."""
    names: tuple[str, ...]
    """The class names."""
    parts: Mapping[str, Source]
    """train, val and, where the data has it, test."""
    digest: str
    """16 hex digits over class names, image names and sizes in bytes, and label files."""

    @property
    def num_classes(self) -> int:
        return len(self.names)


@dataclass(frozen=True, kw_only=True)
class FileSource:
    """A part whose images lie in files."""

    where: str
    """`data.yaml: part`, for messages."""
    names: tuple[str, ...]
    files: tuple[Path, ...]
    labels: tuple[Labels, ...]

    def load(self, image_size: int, threads: int) -> ImageSet:
        def load_one(index: int) -> Picture | None:
            image = _decode(self.files[index])
            return None if image is None else (image, self.labels[index])

        files = [str(file) for file in self.files]
        part = gather(files, load_one, self.names, image_size, threads)
        lost = len(part.unreadable)
        if lost > max(1, UNREADABLE_SHARE * len(files)) or lost == len(files):
            raise DataError(
                self.where,
                f"at most {UNREADABLE_SHARE:.0%} of the images (or one) may be unreadable",
                f"{lost} of {len(files)}: {_some(part.unreadable)}",
                "Repair or delete these files",
            )
        if lost:
            logger.warning(
                "%s: going on without %d unreadable image%s: %s",
                self.where, lost, "s" if lost > 1 else "", _some(part.unreadable),
            )  # fmt: skip
        return part


class _DataFile(BaseModel):
    """A data.yaml as it stands in the file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    path: str | None = None
    train: str | list[str]
    val: str | list[str]
    test: str | list[str] | None = None
    nc: int | None = None
    names: list[str] | dict[int, str]


def read_data(source: str | Path) -> DataConfig:
    """The data set of a data.yaml, or the drawn one for the word `shapes`.

    Reads every label file and lists every image, so that a mistake shows before any work is
    done. Raises DataError.
    """
    if str(source) == shapes.NAME:
        return DataConfig(
            name=shapes.NAME,
            names=shapes.NAMES,
            parts=shapes.parts(),
            digest=hashlib.sha256(shapes.VERSION.encode()).hexdigest()[:16],
        )
    file = Path(source)
    document = _read_document(file)
    names = _class_names(file, document)
    root = _root(file, document.path)
    flaws: list[Flaw] = []
    parts: dict[str, FileSource] = {}
    for part, entry in (("train", document.train), ("val", document.val), ("test", document.test)):
        if entry is not None:
            images = _list_images(file, root, part, [entry] if isinstance(entry, str) else entry)
            labels = tuple(read_labels(label_path(image), names, flaws) for image in images)
            parts[part] = FileSource(
                where=f"{file}: {part}", names=names, files=images, labels=labels
            )
    refuse(flaws)
    for part in ("train", "val"):
        _check_objects(parts[part])
    _warn_of_overlap(parts)
    return DataConfig(name=_name(file), names=names, parts=parts, digest=_digest(names, parts))


def load_part(data: DataConfig, part: Part, image_size: int, threads: int = 1) -> ImageSet:
    """The images of one part, decoded once, letterboxed to `image_size`, with their boxes.

    Raises DataError if the data has no such part, too many images can't be decoded, or no
    object is left.
    """
    source = data.parts.get(part)
    if source is None:
        raise DataError(
            data.name,
            f"the data set has a {part} part",
            f"only {', '.join(data.parts)}",
            f"Add `{part}:` to its data.yaml, or name another part",
        )
    images = source.load(image_size, threads)
    if len(images.boxes) == 0:
        raise DataError(
            f"{data.name}: {part}",
            "at least one image has a labelled object",
            f"{len(images)} images and no object",
            "Put the label files beside the images (images/a.jpg -> labels/a.txt)",
        )
    return images


def label_path(image: Path) -> Path:
    """Where YOLO keeps an image's labels: the last folder `images` becomes `labels`."""
    folders = list(image.parts[:-1])
    for place in range(len(folders) - 1, -1, -1):
        if folders[place] == "images":
            folders[place] = "labels"
            break
    return Path(*folders, image.name).with_suffix(".txt")


def _read_document(file: Path) -> _DataFile:
    """The data.yaml, checked against its form."""
    try:
        raw: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(
            str(file),
            f"--data names a readable data.yaml, or is the word `{shapes.NAME}`",
            reason,
            "Correct the path",
        ) from error
    except yaml.YAMLError as error:
        raise DataError(
            str(file), "a data.yaml is valid YAML", " ".join(str(error).split()), "Correct it"
        ) from error
    if not isinstance(raw, dict):
        raise DataError(
            str(file),
            "a data.yaml is a mapping with train, val and names",
            type(raw).__name__,
            "See a YOLO data.yaml for the form",
        )
    kept = {key: value for key, value in raw.items() if key not in TOLERATED_KEYS}
    try:
        return _DataFile.model_validate(kept)
    except ValidationError as error:
        raise _form_error(file, error) from error


def _form_error(file: Path, error: ValidationError) -> DataError:
    """The first thing pydantic found wrong, in our words."""
    first = error.errors()[0]
    key = str(first["loc"][0]) if first["loc"] else "data.yaml"
    allowed = ", ".join(_DataFile.model_fields)
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


def _class_names(file: Path, document: _DataFile) -> tuple[str, ...]:
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
    if document.nc is not None and document.nc != len(given):
        raise DataError(
            f"{file}: nc",
            f"nc is the number of names ({len(given)})",
            str(document.nc),
            "Correct nc, or leave it out",
        )
    return tuple(given)


def _root(file: Path, path: str | None) -> Path:
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


def _list_images(file: Path, root: Path, part: str, entries: list[str]) -> tuple[Path, ...]:
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
            f"none ({', '.join(sorted(IMAGE_SUFFIXES))}) in {', '.join(entries) or 'an empty list'}",
            "Put images there or correct the path",
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


def _check_objects(source: FileSource) -> None:
    """Refuses a part in which every image would be background."""
    if any(len(labels.classes) for labels in source.labels):
        return
    raise DataError(
        source.where,
        "at least one image has a labelled object",
        f"{len(source.files)} images without any",
        f"Put the label files where YOLO looks, here {label_path(source.files[0])}",
    )


def _warn_of_overlap(parts: Mapping[str, FileSource]) -> None:
    """Says so when a part that grades shares images with the part that teaches."""
    taught = set(parts["train"].files)
    for part in ("val", "test"):
        if part in parts:
            shared = len(taught.intersection(parts[part].files))
            if shared:
                logger.warning(
                    "%s: %d of %d images are in train too, so its mAP will flatter",
                    parts[part].where, shared, len(parts[part].files),
                )  # fmt: skip


def _name(file: Path) -> str:
    """What to call a data set: its file's stem, or its folder where that says nothing."""
    stem = file.stem
    if re.fullmatch(r"data|dataset|_?data_?config", stem, re.IGNORECASE):
        return file.resolve().parent.name or stem
    return stem


def _digest(names: tuple[str, ...], parts: Mapping[str, FileSource]) -> str:
    """16 hex digits that change when classes, images or labels do."""
    state = hashlib.sha256(repr(names).encode())
    for part, source in parts.items():
        for image, labels in zip(source.files, source.labels, strict=True):
            state.update(f"{part}/{image.name}/{image.stat().st_size}".encode())
            state.update(labels.classes.tobytes() + labels.boxes.tobytes())
    return state.hexdigest()[:16]


def _decode(file: Path) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
    """The image as RGB (H, W, 3), turned as its EXIF says, or None if it can't be read."""
    try:
        data = np.fromfile(file, np.uint8)
    except OSError:
        return None
    if data.size == 0:
        return None
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8)


def _some(files: tuple[str, ...]) -> str:
    """The first few of many files."""
    shown = ", ".join(files[:5])
    return shown + (f" and {len(files) - 5} more" if len(files) > 5 else "")
