"""Weights between our checkpoints and Ultralytics'.

State-dict names are the same on both sides: `model.<row>.<...>`, the head's branches `cv2` and
`cv3`. Theirs has one tensor more, `model.<last>.dfl.conv.weight`: the constants 0 to 15.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from nas import NasError
from nas.integrations.checkpoints import checkpoint_of, save_pickled
from nas.integrations.pickles import read_model
from nas.integrations.rows import read_mapping
from nas.integrations.trainers import require
from nas.space.image_size import ImageSize, longest
from nas.space.spec import ModelSpec, dump_spec
from nas.training.on_disk.checkpoint import Checkpoint, load_checkpoint


def without_anchors(spec: ModelSpec) -> ModelSpec:
    """The model with YOLOv8's head in the place of one with anchors; others stay as they are."""
    if not spec.anchors:
        return spec
    last = replace(spec.head[-1], args=("nc",))
    return replace(spec, head=(*spec.head[:-1], last), anchors=())


def read_ultralytics(path: Path) -> Checkpoint:
    """A checkpoint of Ultralytics' detection as one of ours: averaged weights where it has them.

    Nothing in the file is run, and Ultralytics is not needed. PickleError, SpecError or NasError
    say what does not suit.
    """
    pickled, where = read_model(path, "Ultralytics", options="train_args"), str(path)
    spec = without_anchors(read_mapping(pickled.yaml, where))
    weights = {name: value for name, value in pickled.state.items() if ".dfl." not in name}
    return checkpoint_of(pickled, spec, weights, where)


def export_ultralytics(theirs: Any, source: Path, target: Path) -> ImageSize:
    """Writes one of our checkpoints as Ultralytics pickles its own; returns the size ours is for.

    theirs  Ultralytics' `nn.tasks`

    Runs with our parser in place (nas.integrations.ultralytics). NasError for a head with anchors
    or a light one.
    """
    checkpoint = load_checkpoint(source)
    detector = checkpoint.build()
    require(detector.spec, "Ultralytics", str(source))
    if detector.spec.anchors:
        raise NasError(
            str(source),
            "Ultralytics' head has no anchors, as that of `Detect, [nc]`",
            "weights of a head with anchors",
            "Train the model there from its YAML; the way to YOLOv5 is nas.integrations.yolov5",
        )
    document = {**yaml.safe_load(dump_spec(detector.spec)), "scale": ""}
    model = theirs.DetectionModel(document, ch=3, verbose=False)
    constant = f"model.{len(detector.spec.rows) - 1}.dfl.conv.weight"
    state = {**detector.state_dict(), constant: model.state_dict()[constant]}
    model.load_state_dict(state)
    model.names = dict(enumerate(checkpoint.names))
    model.task = "detect"
    content = {"epoch": -1, "model": model.eval(), "ema": None, "optimizer": None}
    content["train_args"] = {"imgsz": longest(checkpoint.image_size), "task": "detect"}
    save_pickled(content, target)
    return checkpoint.image_size
