"""The reference models beside what is published of them; writes docs/reference-models.md.

    python benchmarks/reference_models.py            # prints the page
    python benchmarks/reference_models.py --write    # and writes it

Takes every file of search_spaces/reference/. The published figures, their sources, and what
explains a difference lie in reference_models.yaml; one over 1 % that nothing explains ends it.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Final

import yaml
from pydantic import BaseModel, ConfigDict

from nas.deploy.ncnn import to_ncnn
from nas.detector.builder import build_detector
from nas.latency.answer import TableModel
from nas.latency.device import TableKey
from nas.latency.load import load_table_model
from nas.space.image_size import longest
from nas.space.ops import Graph, OpKind, macs, model_graph, params
from nas.space.references import reference_files
from nas.space.spec import ModelSpec, read_spec

HERE: Final = Path(__file__).resolve().parent
PAGE: Final = HERE.parent / "docs" / "reference-models.md"
BOARD: Final = "rpi4"
THREADS: Final = (1, 4)
UNSAID_SIZE: Final = 640
"""Pixels where a file doesn't say what it was made for: YOLOv5's and YOLOv8's."""
FILE_SIZE_AT: Final = 128
"""Pixels at which the file is made: its size is the same at any."""
TOLERANCE: Final = 0.01


class Row(BaseModel):
    """One line that is published of a model: see reference_models.yaml."""

    model_config = ConfigDict(extra="forbid")

    model: str
    size: int
    params: float
    flops: float
    folded: bool
    norms: int
    file_mb: float | None = None
    why: str = ""


class Source(BaseModel):
    """Where lines were published."""

    model_config = ConfigDict(extra="forbid")

    source: str
    rows: list[Row]


@dataclass(frozen=True, kw_only=True)
class Model:
    """A reference model with what is computed of it."""

    name: str
    spec: ModelSpec
    size: int
    file_mb: float


def folded_params(graph: Graph) -> int:
    """Weights and biases of the network that runs, batch norms folded (a count)."""
    return sum(op.weights + op.shape_out.channels for op in graph.ops if op.weights)


def counted_flops(graph: Graph, norms: int) -> float:
    """Twice the MACs and the batch norms' operations, `norms` for each of their outputs, in 1e9."""
    outputs = sum(op.shape_out.elements for op in graph.ops if op.has_batch_norm)
    return 2e-9 * (macs(graph) + norms * outputs)


def read_model(path: Path) -> Model:
    """The model of a file, with the size of its ncnn weights in fp16."""
    spec = read_spec(path)
    size = len(to_ncnn(build_detector(spec), FILE_SIZE_AT, "fp16").bin)
    return Model(
        name=path.stem, spec=spec, size=longest(spec.image_size or UNSAID_SIZE), file_mb=size / 1e6
    )


def own_table(models: list[Model], boards: dict[int, TableModel]) -> list[str]:
    """A line for each model: its counts and its file; then one with its estimated latency."""
    counts = [
        "| model | pixels | params, M | folded, M | MACs, 1e9 | FLOPs, 1e9 | `.bin` fp16, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    times = [
        "| model | pixels | 1 thread, ms | 4 threads, ms | of it in shapes outside of the logs |",
        "|---|---|---|---|---|",
    ]
    for model in models:
        graph = model_graph(model.spec, model.size)
        counts.append(
            f"| {model.name} | {model.size} | {params(graph) / 1e6:.3f} "
            f"| {folded_params(graph) / 1e6:.3f} | {macs(graph) / 1e9:.3f} "
            f"| {2e-9 * macs(graph):.2f} | {model.file_mb:.2f} |"
        )
        told = [boards[threads].predict(model.spec, model.size) for threads in THREADS]
        times.append(
            f"| {model.name} | {model.size} "
            + "".join(f"| {t.ms:.0f} ({t.low_ms:.0f} to {t.high_ms:.0f}) " for t in told)
            + f"| {outside(model, boards[4]):.0%} |"
        )
    return [*counts, "", *times]


def outside(model: Model, board: TableModel) -> float:
    """The share of the estimate that goes to shapes that no log has."""
    from nas.latency.estimated.predictor import EstimatedPredictor
    from nas.space.blocks import blocks

    assert isinstance(board, EstimatedPredictor)
    return board.extrapolated_share(blocks(model.spec, model.size))


def published_table(name: str, source: Source, models: dict[str, Model]) -> list[str]:
    """Lines for each published one, with ours counted its way; fails on what is unexplained."""
    sizes = [
        "| model | pixels | params, M: theirs | ours | off by | file, MB: theirs | ours |",
        "|---|---|---|---|---|---|---|",
    ]
    work = [
        "| model | pixels | FLOPs, 1e9: theirs | ours, their way | off by | ours, MACs x 2 |",
        "|---|---|---|---|---|---|",
    ]
    reasons: list[str] = []
    for row in source.rows:
        model = models[row.model]
        graph = model_graph(model.spec, row.size)
        own = (folded_params(graph) if row.folded else params(graph)) / 1e6
        flops = counted_flops(graph, row.norms)
        off = own / row.params - 1, flops / row.flops - 1
        if max(map(abs, off)) > TOLERANCE and not row.why:
            sys.exit(f"{name}, {row.model} at {row.size} px: {off} is not explained")
        place = f"| {row.model} | {row.size} "
        sizes.append(
            f"{place}| {row.params:g} | {own:.3f} | {off[0]:+.1%} "
            f"| {'' if row.file_mb is None else f'{row.file_mb:g}'} | {model.file_mb:.2f} |"
        )
        work.append(
            f"{place}| {row.flops:g} | {flops:.3f} ({counting(row.norms)}) | {off[1]:+.1%} "
            f"| {2e-9 * macs(graph):.3f} |"
        )
        if row.why:
            reason = f"{row.model} at {row.size} px, {row.flops:g}e9: {row.why.strip()}"
            reasons += wrap(reason, 100, initial_indent="- ", subsequent_indent="  ")
    explained = ["What explains a difference:", "", *reasons, ""] if reasons else []
    head = [f"### {name}", "", f"Source: {source.source}.", ""]
    return [*head, *sizes, "", *work, "", *explained]


def counting(norms: int) -> str:
    """How batch norms are counted, in words."""
    return f"{norms} a norm" if norms else "folded"


def pooled_share(graph: Graph) -> float:
    """What thop counts beside convolutions on a folded network, as a share of their MACs."""
    more = 0
    for op in graph.ops:
        if op.kind is OpKind.GLOBAL_POOL:
            more += op.shapes_in[0].elements + op.shape_out.elements
        elif op.kind is OpKind.UPSAMPLE:
            more += op.shape_out.elements
    return more / macs(graph)


def page(models: list[Model], sources: dict[str, Source]) -> str:
    """The page, whole."""
    boards = {
        threads: load_table_model(TableKey(device=BOARD, threads=threads)) for threads in THREADS
    }
    most = max(models, key=lambda m: pooled_share(model_graph(m.spec, m.size)))
    share = pooled_share(model_graph(most.spec, most.size))
    text = (HERE / "reference_models.md").read_text(encoding="utf-8")
    text = text.replace("{most_pooled}", f"{share:.2%}, {most.name}")
    by_name = {model.name: model for model in models}
    compared = [published_table(name, source, by_name) for name, source in sources.items()]
    return (
        text.replace("{models}", "\n".join(own_table(models, boards)))
        .replace("{published}", "\n".join(line for table in compared for line in table))
        .strip()
        + "\n"
    )


def main() -> None:
    """Prints the page and, if it is asked, writes it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    is_written = parser.parse_args().write
    published = yaml.safe_load((HERE / "reference_models.yaml").read_text(encoding="utf-8"))
    sources = {name: Source.model_validate(value) for name, value in published.items()}
    text = page([read_model(path) for path in reference_files()], sources)
    print(text, end="")
    if is_written:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
