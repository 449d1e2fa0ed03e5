"""What a person timed on a board, however they did it: a CSV with a row for each whole network.

    model,image_size,runtime,precision,threads,ms
    models/mine.yaml,320,ncnn,fp32,4,38.2

`model` is the path of a model YAML, beside the CSV or absolute. A row that breaks a rule is named,
with its line, and left out.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, ValidationError

from nas import NasError
from nas.documents import Strict, read_text
from nas.latency.device import Precision, Runtime
from nas.latency.estimated.op_work import OpWork, graph_work
from nas.latency.estimated.public_log import LogError
from nas.space.image_size import ImageSize, read_image_size
from nas.space.ops import model_graph
from nas.space.spec import ModelSpec, read_spec

COLUMNS: Final = ("model", "image_size", "runtime", "precision", "threads", "ms")
"""Of the file, in any order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TimedModel:
    """One row: a whole network, and what it took (ms).

    model  the path as the file says it
    work   its ops, in the row's runtime and precision
    """

    model: str
    spec: ModelSpec
    image_size: ImageSize
    runtime: str
    precision: str
    threads: int
    ms: float
    work: tuple[OpWork, ...]

    @property
    def name(self) -> str:
        """What it is called in a table."""
        return f"{self.model}, {self.image_size} px" + (
            ", int8" if self.precision == "int8" else ""
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TimesFile:
    """A CSV as read.

    rows     in the order of the file, one for each network, size, runtime, precision and threads
    damaged  line number and what is wrong of each row that was left out
    """

    rows: tuple[TimedModel, ...]
    damaged: tuple[tuple[int, str], ...]


class _Row(Strict):
    """A row's cells, of which pydantic makes numbers."""

    model: Annotated[str, Field(min_length=1)]
    image_size: str
    runtime: Runtime
    precision: Precision
    threads: Annotated[int, Field(ge=1)]
    ms: Annotated[float, Field(gt=0, allow_inf_nan=False)]


def read_times(path: Path) -> TimesFile:
    """The rows of a CSV; LogError where it can't be read, or its first line isn't COLUMNS."""
    text = read_text(path, "the CSV", LogError)
    rows: dict[tuple[object, ...], TimedModel] = {}
    damaged: list[tuple[int, str]] = []
    for number, cells in _lines(text, path):
        try:
            row = _timed(cells, path.parent)
        except NasError as error:
            damaged.append((number, str(error)))
            continue
        place = (row.spec, row.image_size, row.runtime, row.precision, row.threads)
        if place in rows:
            damaged.append((number, f"a second row of {row.name}"))
        else:
            rows[place] = row
    return TimesFile(rows=tuple(rows.values()), damaged=tuple(damaged))


def _lines(text: str, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and cells of each row that isn't blank."""
    reader = csv.DictReader(text.splitlines(), skipinitialspace=True, restkey="")
    try:
        names = [name.strip() for name in reader.fieldnames or ()]
        if sorted(names) != sorted(COLUMNS):
            raise LogError(
                str(path),
                f"the first line names the columns {','.join(COLUMNS)}, with commas between them",
                repr(",".join(names)),
            )
        reader.fieldnames = names
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        raise LogError(f"{path}, line {reader.line_num}", "the file is a CSV", str(error)) from None


def _timed(cells: dict[str, Any], folder: Path) -> TimedModel:
    """The row's network; NasError where a rule is broken in it or in its model YAML."""
    if "" in cells or None in cells.values():
        count = sum(value is not None for name, value in cells.items() if name)
        count += len(cells.get("", []))
        raise LogError("the row", f"it has {len(COLUMNS)} cells", str(count))
    try:
        row = _Row.model_validate({name: value.strip() for name, value in cells.items()})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        rule = first["msg"][0].lower() + first["msg"][1:]
        raise LogError(str(first["loc"][0]), rule, repr(first["input"])) from None
    size = read_image_size(row.image_size, "image_size")
    spec = read_spec(folder / row.model)
    graph = model_graph(spec, size)
    return TimedModel(
        model=row.model,
        spec=spec,
        image_size=size,
        runtime=row.runtime,
        precision=row.precision,
        threads=row.threads,
        ms=row.ms,
        work=graph_work(graph, row.precision, row.runtime),
    )
