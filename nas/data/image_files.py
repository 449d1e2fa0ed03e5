"""An image's file: its spellings, its label file, and whether it is there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

IMAGE_SUFFIXES: Final = frozenset(
    {
        ".avif", ".bmp", ".dng", ".heic", ".heif", ".jp2", ".jpeg", ".jpg", ".mpo", ".pfm", ".png",
        ".ppm", ".tif", ".tiff", ".webp",
    }
)  # fmt: skip
"""What YOLOv5 or Ultralytics take for an image. One that can't be decoded here is unreadable."""


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """One image of a part."""

    path: Path
    """As YOLO spells it: the entry's folder without links, then the path inside it."""
    spelled: Path
    """As data.yaml or its list spells it, absolute."""


def kind_of(path: Path) -> Literal["folder", "file", "broken link"] | None:
    """What is there, links followed; None for nothing, or nothing that can be seen."""
    try:
        if path.is_dir():
            return "folder"
        if path.exists():
            return "file"
        return "broken link" if path.is_symlink() else None
    except (OSError, ValueError):
        return None


def identity(image: Path) -> object:
    """Equal for two spellings of one file, links and case included."""
    try:
        state = image.stat()
    except OSError:
        return os.path.realpath(image)
    return state.st_dev, state.st_ino


def label_path(image: Path) -> Path:
    """Where YOLO keeps an image's labels: the last folder `images` becomes `labels`."""
    folders = list(image.parts[:-1])
    for place in range(len(folders) - 1, -1, -1):
        if folders[place] == "images":
            folders[place] = "labels"
            break
    return Path(*folders, image.name).with_suffix(".txt")


def labels_of(image: ImageFile) -> Path:
    """The image's label file: where YOLO looks, else beside the link that leads to its folder."""
    own, beside = label_path(image.path), label_path(image.spelled)
    return beside if kind_of(own) is None and kind_of(beside) == "file" else own


def has_labels(image: ImageFile) -> bool:
    """Whether the image has a label file."""
    return kind_of(labels_of(image)) == "file"


def some(files: list[str] | tuple[str, ...]) -> str:
    """The first few of many files."""
    shown = ", ".join(files[:5])
    return shown + (f" and {len(files) - 5} more" if len(files) > 5 else "")
