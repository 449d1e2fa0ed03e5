"""What light heads without anchors cost on a board, and how they learn beside YOLOv8's.

    python benchmarks/light_heads.py --model ../shared/probe/mid-anchor-free.yaml --cost
    python benchmarks/light_heads.py --model ../shared/probe/mid-anchor-free.yaml \\
        --data bccd/data.yaml --epochs 14 --heads "Detect nc" "LightDetect nc None 1 8"

A head stands in the place of the model's own, as the words of its row: module, then arguments. Each
is trained from scratch on the training part and graded once, on the validation part.
"""

from __future__ import annotations

import csv
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
import yaml

from nas.data.dataset import load_part, read_data
from nas.detector.builder import build_detector
from nas.latency.device import ROOT, read_device
from nas.latency.load import load_table_model
from nas.space.anchors import DEFAULT_ANCHORS
from nas.space.ops import macs, model_graph, params
from nas.space.spec import ModelSpec, read_spec, with_classes
from nas.terminal import command_line
from nas.training.loop import train
from nas.training.settings import TrainSettings

HEADS = (
    "Detect nc anchors",
    "Detect nc",
    *(f"LightDetect nc {width} 1 {b}" for width in (48, 32, 24) for b in (16, 8, 1)),
    *(f"LightDetect nc {width} 2 {b}" for width in (32, 24, 16) for b in (16, 8)),
    *(f"LightDetect nc 48 {d} {b} 3 separable" for d in (2, 1) for b in (16, 8, 1)),
    *(f"LightDetect nc 48 {depth} 16 5 separable" for depth in (2, 1)),
    *(f"LightDetect nc None 0 {bins}" for bins in (16, 8, 1)),
)
"""The heads whose cost is shown unless others are named."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Cost and learning of heads on one detector."""

    model: Path
    """A model YAML, whose own head is replaced."""
    heads: tuple[str, ...] = HEADS
    """Rows of heads: module and arguments, apart by spaces."""
    cost: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show predicted ms on a Raspberry Pi 4 and train nothing."""
    data: Path | None = None
    """A YOLO data.yaml."""
    epochs: int = 14
    """Passes over its training part."""
    seeds: tuple[int, ...] = (0,)
    """Each head is trained once with each."""
    lr: float = 0.004
    """Of AdamW, in batches of 8."""
    image_size: int = 192
    """Pixels."""


def with_head(spec: ModelSpec, words: str) -> ModelSpec:
    """The model under another head."""
    module, *args = words.split()
    values: tuple[Any, ...] = tuple(yaml.safe_load(arg) for arg in args)
    values = tuple(None if value == "None" else value for value in values)
    last = replace(spec.head[-1], module=module, args=values)
    anchors = DEFAULT_ANCHORS if "anchors" in values else ()
    return replace(spec, head=(*spec.head[:-1], last), anchors=anchors)


def show_cost(arguments: Arguments) -> None:
    """A line a head: predicted ms, and how much that is over YOLOv5's own."""
    device = read_device("rpi4", ROOT)
    models = [load_table_model(device.key("ncnn", "fp32", t), ROOT) for t in (1, 4)]
    spec, size = read_spec(arguments.model), arguments.image_size
    plain = [m.predict(with_head(spec, "Detect nc anchors"), size).ms for m in models]
    print("ms with 1 thread, over YOLOv5's; with 4; MACs, parameters; head (estimated, rpi4, ncnn)")
    for words in arguments.heads:
        headed = with_head(spec, words)
        found = [model.predict(headed, size).ms for model in models]
        graph = model_graph(headed, size)
        times = "  ".join(
            f"{ms:6.2f} {ms / own - 1:+6.1%}" for ms, own in zip(found, plain, strict=True)
        )
        print(f"{times}  {macs(graph) / 1e6:6.1f} M {params(graph) / 1e3:5.0f} k  {words}")


def main(arguments: Arguments) -> None:
    """Shows costs, or trains and prints a line of CSV a training."""
    if arguments.cost or arguments.data is None:
        show_cost(arguments)
        return
    data = read_data(str(arguments.data))
    parts = [load_part(data, part, arguments.image_size) for part in ("train", "val")]
    settings = TrainSettings(
        epochs=arguments.epochs, batch_size=8, optimizer="adamw", lr=arguments.lr, evaluate_every=0
    )
    spec = with_classes(read_spec(arguments.model), len(data.names))
    rows = csv.writer(sys.stdout)
    for seed in arguments.seeds:
        for words in arguments.heads:
            torch.manual_seed(seed)
            detector = build_detector(with_head(spec, words))
            start = time.process_time()
            grades = train(detector, parts[0], parts[1], settings, seed=seed).grades
            assert grades is not None
            seconds = round(time.process_time() - start)
            maps = (f"{grades.map50_95:.4f}", f"{grades.map50:.4f}")
            rows.writerow([data.name, words, seed, arguments.epochs, *maps, seconds])
            sys.stdout.flush()


if __name__ == "__main__":
    command_line(Arguments, main)
