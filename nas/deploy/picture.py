"""A picture to compare outputs on, drawn from a seed."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from nas.space.image_size import ImageSize, sides

Array = NDArray[np.float32]


def picture(image_size: ImageSize, seed: int = 0) -> Array:
    """One image (1, 3, H, W) of smooth random colours with noise over them, in 0..1."""
    generator = torch.Generator().manual_seed(seed)
    smooth = torch.rand(1, 3, 5, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(
        smooth, size=sides(image_size), mode="bilinear", align_corners=True
    )
    noise = torch.rand(1, 3, *sides(image_size), generator=generator)
    found: Array = (0.7 * smooth + 0.3 * noise).numpy()
    return found
