"""Laws of the heat maps: what they are of, and that they follow the object."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nas.data.images import ImageSet
from nas.deploy.weights import random_detector
from nas.detector.builder import Detector
from nas.detector.head import Detect
from nas.grading.boxes.heat import FALSE_SHOWN, TRUE_SHOWN, box_heat, heat_maps
from nas.grading.boxes.matching import match
from nas.training.metrics import detect, suppress, to_input, torch_predictor
from tests.data.pictures import squares
from tests.grading.files import HEADS, taught
from tests.light_heads import model_of


@pytest.fixture(scope="module")
def detector() -> Detector:
    """One that finds most of the bright squares."""
    return taught()


def one_square(left: int, top: int, side: int = 16) -> np.ndarray:
    """A red square on dark noise, (64, 64, 3)."""
    image = np.random.default_rng(0).integers(0, 60, (64, 64, 3), dtype=np.uint8)
    image[top : top + side, left : left + side, 0] = 230
    return image


def best_row(detector: Detector, image: np.ndarray, kind: int) -> int:
    rows = torch_predictor(detector)(image[None])[0]
    return int((rows[:, 4] * rows[:, 5 + kind]).argmax())


def centre(heat: np.ndarray) -> np.ndarray:
    """x and y of the heat's middle."""
    y, x = np.mgrid[: heat.shape[0], : heat.shape[1]]
    return np.array([(heat * x).sum(), (heat * y).sum()]) / heat.sum()


def test_heat_is_not_negative_has_the_pictures_shape_and_moves_with_the_object(
    detector: Detector,
) -> None:
    for left, top in ((4, 4), (40, 4), (40, 40), (4, 40)):
        image = one_square(left, top)
        heat = box_heat(detector, image, best_row(detector, image, 0), 0)
        assert heat.shape == image.shape[:2]
        assert heat.min() >= 0
        assert heat.max() == pytest.approx(1.0)
        # Nearer to the square than to any other corner of the picture.
        assert np.abs(centre(heat) - (left + 8, top + 8)).max() < 18


@pytest.mark.parametrize("head", HEADS)
def test_the_gradient_is_of_the_logit_that_makes_the_score(head: str) -> None:
    """Raising the logit's row raises that prediction's score, whatever the head."""
    from nas.grading.boxes.heat import logit_of

    detector = random_detector(model_of(head), 96)
    pixels = to_input(squares(1, 96).images, torch.device("cpu"))
    with torch.no_grad():
        raw, decoded = detector.maps(pixels), detector(pixels)
    for row in (0, 143, 144, decoded.shape[1] - 1):
        for kind in (0, 2):
            logit = float(logit_of(detector, raw, row, kind))
            share = float(torch.logit(decoded[0, row, 5 + kind]))
            if isinstance(detector.head, Detect):
                share += float(torch.logit(decoded[0, row, 4]))
            assert logit == pytest.approx(share, rel=1e-3, abs=1e-3)
    with pytest.raises(AssertionError, match="beyond the last level"):
        logit_of(detector, raw, decoded.shape[1], 0)


def test_true_and_false_boxes_are_explained(detector: Detector) -> None:
    part = squares(6)
    matches = match(list(detect(torch_predictor(detector), part)), part)
    detector.train()
    maps = heat_maps(detector, part, matches)
    assert detector.training
    detector.eval()
    true, false = [one for one in maps if one.is_true], [one for one in maps if not one.is_true]
    assert len(true) == TRUE_SHOWN
    assert len(false) == min(FALSE_SHOWN, int((~matches.is_true).sum()))
    assert {one.name for one in true} == {"red", "green"}
    for one in maps:
        assert one.heat.shape == one.crop.pixels.shape[:2]
    assert [one.score for one in true] == sorted((one.score for one in true), reverse=True)


def test_without_boxes_there_is_nothing_to_explain() -> None:
    detector = random_detector(model_of("LightDetect, [nc]"), 96)
    part = squares(2, 96)
    empty: ImageSet = part.subset(np.array([0]))
    matches = match([suppress(np.zeros((0, 8), np.float32))], empty)
    assert heat_maps(detector, empty, matches) == ()
