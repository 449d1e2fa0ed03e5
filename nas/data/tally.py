"""What a data set holds, counted: images, backgrounds, labels without an image; and its doubts."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from nas.data.image_files import IMAGE_SUFFIXES, ImageFile, some
from nas.data.images import Labels

logger = logging.getLogger(__name__)

NOTES: Final = frozenset({"classes.txt", "labels.txt", "notes.txt", "train.txt", "val.txt"})
"""Text files that annotators and lists leave beside labels and that are no labels."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """One part, counted."""

    part: str
    images: int
    objects: int
    backgrounds: int
    """Images without an object, with an empty label file or without any."""
    unlabelled: tuple[str, ...]
    """Images without a label file."""
    absent: tuple[str, ...]
    """Classes without an object."""

    def __str__(self) -> str:
        return (
            f"{self.part}: {self.images} images, {self.objects} objects, "
            f"{self.backgrounds} backgrounds"
        )


def count(
    part: str,
    images: Sequence[ImageFile],
    label_files: Sequence[Path],
    labels: Sequence[Labels],
    names: tuple[str, ...],
) -> Tally:
    """What a part holds."""
    shown = np.zeros(len(names), np.int64)
    for one in labels:
        shown += np.bincount(one.classes, minlength=len(names))
    return Tally(
        part=part,
        images=len(images),
        objects=int(shown.sum()),
        backgrounds=sum(len(one.classes) == 0 for one in labels),
        unlabelled=tuple(
            str(image.spelled)
            for image, file in zip(images, label_files, strict=True)
            if not file.exists()
        ),
        absent=tuple(name for name, number in zip(names, shown, strict=True) if number == 0),
    )


def warn_of_part(where: str, tally: Tally, label_files: Sequence[Path]) -> None:
    """Says what a person would want to know of a part before it is learnt from."""
    missing = len(tally.unlabelled)
    if missing:
        logger.warning(
            "%s: %d of %d images have no label file and count as background: %s",
            where, missing, tally.images, some(tally.unlabelled),
        )  # fmt: skip
    if tally.absent:
        logger.warning("%s: no object of the class %s", where, some(tally.absent))
    shared = [str(file) for file, times in Counter(label_files).items() if times > 1]
    if shared:
        logger.warning(
            "%s: %d label file%s of several images (names that differ in their suffix alone): %s",
            where, len(shared), "s are each" if len(shared) > 1 else " is", some(shared),
        )  # fmt: skip


def warn_of_orphans(
    where: str, images: Mapping[str, Sequence[ImageFile]], label_files: Mapping[str, Sequence[Path]]
) -> None:
    """Says which label files belong to no image of their folder."""
    folders: dict[Path, set[Path]] = {}
    for part, files in label_files.items():
        for image, file in zip(images[part], files, strict=True):
            folders.setdefault(file.parent, set()).update({image.path.parent, image.spelled.parent})
    orphans: list[str] = []
    for folder, image_folders in sorted(folders.items()):
        taken = {stem for place in image_folders for stem in _image_stems(place)}
        orphans += [
            str(folder / name)
            for name in _names(folder)
            if name.lower().endswith(".txt")
            and not (name.endswith(".txt") and name[:-4] in taken)
            and not _is_note(name)
        ]
    if orphans:
        logger.warning(
            "%s: %d label file%s to no image (images/a.jpg has labels/a.txt): %s",
            where, len(orphans), "s belong" if len(orphans) > 1 else " belongs", some(orphans),
        )  # fmt: skip


def _names(folder: Path) -> list[str]:
    """The names in a folder; none where it isn't there."""
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError:
        return []


def _image_stems(folder: Path) -> set[str]:
    """The names of the images in a folder, without their suffixes."""
    return {
        Path(name).stem for name in _names(folder) if Path(name).suffix.lower() in IMAGE_SUFFIXES
    }


def _is_note(name: str) -> bool:
    """Whether a text file is something else than labels."""
    return name.startswith(".") or name.lower() in NOTES or name.lower().startswith("readme")
