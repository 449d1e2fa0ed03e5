"""Precision by the size of objects, as COCO parts them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nas.training.metrics import ANY_AREA

SIZES: Final[Mapping[str, tuple[float, float]]] = {
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, ANY_AREA[1]),
}
"""Least and most area of an object, in pixels of the picture as it came; a bound is in both."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SizeGrade:
    """Average precision over the objects of one size; None where the part shows none of it."""

    name: str
    objects: int
    map50_95: float | None
    map50: float | None


def size_grades(
    precision: NDArray[np.float64], boxes: NDArray[np.float64]
) -> tuple[SizeGrade, ...]:
    """A grade for each of SIZES: the mean over the classes that the part shows in that size.

    precision   (10, 101, classes, sizes), -1 where there is no object
    boxes       (n, 4) of the objects, in pixels of the pictures as they came
    """
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    found = []
    for index, (name, (least, most)) in enumerate(SIZES.items()):
        of_size = precision[..., index]
        shown = of_size[:, :, of_size[0, 0] > -1]
        is_empty = shown.shape[2] == 0
        found.append(
            SizeGrade(
                name=name,
                objects=int(((areas >= least) & (areas <= most)).sum()),
                map50_95=None if is_empty else float(shown.mean()),
                map50=None if is_empty else float(shown[0].mean()),
            )
        )
    return tuple(found)
