"""A starter's grades on one of its sets: its predictions of other sets' classes don't count."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas.data.images import ImageSet
from nas.detector.builder import Detector
from nas.training.metrics import Grades, evaluate, torch_predictor


def grade_set(detector: Detector, part: ImageSet, first: int) -> Grades:
    """The grades on a part whose classes are the detector's from `first` on."""
    whole = torch_predictor(detector)
    last = 5 + first + len(part.names)

    def predict(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        found = whole(images)
        return np.concatenate([found[..., :5], found[..., 5 + first : last]], axis=-1)

    return evaluate(predict, part)
