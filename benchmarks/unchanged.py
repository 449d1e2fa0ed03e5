"""One line a figure that a change of the house's layout must leave as it is, to the last digit.

    python benchmarks/unchanged.py > before.txt      # at one commit
    python benchmarks/unchanged.py | diff before.txt -    # at another

For random detectors of three spaces: their digests, their blocks, every block of the space, and
what each table answers for them (those that lack are named), and what was chosen for each; for
each hand-designed detector its ncnn and ONNX graphs in fp32 and int8. For three heads on the drawn
set: the pictures, the batches with their targets, every loss of a few steps, the weights after
them, what is decoded and graded, and the checkpoint's figures. Each line ends in 16 hex digits of
all of it.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas import NasError
from nas.data.anchors import box_sizes, fit_anchors
from nas.data.dataset import load_part, read_data
from nas.detector.builder import build_detector
from nas.emit.ncnn import emit_ncnn
from nas.emit.onnx import emit_onnx
from nas.latency.device import TableKey
from nas.latency.load import load_table_model
from nas.space.blocks import blocks
from nas.space.ops import model_graph
from nas.space.references import reference_files
from nas.space.search_space import Candidate, SearchSpace, read_space
from nas.space.spec import parse_spec, read_spec, with_anchors, with_classes
from nas.terminal import command_line
from nas.training.growth import GrowthSettings
from nas.training.loop import train
from nas.training.losses.assign import Targets
from nas.training.metrics import evaluate_detector, torch_predictor
from nas.training.on_disk.checkpoint import load_checkpoint, make_checkpoint, save_checkpoint
from nas.training.settings import TrainSettings
from nas.training.under_way import plan_of

KEYS = (
    TableKey(device="rpi4", threads=4),
    TableKey(device="rpi4", runtime="onnxruntime", threads=4),
    TableKey(device="host"),
    TableKey(device="fake"),
)
"""An estimated table of each runtime, this machine's own, and the fake board's."""


HEADS = (
    ("Detect, [nc, anchors]", "yolov5"),
    ("Detect, [nc, anchors]", "aligned"),
    ("LightDetect, [nc, None, 1, 8]", "aligned"),
)
"""Heads, and how what they answer for is decided."""

MODEL = """
nc: 80
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [24, 3, 2]]
  - [-1, 1, Conv, [32, 3, 2]]
head:
  - [[2, 3, 4], 1, {head}]
"""
"""Of the trainings."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Print the digests of predictions, blocks and graphs."""

    detectors: int = 200
    """Random ones of each space."""
    spaces: tuple[str, ...] = ("fused_mbconv", "mixed", "grid")
    """Search spaces by name."""
    image_size: int = 320
    """Pixels, of the hand-designed detectors."""
    steps: int = 6
    """Of each training."""


def run(arguments: Arguments) -> None:
    """Prints them."""
    for name in arguments.spaces:
        space, rng = read_space(name), np.random.default_rng(0)
        drawn = [space.random(rng) for _ in range(arguments.detectors)]
        for what, value in of_space(space, drawn):
            print(f"{name}, {what}: {digest(value)}")
        for key in KEYS:
            print(f"{name}, {key}: {of_table(key, space, drawn)}")
    for path in reference_files():
        print(f"{path.stem}: {digest(list(of_graph(path.stem, arguments.image_size)))}")
    for head, assignment in HEADS:
        for what, value in of_training(head, assignment, arguments.steps):
            print(f"{head} taught by {assignment}, {what}: {digest(value)}")


def of_space(space: SearchSpace, drawn: list[Candidate]) -> Iterator[tuple[str, Any]]:
    """What is built: digests and blocks."""
    yield "digest", space.digest
    yield "architectures", [one.digest for one in drawn]
    yield "choices", [one.choices for one in drawn]
    yield "options", space.options()
    yield "their blocks", [[b.key() for b in blocks(one.spec, one.image_size)] for one in drawn]
    yield "every block", [block.key() for block in space.blocks()]


def of_table(key: TableKey, space: SearchSpace, drawn: list[Candidate]) -> str:
    """What the table answers for all of them, and their mean (ms)."""
    try:
        model = load_table_model(key, space=space)
    except NasError:
        return "no table"
    found = [model.predict(one.spec, one.image_size) for one in drawn]
    told = [[repr(one.ms), repr(one.low_ms), repr(one.high_ms), one.kind.value] for one in found]
    return f"{np.mean([one.ms for one in found]):.6f} ms, {digest(told)}"


def of_graph(name: str, image_size: int) -> Iterator[str]:
    """The files of a hand-designed detector's graph."""
    graph = model_graph(read_spec(name), image_size)
    for precision in ("fp32", "int8"):
        yield emit_ncnn(graph, precision)
        yield emit_onnx(graph, precision).content.hex()


def of_training(head: str, assignment: Any, steps: int) -> Iterator[tuple[str, Any]]:
    """What a short training with this head on the drawn set is given, and what it gives."""
    data, size = read_data("shapes"), 64
    train_set, val_set = (load_part(data, part, size) for part in ("train", "val"))
    train_set, val_set = train_set.spread(64), val_set.spread(32)
    yield "pictures", [train_set.images.tobytes().hex(), train_set.boxes.tolist()]
    spec = with_classes(parse_spec(MODEL.format(head=head)), data.num_classes)
    fit = fit_anchors(box_sizes(train_set), seed=0)
    spec = with_anchors(spec, fit.anchors)
    yield "anchors", fit.anchors
    torch.manual_seed(0)
    torch.set_num_threads(1)
    detector = build_detector(spec)
    settings = TrainSettings(
        epochs=None,
        steps=steps,
        assignment=assignment,
        growth=GrowthSettings(first_size=0.5, first_strength=0.5),
    )
    plan = plan_of(detector, train_set, settings, 0)
    for step in (0, steps - 1):
        images, wanted = plan.make(step)
        told = {name: getattr(wanted, name) for name in wanted.__slots__}
        arrays = [None if one is None else one.tolist() for one in told.values()]
        kind = "targets" if isinstance(wanted, Targets) else "objects"
        yield f"batch of step {step}, {kind}", [images.tobytes().hex(), list(told), arrays]
    losses: list[str] = []
    train(
        detector,
        train_set,
        None,
        settings,
        seed=0,
        on_step=lambda now: losses.append(repr(now.loss)),
    )
    yield "losses", losses
    yield "weights", [value.double().tolist() for value in detector.state_dict().values()]
    yield "boxes", torch_predictor(detector)(val_set.images[:4]).astype(float).tolist()
    grades = evaluate_detector(detector, val_set)
    yield "grades", [repr(grades.map50_95), repr(grades.map50)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "last.pt"
        save_checkpoint(path, make_checkpoint(detector, data.names, size))
        kept = load_checkpoint(path)
        yield "checkpoint", [kept.model, kept.image_size, type(kept.image_size).__name__]


def digest(value: Any) -> str:
    """16 hex digits of a value."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


if __name__ == "__main__":
    command_line(Arguments, run)
