"""Smaller images and weaker augmentation at first: EfficientNetV2's progressive learning.

arXiv 2104.00298, section 4: a training is cut into equal stages; the image size grows from stage
to stage, and with it, since small images need less of it, the regularisation. There it speeds
training up four to seven times; here a step at two thirds of the size costs less than half.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from nas.space.image_size import ImageSize, scaled
from nas.training.augment import AugmentSettings


@dataclass(frozen=True, kw_only=True)
class GrowthSettings:
    """How image size and regularisation grow over a training. Shares of 1 leave both constant."""

    stages: int = 4
    """Stages of equal length; the last has the whole size and strength."""
    first_size: float = 1.0
    """Share of the image size that the first stage has; rounded to the detector's stride."""
    first_strength: float = 1.0
    """Share of the augmentation's strength, and of the stochastic depth, in the first stage."""

    def __post_init__(self) -> None:
        if self.stages < 1:
            raise ValueError("growth has at least 1 stage")
        if not 0 < self.first_size <= 1 or not 0 <= self.first_strength <= 1:
            raise ValueError("first_size lies in 0..1 (not 0), first_strength in 0..1")

    def share_at(self, step: int, steps: int) -> float:
        """How far (0..1) a training of so many steps has grown at a step."""
        stage = min(self.stages - 1, step * self.stages // max(1, steps))
        return stage / (self.stages - 1) if self.stages > 1 else 1.0

    def size_at(self, step: int, steps: int, image_size: ImageSize, stride: int) -> ImageSize:
        """That of the images of a step: multiples of `stride`."""
        share = self.first_size + (1 - self.first_size) * self.share_at(step, steps)
        return scaled(image_size, share, stride, stride)

    def strength_at(self, step: int, steps: int) -> float:
        """Share of the regularisation's full strength at a step."""
        return self.first_strength + (1 - self.first_strength) * self.share_at(step, steps)


def weakened(settings: AugmentSettings, strength: float) -> AugmentSettings:
    """An augmentation of a share of the strength; mirror images stay as frequent."""
    if strength == 1:
        return settings
    return replace(
        settings,
        mosaic=settings.mosaic * strength,
        scale=settings.scale * strength,
        translate=settings.translate * strength,
        hue=settings.hue * strength,
        saturation=settings.saturation * strength,
        value=settings.value * strength,
    )
