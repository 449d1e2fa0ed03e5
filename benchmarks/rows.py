"""A CSV of results that grows by a row at a time: what stands there need not be done again."""

from __future__ import annotations

import csv
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

Row = TypeVar("Row")


def append_row(path: Path, row: Any) -> None:
    """Adds a dataclass's fields as a row, under a header if it is the first."""
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        names = [field.name for field in fields(row)]
        writer = csv.DictWriter(file, names, lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(asdict(row))


def read_rows(path: Path, kind: type[Row]) -> list[Row]:
    """The rows of a CSV as dataclasses of one kind, an empty cell as None; [] without the file."""
    if not path.exists():
        return []
    reader: TypeAdapter[Row] = TypeAdapter(kind)
    with path.open(newline="", encoding="utf-8") as file:
        return [
            reader.validate_python({key: value or None for key, value in row.items()})
            for row in csv.DictReader(file)
        ]
