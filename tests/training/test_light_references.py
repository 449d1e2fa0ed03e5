"""The light reference models learn: a few steps on real pictures, and the loss falls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nas.detector.builder import build_detector
from nas.space.references import REFERENCES
from nas.space.spec import read_spec, with_anchors, with_classes
from nas.training.augment import AugmentSettings
from nas.training.dataset import load_part, read_data
from nas.training.images import ImageSet
from nas.training.loop import train
from nas.training.settings import short_settings

SIZE = 128


@pytest.fixture(scope="module")
def cells(shared: Path) -> ImageSet:
    """Four pictures, to be learnt by heart."""
    data = read_data(str(shared / "datasets" / "bccd" / "data.yaml"))
    part = load_part(data, "train", SIZE)
    end = int(part.starts[4])
    return replace(
        part,
        images=part.images[:4],
        frames=part.frames[:4],
        sizes=part.sizes[:4],
        boxes=part.boxes[:end],
        classes=part.classes[:end],
        starts=part.starts[:5],
        files=part.files[:4],
    )


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "v5lite-e", "v5lite-s", "v5lite-c", "v5lite-g",
        "yolov5-efficientnetv2", "yolov5-efficientnetv2-literal",
        "yolov5-mobilenetv3-small", "yolov5-shufflenetv2",
        "nanodet-m", "yolo-fastestv2", "efficientnet-b0",
    ],
)  # fmt: skip
def test_the_loss_falls_on_blood_cells(name: str, cells: ImageSet) -> None:
    spec = with_classes(read_spec(REFERENCES / f"{name}.yaml"), 3)
    assert spec.image_size is not None
    scale = SIZE / spec.image_size
    anchors = tuple(tuple(v * scale for v in level) for level in spec.anchors)
    torch.manual_seed(0)
    detector = build_detector(with_anchors(spec, anchors))
    losses: list[float] = []
    still = AugmentSettings(
        mosaic=0, scale=0, translate=0, flip_horizontal=0, hue=0, saturation=0, value=0
    )
    settings = replace(short_settings(30), batch_size=4, recalibration_batches=1, augment=still)
    trained = train(
        detector, cells, None, settings, seed=0, on_step=lambda step: losses.append(step.loss)
    )
    assert np.isfinite(losses).all()
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])
    with torch.no_grad():
        boxes = trained.detector.eval()(torch.rand(1, 3, SIZE, SIZE))
    assert boxes.isfinite().all()
