"""Detectors as files: checkpoints of random weights or taught ones, and their exports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nas import export
from nas.deploy.weights import random_detector
from nas.detector.builder import Detector
from nas.space.spec import dump_spec
from nas.training.augment import AugmentSettings
from nas.training.loop import train
from nas.training.on_disk.checkpoint import make_checkpoint, save_checkpoint
from nas.training.settings import short_settings
from tests.data.pictures import squares, tiny_detector
from tests.light_heads import model_of

HEADS = (
    "Detect, [nc, anchors]",
    "Detect, [nc]",
    "LightDetect, [nc]",
    "LightDetect, [nc, None, 1, 8]",
)
"""Each way to decode: anchors, 16 bins, one, eight."""


def left(
    folder: Path, detector: Detector, names: tuple[str, ...], size: int = 96, **flags: object
) -> Path:
    """The folder of an export, with `best.pt` beside it."""
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "one.yaml").write_text(dump_spec(detector.spec))
    save_checkpoint(folder / "best.pt", make_checkpoint(detector, names, size))
    arguments = export.Arguments(
        model=folder / "one.yaml", weights=folder / "best.pt", run=str(folder / "out")
    )
    export.run(replace(arguments, **flags))  # type: ignore[arg-type]
    return folder / "out"


def with_head(head: str) -> Detector:
    """An untaught detector of three classes under a form of head."""
    return random_detector(model_of(head), 96)


def taught() -> Detector:
    """A detector that finds most of the bright squares (seconds)."""
    part = squares(16)
    settings = replace(
        short_settings(150), augment=AugmentSettings(mosaic=0, scale=0, translate=0), batch_size=4
    )
    return train(tiny_detector(), part, None, settings, seed=0).detector.eval()
