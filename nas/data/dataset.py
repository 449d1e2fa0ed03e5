"""Data sets: a YOLO data.yaml, or a built-in drawn one, read, checked and decoded."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol

from nas.data import drawn as shapes
from nas.data.data_yaml import DataFile, class_names, read_document
from nas.data.decode import decode_image
from nas.data.drawings import classes as drawn_classes
from nas.data.drawings import source as drawings
from nas.data.image_files import ImageFile, identity, label_path, labels_of, some
from nas.data.images import DataError, ImageSet, Labels, Picture, gather
from nas.data.key_points import LongRows
from nas.data.labels import LabelReader, refuse
from nas.data.listing import data_root, is_roboflow, list_images
from nas.data.tally import Tally, count, warn_of_orphans, warn_of_part
from nas.space.image_size import ImageSize

logger = logging.getLogger(__name__)

Part = Literal["train", "val", "test"]

UNREADABLE_SHARE: Final = 0.05
"""A part goes on without its unreadable images up to this share of it, or one image."""


LEAST_GRADED: Final = 8
"""Images by which detectors are told apart: two in each quarter of them that a score's error is
found from."""


class Source(Protocol):
    """Where one part of a data set comes from."""

    def load(self, image_size: ImageSize, threads: int) -> ImageSet:
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
    left_out: Mapping[str, DataError] = field(default_factory=dict)
    """Parts that data.yaml names and that can't be graded on, and why."""
    tallies: tuple[str, ...] = ()
    """A line for each part that lies in files: its images, objects and backgrounds."""

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

    def load(self, image_size: ImageSize, threads: int) -> ImageSet:
        def load_one(index: int) -> Picture | None:
            image = decode_image(self.files[index])
            return None if image is None else (image, self.labels[index])

        files = [str(file) for file in self.files]
        part = gather(files, load_one, self.names, image_size, threads)
        lost = len(part.unreadable)
        if lost > max(1, UNREADABLE_SHARE * len(files)) or lost == len(files):
            raise DataError(
                self.where,
                f"at most {UNREADABLE_SHARE:.0%} of the images (or one) may be unreadable",
                f"{lost} of {len(files)}: {some(part.unreadable)}",
                "Repair or delete these files",
            )
        if lost:
            logger.warning(
                "%s: going on without %d unreadable image%s: %s",
                self.where, lost, "s" if lost > 1 else "", some(part.unreadable),
            )  # fmt: skip
        return part


def check_gradable(data: DataConfig) -> None:
    """DataError where the validation part has too few images to tell detectors apart by."""
    source = data.parts["val"]
    if isinstance(source, FileSource) and len(source.files) < LEAST_GRADED:
        found = len(source.files)
        raise DataError(
            source.where,
            f"detectors are told apart by at least {LEAST_GRADED} validation images",
            f"{found}",
            f"Move {LEAST_GRADED - found} or more images of the training part there, with their"
            " labels",
        )


def read_data(source: str | Path) -> DataConfig:
    """The data set of a data.yaml, or a drawn one for the word `shapes` or `drawings`.

    Reads every label file and lists every image, so that a mistake shows before any work is
    done. A test part that can't be graded on is left out, with a word. Raises DataError.
    """
    if str(source) == shapes.NAME:
        return DataConfig(
            name=shapes.NAME,
            names=shapes.NAMES,
            parts=shapes.parts(),
            digest=hashlib.sha256(shapes.VERSION.encode()).hexdigest()[:16],
        )
    if str(source) == drawings.NAME:
        return DataConfig(
            name=drawings.NAME,
            names=drawn_classes.NAMES,
            parts=drawings.drawings(),
            digest=hashlib.sha256(drawings.version().encode()).hexdigest()[:16],
        )
    file = Path(source)
    document = read_document(file)
    reader = PartReader(file, document)
    parts = {part: reader.read(part) for part in ("train", "val")}
    left_out: dict[str, DataError] = {}
    if document.test is not None:
        try:
            parts["test"] = reader.read("test")
        except DataError as error:
            left_out["test"] = error
            logger.warning("%s: going on without the test part. %s", file, error)
    reader.warn(parts)
    return DataConfig(
        name=_name(file),
        names=reader.names,
        parts=parts,
        digest=_digest(reader.names, parts),
        left_out=left_out,
        tallies=tuple(str(tally) for tally in reader.tallies.values()),
    )


class PartReader:
    """Reads the parts of one data.yaml, one after the other."""

    def __init__(self, file: Path, document: DataFile) -> None:
        self.file = file
        self.names = class_names(file, document)
        self.root = data_root(file, document.path)
        self.document = document
        self.entries = {
            part: [entry] if isinstance(entry, str) else entry
            for part, entry in (
                ("train", document.train), ("val", document.val), ("test", document.test or []),
            )
        }  # fmt: skip
        wanted = [*self.entries["train"], *self.entries["val"]]
        has_path = bool(document.path and document.path.strip())
        self.beside = is_roboflow(self.root, wanted, is_told=has_path)
        self.tallies: dict[str, Tally] = {}
        self._long_rows = LongRows()
        self._images: dict[str, tuple[ImageFile, ...]] = {}
        self._label_files: dict[str, tuple[Path, ...]] = {}

    def read(self, part: Part) -> FileSource:
        """One part, its labels checked. Raises DataError."""
        where = f"{self.file}: {part}"
        images = list_images(where, self.root, part, self.entries[part], beside=self.beside)
        files = tuple(labels_of(image) for image in images)
        shape = self.document.kpt_shape
        reader = LabelReader(
            names=self.names,
            key_points=None if shape is None else (shape[0], shape[1]),
            long_rows=self._long_rows,
        )
        labels = tuple(reader.read(file) for file in files)
        if (part != "train" or reader.flaws) and self.document.task not in ("segment", "obb"):
            # After train and val together: what is doubtful in one may be plain by the other.
            self._long_rows.refuse_doubtful(str(self.file))
        refuse(reader.flaws)
        _say_forms(where, reader)
        beside = [str(f) for f, i in zip(files, images, strict=True) if f != label_path(i.path)]
        if beside:
            logger.warning(
                "%s: %d label files lie beside a link to the images, not where it leads (YOLO "
                "looks there alone): %s",
                where, len(beside), some(beside),
            )  # fmt: skip
        source = FileSource(
            where=where,
            names=self.names,
            files=tuple(image.path for image in images),
            labels=labels,
        )
        _check_objects(source, files)
        self.tallies[part] = count(part, images, files, labels, self.names)
        self._images[part], self._label_files[part] = images, files
        warn_of_part(where, self.tallies[part], files)
        return source

    def warn(self, parts: Mapping[str, FileSource]) -> None:
        """Says what the parts have in common, or leave over."""
        warn_of_orphans(str(self.file), self._images, self._label_files)
        _warn_of_overlap(parts)


def _say_forms(where: str, reader: LabelReader) -> None:
    """Says which rows were taken for polygons, and how many stood there twice."""
    polygons = reader.polygons
    if polygons:
        logger.warning(
            "%s: %d label line%s taken for polygons; the boxes around their points count",
            where, polygons, "s are" if polygons > 1 else " is",
        )  # fmt: skip
    if reader.equal_rows:
        logger.warning(
            "%s: %d label line%s second time in a file and count once",
            where, reader.equal_rows,
            "s stand there a" if reader.equal_rows > 1 else " stands there a",
        )  # fmt: skip


def load_part(data: DataConfig, part: Part, image_size: ImageSize, threads: int = 1) -> ImageSet:
    """The images of one part, decoded once, letterboxed to `image_size`, with their boxes.

    Raises DataError if the data has no such part, too many images can't be decoded, or no
    object is left.
    """
    source = data.parts.get(part)
    if source is None and part in data.left_out:
        raise data.left_out[part]
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


def _check_objects(source: FileSource, label_files: tuple[Path, ...]) -> None:
    """Refuses a part in which every image would be background."""
    if any(len(labels.classes) for labels in source.labels):
        return
    raise DataError(
        source.where,
        "at least one image has a labelled object",
        f"{len(source.files)} images without any",
        f"Put the label files where YOLO looks, here {label_files[0]}",
    )


def _warn_of_overlap(parts: Mapping[str, FileSource]) -> None:
    """Says so when a part that grades shares images with the part that teaches."""
    taught = {identity(file) for file in parts["train"].files}
    for part in ("val", "test"):
        if part in parts:
            shared = sum(identity(file) in taught for file in parts[part].files)
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
            state.update(f"{part}/{image.name}/{_size(image)}".encode())
            state.update(labels.classes.tobytes() + labels.boxes.tobytes())
    return state.hexdigest()[:16]


def _size(file: Path) -> int:
    """Bytes of a file; 0 of a link to nothing."""
    try:
        return file.stat().st_size
    except OSError:
        return 0
