"""The hand-designed detectors learn: a few steps on four real pictures, and the loss falls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from systems import four_pictures, losses

from nas.data.images import ImageSet
from nas.space.references import REFERENCES
from nas.space.spec import read_spec

NAMES = (
    "yolov5n", "yolov5s-v5", "yolov3-tiny", "yolov4-tiny", "yolov8n",
    "v5lite-e", "v5lite-s", "v5lite-c", "v5lite-g",
    "yolov5-efficientnetv2", "yolov5-efficientnetv2-literal",
    "yolov5-mobilenetv3-small", "yolov5-shufflenetv2",
    "nanodet-m", "yolo-fastestv2", "efficientnet-b0",
)  # fmt: skip
"""One of each family: the others are their multiples (benchmarks/systems.py teaches all)."""


@pytest.fixture(scope="module")
def cells(shared: Path) -> ImageSet:
    """Four pictures of blood cells, to be learnt by heart."""
    return four_pictures(shared / "datasets" / "bccd" / "data.yaml")


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_loss_falls_on_blood_cells(name: str, cells: ImageSet) -> None:
    found = losses(read_spec(REFERENCES / f"{name}.yaml"), cells)
    assert np.isfinite(found).all()
    assert np.mean(found[-3:]) < 0.9 * np.mean(found[:3])
