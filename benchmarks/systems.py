"""Every reference model from its YAML to a point on the plot and back: one row each.

    python benchmarks/systems.py --data bccd/data.yaml
    python benchmarks/systems.py --data ... --yolov5 CHECKOUT --python PYTHON    # weights, too

Columns: parameters in training; MACs by our walk, and by how much thop's count on the folded
network differs less what it adds for global pools and upsampling; largest error of ncnn's and ONNX
Runtime's maps against torch's (random weights); the loss of the first and last three of 30 steps on
four pictures; the latency estimated for a Raspberry Pi 4 at 4 threads; the spaces on whose plots it
stands; and what goes back: channels for MMYOLO, and weights written for YOLOv5 (those without
anchors: Ultralytics) and read again, with how many tensors came back equal.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
import tyro

from nas.data.dataset import load_part, read_data
from nas.data.images import ImageSet
from nas.deploy.check import compare, run_ncnn, run_onnx
from nas.deploy.ncnn import to_ncnn
from nas.deploy.onnx import to_onnx
from nas.deploy.picture import picture
from nas.deploy.weights import random_detector
from nas.detector.builder import Detector, build_detector, fuse
from nas.integrations.mmyolo import MmyoloError, backbone_levels
from nas.integrations.ultralytics_weights import read_ultralytics
from nas.integrations.yolov5_weights import read_yolov5
from nas.latency.device import read_device
from nas.latency.load import load_table_model
from nas.space.image_size import ImageSize, longest, sides
from nas.space.ops import macs, model_graph
from nas.space.references import fits, reference_files, reference_size
from nas.space.search_space import SPACES, read_space
from nas.space.spec import ModelSpec, read_spec, with_anchors, with_classes
from nas.training.augment import AugmentSettings
from nas.training.loop import train
from nas.training.on_disk.checkpoint import make_checkpoint, save_checkpoint
from nas.training.settings import short_settings

TRAINED_AT: Final = 128
"""Pixels of the four pictures."""

STEPS: Final = 30

COLUMNS: Final = (
    "model",
    "px",
    "params, M",
    "MACs, M",
    "thop differs by",
    "ncnn off by",
    "ONNX Runtime off by",
    "loss",
    "Raspberry Pi 4, ms (estimated)",
    "on the plots of",
    "back to MMYOLO, P3 to P5",
    "weights there and back",
)

STILL: Final = AugmentSettings(
    mosaic=0, scale=0, translate=0, flip_horizontal=0, hue=0, saturation=0, value=0
)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Print the table."""

    data: Path
    """A YOLO data.yaml, of whose training part four pictures are learnt."""
    models: tuple[str, ...] = ()
    """Names of files in search_spaces/reference/; by default all."""
    yolov5: Path | None = None
    """A checkout of YOLOv5, with Ultralytics installed beside it."""
    python: Path = Path(sys.executable)
    """The interpreter that has what they need."""


def main(arguments: Arguments) -> None:
    """A row for each model, as soon as it is known."""
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|", flush=True)
    pictures = four_pictures(arguments.data)
    board = load_table_model(read_device("rpi4").key("ncnn", "fp32"))
    spaces = {path.stem: read_space(path.stem) for path in sorted(SPACES.glob("*.yaml"))}
    for path in reference_files():
        if arguments.models and path.stem not in arguments.models:
            continue
        spec = read_spec(path)
        size = spec.image_size or 320
        detector = random_detector(spec, size)
        latency = board.predict(spec, size)
        shown = [name for name, space in spaces.items() if fits(spec, reference_size(space))]
        taught = losses(spec, pictures)
        graph = model_graph(spec, size)
        cells = [
            f"{path.stem} | {size}",
            f"{sum(p.numel() for p in detector.parameters()) / 1e6:.3f}",
            f"{macs(graph) / 1e6:.1f}",
            f"{thop_difference(detector, size)}",
            *(f"{error:.1e}" for error in export_errors(detector, size)),
            f"{np.mean(taught[:3]):.3g} to {np.mean(taught[-3:]):.3g}",
            f"{latency.ms:.0f} ({latency.low_ms:.0f} to {latency.high_ms:.0f})",
            ", ".join(shown),
            levels(spec),
            there_and_back(detector, arguments),
        ]
        print("| " + " | ".join(cells) + " |", flush=True)


def four_pictures(data: Path) -> ImageSet:
    """The first four of the training part."""
    part = load_part(read_data(str(data)), "train", TRAINED_AT)
    end = int(part.starts[4])
    return replace(
        part,
        images=part.images[:4],
        frames=part.frames[:4],
        sizes=part.sizes[:4],
        boxes=part.boxes[:end],
        classes=part.classes[:end],
        starts=part.starts[:5],
        files=part.files[:4],
    )


def losses(spec: ModelSpec, pictures: ImageSet) -> list[float]:
    """The loss of each of STEPS steps on the pictures, from fresh weights."""
    own = with_classes(spec, len(pictures.names))
    scale = TRAINED_AT / longest(spec.image_size or 320)
    own = with_anchors(own, tuple(tuple(v * scale for v in level) for level in own.anchors))
    torch.manual_seed(0)
    found: list[float] = []
    settings = replace(short_settings(STEPS), batch_size=4, recalibration_batches=1, augment=STILL)
    train(
        build_detector(own),
        pictures,
        None,
        settings,
        seed=0,
        on_step=lambda step: found.append(step.loss),
    )
    return found


def thop_difference(detector: Detector, size: ImageSize) -> str:
    """Our MACs against thop's, which counts convolutions with their folded biases aside."""
    import thop

    folded = fuse(detector)
    counted = {
        torch.nn.AdaptiveAvgPool2d: _nothing,
        torch.nn.Upsample: _nothing,
    }
    inside = Maps(folded)
    theirs, _ = thop.profile(
        inside, inputs=(torch.zeros(1, 3, *sides(size)),), custom_ops=counted, verbose=False
    )
    return f"{int(theirs) - macs(model_graph(detector.spec, size))}"


class Maps(torch.nn.Module):
    """A detector up to its raw maps."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The raw maps."""
        return self.detector.maps(x)


def _nothing(module: torch.nn.Module, inputs: object, output: object) -> None:
    """What thop counts for pools and upsampling is no multiply-accumulate."""


def export_errors(detector: Detector, size: ImageSize) -> list[float]:
    """Largest differences of ncnn's and of ONNX Runtime's maps from torch's."""
    image = picture(size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = to_ncnn(detector, size, "fp32")
        (folder / "m.param").write_text(model.param)
        (folder / "m.bin").write_bytes(model.bin)
        outputs = {"m.param": run_ncnn(folder / "m.param", folder / "m.bin", image)}
        outputs["m.onnx"] = run_onnx(to_onnx(detector, size, has_boxes=False), image)
    return [
        compare(detector, "fp32", image, found, file, has_boxes=False).max_error
        for file, found in outputs.items()
    ]


def levels(spec: ModelSpec) -> str:
    """Channels that MMYOLO's neck is told."""
    try:
        return ", ".join(str(level.channels) for level in backbone_levels(spec))
    except MmyoloError as error:
        return f"not: {error}"


def there_and_back(detector: Detector, arguments: Arguments) -> str:
    """Weights as the other tool's own checkpoint, read back: how many tensors are equal."""
    if arguments.yolov5 is None:
        return "not asked"
    is_anchored = bool(detector.spec.anchors)
    tool = ["nas.integrations.yolov5", "export", str(arguments.yolov5.resolve())]
    if not is_anchored:
        tool = ["nas.integrations.ultralytics", "export"]
    with tempfile.TemporaryDirectory() as name:
        ours, theirs = Path(name) / "ours.pt", Path(name) / "theirs.pt"
        classes = tuple(str(number) for number in range(detector.spec.num_classes))
        save_checkpoint(ours, make_checkpoint(detector, classes, 320))
        done = subprocess.run(
            [str(arguments.python), "-m", *tool, str(ours), str(theirs)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return f"not: {done.stderr.strip().splitlines()[-1]}"
        back = read_yolov5(theirs) if is_anchored else read_ultralytics(theirs)
    state = detector.state_dict()
    equal = sum(torch.equal(value, back.weights[name]) for name, value in state.items())
    return f"{'YOLOv5' if is_anchored else 'Ultralytics'}: {equal} of {len(state)} equal"


if __name__ == "__main__":
    main(tyro.cli(Arguments))
