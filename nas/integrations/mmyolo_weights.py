"""A trained backbone as mmengine's checkpoints hold it."""

from __future__ import annotations

import io
from pathlib import Path

import torch

from nas.detector.builder import Detector


def save_backbone(path: Path, detector: Detector) -> None:
    """Writes `{"state_dict": {"backbone.model.<row>...": tensor}}`, the backbone's rows alone."""
    rows = len(detector.spec.backbone)
    weights = {
        f"backbone.{name}": value.detach().cpu().clone()
        for name, value in detector.state_dict().items()
        if int(name.split(".")[1]) < rows
    }
    # Through memory: torch's own writer makes a RuntimeError of a full disk.
    content = io.BytesIO()
    torch.save({"state_dict": weights}, content)
    path.write_bytes(content.getvalue())
