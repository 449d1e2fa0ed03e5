"""The anchors that every candidate of a search gets: fitted once to the training part."""

from __future__ import annotations

from nas.data.anchors import box_sizes, fit_anchors
from nas.data.dataset import DataConfig, load_part
from nas.space.anchors import Anchors
from nas.study.candidates import REFERENCE_SIZE


def anchors_for(data: DataConfig, seed: int) -> Anchors:
    """Anchors for three levels in pixels at REFERENCE_SIZE, deterministic by seed.

    Decodes the training part once, which takes seconds. Raises DataError.
    """
    part = load_part(data, "train", REFERENCE_SIZE)
    return fit_anchors(box_sizes(part), seed=seed).anchors
