"""A checkpoint of nas.train, run by torch in single precision."""

from __future__ import annotations

from pathlib import Path

import torch

from nas.grading.detector_file import DetectorFile
from nas.training.metrics import torch_predictor
from nas.training.on_disk.checkpoint import load_checkpoint


def open_checkpoint(path: Path) -> DetectorFile:
    """The detector of a best.pt or last.pt, on a GPU where there is one. CheckpointError."""
    checkpoint = load_checkpoint(path)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    detector = checkpoint.build().to(device)
    place = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    return DetectorFile(
        path=path,
        kind="checkpoint",
        precision="fp32",
        arithmetic=f"torch {torch.__version__.partition('+')[0]} on {place}, fp32",
        names=checkpoint.names,
        image_size=checkpoint.image_size,
        strides=tuple(detector.head.strides),
        anchors=detector.spec.anchors,
        predict=torch_predictor(detector),
        detector=detector,
    )
