"""What int8 loses and wins: detectors taught under the recipe, each file of both runtimes.

    python benchmarks/int8.py --weights WEIGHTS --datasets ../shared/datasets
    python benchmarks/int8.py --plot int8.html
    python benchmarks/int8.py --print

WEIGHTS holds checkpoints of nas.train, SET-ANYTHING.pt; one that int8.csv has is not done again.
For each detector: fp32, fp16 and the int8 file that nas.export chooses for this machine, in both
runtimes; then int8 of all layers but the stem and the head's ends, at 127 without Winograd, as
Winograd by the sums that fit, as Winograd at 31, and with each way to find ranges. mAP50-95 on the
validation and the test part. Milliseconds are measured here on one thread, each file by turns with
its runtime's fp32 file; the share of fp32's time is the figure to compare.
"""

from __future__ import annotations

import random
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import pool
import tyro
from rows import append_row, read_rows

from nas.data.dataset import load_part, read_data
from nas.data.images import ImageSet
from nas.deploy.check import Run, ncnn_run, onnx_run
from nas.deploy.int8.ranges import METHODS
from nas.deploy.ncnn import to_ncnn
from nas.deploy.onnx import to_onnx
from nas.deploy.weights import Precision
from nas.emit.int8 import Int8Choice, Int8Way, can_be_int8
from nas.grading.outputs import HeadFacts
from nas.latency.device import read_device
from nas.quantisation.choice import LOOKED_AT, Judge, choose, last_of_head, stem
from nas.quantisation.files import NcnnFiles, OnnxFiles, predictor, to_image
from nas.quantisation.gate import prepared
from nas.quantisation.pictures import calibration_pictures
from nas.quantisation.speed import timed_here
from nas.quantisation.won import by_macs, by_timing, together
from nas.space.ops import OpKind
from nas.terminal import command_line
from nas.training.metrics import evaluate, evaluate_detector
from nas.training.on_disk.checkpoint import load_checkpoint

ROWS: Final = Path(__file__).with_name("int8.csv")

INNER_ONNX: Final = "int8 inner, percentile"
"""All layers but the stem and the head's ends, by the default way to find ranges."""

MAX_DROP: Final = 0.01

PRECISIONS: Final[tuple[Precision, ...]] = ("fp32", "fp16")


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Grade and time int8 files of some detectors, or draw what was found."""

    weights: Path | None = None
    """A folder of checkpoints called SET-ANYTHING.pt."""
    names: tuple[str, ...] = ()
    """Of these the ones whose file name begins so; all of them by default."""
    datasets: Path = Path("../shared/datasets")
    """The folder of the data sets."""
    plot: Path | None = None
    """Draw int8.csv as this page."""
    print: Annotated[bool, tyro.conf.arg(name="print")] = False
    """Print the tables of docs/int8.md from int8.csv, those of variants.csv apart."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One file of one detector."""

    weights: str
    data: str
    image_size: str
    activation: str
    has_se: bool
    convolutions: int
    torch_val_map50_95: float
    runtime: str
    file: str
    int8_layers: int
    bytes: int
    val_map50_95: float
    test_map50_95: float | None
    ms: float
    share_of_fp32_ms: float
    share_low: float
    share_high: float


@dataclass(kw_only=True)
class Bench:
    """One detector while its files are tried."""

    facts: dict[str, Any]
    head: HeadFacts
    val: ImageSet
    test: ImageSet | None

    def row(self, runtime: str, what: str, run: Run, fp32: Run, **more: Any) -> None:
        """Grades and times a file beside fp32 of its runtime, and notes it."""
        speed = timed_here(fp32, run, to_image(self.val.images[0]), pairs=40)
        predict = predictor(run, self.head)
        test = None if self.test is None else evaluate(predict, self.test).map50_95
        row = Row(
            **self.facts,
            runtime=runtime,
            file=what,
            int8_layers=more.get("layers", 0),
            bytes=more["size"],
            val_map50_95=round(evaluate(predict, self.val).map50_95, 5),
            test_map50_95=None if test is None else round(test, 5),
            ms=round(speed.int8_ms or 0, 3),
            share_of_fp32_ms=round(speed.share or 0, 4),
            share_low=round(speed.low_share or 0, 4),
            share_high=round(speed.high_share or 0, 4),
        )
        append_row(ROWS, row)
        print(row, file=sys.stderr)


def run(arguments: Arguments) -> None:
    """Does what the flags ask."""
    if arguments.weights is not None:
        done = {row.weights for row in read_rows(ROWS, Row)}
        chosen = [
            path
            for path in sorted(arguments.weights.glob("*.pt"))
            if path.stem not in done and path.stem.startswith(arguments.names or ("",))
        ]
        random.Random(0).shuffle(chosen)
        for path in chosen:
            bench(path, arguments.datasets)
    if arguments.plot is not None:
        draw(arguments.plot)
    if arguments.print:
        show()


def bench(path: Path, datasets: Path) -> None:
    """All rows of one detector."""
    checkpoint = load_checkpoint(path)
    detector = checkpoint.build().eval()
    name = next(one.name for one in datasets.iterdir() if path.name.startswith(f"{one.name}-"))
    data = read_data(str(datasets / name / "data.yaml"))
    pictures = calibration_pictures(None, data, checkpoint.image_size)
    source = prepared(detector, checkpoint.image_size, checkpoint.names, pictures)
    graph = source.graph
    val = load_part(data, "val", checkpoint.image_size)
    test = load_part(data, "test", checkpoint.image_size) if "test" in data.parts else None
    one = Bench(
        facts={
            "weights": path.stem,
            "data": name,
            "image_size": str(checkpoint.image_size),
            "activation": detector.spec.activation,
            "has_se": any(op.kind is OpKind.GLOBAL_POOL for op in graph.ops),
            "convolutions": sum(op.kind is OpKind.CONVOLUTION for op in graph.ops),
            "torch_val_map50_95": round(evaluate_detector(detector, val).map50_95, 5),
        },
        head=HeadFacts(
            num_classes=detector.head.num_classes,
            strides=tuple(detector.head.strides),
            anchors=detector.spec.anchors,
        ),
        val=val,
        test=test,
    )
    host = read_device("host")
    assert host.is_here()
    ends = stem(graph) | last_of_head(graph)
    inner = [op.output for op in graph.ops if can_be_int8(op) and op.output not in ends]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        files = NcnnFiles(source, folder)
        fp32 = files.run_fp32()
        for precision in PRECISIONS:
            model = to_ncnn(detector, checkpoint.image_size, precision)
            (folder / "m.param").write_text(model.param)
            (folder / "m.bin").write_bytes(model.bin)
            tried = ncnn_run(folder / "m.param", folder / "m.bin")
            one.row("ncnn", precision, tried, fp32, size=len(model.bin))
        won = together(by_timing(graph), files.run_int8, to_image(val.images[0]), ends)
        choice = chosen_of(files, graph, won, one)
        ncnn_int8(one, files, fp32, "int8 chosen", choice)
        for way in Int8Way:
            ncnn_int8(one, files, fp32, f"int8 inner, {way.value}", dict.fromkeys(inner, way))
        everything = {op.output: Int8Way.DIRECT for op in graph.ops if can_be_int8(op)}
        ncnn_int8(one, files, fp32, "int8 all, direct", everything)
        direct = dict.fromkeys(inner, Int8Way.DIRECT)
        for method in METHODS[::2]:
            other = NcnnFiles(source, folder, method)
            ncnn_int8(one, other, fp32, f"int8 inner, direct, {method}", direct)
    onnx = OnnxFiles(source, has_boxes=True)
    fp32 = onnx.run_fp32()
    for precision in PRECISIONS:
        content = to_onnx(detector, checkpoint.image_size, precision, has_boxes=False)
        one.row("onnxruntime", precision, onnx_run(content), fp32, size=len(content))
    choice = chosen_of(onnx, graph, by_macs(graph), one)
    onnx_int8(one, onnx, fp32, "int8 chosen", choice)
    onnx_int8(one, onnx, fp32, "int8 all", everything)
    for method in METHODS:
        other_onnx = OnnxFiles(source, has_boxes=True, method=method)
        onnx_int8(one, other_onnx, fp32, f"int8 inner, {method}", direct)


def chosen_of(files: Any, graph: Any, won: Any, one: Bench) -> Int8Choice:
    """The layers that nas.export would choose for this machine."""
    judge = Judge(
        files=files,
        grade=lambda run: evaluate(predictor(run, one.head), one.val).map50_95,
        tell=lambda text: print(text, file=sys.stderr),
    )
    return choose(graph, won, judge, one.val.spread(LOOKED_AT).images, MAX_DROP).choice


def ncnn_int8(one: Bench, files: NcnnFiles, fp32: Run, what: str, choice: Int8Choice) -> None:
    size = len(files.contents(choice)[".ncnn.bin"])
    one.row("ncnn", what, files.run_int8(choice), fp32, layers=len(choice), size=size)


def onnx_int8(one: Bench, files: OnnxFiles, fp32: Run, what: str, choice: Int8Choice) -> None:
    size = len(files.contents(choice)[".onnx"])
    one.row("onnxruntime", what, files.run_int8(choice), fp32, layers=len(choice), size=size)


def show() -> None:
    """Prints what the files lost and their share of fp32's time: chosen ones, then variants."""
    variants = {row.digest for row in read_rows(ROWS.with_name("variants.csv"), pool.Result)}
    for runtime, inner in (("ncnn", "int8 inner, direct"), ("onnxruntime", INNER_ONNX)):
        found: dict[str, dict[str, Row]] = {}
        for row in read_rows(ROWS, Row):
            if row.runtime == runtime:
                found.setdefault(row.weights, {})[row.file] = row
        own = {name: files for name, files in found.items() if digest_of(name) not in variants}
        print(
            f"\n| {runtime} | fp32 | int8 layers, lost (test) | time | MB |\n|---|---|---|---|---|"
        )
        for files in sorted(own.values(), key=lambda files: title(files["fp32"])):
            fp32, chosen = files["fp32"], files["int8 chosen"]
            test = lost(fp32.test_map50_95, chosen.test_map50_95)
            print(
                f"| {title(fp32)} | {fp32.torch_val_map50_95:.3f} | {chosen.int8_layers} of"
                f" {chosen.convolutions}, {lost(fp32.val_map50_95, chosen.val_map50_95)}"
                f"{test and f' ({test})'} | {chosen.share_of_fp32_ms:.2f} |"
                f" {chosen.bytes / 1e6:.2f} of {fp32.bytes / 1e6:.2f} |"
            )
        shares = [files["int8 chosen"].share_of_fp32_ms for files in own.values()]
        print(f"\nmedian time of {len(shares)}: {np.median(shares):.2f}")
        print(f"\n| {runtime} | fp32 | all inner: lost, time | chosen: layers, lost | time |")
        print("|---|---|---|---|---|")
        others = [files for name, files in found.items() if digest_of(name) in variants]
        for files in sorted(others, key=lambda files: title(files["fp32"])):
            fp32, chosen, whole = files["fp32"], files["int8 chosen"], files[inner]
            print(
                f"| {title(fp32)} | {fp32.torch_val_map50_95:.3f} |"
                f" {lost(fp32.val_map50_95, whole.val_map50_95)}, {whole.share_of_fp32_ms:.2f} |"
                f" {chosen.int8_layers} of {chosen.convolutions},"
                f" {lost(fp32.val_map50_95, chosen.val_map50_95)} | {chosen.share_of_fp32_ms:.2f} |"
            )


def digest_of(weights: str) -> str:
    """The architecture that a weights file is named by."""
    return weights.rpartition("-")[2]


def title(row: Row) -> str:
    """What tells a detector to a reader."""
    return f"`{row.data}`, {row.image_size} px, {row.activation}{', SE' if row.has_se else ''}"


def lost(fp32: float | None, int8: float | None) -> str:
    """Points of mAP50-95 that int8 lost; nothing where there is no such part."""
    return "" if fp32 is None or int8 is None else f"{100 * (fp32 - int8):+.2f}"


def draw(path: Path) -> None:
    """Points of mAP lost against the share of fp32's time, by runtime and kind of file."""
    import plotly.graph_objects as go

    found = read_rows(ROWS, Row)
    before = {(row.weights, row.runtime): row for row in found if row.file == "fp32"}
    figure = go.Figure()
    for runtime, symbol in (("ncnn", "circle"), ("onnxruntime", "diamond")):
        for what, colour in (
            ("int8 chosen", "#1b7837"),
            ("int8 inner, direct", "#2166ac"),
            ("int8 inner, winograd 31", "#b2182b"),
            ("int8 all", "#762a83"),
        ):
            rows = [row for row in found if row.runtime == runtime and row.file == what]
            if not rows:
                continue
            lost = [
                100 * (before[row.weights, runtime].val_map50_95 - row.val_map50_95) for row in rows
            ]
            figure.add_scatter(
                x=[row.share_of_fp32_ms for row in rows],
                y=lost,
                mode="markers",
                name=f"{runtime}: {what}",
                marker={"symbol": symbol, "color": colour, "size": 10, "opacity": 0.8},
            )
    line = {"dash": "dash", "color": "grey", "width": 1}
    figure.add_shape(type="line", xref="paper", x0=0, x1=1, y0=1, y1=1, line=line)
    figure.add_shape(type="line", yref="paper", y0=0, y1=1, x0=1, x1=1, line=line)
    figure.update_layout(
        template="simple_white", width=900, height=560,
        title="What int8 loses and wins, each point a detector (validation part, one x86 core)",
        xaxis_title="time as a share of the same runtime's fp32 file (left of 1: faster)",
        yaxis_title="points of mAP50-95 lost (below 1: within the gate)",
    )  # fmt: skip
    figure.write_html(path, include_plotlyjs=True)


if __name__ == "__main__":
    command_line(Arguments, run)
