"""What `report.json` says of the files beside it; nas.export leaves both."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from nas.documents import read_json
from nas.grading.detector_file import DetectorFileError
from nas.places import is_file, is_name
from nas.space.image_size import KeptSize

REPORT = "report.json"


class ReportEntry(BaseModel):
    """One exported model. What else the report says of it is not needed here."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    format: str
    precision: str
    files: tuple[str, ...]
    sha256: dict[str, str]


class ReportFacts(BaseModel):
    """What a report says of all its files."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    image_size: KeptSize
    classes: tuple[str, ...]
    anchors: tuple[tuple[float, ...], ...]
    strides: tuple[int, ...]
    exported: tuple[ReportEntry, ...]
    beside: dict[str, object] = {}
    """A bundle's other files, its weights among them."""


def read_report(folder: Path) -> ReportFacts | None:
    """The report of an export's folder; None where there is none. DetectorFileError."""
    if not is_file(folder / REPORT):
        return None
    facts = read_json(
        folder / REPORT,
        ReportFacts,
        "a report.json of nas.export",
        DetectorFileError,
        lambda: "Export the model again",
    )
    names = [*(name for entry in facts.exported for name in entry.files), *facts.beside]
    if foreign := [name for name in names if not is_name(name)]:
        raise DetectorFileError(
            str(folder / REPORT),
            "the report names files that lie beside it",
            foreign[0],
            "Export the model again",
        )
    return facts


def entry_of(facts: ReportFacts | None, path: Path) -> ReportEntry | None:
    """What the report says of this file; None where it doesn't name it.

    DetectorFileError where the file, or the other one of its pair, is not as it was exported.
    """
    if facts is None:
        return None
    entry = next((one for one in facts.exported if path.name in one.files), None)
    if entry is None:
        return None
    for name in entry.files:
        beside = path.with_name(name)
        if not is_file(beside):
            raise DetectorFileError(
                str(path),
                f"all files of the export lie together: {', '.join(entry.files)}",
                f"no {name}",
                f"Copy {name} beside it, or export the model again",
            )
        said, found = entry.sha256.get(name), hashlib.sha256(beside.read_bytes()).hexdigest()
        if said is not None and said != found:
            raise DetectorFileError(
                str(beside),
                f"the file is the one that {REPORT} beside it tells of (sha256 {said[:16]})",
                f"{beside.stat().st_size} bytes with sha256 {found[:16]}",
                "Copy it once more, or export the model again",
            )
    return entry
