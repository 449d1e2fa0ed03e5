"""Weights between our checkpoints and YOLOv5's.

State-dict names are the same on both sides: `model.<row>.<...>`, with YOLOv5's names inside the
modules that YOLOv5 has (`conv`, `bn`, `cv1`, `m`, ...), and ours inside the others
(nas/detector). One tensor means something else: `model.<last>.anchors` counts in pixels here, and
in cells of each level there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
import yaml
from torch import Tensor

from nas import NasError
from nas.integrations.checkpoints import checkpoint_of, save_pickled
from nas.integrations.pickles import read_model
from nas.integrations.rows import read_mapping
from nas.integrations.trainers import require
from nas.space.anchors import Anchors
from nas.space.blocks import layers, strides
from nas.space.image_size import ImageSize, longest
from nas.space.spec import ModelSpec, dump_spec, with_anchors
from nas.training.on_disk.checkpoint import Checkpoint, load_checkpoint

_SIZE: Final = 256
HALF_ROUNDING: Final = 1e-3
"""Relative; their best.pt holds anchors in half precision."""


def read_yolov5(path: Path) -> Checkpoint:
    """A checkpoint of YOLOv5 (best.pt, last.pt) as one of ours: averaged weights where it has them.

    Nothing in the file is run, and YOLOv5 is not needed. PickleError, SpecError or NasError say
    what does not suit.
    """
    pickled, where = read_model(path, "YOLOv5", options="opt"), str(path)
    spec = read_mapping(pickled.yaml, where)
    spec = with_anchors(spec, _anchors(spec, pickled.state, where))
    plain = torch.tensor(spec.anchors).view(len(spec.anchors), -1, 2)
    weights = {**pickled.state, _anchors_name(spec): plain}
    return checkpoint_of(pickled, spec, weights, where)


def export_yolov5(theirs: Any, source: Path, target: Path) -> ImageSize:
    """Writes one of our checkpoints as YOLOv5 pickles its own; returns the size that ours is for.

    theirs  YOLOv5's `models.yolo`

    Runs in YOLOv5's process, with our parser in place (nas.integrations.yolov5). SpecError for a
    head without anchors.
    """
    checkpoint = load_checkpoint(source)
    detector = checkpoint.build()
    require(detector.spec, "YOLOv5", str(source))
    model = theirs.Model(yaml.safe_load(dump_spec(detector.spec)), ch=3)
    state = dict(detector.state_dict())
    name = _anchors_name(detector.spec)
    steps = torch.tensor(detector.head.strides, dtype=torch.float32).view(-1, 1, 1)
    state[name] = state[name] / steps
    model.load_state_dict(state)
    # What their train.py attaches to a model, and their val.py asks it for.
    model.nc, model.names = len(checkpoint.names), dict(enumerate(checkpoint.names))
    unknown = ("best_fitness", "ema", "updates", "optimizer", "git", "date")
    content = {"epoch": -1, "model": model.eval(), "opt": {"imgsz": longest(checkpoint.image_size)}}
    save_pickled({**content, **dict.fromkeys(unknown)}, target)
    return checkpoint.image_size


def _anchors_name(spec: ModelSpec) -> str:
    return f"model.{len(spec.rows) - 1}.anchors"


def _anchors(spec: ModelSpec, state: dict[str, Tensor], where: str) -> Anchors:
    """The model's anchors in pixels: the YAML's, unless they were fitted to the data since."""
    held = state.get(_anchors_name(spec))
    if held is None or held.dim() != 3:
        raise NasError(where, "the last row is YOLOv5's Detect with anchors", "none there")
    steps = torch.tensor(strides(layers(spec, _SIZE, where), _SIZE)).view(-1, 1, 1)
    pixels = held * steps
    written = torch.tensor(spec.anchors, dtype=torch.float32)
    if written.numel() == pixels.numel() and torch.allclose(
        written.view_as(pixels), pixels, rtol=HALF_ROUNDING
    ):
        return spec.anchors
    rows = pixels.flatten(1).tolist()
    return tuple(tuple(round(value, 2) for value in row) for row in rows)
