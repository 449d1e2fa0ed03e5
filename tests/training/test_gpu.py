"""Laws of a training on a GPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from nas.training.augment import AugmentSettings
from nas.training.loop import train
from nas.training.metrics import evaluate_detector, to_input
from nas.training.precision import autocast_type, describe_device, training_device
from nas.training.settings import short_settings
from tests.data.pictures import squares, tiny_detector

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("assignment", ["yolov5", "aligned"])
def test_four_images_are_learnt_by_heart_on_a_gpu(assignment: str) -> None:
    part = squares(4)
    settings = replace(
        short_settings(150),
        batch_size=4,
        assignment=assignment,
        augment=AugmentSettings(mosaic=0, scale=0, translate=0),
    )
    losses: list[float] = []
    trained = train(
        tiny_detector(),
        part,
        part,
        settings,
        seed=0,
        device="cuda",
        workers=2,
        on_step=lambda progress: losses.append(progress.loss),
    )
    assert len(losses) == 150
    assert trained.grades is not None
    assert trained.grades.map50 > 0.9
    on_cpu = evaluate_detector(trained.detector.cpu(), part)
    assert on_cpu.map50_95 == pytest.approx(trained.grades.map50_95, abs=0.02)


def test_a_gpu_is_found_and_named_with_its_half_precision() -> None:
    assert training_device() == "cuda"
    device = torch.device("cuda")
    assert autocast_type(device, amp=False, cpu_bf16=True) == torch.float32
    assert autocast_type(device, amp=True, cpu_bf16=False) in (torch.bfloat16, torch.float16)
    assert torch.cuda.get_device_name(device) in describe_device("cuda", amp=True, cpu_bf16=False)


def test_inputs_are_the_same_on_both() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    one, two = (to_input(images, torch.device(name)) for name in ("cpu", "cuda"))
    torch.testing.assert_close(one, two.cpu(), rtol=1e-6, atol=1e-7)
    assert two.is_contiguous(memory_format=torch.channels_last)
