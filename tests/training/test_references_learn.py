"""The hand-designed YOLO models learn on real pictures: a few steps on four of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nas.detector.builder import build_detector
from nas.space.references import REFERENCES
from nas.space.spec import read_spec, with_classes
from nas.training.augment import AugmentSettings
from nas.training.dataset import load_part, read_data
from nas.training.images import ImageSet
from nas.training.loop import train
from nas.training.settings import short_settings

STILL = AugmentSettings(
    mosaic=0.0, scale=0.0, translate=0.0, flip_horizontal=0.0, hue=0.0, saturation=0.0, value=0.0
)


@pytest.fixture(scope="module")
def pictures(shared: Path) -> ImageSet:
    """Four pictures of blood cells, 192 px."""
    part = load_part(read_data(str(shared / "datasets" / "bccd" / "data.yaml")), "val", 192)
    objects = int(part.starts[4])
    return replace(
        part,
        images=part.images[:4],
        frames=part.frames[:4],
        sizes=part.sizes[:4],
        boxes=part.boxes[:objects],
        classes=part.classes[:objects],
        starts=part.starts[:5],
        files=part.files[:4],
    )


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolov5n", "yolov5s-v5", "yolov3-tiny", "yolov4-tiny", "yolov8n"])
def test_the_loss_falls_on_blood_cells(name: str, pictures: ImageSet) -> None:
    spec = with_classes(read_spec(REFERENCES / f"{name}.yaml"), len(pictures.names))
    torch.manual_seed(0)
    losses: list[float] = []
    settings = replace(
        short_settings(20), batch_size=4, lr=0.002, recalibration_batches=0, augment=STILL
    )
    train(
        build_detector(spec),
        pictures,
        None,
        settings,
        seed=0,
        on_step=lambda progress: losses.append(progress.loss),
    )
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])
