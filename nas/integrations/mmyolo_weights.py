"""A trained backbone as mmengine's checkpoints hold it."""

from __future__ import annotations

from pathlib import Path

import torch

from nas.detector.builder import Detector


def save_backbone(path: Path, detector: Detector) -> None:
    """Writes `{"state_dict": {"backbone.model.<row>...": tensor}}`, the backbone's rows alone."""
    rows = len(detector.spec.backbone)
    torch.save(
        {
            "state_dict": {
                f"backbone.{name}": value.detach().cpu().clone()
                for name, value in detector.state_dict().items()
                if int(name.split(".")[1]) < rows
            }
        },
        path,
    )
