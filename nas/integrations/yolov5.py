"""Runs a script of an unmodified YOLOv5 checkout with our modules and our reading of model YAMLs.

    python -m nas.integrations.yolov5 CHECKOUT/train.py --cfg model.yaml --data my.yaml ...
    python -m nas.integrations.yolov5 CHECKOUT/val.py --weights runs/train/exp/weights/best.pt ...
    python -m nas.integrations.yolov5 import best.pt ours.pt              YOLOv5's weights -> ours
    python -m nas.integrations.yolov5 export CHECKOUT ours.pt best.pt     ours -> YOLOv5's

All that follows the script is the script's own. Models with rows that we don't know are left to
YOLOv5's parser; their Detect is always theirs, and so are training, data and everything else.
YOLOv5 is AGPL-3.0 and no part of this package. What it trains holds modules of ours: whoever loads
such a .pt needs this package installed. `import` runs nothing of what stands in the file.
"""

from __future__ import annotations

import runpy
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from nas import NasError
from nas.terminal import guarded, open_streams, say

USAGE = "See python -m nas.integrations.yolov5 --help"


class CheckoutError(NasError):
    """A path that is no script of a YOLOv5 checkout, or a checkout that can't be used."""


def run(arguments: list[str]) -> None:
    """Does what the arguments ask for."""
    match arguments:
        case [] | ["-h"] | ["--help"]:
            print(__doc__)
        case ["import", *rest]:
            import_weights(*two(rest, "import", "THEIRS.pt OURS.pt"))
        case ["export", *rest]:
            if len(rest) != 3:
                raise wrong("export", "CHECKOUT OURS.pt THEIRS.pt", rest)
            export_weights(Path(rest[0]), Path(rest[1]), Path(rest[2]))
        case [script, *rest]:
            run_script(Path(script), rest)


def run_script(script: Path, arguments: list[str]) -> None:
    """Their script, as `python script ...` would run it, with our parser in place."""
    if not script.is_file():
        raise CheckoutError(str(script), "the script exists", "no such file", USAGE)
    install(enter(checkout_of(script)))
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.resolve().parent))
    runpy.run_path(str(script), run_name="__main__")


def import_weights(source: Path, target: Path) -> None:
    """Reads YOLOv5's checkpoint and writes ours, and its model YAML beside it."""
    from nas.integrations.checkpoints import check_target, keep
    from nas.integrations.yolov5_weights import read_yolov5

    check_target(source, target)
    say(keep(read_yolov5(source), target))


def export_weights(checkout: Path, source: Path, target: Path) -> None:
    """Reads our checkpoint and writes YOLOv5's, made of its own classes and of our modules."""
    from nas.integrations.checkpoints import check_target
    from nas.integrations.rectangles import told_weights
    from nas.integrations.yolov5_weights import export_yolov5

    check_target(source, target)
    if not (checkout / "models" / "yolo.py").is_file():
        raise CheckoutError(
            str(checkout), "the folder is a YOLOv5 checkout", "no models/yolo.py in it", USAGE
        )
    theirs = enter(checkout)
    install(theirs)
    size = export_yolov5(theirs, source, target)
    say(f"{target}: a checkpoint for YOLOv5's --weights")
    if told := told_weights(size, "YOLOv5"):
        say(f"{target}: {told}")


def checkout_of(script: Path) -> Path:
    """The checkout that a script belongs to: the nearest folder above it with models/yolo.py."""
    for folder in script.resolve().parents:
        if (folder / "models" / "yolo.py").is_file():
            return folder
    raise CheckoutError(
        str(script),
        "the script lies in a YOLOv5 checkout",
        "no models/yolo.py in the folders above it",
        "git clone YOLOv5 and name its train.py, val.py, export.py or detect.py",
    )


def enter(checkout: Path) -> Any:
    """YOLOv5's `models.yolo`, imported from the checkout."""
    sys.path.insert(0, str(checkout.resolve()))
    try:
        requirements = checkout / "requirements.txt"
        if requirements.is_file() and b"ultralytics" in requirements.read_bytes():
            # Where this import fails, YOLOv5 itself runs whatever pip stands first on the PATH.
            import_module("ultralytics")
        return import_module("models.yolo")
    except ModuleNotFoundError as error:
        raise CheckoutError(
            str(checkout),
            "what YOLOv5 itself needs is installed",
            f"no module {error.name}",
            f"pip install -r {checkout / 'requirements.txt'}",
        ) from error


def install(theirs: Any) -> None:
    """Puts our parser in the place of theirs, and lets `fuse` fold our batch norms too."""
    from nas.detector.builder import fold_batch_norms
    from nas.integrations.rows import is_ours

    parse_theirs, fuse_theirs = theirs.parse_model, theirs.BaseModel.fuse

    def parse_model(document: dict[str, Any], ch: list[int]) -> Any:
        if not is_ours(document):
            return parse_theirs(document, ch)
        return build(theirs, document, ch)

    def fuse(self: Any) -> Any:
        fold_batch_norms(self)
        return fuse_theirs(self)

    theirs.parse_model, theirs.BaseModel.fuse = parse_model, fuse


def build(theirs: Any, document: dict[str, Any], ch: list[int]) -> tuple[Any, list[int]]:
    """What their `parse_model` returns: the rows in sequence, and which of them are read later."""
    from torch import nn

    from nas.integrations.rectangles import told_training
    from nas.integrations.rows import build_rows, mark_head, read_mapping
    from nas.integrations.trainers import require
    from nas.space.modules import SpecError

    if ch != [3]:
        raise SpecError("model YAML, ch", "an image has 3 channels", str(ch))
    spec = read_mapping(document, "model YAML")
    require(spec, "YOLOv5", "model YAML")
    rows = build_rows(spec, "model YAML")
    anchors = [list(level) for level in spec.anchors]
    if spec.has_open_anchors:
        # YOLOv5 fits anchors to the data unless those that it begins with suit it: these don't.
        anchors = [[float(1 + place) for place in range(len(level))] for level in anchors]
    head = theirs.Detect(spec.num_classes, anchors, rows.head_channels)
    modules = nn.Sequential(*rows.modules, mark_head(head, rows))
    say(f"model YAML: {len(modules)} rows, read and built by nas, Detect by YOLOv5")
    if told := told_training(spec.image_size, "YOLOv5"):
        say(told)
    return modules, sorted({*rows.saved, *rows.head_inputs})


def two(values: list[str], verb: str, form: str) -> tuple[Path, Path]:
    """Two paths."""
    if len(values) != 2:
        raise wrong(verb, form, values)
    return Path(values[0]), Path(values[1])


def wrong(verb: str, form: str, got: list[str]) -> CheckoutError:
    """The error of a wrong count of arguments."""
    return CheckoutError(verb, f"the form is {verb} {form}", " ".join(got) or "nothing", USAGE)


if __name__ == "__main__":
    open_streams()
    guarded(lambda: run(sys.argv[1:]))
