"""How widths become whole multiples: each family has a rule of its own."""

from __future__ import annotations


def nearest_multiple(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor`, the next one up if that loses more than a tenth.

    The rule of MobileNet, MobileNetV3 and EfficientNet (arXiv 1905.11946) for scaled widths.
    """
    nearest = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * channels else nearest
