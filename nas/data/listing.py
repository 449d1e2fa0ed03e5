"""Which image files a part of a data.yaml means: folders, lists, patterns; links and spellings."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from nas.data.image_files import (
    IMAGE_SUFFIXES,
    ImageFile,
    has_labels,
    identity,
    kind_of,
    some,
)
from nas.data.images import DataError
from nas.data.text import lines_of, read_text

logger = logging.getLogger(__name__)

FOREIGN_FOLDERS: Final = frozenset(
    {"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information"}
)
"""Folders of previews and deleted files that macOS, Synology, QNAP and Windows leave behind."""


@dataclass(kw_only=True)
class _Left:
    """What was seen and not taken, to be said once a part."""

    hidden: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)


def data_root(file: Path, path: str | None) -> Path:
    """The folder that the parts are relative to: `path:`, seen from the file or from here."""
    if path is None or not path.strip():
        return file.parent
    forward = path.replace("\\", "/")
    tried = [file.parent / path, Path(path), Path(path).expanduser()]
    tried += [file.parent / forward, Path(forward)]
    for folder in tried:
        if kind_of(folder) == "folder":
            return folder
    raise DataError(
        f"{file}: path",
        "`path:` is an existing folder, seen from the file's folder or from the current one",
        path,
        f"Correct it, or leave it out if the parts lie beside {file.name}",
    )


def is_roboflow(root: Path, entries: list[str], *, is_told: bool) -> bool:
    """Whether `../train/images` means `train/images` beside the data.yaml, as Roboflow writes it.

    It does where that exists for any part; where the folder above has such images too, that is
    said. Where data.yaml tells its root (`path:`), the folder above goes first.
    """
    parents = [entry for entry in entries if entry.startswith("../")]
    beside = [entry for entry in parents if kind_of(root / entry[3:])]
    both = [entry for entry in beside if kind_of(root / entry)]
    if is_told:
        return len(beside) > len(both)
    if both:
        logger.warning(
            "%s: `%s` is taken for %s, as Roboflow means it, not for %s (to mean that, write its "
            "whole path)",
            root, both[0], root / both[0][3:], os.path.normpath((root / both[0]).absolute()),
        )  # fmt: skip
    return bool(beside)


def list_images(
    where: str, root: Path, part: str, entries: list[str], *, beside: bool = False
) -> tuple[ImageFile, ...]:
    """The image files of a part, sorted within each folder, each file once.

    beside   `../` of an entry means the root itself (see is_roboflow)
    """
    images: dict[object, ImageFile] = {}
    left = _Left()
    for entry in entries:
        if not entry.strip():
            raise DataError(
                where, "each entry of a part names a folder or a list", "an empty one", "Remove it"
            )
        inside = entry[3:] if beside and entry.startswith("../") else entry
        for image in _entry_images(where, root, inside.strip(), left):
            key = identity(image.path)
            known = images.get(key)
            if known is None:
                images[key] = image
                continue
            left.twice.append(str(image.spelled))
            if not has_labels(known) and has_labels(image):
                images[key] = image
    _say(where, left)
    if not images:
        raise DataError(
            where,
            f"the {part} part has at least one image",
            f"none in {', '.join(entries) or 'an empty list'}",
            f"Put images there ({', '.join(sorted(IMAGE_SUFFIXES))}) or correct the path",
        )
    return tuple(images.values())


def _say(where: str, left: _Left) -> None:
    """One line for each kind of file that was left out."""
    kinds = (
        (left.hidden, "left out, in hidden folders or those of other programs"),
        (left.other, "listed and left out, since they are no images"),
        (left.twice, "named more than once, by another spelling or a link; each counts once"),
    )
    for files, what in kinds:
        if files:
            count = f"{len(files)} file{'s' if len(files) > 1 else ''}"
            logger.warning("%s: %s %s: %s", where, count, what, some(files))


def _entry_images(where: str, root: Path, entry: str, left: _Left) -> Iterator[ImageFile]:
    """The images of one folder, list file or pattern."""
    place = _find(where, root, entry)
    if place is None and glob.has_magic(entry):
        # Not Path.glob: it refuses patterns that are absolute or go up.
        pattern = str(Path(glob.escape(str(root))) / entry)
        found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
        logger.warning(
            "%s: `%s` is taken for a pattern; it fits %d names", where, entry, len(found)
        )
        for name in map(Path, found):
            if kind_of(name) == "folder" or name.suffix.lower() == ".txt":
                yield from _place_images(where, root, name, left)
            elif name.suffix.lower() in IMAGE_SUFFIXES:
                yield _image(name)
        return
    yield from _place_images(where, root, root / entry if place is None else place, left)


def _find(where: str, root: Path, entry: str) -> Path | None:
    """The entry as a path that exists; one with backslashes is said."""
    if kind_of(root / entry):
        return root / entry
    forward = entry.replace("\\", "/")
    if forward != entry and kind_of(root / forward):
        logger.warning("%s: `%s` is read as %s", where, entry, forward)
        return root / forward
    return None


def _place_images(where: str, root: Path, place: Path, left: _Left) -> Iterator[ImageFile]:
    """The images of one folder or list file."""
    kind = kind_of(place)
    if kind == "folder":
        yield from _folder_images(where, place, left)
    elif kind == "file" and place.suffix.lower() == ".txt":
        yield from _listed_images(place, root, left)
    else:
        raise DataError(
            where,
            "a part is an existing folder of images, or a .txt file that lists them",
            str(place),
            "Correct the path (it is relative to `path:`, or else to the file's folder)",
        )


def _folder_images(where: str, place: Path, left: _Left) -> Iterator[ImageFile]:
    """The images in and below a folder; links to folders are followed, once each."""

    def refuse(error: OSError) -> None:
        raise DataError(
            where,
            "the folders of a part can be read",
            f"{error.filename}: {error.strerror}",
            "Give yourself the right to read it, or leave it out",
        ) from error

    spelled, real = place.absolute(), Path(os.path.realpath(place))
    seen = {os.path.realpath(real)}
    found: list[Path] = []
    for folder, subfolders, files in os.walk(real, followlinks=True, onerror=refuse):
        inside = Path(folder).relative_to(real)
        is_foreign = any(_is_foreign(part) for part in inside.parts)
        kept = []
        for name in sorted(subfolders):
            target = os.path.realpath(Path(folder) / name)
            if target not in seen:
                seen.add(target)
                kept.append(name)
        subfolders[:] = kept
        for name in files:
            if Path(name).suffix.lower() in IMAGE_SUFFIXES:
                if is_foreign or _is_foreign(name):
                    left.hidden.append(str(spelled / inside / name))
                else:
                    found.append(inside / name)
    left.hidden.sort()
    for image in sorted(found):
        yield ImageFile(path=real / image, spelled=spelled / image)


def _is_foreign(name: str) -> bool:
    """Whether a file or folder of that name belongs to another program."""
    return name.startswith(".") or name in FOREIGN_FOLDERS


def _listed_images(listing: Path, root: Path, left: _Left) -> Iterator[ImageFile]:
    """The images that a list file names, relative to itself, the data's root or where we are."""
    try:
        text = read_text(listing)
    except OSError as error:
        raise DataError(
            str(listing),
            "a list of images is a readable file",
            error.strerror or str(error),
            "Correct the path, or give yourself the right to read it",
        ) from error
    for number, line in enumerate(lines_of(text), start=1):
        name = line.strip()
        if not name:
            continue
        found = _listed(listing, root, name)
        if found is None and name.startswith("#"):
            continue
        if found is None:
            raise _not_there(f"{listing}:{number}", name)
        if found.suffix.lower() in IMAGE_SUFFIXES:
            yield _image(found)
        else:
            left.other.append(name)


def _listed(listing: Path, root: Path, name: str) -> Path | None:
    """The file (or the link to nothing) that a line names; quotes and backslashes are seen through.

    As spelled first, so that a name which really holds them is found.
    """
    bare = name[1:-1].strip() if len(name) > 1 and name[0] == name[-1] in "'\"" else name
    for spelling in dict.fromkeys((name, bare, bare.replace("\\", "/"))):
        for folder in (listing.parent, root, Path()):
            place = folder / spelling
            if kind_of(place) in ("file", "broken link"):
                return place
    return None


def _not_there(where: str, name: str) -> DataError:
    """What to do about a line that names no file here."""
    bare = name.strip("'\"")
    if len(bare) > 2 and bare[1] == ":" and bare[2] in "\\/":
        return DataError(
            where,
            "a listed image exists, seen from the list file or from the data's root",
            f"{name}, a path of a Windows machine that isn't here",
            "Write each image relative to the list file, for instance images/train/a.jpg",
        )
    return DataError(
        where,
        "a listed image exists, seen from the list file or from the data's root",
        name,
        "Correct the line",
    )


def _image(place: Path) -> ImageFile:
    """The image of a list's line, without the detours of `..`."""
    spelled = place.absolute()
    if ".." in spelled.parts:
        spelled = Path(os.path.realpath(spelled.parent)) / spelled.name
    return ImageFile(path=spelled, spelled=spelled)
