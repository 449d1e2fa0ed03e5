"""Data sets: a YOLO data.yaml, or the built-in drawn one, read, checked and decoded."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import cv2
import numpy as np

from nas.training import shapes
from nas.training.datafile import class_names, data_root, list_images, read_document
from nas.training.images import DataError, ImageSet, Labels, Picture, gather
from nas.training.labels import Flaw, read_labels, refuse

logger = logging.getLogger(__name__)

Part = Literal["train", "val", "test"]

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
    document = read_document(file)
    names = class_names(file, document)
    root = data_root(file, document.path)
    flaws: list[Flaw] = []
    parts: dict[str, FileSource] = {}
    for part, entry in (("train", document.train), ("val", document.val), ("test", document.test)):
        if entry is not None:
            images = list_images(file, root, part, [entry] if isinstance(entry, str) else entry)
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
