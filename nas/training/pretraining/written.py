"""A starter's file, and the text beside it: what it was taught on, how, and under which terms."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
import yaml

from nas.detector.builder import Detector
from nas.space.spec import dump_spec
from nas.training.on_disk.written import write_bytes, write_text
from nas.training.pretraining.sets import PretrainError

FORMAT: Final = 1
"""Of a checkpoint, which a starter is. 1: the first."""

LARGEST_BYTES: Final = 12_000_000
"""A starter ships with the package, and must not weigh more than the seed's wheel by far."""

WIDTH: Final = 100
"""Characters in a line of the text, tables apart."""

LICENCES: Final = ("LICENSE", "LICENSE.md", "LICENSE.txt", "LICENCE")
SOURCES: Final = ("SOURCE.md", "SOURCE.txt", "README.md")
_LICENCE: Final = re.compile(r"^\W*licen[cs]e:(.+)$", re.IGNORECASE | re.MULTILINE)
_ATTRIBUTION: Final = re.compile(r"^\W*attribution[\w ]*:(.+)$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class TaughtOn:
    """One set that a starter was taught on.

    map50_95   on the set's own validation part, when the teaching ended; None if not graded
    """

    name: str
    about: str
    licence: str
    source: str
    digest: str
    map50_95: float | None = None
    map50: float | None = None


@dataclass(frozen=True, kw_only=True)
class Origin:
    """How a starter was made: enough to make it again, and to know what it may be used for."""

    command: str
    date: str
    seed_weights: str
    space: str
    image_size: int
    steps: int
    batch_size: int
    seed: int
    device: str
    core_seconds: float
    seconds: float
    torch: str
    recipe: Mapping[str, Any]
    sets: Sequence[TaughtOn]


def licence_of(data: str) -> tuple[str, str]:
    """Licence and attribution of a set, as the files beside its data.yaml state them.

    A line `Licence: ...` and one `Attribution...: ...` in SOURCE.md, README.md or data.yaml; for
    want of them the first line of LICENSE, and `not stated`.
    """
    if not Path(data).is_file():
        return "none needed", "drawn by nas/data"
    folder = Path(data).parent
    text = "\n".join(_read(folder / name) for name in (*SOURCES, Path(data).name))
    licence, attribution = (pattern.search(text) for pattern in (_LICENCE, _ATTRIBUTION))
    first = next((line for line in "".join(_read(folder / n) for n in LICENCES).splitlines()), "")
    return (
        licence[1].strip() if licence else first.strip() or "not stated",
        attribution[1].strip() if attribution else "not stated",
    )


def _read(file: Path) -> str:
    """A text file, or nothing where there is none."""
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def half(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights in half precision; what does not fit its range, or is no float, stays as it is.

    A variance of a batch norm may be below the smallest half number, and is then kept single.
    """
    found = {}
    for name, value in state.items():
        is_small = "running_var" in name or value.abs().max() > 6e4
        found[name] = (
            value.cpu() if is_small or not value.is_floating_point() else value.cpu().half()
        )
    return found


def save_starter(
    path: Path, detector: Detector, names: tuple[str, ...], image_size: int, origin: Origin
) -> int:
    """Writes the starter and its text (NAME.md) whole or not at all; the file's bytes.

    names   the classes as `SET: CLASS`, which no data of a user's has, so that their layer is
            never carried on

    It is a checkpoint as nas.train's, in half precision, with `origin` beside. PretrainError where
    it would be larger than LARGEST_BYTES.
    """
    document = {
        "format": FORMAT,
        "model": dump_spec(detector.spec),
        "names": list(names),
        "image_size": image_size,
        "weights": half(detector.state_dict()),
        "map50_95": None,
        "map50": None,
        "training": None,
        "origin": yaml.safe_dump(asdict(origin), sort_keys=False, allow_unicode=True),
    }
    content = io.BytesIO()
    torch.save(document, content)
    size = content.getbuffer().nbytes
    if size > LARGEST_BYTES:
        raise PretrainError(
            str(path),
            f"a starter is at most {LARGEST_BYTES / 1e6:.0f} MB",
            f"{size / 1e6:.1f} MB",
            "Name a space whose neck and head are narrower",
        )
    write_bytes(path, content.getbuffer())
    write_text(path.with_suffix(".md"), text_of(path.name, size, origin))
    return size


def _item(text: str) -> str:
    """A point of a list, in lines of at most WIDTH characters."""
    return textwrap.fill(
        text, WIDTH, initial_indent="- ", subsequent_indent="  ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def text_of(name: str, size: int, origin: Origin) -> str:
    """The text beside a starter."""
    lines = [
        f"# {name}",
        "",
        f"Weights of a detector's backbone, neck and head ({size / 1e6:.1f} MB, half precision),",
        "for `nas.train --pretrained`. The layer of the classes is never carried on. Give figures",
        "only on sets that are not in this list.",
        "",
        _item(f"made on {origin.date} by `{origin.command}`"),
        _item(f"backbone from {origin.seed_weights}; neck and head the widest of {origin.space}"),
        _item(
            f"{origin.steps} steps of {origin.batch_size} pictures at {origin.image_size} px, seed"
            f" {origin.seed}, on {origin.device}: {origin.seconds:.0f} s,"
            f" {origin.core_seconds:.0f} core-s; torch {origin.torch}"
        ),
        "",
        "| taught on | own validation mAP50-95 / mAP50 | licence |",
        "|---|---|---|",
    ]
    for one in origin.sets:
        grade = "-" if one.map50_95 is None else f"{one.map50_95:.3f} / {one.map50:.3f}"
        lines.append(f"| {one.about} | {grade} | {one.licence} |")
    lines += ["", "## Attribution", ""]
    lines += [_item(f"{one.name}: {one.source}") for one in origin.sets]
    lines += [
        "",
        "## Recipe",
        "",
        "```yaml",
        yaml.safe_dump(dict(origin.recipe)).rstrip(),
        "```",
        "",
    ]
    return "\n".join(lines)
