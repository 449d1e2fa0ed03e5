"""Runs Ultralytics' `yolo` command with our modules and our reading of model YAMLs.

    python -m nas.integrations.ultralytics train model=model.yaml data=my.yaml epochs=100 imgsz=320
    python -m nas.integrations.ultralytics val model=runs/detect/train/weights/best.pt data=my.yaml
    python -m nas.integrations.ultralytics import best.pt ours.pt      Ultralytics' weights -> ours
    python -m nas.integrations.ultralytics export ours.pt best.pt      ours -> Ultralytics'

All but those two forms is handed to `yolo` as it stands. The head is Ultralytics' own: YOLOv8's,
without anchors. So a model with `Detect, [nc, anchors]` is trained there with another head than it
was searched with; `import` leaves the model YAML that says so (`Detect, [nc]`), whose latency is to
be predicted anew. It has no LightDetect. Models with rows that we don't know are left to their
parser.
Ultralytics is AGPL-3.0 and no part of this package (pip install ultralytics). What it trains holds
modules of ours: whoever loads such a .pt needs this package installed. Several GPUs are not served:
Ultralytics starts processes of its own for them, without our modules.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from nas import NasError
from nas.terminal import guarded, open_streams, say


class UltralyticsError(NasError):
    """Ultralytics that isn't there, or that is asked for what it can't do with our models."""


def run(arguments: list[str]) -> None:
    """Does what the arguments ask for."""
    match arguments:
        case [] | ["-h"] | ["--help"]:
            print(__doc__)
        case ["import", source, target] if "=" not in source + target:
            import_weights(Path(source), Path(target))
        case ["export", source, target] if "=" not in source + target:
            export_weights(Path(source), Path(target))
        case _:
            run_yolo(arguments)


def run_yolo(arguments: list[str]) -> None:
    """Their command, as `yolo ...` would run it, with our parser in place."""
    # Before the import: Ultralytics keeps the arguments that it finds then.
    sys.argv = ["yolo", *arguments]
    install(enter())
    import_module("ultralytics.cfg").entrypoint()


def import_weights(source: Path, target: Path) -> None:
    """Reads a checkpoint of Ultralytics and writes ours, and its model YAML beside it."""
    from nas.integrations.checkpoints import check_target, keep
    from nas.integrations.ultralytics_weights import read_ultralytics

    check_target(source, target)
    say(keep(read_ultralytics(source), target))


def export_weights(source: Path, target: Path) -> None:
    """Reads our checkpoint and writes Ultralytics', made of its own classes and our modules."""
    from nas.integrations.checkpoints import check_target
    from nas.integrations.rectangles import told_weights
    from nas.integrations.ultralytics_weights import export_ultralytics

    check_target(source, target)
    theirs = enter()
    install(theirs)
    size = export_ultralytics(theirs, source, target)
    say(f"{target}: a checkpoint for Ultralytics' model=")
    if told := told_weights(size, "Ultralytics"):
        say(f"{target}: {told}")


def enter() -> Any:
    """Ultralytics' `nn.tasks`."""
    try:
        return import_module("ultralytics.nn.tasks")
    except ModuleNotFoundError as error:
        raise UltralyticsError(
            "ultralytics",
            "Ultralytics is installed, with what it needs",
            f"no module {error.name}",
            "pip install ultralytics",
        ) from error


def install(theirs: Any) -> None:
    """Puts our parser in the place of theirs, and lets `fuse` fold our batch norms too."""
    from nas.detector.builder import fold_batch_norms
    from nas.integrations.rows import is_ours

    parse_theirs, fuse_theirs = theirs.parse_model, theirs.BaseModel.fuse

    def parse_model(document: dict[str, Any], ch: int, verbose: bool = True) -> Any:
        if not is_ours(document):
            return parse_theirs(document, ch, verbose)
        return build(theirs, document, ch)

    def fuse(self: Any, *arguments: Any, **named: Any) -> Any:
        fold_batch_norms(self)
        return fuse_theirs(self, *arguments, **named)

    theirs.parse_model, theirs.BaseModel.fuse = parse_model, fuse


def build(theirs: Any, document: dict[str, Any], ch: int) -> tuple[Any, list[int]]:
    """What their `parse_model` returns: the rows in sequence, and which of them are read later."""
    from torch import nn

    from nas.detector.convolution import activation_module
    from nas.integrations.rectangles import told_training
    from nas.integrations.rows import build_rows, mark_head, read_mapping
    from nas.integrations.trainers import require
    from nas.integrations.ultralytics_weights import without_anchors
    from nas.space.modules import SpecError

    if ch != 3:
        raise SpecError("model YAML, channels", "an image has 3 channels", str(ch))
    read = read_mapping(document, "model YAML")
    require(read, "Ultralytics", "model YAML")
    spec = without_anchors(read)
    if read != spec:
        say("model YAML: Ultralytics' head without anchors stands in for Detect, [nc, anchors]")
    rows = build_rows(spec, "model YAML")
    # Their head takes its activation and its form (YOLOv8's) from attributes of classes.
    before = theirs.Conv.default_act, getattr(theirs.Detect, "legacy", False)
    theirs.Conv.default_act = activation_module(spec.activation)
    theirs.Detect.legacy = True
    try:
        head = theirs.Detect(nc=spec.num_classes, ch=list(rows.head_channels))
    finally:
        theirs.Conv.default_act, theirs.Detect.legacy = before
    head.legacy = True
    modules = nn.Sequential(*rows.modules, mark_head(head, rows))
    say(f"model YAML: {len(modules)} rows, read and built by nas, Detect by Ultralytics")
    if told := told_training(spec.image_size, "Ultralytics"):
        say(told)
    return modules, sorted({*rows.saved, *rows.head_inputs})


if __name__ == "__main__":
    open_streams()
    guarded(lambda: run(sys.argv[1:]))
