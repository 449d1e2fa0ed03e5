"""Weights between our checkpoints and YOLOv5's.

State-dict names are the same on both sides: `model.<row>.<...>`, with YOLOv5's names inside the
modules that YOLOv5 has (`conv`, `bn`, `cv1`, `m`, ...), and ours inside the others
(nas/detector). One tensor means something else: `model.<last>.anchors` counts in pixels here, and
in cells of each level there.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from nas import NasError
from nas.detector.builder import build_detector
from nas.integrations.pickles import PickleError, Shell, read_pickle, state_of
from nas.integrations.rows import read_mapping
from nas.space.blocks import layers, strides
from nas.space.spec import Anchors, ModelSpec, dump_spec, with_anchors
from nas.training.checkpoint import Checkpoint, load_checkpoint, make_checkpoint

_SIZE: Final = 256
HALF_ROUNDING: Final = 1e-3
"""Relative; their best.pt holds anchors in half precision."""


def read_yolov5(path: Path) -> Checkpoint:
    """A checkpoint of YOLOv5 (best.pt, last.pt) as one of ours: averaged weights where it has them.

    Nothing in the file is run, and YOLOv5 is not needed. PickleError, SpecError or NasError say
    what does not suit.
    """
    document = read_pickle(path)
    model = document.get("ema") or document.get("model")
    if not isinstance(model, Shell) or not isinstance(getattr(model, "yaml", None), dict):
        raise PickleError(
            str(path),
            "a checkpoint of YOLOv5 holds a pickled model under `ema` or `model`",
            ", ".join(map(str, document)),
            "Give a best.pt or last.pt of YOLOv5's train.py",
        )
    state = {name: value.float() for name, value in state_of(model) if value.is_floating_point()}
    counts = {name: value for name, value in state_of(model) if not value.is_floating_point()}
    spec = read_mapping(_with_plain_anchors(vars(model)["yaml"]), str(path))
    spec = with_anchors(spec, _anchors(spec, state, str(path)))
    detector = build_detector(spec)
    own = detector.state_dict()
    theirs = {**state, **counts, _anchors_name(spec): own[_anchors_name(spec)]}
    _check_names(str(path), own, theirs)
    detector.load_state_dict(theirs)
    return make_checkpoint(detector.eval(), _names(model, spec), _image_size(document, spec))


def export_yolov5(checkout: Any, source: Path, target: Path) -> None:
    """Writes one of our checkpoints as YOLOv5 pickles its own; `checkout` is its `models.yolo`.

    Must run with our parser in place (nas.integrations.yolov5), in YOLOv5's process.
    """
    checkpoint = load_checkpoint(source)
    detector = checkpoint.build()
    import yaml

    document = yaml.safe_load(dump_spec(detector.spec))
    model = checkout.Model(document, ch=3)
    state = dict(detector.state_dict())
    name = _anchors_name(detector.spec)
    steps = torch.tensor(detector.head.strides, dtype=torch.float32).view(-1, 1, 1)
    state[name] = state[name] / steps
    model.load_state_dict(state)
    # What their train.py attaches to a model, and their val.py asks it for.
    model.nc, model.names = len(checkpoint.names), dict(enumerate(checkpoint.names))
    content = {
        "epoch": -1,
        "best_fitness": None,
        "model": model.eval(),
        "ema": None,
        "updates": None,
        "optimizer": None,
        "opt": None,
        "git": None,
        "date": time.strftime("%Y-%m-%dT%H:%M:%S"),
    }
    temporary = target.with_name(f".{target.name}.part")
    try:
        torch.save(content, temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _anchors_name(spec: ModelSpec) -> str:
    return f"model.{len(spec.rows) - 1}.anchors"


def _with_plain_anchors(document: dict[str, Any]) -> dict[str, Any]:
    """The mapping without anchors that are a count (YOLOv5 takes one: they are learned then)."""
    if isinstance(document.get("anchors"), list):
        return document
    return {key: value for key, value in document.items() if key != "anchors"}


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


def _check_names(where: str, own: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """NasError unless both sides have the same tensors of the same shapes."""
    shapes = {name: tuple(value.shape) for name, value in own.items()}
    found = {name: tuple(value.shape) for name, value in theirs.items()}
    differing = [name for name in {**shapes, **found} if shapes.get(name) != found.get(name)]
    if differing:
        first = differing[0]
        raise NasError(
            where,
            "the weights are those of the model YAML inside the file, as it is read here",
            f"{first}: {found.get(first, 'absent')} instead of {shapes.get(first, 'nothing')}"
            f" ({len(differing)} of {len(shapes)} tensors differ)",
            "Export the checkpoint again with an unchanged YOLOv5, or name it in a bug report",
        )


def _names(model: Shell, spec: ModelSpec) -> tuple[str, ...]:
    names = getattr(model, "names", None)
    listed = list(names.values()) if isinstance(names, dict) else names
    if not isinstance(listed, list) or len(listed) != spec.num_classes:
        listed = [str(index) for index in range(spec.num_classes)]
    return tuple(map(str, listed))


def _image_size(document: dict[str, Any], spec: ModelSpec) -> int:
    """What it was trained at, if the file says it; else the model's own size, else YOLOv5's 640."""
    options = document.get("opt")
    told = options.get("imgsz") if isinstance(options, dict) else getattr(options, "imgsz", None)
    if isinstance(told, int) and told >= 32 and told % 32 == 0:
        return told
    return spec.image_size or 640
